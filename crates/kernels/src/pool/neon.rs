//! NEON.

use crate::isa::Isa;
use pulp::aarch64::Neon;

super::kernel!(
    "pool_f32_c16_neon",
    Isa::Neon,
    Neon::new_unchecked(),
    target_feature(enable = "neon")
);
