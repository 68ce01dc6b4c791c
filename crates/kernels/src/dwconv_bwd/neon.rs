//! NEON.

use crate::isa::Isa;
use pulp::aarch64::Neon;

super::kernel!(
    "dwconv_bwd_c16_neon",
    Isa::Neon,
    Neon::new_unchecked(),
    Neon,
    4,
    1,
    target_feature(enable = "neon")
);
