//! A tensor of one value.

use depthwise_tensor::Tensor;

/// A tensor filled with one value. Input: shape, `i64`.
#[derive(Clone, Debug, PartialEq)]
pub struct ConstantOfShape {
    /// The value: one element.
    pub value: Tensor,
}
