//! AVX-512: one vector is a line, so two windows hide the latency.

use crate::isa::Isa;
use pulp::x86::V4;

super::kernel!(
    "dwconv_bwd_c16_avx512",
    Isa::Avx512,
    V4::new_unchecked(),
    V4,
    1,
    2,
    target_feature(
        enable = "avx512f,avx512vl,avx512bw,avx512cd,avx512dq,avx2,fma,bmi1,bmi2,lzcnt,popcnt,fxsr"
    )
);
