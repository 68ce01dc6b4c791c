//! MobileNet V3.

use crate::architecture::{Architecture, BlockSpec, check_factor, scaled};
use crate::naming::{Modules, Naming};
use crate::network::network;
use crate::{PaddingStyle, Settings, ZooError};
use depthwise_layers::Activation;

/// Howard et al., "Searching for MobileNetV3" (2019), tables 1 and 2, with the channels of
/// torchvision: a squeeze has a quarter of the expanded channels, to a multiple of 8.
///
/// Defaults: 224 x 224, torchvision's padding, epsilon 1e-3. TensorFlow's checkpoints take
/// [`PaddingStyle::Same`]; timm's own were trained with epsilon 1e-5.
#[derive(Clone, Debug)]
pub struct MobileNetV3 {
    /// Which of the two networks.
    pub size: V3Size,
    /// Width multiplier.
    pub width: f64,
    /// The rest.
    pub settings: Settings,
}

/// The two networks of the paper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum V3Size {
    /// 219 M multiply-accumulate steps in the paper.
    Large,
    /// 56 M multiply-accumulate steps in the paper.
    Small,
}

impl MobileNetV3 {
    /// The large network of this width.
    pub fn large(width: f64) -> MobileNetV3 {
        MobileNetV3::of_size(V3Size::Large, width)
    }

    /// The small network of this width.
    pub fn small(width: f64) -> MobileNetV3 {
        MobileNetV3::of_size(V3Size::Small, width)
    }

    fn of_size(size: V3Size, width: f64) -> MobileNetV3 {
        let settings = Settings::imagenet(224, PaddingStyle::Torch, 1e-3);
        MobileNetV3 { size, width, settings }
    }
}

/// Whether a block has a squeeze-and-excitation.
#[derive(Clone, Copy, PartialEq)]
enum Se {
    Yes,
    No,
}
use Se::{No, Yes};

/// `RE` and `HS` of the paper.
const RE: Activation = Activation::RELU;
const HS: Activation = Activation::HardSwish;

/// Kernel, expanded channels, channels, squeeze, activation, stride.
type Row = (usize, usize, usize, Se, Activation, usize);

/// Table 1. The lines between stages are timm's names.
const LARGE: [&[Row]; 6] = [
    &[(3, 16, 16, No, RE, 1)],
    &[(3, 64, 24, No, RE, 2), (3, 72, 24, No, RE, 1)],
    &[(5, 72, 40, Yes, RE, 2), (5, 120, 40, Yes, RE, 1), (5, 120, 40, Yes, RE, 1)],
    &[
        (3, 240, 80, No, HS, 2),
        (3, 200, 80, No, HS, 1),
        (3, 184, 80, No, HS, 1),
        (3, 184, 80, No, HS, 1),
    ],
    &[(3, 480, 112, Yes, HS, 1), (3, 672, 112, Yes, HS, 1)],
    &[(5, 672, 160, Yes, HS, 2), (5, 960, 160, Yes, HS, 1), (5, 960, 160, Yes, HS, 1)],
];

/// Table 2.
const SMALL: [&[Row]; 5] = [
    &[(3, 16, 16, Yes, RE, 2)],
    &[(3, 72, 24, No, RE, 2), (3, 88, 24, No, RE, 1)],
    &[(5, 96, 40, Yes, HS, 2), (5, 240, 40, Yes, HS, 1), (5, 240, 40, Yes, HS, 1)],
    &[(5, 120, 48, Yes, HS, 1), (5, 144, 48, Yes, HS, 1)],
    &[(5, 288, 96, Yes, HS, 2), (5, 576, 96, Yes, HS, 1), (5, 576, 96, Yes, HS, 1)],
];

impl MobileNetV3 {
    fn architecture(&self) -> Result<Architecture, ZooError> {
        check_factor("width", self.width)?;
        let (size, table, hidden): (_, &[&[Row]], _) = match self.size {
            V3Size::Large => ("large", &LARGE, 1280),
            V3Size::Small => ("small", &SMALL, 1024),
        };
        let stem = scaled(16, self.width);
        let mut channels = stem;
        let mut block = |&(kernel, expanded, out, se, activation, stride): &Row| {
            let (expanded, out) = (scaled(expanded, self.width), scaled(out, self.width));
            let taken = std::mem::replace(&mut channels, out);
            BlockSpec {
                kernel,
                stride,
                expanded,
                expands: expanded != taken,
                squeeze: (se == Yes).then(|| scaled(expanded, 0.25)),
                out,
                activation,
                project_activation: Activation::Identity,
                residual: stride == 1 && taken == out,
            }
        };
        let stages = table.iter().map(|rows| rows.iter().map(&mut block).collect()).collect();
        let resolution = self.settings.resolution;
        Ok(Architecture {
            name: format!("mobilenet_v3_{size}_{:?}_{resolution}", self.width),
            naming: Naming::Torchvision,
            modules: Some(Modules::V3),
            stem: (stem, HS),
            stages,
            head: Some((6 * channels, HS)),
            hidden: Some((scaled(hidden, self.width), HS)),
        })
    }
}

network!(MobileNetV3);
