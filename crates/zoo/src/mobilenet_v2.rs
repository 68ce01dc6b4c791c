//! MobileNet V2.

use crate::architecture::{Architecture, BlockSpec, check_factor, scaled};
use crate::naming::{Modules, Naming};
use crate::network::network;
use crate::{PaddingStyle, Settings, ZooError};
use depthwise_layers::Activation;

/// Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks" (2018), table 2.
///
/// Defaults: 224 x 224, torchvision's padding and epsilon 1e-5. TensorFlow's checkpoints take
/// [`PaddingStyle::Same`] and epsilon 1e-3.
#[derive(Clone, Debug)]
pub struct MobileNetV2 {
    /// Width multiplier. The last convolution has 1280 channels at least.
    pub width: f64,
    /// The rest.
    pub settings: Settings,
}

impl MobileNetV2 {
    /// The network of this width.
    pub fn new(width: f64) -> MobileNetV2 {
        let settings = Settings::imagenet(224, PaddingStyle::Torch, 1e-5);
        MobileNetV2 { width, settings }
    }
}

/// Expansion, channels, blocks and first stride of the stages.
const STAGES: [(usize, usize, usize, usize); 7] = [
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
];

impl MobileNetV2 {
    fn architecture(&self) -> Result<Architecture, ZooError> {
        check_factor("width", self.width)?;
        let stem = scaled(32, self.width);
        let mut channels = stem;
        let stage = |(expansion, out, blocks, stride): (usize, usize, usize, usize)| {
            let out = scaled(out, self.width);
            let block = |index| {
                let taken = std::mem::replace(&mut channels, out);
                let stride = if index == 0 { stride } else { 1 };
                BlockSpec {
                    kernel: 3,
                    stride,
                    expanded: taken * expansion,
                    expands: expansion != 1,
                    squeeze: None,
                    out,
                    activation: Activation::RELU6,
                    project_activation: Activation::Identity,
                    residual: stride == 1 && taken == out,
                }
            };
            (0..blocks).map(block).collect()
        };
        Ok(Architecture {
            name: format!("mobilenet_v2_{:?}_{}", self.width, self.settings.resolution),
            naming: Naming::Torchvision,
            modules: Some(Modules::V2),
            stem: (stem, Activation::RELU6),
            stages: STAGES.map(stage).into(),
            head: Some((scaled(1280, self.width.max(1.0)), Activation::RELU6)),
            hidden: None,
        })
    }
}

network!(MobileNetV2);
