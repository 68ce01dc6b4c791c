//! Networks as a caller meets them.

use crate::{BatchNormForm, PaddingStyle, Settings, WeightSource, ZooError};
use depthwise_layers::ir::{Dim, Graph};

/// A network of the zoo: settings, and a graph for given weights.
///
/// ```
/// use depthwise_zoo::{MobileNetV2, Network, Random};
///
/// let net = MobileNetV2::new(0.5).resolution(160).classes(10);
/// let graph = net.build(&Random { seed: 1 })?;
/// assert_eq!(graph.name, "mobilenet_v2_0.5_160");
/// # Ok::<(), depthwise_zoo::ZooError>(())
/// ```
pub trait Network {
    /// The settings.
    fn settings(&self) -> &Settings;

    /// The settings, to be changed.
    fn settings_mut(&mut self) -> &mut Settings;

    /// Sets the side of the input picture.
    fn resolution(mut self, side: usize) -> Self
    where
        Self: Sized,
    {
        self.settings_mut().resolution = side;
        self
    }

    /// Sets the number of classes.
    fn classes(mut self, classes: usize) -> Self
    where
        Self: Sized,
    {
        self.settings_mut().classes = classes;
        self
    }

    /// Sets whether pool and classifier follow the last convolution.
    fn include_top(mut self, include_top: bool) -> Self
    where
        Self: Sized,
    {
        self.settings_mut().include_top = include_top;
        self
    }

    /// Sets the border of convolutions.
    fn padding(mut self, padding: PaddingStyle) -> Self
    where
        Self: Sized,
    {
        self.settings_mut().padding = padding;
        self
    }

    /// Sets how batch norm enters the graph.
    fn batch_norm(mut self, form: BatchNormForm) -> Self
    where
        Self: Sized,
    {
        self.settings_mut().batch_norm = form;
        self
    }

    /// Sets the epsilon of batch norm.
    fn epsilon(mut self, epsilon: f32) -> Self
    where
        Self: Sized,
    {
        self.settings_mut().epsilon = epsilon;
        self
    }

    /// Sets the number of pictures per run.
    fn batch(mut self, batch: Dim) -> Self
    where
        Self: Sized,
    {
        self.settings_mut().batch = batch;
        self
    }

    /// The graph: input `input`, `N,H,W,3` in `f32`, normalised as the weights want it; output
    /// `logits`, `N,classes`, or `features`, `N,H,W,C`, without the top.
    ///
    /// Nodes bear the names of the modules that hold their weights: torchvision's for MobileNetV2
    /// and V3, timm's for MobileNetV1 and EfficientNet-Lite.
    ///
    /// # Errors
    /// [`ZooError::Setting`] for settings out of range, [`ZooError::Weights`] with all that is
    /// missing, left over or of another shape.
    fn build(&self, source: &dyn WeightSource) -> Result<Graph, ZooError>;
}

/// Implements [`Network`] for a struct with a field `settings` and a method `architecture`.
macro_rules! network {
    ($name:ident) => {
        impl $crate::Network for $name {
            fn settings(&self) -> &$crate::Settings {
                &self.settings
            }

            fn settings_mut(&mut self) -> &mut $crate::Settings {
                &mut self.settings
            }

            fn build(
                &self,
                source: &dyn $crate::WeightSource,
            ) -> Result<depthwise_layers::ir::Graph, $crate::ZooError> {
                $crate::build::build(&self.architecture()?, &self.settings, source)
            }
        }
    };
}
pub(crate) use network;
