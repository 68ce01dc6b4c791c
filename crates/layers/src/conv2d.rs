//! Standard and grouped convolution.

use crate::Padding;
use depthwise_tensor::{Activation, Hw};

/// A 2-D convolution (cross-correlation) over NHWC pictures.
///
/// `y[n,oh,ow,oc] = act(b[oc] + sum over kh,kw,ic of x[n, oh*sh + kh*dh - pt, ow*sw + kw*dw - pl,
/// g*C/groups + ic] * w[oc,kh,kw,ic] + r[n,oh,ow,oc])`, where `g` is the group of `oc` and cells
/// outside the picture are zero.
///
/// | input | shape |
/// |---|---|
/// | x | `N,H,W,C` |
/// | w | `OC,KH,KW,C/groups` |
/// | b, may be left out | `OC` |
/// | r (residual), may be left out | as the output |
#[derive(Clone, Debug, PartialEq)]
pub struct Conv2d {
    /// Step from one window to the next.
    pub stride: Hw,
    /// Step from one tap to the next.
    pub dilation: Hw,
    /// The border.
    pub padding: Padding,
    /// Channel groups.
    pub groups: usize,
    /// Applied last.
    pub activation: Activation,
}

impl Default for Conv2d {
    /// Stride 1, dilation 1, no padding, one group, no activation.
    fn default() -> Conv2d {
        Conv2d {
            stride: Hw::ONE,
            dilation: Hw::ONE,
            padding: Padding::Valid,
            groups: 1,
            activation: Activation::Identity,
        }
    }
}
