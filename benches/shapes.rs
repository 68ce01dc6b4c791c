//! The layers of real networks, as `shapes/*.csv` list them.
//!
//! The files of [`NETS`] are what [`of_graph`](crate::networks::of_graph) finds in the networks of the zoo at 224 x 224 once
//! the passes of the engine have run; `cargo xtask table --shapes` writes them. `others.csv` is
//! written by hand: layers of detectors and recognisers that the classifiers do not have.

use depthwise_tensor::{Activation, ConvGeometry, Hw, Nhwc, Pad2d};
use serde::{Deserialize, Serialize};

/// A network that benches measure.
#[derive(Clone, Copy, Debug)]
pub struct Net {
    /// Name of the network and of its file of shapes.
    pub name: &'static str,
    /// What the file holds.
    csv: &'static str,
}

/// The networks, small changes of which are most of what runs on phones.
pub const NETS: [Net; 5] = [
    Net { name: "mobilenet_v1", csv: include_str!("shapes/mobilenet_v1.csv") },
    Net { name: "mobilenet_v2", csv: include_str!("shapes/mobilenet_v2.csv") },
    Net { name: "mobilenet_v3_large", csv: include_str!("shapes/mobilenet_v3_large.csv") },
    Net { name: "mobilenet_v3_small", csv: include_str!("shapes/mobilenet_v3_small.csv") },
    Net { name: "efficientnet_lite0", csv: include_str!("shapes/efficientnet_lite0.csv") },
];

/// Layers that none of [`NETS`] has.
pub const OTHERS: Net = Net { name: "others", csv: include_str!("shapes/others.csv") };

/// Why the layers of a network could not be told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShapesError {
    /// A file of shapes that does not parse.
    #[error("benches/shapes/{net}.csv: {source}")]
    Csv {
        /// Which file.
        net: &'static str,
        /// Line and reason.
        source: csv::Error,
    },
}

impl Net {
    /// The layers that the file of shapes lists.
    ///
    /// # Errors
    /// [`ShapesError::Csv`].
    pub fn layers(&self) -> Result<Vec<Layer>, ShapesError> {
        let mut reader = csv::ReaderBuilder::new()
            .comment(Some(b'#'))
            .trim(csv::Trim::All)
            .from_reader(self.csv.as_bytes());
        let layers: Result<Vec<Layer>, _> = reader.deserialize().collect();
        layers.map_err(|source| ShapesError::Csv { net: self.name, source })
    }

    /// What the file of shapes holds now.
    pub fn csv(&self) -> &'static str {
        self.csv
    }
}

/// What a layer computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A convolution of all channels, taps or stride above 1.
    Conv,
    /// A 1x1 convolution.
    Pointwise,
    /// A depthwise convolution.
    Depthwise,
    /// A dense layer.
    Dense,
    /// The mean of all pixels.
    Mean,
    /// A product with a value per channel: the gate of squeeze-and-excite.
    Scale,
    /// A sum of two pictures.
    Add,
    /// An activation by itself.
    Activate,
    /// A maximum over windows.
    MaxPool,
    /// Linear interpolation to `stride` times the size.
    Upsample,
    /// Exponentials normalised over the channels.
    Softmax,
    /// From channels-first to channels-last.
    ToNhwc,
}

/// The activations that the shapes name.
pub(crate) const ACTIVATIONS: [(&str, Activation); 6] = [
    ("identity", Activation::Identity),
    ("relu", Activation::RELU),
    ("relu6", Activation::RELU6),
    ("hard_swish", Activation::HardSwish),
    // MobileNetV3's.
    ("hard_sigmoid", Activation::HardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 }),
    ("sigmoid", Activation::Sigmoid),
];

/// A layer, and how many a network has of exactly this shape. All extents are elements; the output
/// follows from the rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// Name of the first node of this shape.
    pub layer: String,
    /// What it computes.
    pub kind: Kind,
    /// Height of the input.
    pub h: usize,
    /// Width of the input.
    pub w: usize,
    /// Input channels.
    pub ic: usize,
    /// Output channels.
    pub oc: usize,
    /// Taps along each axis.
    pub kernel: usize,
    /// Step along each axis.
    pub stride: usize,
    /// Rows of zeros above.
    pub top: usize,
    /// Columns of zeros before.
    pub left: usize,
    /// Rows of zeros below.
    pub bottom: usize,
    /// Columns of zeros after.
    pub right: usize,
    /// Name of the activation that comes last.
    pub activation: String,
    /// Whether a picture is added before the activation.
    pub residual: bool,
    /// Layers of this shape in the network.
    pub count: usize,
}

impl Layer {
    /// The activation; identity where the name is unknown, which a test excludes.
    pub fn activation(&self) -> Activation {
        let found = ACTIVATIONS.iter().find(|(name, _)| *name == self.activation);
        found.map_or(Activation::Identity, |&(_, activation)| activation)
    }

    /// The integers of the convolution or window.
    pub fn geometry(&self) -> ConvGeometry {
        let pad = Pad2d { top: self.top, left: self.left, bottom: self.bottom, right: self.right };
        let windows = |extent: usize, pads: usize| {
            (extent + pads).saturating_sub(self.kernel) / self.stride.max(1) + 1
        };
        let input = Nhwc { n: 1, h: self.h, w: self.w, c: self.ic };
        let output = Nhwc {
            n: 1,
            h: windows(self.h, self.top + self.bottom),
            w: windows(self.w, self.left + self.right),
            c: self.oc,
        };
        let groups = if self.kind == Kind::Depthwise { self.ic } else { 1 };
        let (kernel, stride) = (Hw::square(self.kernel), Hw::square(self.stride));
        ConvGeometry { input, output, kernel, stride, dilation: Hw::ONE, pad, groups }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_parse_and_name_known_activations() {
        for net in NETS.iter().chain([&OTHERS]) {
            let layers = net.layers().unwrap();
            assert!(!layers.is_empty());
            for layer in layers {
                let known = ACTIVATIONS.iter().any(|(name, _)| *name == layer.activation);
                assert!(known, "{}: {layer:?}", net.name);
                assert!(layer.count > 0 && layer.stride > 0, "{}: {layer:?}", net.name);
            }
        }
    }

    #[test]
    fn shapes_account_for_all_macs_of_a_network() {
        // Table 4 of the MobileNetV2 paper: 300 M multiply-adds at 224 x 224.
        let macs: u64 = NETS[1]
            .layers()
            .unwrap()
            .iter()
            .filter(|l| {
                matches!(l.kind, Kind::Conv | Kind::Pointwise | Kind::Depthwise | Kind::Dense)
            })
            .map(|l| l.geometry().macs() * l.count as u64)
            .sum();
        assert!((299_000_000..302_000_000).contains(&macs), "{macs}");
    }
}
