//! Batch normalization with frozen statistics.

/// `y = (x - mean[c]) / sqrt(var[c] + epsilon) * gamma[c] + beta[c]` along the channel axis
/// (Ioffe and Szegedy 2015).
///
/// Inputs: x, gamma, beta, mean, var; the last four of shape `C`. gamma and beta may be left out
/// (1 and 0).
#[derive(Clone, Debug, PartialEq)]
pub struct BatchNorm {
    /// Added to the variance.
    pub epsilon: f32,
    /// The channel axis: -1 for NHWC, 1 for what comes from an NCHW file.
    pub axis: i64,
}
