//! The baseline of the target: vectors of four.

use super::bodies::{bodies, kernel};
use super::gather::GatherArgs;
use super::{Kernel, TileArgs, generic};
use crate::arch::dot::DotScalar;
use crate::isa::Isa;

kernel! {
    /// 2 rows of two vectors: products of 16 bits take many of the 16 SSE registers.
    K2X8: "gemm_qs8_2x8_scalar", Isa::Scalar, None, 8, quad 2, rows 1 2
}
kernel! {
    /// Up to 4 columns.
    K2X4: "gemm_qs8_2x4_scalar", Isa::Scalar, None, 4, quad 1, rows 1 2
}

bodies! { quad, DotScalar }
