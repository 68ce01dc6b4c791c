//! Exponentials normalised to sum 1.

/// `y = exp(x - max) / sum(exp(x - max))` along `axis`, or its logarithm.
#[derive(Clone, Debug, PartialEq)]
pub struct Softmax {
    /// The axis, negative from the end.
    pub axis: i64,
    /// Give the logarithm instead (ONNX `LogSoftmax`).
    pub log: bool,
}
