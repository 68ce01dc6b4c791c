//! AVX2.

use crate::isa::Isa;
use pulp::x86::V3;

super::kernel!(
    "dwconv_bwd_c16_avx2",
    Isa::Avx2,
    V3::new_unchecked(),
    V3,
    2,
    1,
    target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt,fxsr")
);
