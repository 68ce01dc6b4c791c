//! What tells one mobile network from another: a table of blocks.

use crate::ZooError;
use crate::naming::{Modules, Naming};
use depthwise_layers::Activation;

/// One block: a depthwise convolution between (or after) pointwise ones.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct BlockSpec {
    /// Side of the depthwise filter.
    pub(crate) kernel: usize,
    /// Stride of the depthwise convolution.
    pub(crate) stride: usize,
    /// Channels that the depthwise convolution works on.
    pub(crate) expanded: usize,
    /// Whether a pointwise convolution makes them.
    pub(crate) expands: bool,
    /// Hidden channels of the squeeze-and-excitation, where there is one.
    pub(crate) squeeze: Option<usize>,
    /// Channels that come out.
    pub(crate) out: usize,
    /// After the expansion and the depthwise convolution.
    pub(crate) activation: Activation,
    /// After the projection.
    pub(crate) project_activation: Activation,
    /// Whether the input is added to the output.
    pub(crate) residual: bool,
}

/// A whole network; see the builders for the nets.
#[derive(Clone, Debug)]
pub(crate) struct Architecture {
    pub(crate) name: String,
    /// The convention that names the nodes of the graph.
    pub(crate) naming: Naming,
    pub(crate) modules: Option<Modules>,
    /// Channels of the first convolution, 3x3 of stride 2, and what follows it.
    pub(crate) stem: (usize, Activation),
    pub(crate) stages: Vec<Vec<BlockSpec>>,
    /// Channels of the last convolution, 1x1.
    pub(crate) head: Option<(usize, Activation)>,
    /// Features of the dense layer before the last one.
    pub(crate) hidden: Option<(usize, Activation)>,
}

/// `channels` times `width`, to the nearest multiple of 8, but at least 8 and no less than 90% of
/// the product (`_make_divisible` of the TensorFlow models, torchvision and timm).
pub(crate) fn scaled(channels: usize, width: f64) -> usize {
    let exact = channels as f64 * width;
    let rounded = ((exact + 4.0) as usize / 8 * 8).max(8);
    if (rounded as f64) < 0.9 * exact { rounded + 8 } else { rounded }
}

/// The largest factor of channels or blocks that is accepted.
const MAX_FACTOR: f64 = 16.0;

pub(crate) fn check_factor(setting: &'static str, factor: f64) -> Result<(), ZooError> {
    if factor > 0.0 && factor <= MAX_FACTOR {
        return Ok(());
    }
    let want = "must be above 0 and at most 16";
    Err(ZooError::Setting { setting, value: factor.to_string(), want })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_rounded_to_eight_but_not_far_down() {
        // torchvision's _make_divisible(channels * width, 8).
        let cases = [(32, 0.75, 24), (24, 0.35, 8), (16, 0.35, 8), (96, 0.35, 32), (18, 1.0, 24)];
        for (channels, width, want) in cases {
            assert_eq!(scaled(channels, width), want, "{channels} * {width}");
        }
    }
}
