//! Advanced SIMD, with and without the dot product. Run in an emulator, not on hardware.

pub(crate) mod i8mm;

use super::bodies::{bodies, kernel};
use super::generic::{self, Terms};
use super::{Kernel, TileArgs};
use crate::arch::dot::{DotNeon, DotNeonDot};
use crate::gather::GatherArgs;
use crate::isa::{Extension, Isa};
use crate::quant::Quant8;

kernel! {
    /// 8 rows of two vectors, four products a sum.
    K8X8_BYTES: "gemm_qs8_8x8_neondot", Isa::Neon, Some(Extension::DotProd), 8, dot 2,
    Bytes, rows [1 2 3 4 5 6 7 8]
}
kernel! {
    /// Up to 4 columns.
    K8X4_BYTES: "gemm_qs8_8x4_neondot", Isa::Neon, Some(Extension::DotProd), 4, dot 1,
    Bytes, rows [1 2 3 4 5 6 7 8]
}
kernel! {
    /// 8 rows of two vectors.
    K8X8: "gemm_qs8_8x8_neon", Isa::Neon, None, 8, quad 2,
    Words WideWords, rows [1 2 3 4 5 6 7 8]
}
kernel! {
    /// Up to 4 columns.
    K8X4: "gemm_qs8_8x4_neon", Isa::Neon, None, 4, quad 1,
    Words WideWords, rows [1 2 3 4 5 6 7 8]
}

bodies! { quad, DotNeon, target_feature(enable = "neon") }
bodies! { dot, DotNeonDot, target_feature(enable = "neon,dotprod") }
