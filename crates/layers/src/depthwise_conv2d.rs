//! Depthwise convolution.

use crate::Padding;
use depthwise_tensor::{Activation, Hw};

/// A convolution in which every input channel has filters of its own.
///
/// `y[n,oh,ow,ic*m + j] = act(b[ic*m + j] + sum over kh,kw of x[n, oh*sh + kh*dh - pt,
/// ow*sw + kw*dw - pl, ic] * w[kh,kw,ic*m + j])`, with the depth multiplier `m = w.C / x.C`.
///
/// | input | shape |
/// |---|---|
/// | x | `N,H,W,C` |
/// | w | `KH,KW,C*m` |
/// | b, may be left out | `C*m` |
#[derive(Clone, Debug, PartialEq)]
pub struct DepthwiseConv2d {
    /// Step from one window to the next.
    pub stride: Hw,
    /// Step from one tap to the next.
    pub dilation: Hw,
    /// The border.
    pub padding: Padding,
    /// Applied last.
    pub activation: Activation,
}

impl Default for DepthwiseConv2d {
    /// Stride 1, dilation 1, no padding, no activation.
    fn default() -> DepthwiseConv2d {
        DepthwiseConv2d {
            stride: Hw::ONE,
            dilation: Hw::ONE,
            padding: Padding::Valid,
            activation: Activation::Identity,
        }
    }
}
