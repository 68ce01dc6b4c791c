//! AVX2 with F16C.

use crate::isa::Isa;
use pulp::x86::V3;

super::kernel!(
    "dense_f16_4x16_avx2",
    Isa::Avx2,
    16,
    2,
    V3::new_unchecked(),
    target_feature(enable = "avx2,fma,f16c,bmi1,bmi2,lzcnt,popcnt,fxsr")
);
