//! AVX-512: one zmm of columns, as many as a padded row always has room for.

use crate::isa::Isa;
use pulp::x86::V4;

super::kernel!(
    "dense_f16_4x16_avx512",
    Isa::Avx512,
    16,
    1,
    V4::new_unchecked(),
    target_feature(enable = "avx512f,avx512vl,avx512bw,avx512cd,avx512dq"),
    target_feature(enable = "avx2,fma,f16c,bmi1,bmi2,lzcnt,popcnt,fxsr")
);
