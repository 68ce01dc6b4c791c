//! Entries for the baseline of the target; the compiler vectorises them.

use super::functions::{BinaryOp, UnaryOp};
use super::generic::{self, RowSpan};
use depthwise_tensor::Activation;

/// # Safety
/// As [`generic::unary`].
pub(super) unsafe fn unary(op: UnaryOp, span: RowSpan<2>, y: *mut f32, x: *const f32) {
    // SAFETY: as the caller promises; the scalar token asks for no instructions.
    unsafe { generic::unary(pulp::Scalar, op, span, y, x) }
}

/// # Safety
/// As [`generic::binary`].
pub(super) unsafe fn binary(
    op: BinaryOp,
    activation: Activation,
    span: RowSpan<3>,
    vector: [bool; 2],
    y: *mut f32,
    x: [*const f32; 2],
) {
    // SAFETY: as the caller promises; the scalar token asks for no instructions.
    unsafe { generic::binary(pulp::Scalar, op, activation, span, vector, y, x) }
}
