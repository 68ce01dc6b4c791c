//! Activation functions as layers of their own.

use depthwise_tensor::Activation;

/// `y = activation(x)`, element by element.
#[derive(Clone, Debug, PartialEq)]
pub struct Activate {
    /// The function.
    pub activation: Activation,
}
