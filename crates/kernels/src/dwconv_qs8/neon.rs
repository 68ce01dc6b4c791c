//! Advanced SIMD: 4 channels a vector. Not measured on hardware.

use super::generic::kernel;
use crate::arch::dot::DotNeon;
use crate::isa::Isa;

kernel! {
    /// `smull` and `addp`.
    QUAD: "dwconv_qs8_any_2x4_neon", Isa::Neon, None, DotNeon, quad, target_feature(enable = "neon")
}
