//! Advanced SIMD: 16 of the 32 registers hold sums.

use super::bodies::{bodies, kernel, row_ops};
use super::{IndirectArgs, Kernel, RowOps, RowsArgs, TileArgs, generic};
use crate::isa::Isa;
use depthwise_tensor::Activation;
use pulp::aarch64::Neon;

kernel! {
    /// 8 rows of two vectors: 16 sums, twice the latency of the FMA on two pipes. Not measured on
    /// hardware.
    K8X8: "gemm_f32_8x8_neon", Isa::Neon, 8, quad 2, rows 1 2 3 4 5 6 7 8
}
kernel! {
    /// Up to 4 columns.
    K8X4: "gemm_f32_8x4_neon", Isa::Neon, 4, quad 1, rows 1 2 3 4 5 6 7 8
}

bodies! {
    quad, Neon, Neon::new_unchecked(),
    target_feature(enable = "neon")
}
row_ops! {
    Neon::new_unchecked(),
    target_feature(enable = "neon")
}
