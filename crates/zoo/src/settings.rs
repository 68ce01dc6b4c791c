//! What can be chosen of every network.

use crate::ZooError;
use depthwise_layers::Padding;
use depthwise_layers::ir::Dim;

/// The border of convolutions of stride 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PaddingStyle {
    /// `(kernel - 1) / 2` on all sides: what PyTorch networks are trained with.
    Torch,
    /// TensorFlow's SAME, the odd row or column at the end: networks ported from TensorFlow.
    Same,
}

impl PaddingStyle {
    pub(crate) fn of_kernel(self, kernel: usize) -> Padding {
        match self {
            PaddingStyle::Torch => Padding::all((kernel - 1) / 2),
            PaddingStyle::Same => Padding::Same,
        }
    }
}

/// How batch norm enters the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BatchNormForm {
    /// As nodes of its own, the way checkpoints hold it; the engine folds them.
    Separate,
    /// Not at all: convolutions have a bias instead, as in converted models. For benches.
    Folded,
}

/// What can be chosen of every network. Builders set the defaults of the paper.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Side of the square input, in pixels.
    pub resolution: usize,
    /// Classes that the last layer tells apart.
    pub classes: usize,
    /// Whether pool and classifier follow the last convolution.
    pub include_top: bool,
    /// The border of convolutions.
    pub padding: PaddingStyle,
    /// How batch norm enters the graph.
    pub batch_norm: BatchNormForm,
    /// Added to the variance by batch norm; checkpoints differ.
    pub epsilon: f32,
    /// Pictures per run: 1 where nothing else is said.
    pub batch: Dim,
}

impl Settings {
    /// An ImageNet classifier of batch 1, with pool and classifier and batch norm of its own.
    pub(crate) fn imagenet(resolution: usize, padding: PaddingStyle, epsilon: f32) -> Settings {
        Settings {
            resolution,
            classes: 1000,
            include_top: true,
            padding,
            batch_norm: BatchNormForm::Separate,
            epsilon,
            batch: Dim::Fixed(1),
        }
    }

    pub(crate) fn check(&self) -> Result<(), ZooError> {
        let range = |setting, value: usize, max: usize, want| {
            let fits = (1..=max).contains(&value);
            let refused = || ZooError::Setting { setting, value: value.to_string(), want };
            fits.then_some(()).ok_or_else(refused)
        };
        range("resolution", self.resolution, 1 << 14, "must be from 1 to 16384")?;
        range("classes", self.classes, 1 << 20, "must be from 1 to 1048576")?;
        if self.epsilon.is_finite() && self.epsilon >= 0.0 {
            return Ok(());
        }
        let value = self.epsilon.to_string();
        Err(ZooError::Setting { setting: "epsilon", value, want: "must be finite, 0 or more" })
    }
}
