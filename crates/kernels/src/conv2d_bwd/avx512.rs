//! AVX-512: 16 of the 32 registers hold sums.

use crate::isa::Isa;
use pulp::x86::V4;

super::kernel!(
    "conv2d_bwd_8x32_avx512",
    Isa::Avx512,
    V4::new_unchecked(),
    V4,
    16,
    2,
    rows 1 2 3 4 5 6 7 8,
    target_feature(
        enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx2,fma,bmi1,bmi2,lzcnt,popcnt,fxsr"
    )
);
