//! AVX2, through the compiler.

super::generic::kernel!(
    "eltwise_qs8_avx2",
    crate::isa::Isa::Avx2,
    target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt,fxsr")
);
