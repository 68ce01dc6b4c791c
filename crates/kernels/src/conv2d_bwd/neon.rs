//! NEON: 16 of the 32 registers hold sums.

use crate::isa::Isa;
use pulp::aarch64::Neon;

super::kernel!(
    "conv2d_bwd_8x8_neon",
    Isa::Neon,
    Neon::new_unchecked(),
    Neon,
    4,
    2,
    rows 1 2 3 4 5 6 7 8,
    target_feature(enable = "neon")
);
