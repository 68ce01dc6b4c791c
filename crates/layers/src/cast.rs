//! Change of element type.

use depthwise_tensor::DType;

/// Every element converted to another type: floats to integers truncate toward zero and saturate
/// (NaN gives 0), to truth values non-zero is true, narrower floats round to nearest even.
#[derive(Clone, Debug, PartialEq)]
pub struct Cast {
    /// The type to convert to.
    pub to: DType,
}
