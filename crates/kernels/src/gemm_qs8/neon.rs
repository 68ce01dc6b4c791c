//! Advanced SIMD. Not measured on hardware.

use super::bodies::{bodies, byte_bodies, byte_kernel, kernel};
use super::{Form, Kernel, TileArgs, generic};
use crate::arch::dot::{DotNeon, DotNeonDot};
use crate::gather::GatherArgs;
use crate::isa::{Extension, Isa};
use crate::quant::Quant8;

byte_kernel! {
    /// 8 rows of two vectors, four products a sum.
    K8X8_BYTES: "gemm_qs8_8x8_neondot", Isa::Neon, Extension::DotProd, 8, bytes 2,
    rows 1 2 3 4 5 6 7 8
}
byte_kernel! {
    /// Up to 4 columns.
    K8X4_BYTES: "gemm_qs8_8x4_neondot", Isa::Neon, Extension::DotProd, 4, bytes 1,
    rows 1 2 3 4 5 6 7 8
}
kernel! {
    /// 8 rows of two vectors.
    K8X8: "gemm_qs8_8x8_neon", Isa::Neon, None, 8, quad 2, rows 1 2 3 4 5 6 7 8
}
kernel! {
    /// Up to 4 columns.
    K8X4: "gemm_qs8_8x4_neon", Isa::Neon, None, 4, quad 1, rows 1 2 3 4 5 6 7 8
}

bodies! { quad, DotNeon, target_feature(enable = "neon") }
byte_bodies! { bytes, DotNeonDot, target_feature(enable = "neon,dotprod") }
