//! Average and maximum over windows.

use crate::Padding;
use depthwise_tensor::Hw;

/// What a pool computes of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolKind {
    /// The largest element; cells in the padding never win. A window without a cell inside the
    /// picture gives the lowest finite number.
    Max,
    /// The mean.
    Average {
        /// Whether cells of the declared padding count in the divisor. Cells past it, which a
        /// window rounded up by `ceil_mode` can reach, never count.
        include_pad: bool,
    },
}

/// A pool over NHWC pictures.
///
/// `ceil_mode` rounds the number of windows up, but drops a last window that would start past the
/// picture and its leading padding (PyTorch and ONNX).
#[derive(Clone, Debug, PartialEq)]
pub struct Pool2d {
    /// Maximum or average.
    pub kind: PoolKind,
    /// Taps.
    pub kernel: Hw,
    /// Step from one window to the next.
    pub stride: Hw,
    /// Step from one tap to the next.
    pub dilation: Hw,
    /// The border.
    pub padding: Padding,
    /// Round the output size up instead of down; only with explicit padding.
    pub ceil_mode: bool,
}
