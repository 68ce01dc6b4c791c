//! Advanced SIMD. Not measured on hardware.

use super::bodies::{bodies, kernel};
use super::gather::GatherArgs;
use super::{Kernel, TileArgs, generic};
use crate::arch::dot::DotNeon;
use crate::isa::Isa;

kernel! {
    /// 8 rows of two vectors.
    K8X8: "gemm_qs8_8x8_neon", Isa::Neon, None, 8, quad 2, rows 1 2 3 4 5 6 7 8
}
kernel! {
    /// Up to 4 columns.
    K8X4: "gemm_qs8_8x4_neon", Isa::Neon, None, 4, quad 1, rows 1 2 3 4 5 6 7 8
}

bodies! { quad, DotNeon, target_feature(enable = "neon") }
