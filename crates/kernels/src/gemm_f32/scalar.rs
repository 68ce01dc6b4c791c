//! The baseline of the target: vectors of four, multiplication and addition apart.

use super::bodies::{bodies, kernel, row_ops};
use super::{IndirectArgs, Kernel, RowOps, RowsArgs, TileArgs, generic};
use crate::arch::Scalar;
use crate::isa::Isa;
use depthwise_tensor::Activation;

kernel! {
    /// 4 rows of two vectors: 8 of the 16 SSE registers hold sums, the products take others.
    K4X8: "gemm_f32_4x8_scalar", Isa::Scalar, 8, quad 2, rows 1 2 3 4
}
kernel! {
    /// Up to 4 columns.
    K4X4: "gemm_f32_4x4_scalar", Isa::Scalar, 4, quad 1, rows 1 2 3 4
}

bodies! {
    quad, Scalar, Scalar
}
row_ops! {
    Scalar
}
