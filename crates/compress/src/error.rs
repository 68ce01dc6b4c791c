//! Why a network could not be quantized.

use depthwise_engine::EngineError;
use depthwise_layers::LayerError;
use depthwise_layers::ir::{InferError, VerifyError};
use depthwise_tensor::{DType, Shape, TensorError};
use std::error::Error;

/// Why a network could not be quantized.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompressError {
    /// There is nothing to calibrate on.
    #[error("the calibration set is empty")]
    Empty,
    /// A sample could not be read.
    #[error("{sample}: {source}")]
    Read {
        /// Name of the sample: its file.
        sample: String,
        /// What went wrong.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A sample with more or fewer tensors than the network has inputs.
    #[error("{sample}: {got} tensors, but the network has {want} inputs")]
    Count {
        /// Name of the sample.
        sample: String,
        /// Inputs of the network.
        want: usize,
        /// Tensors of the sample.
        got: usize,
    },
    /// A tensor of another size or type than the input takes.
    #[error("{sample}: input \"{input}\" is declared as {want}, not {got_dtype}[{got}]")]
    Shape {
        /// Name of the sample.
        sample: String,
        /// Name of the input.
        input: String,
        /// Its declared type.
        want: String,
        /// Extents of the tensor.
        got: Box<Shape>,
        /// Element type of the tensor.
        got_dtype: DType,
    },
    /// An element of a sample that is NaN or infinite.
    #[error("{sample}: element {element} of input \"{input}\" is {value}")]
    NotFinite {
        /// Name of the sample.
        sample: String,
        /// Name of the input.
        input: String,
        /// Position of the element.
        element: usize,
        /// The element.
        value: f32,
    },
    /// A finite sample of which the network makes NaN or infinity.
    #[error("{sample}: the network makes {value} of it, first in \"{name}\"")]
    Overflow {
        /// Name of the sample.
        sample: String,
        /// Name of the value in the network.
        name: String,
        /// The element.
        value: f32,
    },
    /// Every element of every sample is the same number.
    #[error(
        "the calibration set says nothing about input \"{input}\": all {elements} elements of \
         {samples} samples ({first} ..) are {value}"
    )]
    Constant {
        /// Name of the input.
        input: String,
        /// Elements seen.
        elements: u64,
        /// Samples seen.
        samples: usize,
        /// Name of the first sample.
        first: String,
        /// The one number.
        value: f32,
    },
    /// The network has quantized layers already.
    #[error("the network is quantized already: \"{node}\" is a {kind}")]
    Quantized {
        /// Name of a node.
        node: String,
        /// Its kind.
        kind: &'static str,
    },
    /// The network keeps a state from run to run.
    #[error(
        "networks that keep a state from run to run cannot be quantized yet (input \"{input}\")"
    )]
    State {
        /// Name of the input that is the state.
        input: String,
    },
    /// No layer of the network has an integer form, or all are kept real.
    #[error("no layer is left to quantize")]
    Nothing,
    /// A pattern that fits no layer.
    #[error("no layer is named \"{pattern}\"; there are {example}")]
    NoLayer {
        /// The pattern.
        pattern: String,
        /// Names of some layers.
        example: String,
    },
    /// A pattern that cannot be read.
    #[error("\"{pattern}\": {source}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong.
        source: glob::PatternError,
    },
    /// A setting beyond its range.
    #[error("{what} of {value}; it lies {range}")]
    Setting {
        /// The setting.
        what: &'static str,
        /// Its value.
        value: String,
        /// Where it may lie.
        range: &'static str,
    },
    /// The weights of a layer are NaN or infinite.
    #[error("node \"{node}\": a weight is {value}")]
    Weight {
        /// Name of the node.
        node: String,
        /// The weight.
        value: f64,
    },
    /// The network cannot be run.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The network does not fit the samples.
    #[error(transparent)]
    Infer(#[from] InferError),
    /// A layer refused its operands.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// A graph that breaks its own rules.
    #[error("the network is not well-formed: {0}")]
    Verify(#[from] VerifyError),
    /// A tensor that cannot be.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}
