//! Fully connected layer.

use depthwise_tensor::Activation;

/// `y[.., o] = act(b[o] + sum over i of x[.., i] * w[o, i])`
///
/// | input | shape |
/// |---|---|
/// | x | `.., I`, of rank 1 or more |
/// | w | `O,I` |
/// | b, may be left out | `O` |
#[derive(Clone, Debug, PartialEq)]
pub struct Dense {
    /// Applied last.
    pub activation: Activation,
}
