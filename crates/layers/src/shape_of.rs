//! The extents of a tensor, as a tensor.

/// `i64` extents of x from axis `start` up to `end` (ONNX `Shape`); negative from the end,
/// clamped.
#[derive(Clone, Debug, PartialEq)]
pub struct ShapeOf {
    /// First axis.
    pub start: i64,
    /// Past the last axis; `None` means to the end.
    pub end: Option<i64>,
}
