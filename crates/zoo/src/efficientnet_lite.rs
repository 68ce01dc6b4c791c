//! EfficientNet-Lite.

use crate::architecture::{Architecture, BlockSpec, check_factor, scaled};
use crate::naming::Naming;
use crate::network::network;
use crate::{PaddingStyle, Settings, ZooError};
use depthwise_layers::Activation;

/// EfficientNet (Tan and Le 2019) without squeeze-and-excitation, with ReLU6, and with stem and
/// last convolution of fixed size (Liu 2020, the `lite` folder of TensorFlow's EfficientNet).
///
/// Defaults: TensorFlow's padding, epsilon 1e-3. timm's own `efficientnet_lite0` was trained with
/// [`PaddingStyle::Torch`] and epsilon 1e-5; its `tf_efficientnet_lite*` are TensorFlow's.
#[derive(Clone, Debug)]
pub struct EfficientNetLite {
    /// Factor of channels.
    pub width: f64,
    /// Factor of the number of blocks, but in the first and last stage.
    pub depth: f64,
    /// The rest.
    pub settings: Settings,
    variant: String,
}

/// Width, depth and resolution of Lite0 to Lite4.
const VARIANTS: [(f64, f64, usize); 5] =
    [(1.0, 1.0, 224), (1.0, 1.1, 240), (1.1, 1.2, 260), (1.2, 1.4, 280), (1.4, 1.8, 300)];

impl EfficientNetLite {
    /// Lite0: 224 x 224.
    pub fn lite0() -> EfficientNetLite {
        EfficientNetLite::variant(0)
    }

    /// Lite1: 240 x 240.
    pub fn lite1() -> EfficientNetLite {
        EfficientNetLite::variant(1)
    }

    /// Lite2: 260 x 260.
    pub fn lite2() -> EfficientNetLite {
        EfficientNetLite::variant(2)
    }

    /// Lite3: 280 x 280.
    pub fn lite3() -> EfficientNetLite {
        EfficientNetLite::variant(3)
    }

    /// Lite4: 300 x 300.
    pub fn lite4() -> EfficientNetLite {
        EfficientNetLite::variant(4)
    }

    fn variant(number: usize) -> EfficientNetLite {
        let (width, depth, resolution) = VARIANTS[number];
        let settings = Settings::imagenet(resolution, PaddingStyle::Same, 1e-3);
        EfficientNetLite { width, depth, settings, variant: format!("efficientnet_lite{number}") }
    }
}

/// Expansion, kernel, first stride, channels and blocks of the stages.
const STAGES: [(usize, usize, usize, usize, usize); 7] = [
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
];

impl EfficientNetLite {
    fn architecture(&self) -> Result<Architecture, ZooError> {
        check_factor("width", self.width)?;
        check_factor("depth", self.depth)?;
        let mut channels = 32;
        let mut stages = Vec::new();
        for (stage, (expansion, kernel, stride, out, blocks)) in STAGES.into_iter().enumerate() {
            let out = scaled(out, self.width);
            let ends = stage == 0 || stage == STAGES.len() - 1;
            let deepened = (blocks as f64 * self.depth).ceil() as usize;
            let block = |index| {
                let taken = std::mem::replace(&mut channels, out);
                let stride = if index == 0 { stride } else { 1 };
                BlockSpec {
                    kernel,
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
            stages.push((0..if ends { blocks } else { deepened }).map(block).collect());
        }
        Ok(Architecture {
            name: self.variant.clone(),
            naming: Naming::Timm,
            modules: None,
            stem: (32, Activation::RELU6),
            stages,
            head: Some((1280, Activation::RELU6)),
            hidden: None,
        })
    }
}

network!(EfficientNetLite);
