//! AVX2 and FMA: 12 of the 16 registers hold sums.

use crate::isa::Isa;
use pulp::x86::V3;

super::kernel!(
    "conv2d_bwd_6x16_avx2",
    Isa::Avx2,
    V3::new_unchecked(),
    V3,
    8,
    2,
    rows 1 2 3 4 5 6,
    target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt,fxsr")
);
