//! A part of a tensor.

/// Elements `start, start + step, ..` before `end` along given axes, ONNX `Slice`.
///
/// Inputs, all but x `i64` of equal length: x, starts, ends, axes (may be left out: 0, 1, ..),
/// steps (may be left out: 1). Negative positions count from the end; positions out of range are
/// clamped; steps may be negative, not zero.
#[derive(Clone, Debug, PartialEq)]
pub struct Slice;
