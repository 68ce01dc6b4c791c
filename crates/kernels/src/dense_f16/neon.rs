//! Advanced SIMD.

use crate::isa::Isa;
use pulp::aarch64::Neon;

super::kernel!(
    "dense_f16_4x8_neon",
    Isa::Neon,
    8,
    2,
    Neon::new_unchecked(),
    target_feature(enable = "neon")
);
