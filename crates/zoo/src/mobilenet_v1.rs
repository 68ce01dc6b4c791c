//! MobileNet V1.

use crate::architecture::{Architecture, BlockSpec, check_factor, scaled};
use crate::naming::Naming;
use crate::network::network;
use crate::{PaddingStyle, Settings, ZooError};
use depthwise_layers::Activation;

/// Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision
/// Applications" (2017), table 1: a stem and 13 depthwise separable convolutions, ReLU6.
///
/// Defaults: 224 x 224, TensorFlow's padding, epsilon 1e-3, as the original checkpoints have it.
/// timm's own `mobilenetv1_100` was trained with [`PaddingStyle::Torch`] and epsilon 1e-5.
#[derive(Clone, Debug)]
pub struct MobileNetV1 {
    /// Width multiplier: 1.0, 0.75, 0.5 or 0.25 in the paper.
    pub width: f64,
    /// The rest.
    pub settings: Settings,
}

impl MobileNetV1 {
    /// The network of this width.
    pub fn new(width: f64) -> MobileNetV1 {
        let settings = Settings::imagenet(224, PaddingStyle::Same, 1e-3);
        MobileNetV1 { width, settings }
    }
}

/// Channels and stride of the blocks; every stride of 2 begins a stage.
const BLOCKS: [(usize, usize); 13] = [
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (1024, 2),
    (1024, 1),
];

impl MobileNetV1 {
    fn architecture(&self) -> Result<Architecture, ZooError> {
        check_factor("width", self.width)?;
        let stem = scaled(32, self.width);
        let mut channels = stem;
        let mut stages: Vec<Vec<BlockSpec>> = vec![Vec::new()];
        for (out, stride) in BLOCKS {
            let out = scaled(out, self.width);
            let block = BlockSpec {
                kernel: 3,
                stride,
                expanded: channels,
                expands: false,
                squeeze: None,
                out,
                activation: Activation::RELU6,
                project_activation: Activation::RELU6,
                residual: false,
            };
            match stages.last_mut() {
                Some(stage) if stride == 1 => stage.push(block),
                _ => stages.push(vec![block]),
            }
            channels = out;
        }
        Ok(Architecture {
            name: format!("mobilenet_v1_{:?}_{}", self.width, self.settings.resolution),
            naming: Naming::Timm,
            modules: None,
            stem: (stem, Activation::RELU6),
            stages,
            head: None,
            hidden: None,
        })
    }
}

network!(MobileNetV1);
