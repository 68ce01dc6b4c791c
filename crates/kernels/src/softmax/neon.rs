//! NEON.

use crate::isa::Isa;
use pulp::aarch64::Neon;

super::kernel!(
    "softmax_f32_c4_neon",
    Isa::Neon,
    Neon::new_unchecked(),
    target_feature(enable = "neon")
);
