//! What can go wrong in training.

use depthwise_engine::EngineError;
use depthwise_layers::LayerError;
use depthwise_layers::ir::InferError;
use depthwise_tensor::TensorError;

/// Why a network cannot be trained, or a step cannot be taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// A layer whose gradient is not defined here.
    #[error("node \"{node}\" ({kind}) cannot be trained through: {reason}")]
    NoGradient {
        /// Name of the node.
        node: String,
        /// Kind of its layer.
        kind: &'static str,
        /// What is missing.
        reason: String,
    },
    /// A layer refused its operands.
    #[error("node \"{node}\": {source}")]
    Layer {
        /// Name of the node.
        node: String,
        /// What it refused.
        source: LayerError,
    },
    /// The inputs do not fit the network.
    #[error(transparent)]
    Infer(#[from] InferError),
    /// The network has no value of this name.
    #[error("the network has no value \"{name}\"; {hint}")]
    NoSuchValue {
        /// The name asked for.
        name: String,
        /// What there is, or what to do.
        hint: String,
    },
    /// A network that has no place to cut it, or cannot take a new head.
    #[error("the network cannot get a new head: {0}")]
    Head(String),
    /// Nothing is left to train.
    #[error("no parameter is trainable: {0}")]
    NothingToTrain(String),
    /// A setting out of range.
    #[error("{name} is {value}; it must be {want}")]
    Setting {
        /// Name of the setting.
        name: &'static str,
        /// Its value.
        value: String,
        /// The range.
        want: &'static str,
    },
    /// Targets that do not fit the network or the loss.
    #[error("target: {0}")]
    Target(String),
    /// The loss, a gradient or a parameter is no finite number any more.
    #[error(
        "step {step}: the {what} became {value}; lower the learning rate, clip gradients, or look for \
         bad samples"
    )]
    NotFinite {
        /// Number of the step.
        step: u64,
        /// "loss", "norm of the gradients", "parameters" or "running statistics".
        what: &'static str,
        /// Its value.
        value: f32,
    },
    /// A saved state that does not belong to this trainer.
    #[error("the saved state does not fit: {0}")]
    State(String),
    /// A tensor that cannot be.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// The engine refused the training graph.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The references refused the training graph.
    #[error(transparent)]
    Reference(#[from] depthwise_layers::ir::InterpError),
}

impl TrainError {
    pub(crate) fn setting(
        name: &'static str,
        value: impl ToString,
        want: &'static str,
    ) -> TrainError {
        TrainError::Setting { name, value: value.to_string(), want }
    }
}
