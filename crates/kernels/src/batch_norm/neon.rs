//! NEON.

use crate::isa::Isa;
use pulp::aarch64::Neon;

super::kernel!(
    "batch_norm_c16_neon",
    Isa::Neon,
    Neon::new_unchecked(),
    Neon,
    target_feature(enable = "neon")
);
