//! Choice by a mask.

/// `y = a where condition else b`, all three broadcast to a common shape (ONNX `Where`).
/// Inputs: condition (truth values), a, b.
#[derive(Clone, Debug, PartialEq)]
pub struct Select;
