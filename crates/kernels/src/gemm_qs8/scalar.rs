//! The baseline of the target: vectors of four.

use super::bodies::{bodies, kernel};
use super::generic::{self, Terms};
use super::{Kernel, TileArgs};
use crate::arch::dot::DotScalar;
use crate::gather::GatherArgs;
use crate::isa::Isa;
use crate::quant::Quant8;

kernel! {
    /// 4 rows of two vectors: 8 of the 16 SSE registers hold sums, the products take others.
    K4X8: "gemm_qs8_4x8_scalar", Isa::Scalar, None, 8, quad 2,
    Words WideWords, rows [1 2 3 4]
}
kernel! {
    /// Up to 4 columns.
    K4X4: "gemm_qs8_4x4_scalar", Isa::Scalar, None, 4, quad 1,
    Words WideWords, rows [1 2 3 4]
}

bodies! { quad, DotScalar }
