//! The instructions of AVX512_BF16 spelled out, on vectors of four: the same bits on every CPU.

use super::bodies::{bodies, gather_rounded, kernel};
use super::generic::Round;
use super::{Kernel, TileArgs};
use crate::arch::Scalar;
use crate::arch::bf16::Pair;
use crate::gather::{GatherArgs, gather};
use crate::gemm_f32::scalar::OPS;
use crate::isa::Isa;

kernel! {
    /// 4 rows of two vectors.
    K4X8: "gemm_bf16_4x8_scalar", Isa::Scalar, None, 8, quad 2, &OPS, rows 1 2 3 4
}
kernel! {
    /// Up to 4 columns.
    K4X4: "gemm_bf16_4x4_scalar", Isa::Scalar, None, 4, quad 1, &OPS, rows 1 2 3 4
}

bodies! { quad, Scalar, Scalar }
gather_rounded! { Scalar }
