//! Advanced SIMD: 4 channels a vector. Run in an emulator, not on hardware.

use super::generic::{self, kernel};
use crate::arch::dot::{DotNeon, DotNeonDot};
use crate::isa::{Extension, Isa};

kernel! {
    /// `smull` and `addp`.
    QUAD: "dwconv_qs8_any_2x4_neon", Isa::Neon, None, DotNeon Words, quad, target_feature(enable = "neon")
}
kernel! {
    /// `sdot`.
    BYTES: "dwconv_qs8_any_2x4_neondot", Isa::Neon, Some(Extension::DotProd), DotNeonDot Bytes, bytes,
    target_feature(enable = "neon,dotprod")
}
