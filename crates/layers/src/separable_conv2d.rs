//! Depthwise separable convolution: the pair that mobile networks are made of.

use crate::{Conv2d, DepthwiseConv2d};

/// A depthwise convolution followed by a pointwise (1x1) one.
///
/// Not an [`Op`](crate::Op) of its own: it enters a graph as its two halves.
#[derive(Clone, Debug, PartialEq)]
pub struct SeparableConv2d {
    /// Filters each channel by itself.
    pub depthwise: DepthwiseConv2d,
    /// Mixes the channels; 1x1, stride 1, one group.
    pub pointwise: Conv2d,
}
