//! Entries for AArch64 Advanced SIMD.

use super::functions::{BinaryOp, UnaryOp};
use super::generic::{self, RowSpan};
use depthwise_tensor::Activation;

/// # Safety
/// - The CPU has the instructions.
/// - As [`generic::unary`].
#[target_feature(enable = "neon")]
pub(super) unsafe fn unary(op: UnaryOp, span: RowSpan<2>, y: *mut f32, x: *const f32) {
    // SAFETY: the CPU has the instructions (caller), and this function is compiled for them.
    let simd = unsafe { pulp::aarch64::Neon::new_unchecked() };
    // SAFETY: as the caller promises.
    unsafe { generic::unary(simd, op, span, y, x) }
}

/// # Safety
/// - The CPU has the instructions.
/// - As [`generic::binary`].
#[target_feature(enable = "neon")]
pub(super) unsafe fn binary(
    op: BinaryOp,
    activation: Activation,
    span: RowSpan<3>,
    vector: [bool; 2],
    y: *mut f32,
    x: [*const f32; 2],
) {
    // SAFETY: the CPU has the instructions (caller), and this function is compiled for them.
    let simd = unsafe { pulp::aarch64::Neon::new_unchecked() };
    // SAFETY: as the caller promises.
    unsafe { generic::binary(simd, op, activation, span, vector, y, x) }
}
