//! What can go wrong between a file and an answer.

use depthwise_formats::{FormatError, SaveError};
use depthwise_kernels::isa::UnknownIsa;
use depthwise_kernels::par::ParError;
use depthwise_kernels::{BindError, KernelError};
use depthwise_layers::TensorType;
use depthwise_layers::ir::{InferError, VerifyError};
use depthwise_tensor::buf::AllocError;
use depthwise_tensor::{DType, Shape, TensorError};

/// Why a model cannot be loaded, planned or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The file could not be read as a model.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The network could not be written.
    #[error(transparent)]
    Save(#[from] SaveError),
    /// A graph that breaks its own rules.
    #[error("the network is not well-formed: {0}")]
    Verify(#[from] VerifyError),
    /// The shapes do not fit the network.
    #[error(transparent)]
    Infer(#[from] InferError),
    /// Nodes that no kernel computes, all of them.
    #[error("{} of the network cannot run:{}", count(.0.len(), "node"), list(.0))]
    Unsupported(Vec<UnsupportedNode>),
    /// A step and the memory planned for it do not fit: a fault of the planner.
    #[error("node \"{node}\": {source}")]
    Bind {
        /// Name of the node.
        node: String,
        /// What does not fit.
        source: BindError,
    },
    /// A weight that has been packed for other shapes and is needed in another form for these.
    #[error("node \"{node}\": the elements of \"{value}\" were dropped after packing")]
    Released {
        /// Name of the node.
        node: String,
        /// Name of the constant.
        value: String,
    },
    /// A state whose elements change their type or extents from run to run.
    #[error("state \"{name}\" is {want}, but a run leaves {got}")]
    State {
        /// Name of the input that reads it.
        name: String,
        /// What a run reads.
        want: Box<TensorType>,
        /// What a run leaves.
        got: Box<TensorType>,
    },
    /// There is no input or output of this number.
    #[error("there is no {what} {index}; the network has {count}")]
    NoSuchValue {
        /// "input" or "output".
        what: &'static str,
        /// Asked for.
        index: usize,
        /// Number of inputs or outputs.
        count: usize,
    },
    /// An input or output is of another element type.
    #[error("{what} \"{name}\" holds {got}, not {want}")]
    DType {
        /// "input" or "output".
        what: &'static str,
        /// Name of the value.
        name: String,
        /// Type asked for.
        want: DType,
        /// Its type.
        got: DType,
    },
    /// A tensor of another shape than the session was made for.
    #[error("input \"{name}\" is {want} in this session, but was given {got}")]
    InputShape {
        /// Name of the input.
        name: String,
        /// Shape of the session.
        want: Box<Shape>,
        /// Shape given.
        got: Box<Shape>,
    },
    /// The network has inputs of free size, so a session needs their shapes.
    #[error("input \"{name}\" is declared as {declared}; give its shape")]
    FreeShape {
        /// Name of the input.
        name: String,
        /// Its declaration.
        declared: String,
    },
    /// The axes of an output cannot be put in another order ([`Ends`](crate::Ends)), since it is not
    /// known how many there are.
    #[error("output \"{name}\" has a number of dimensions that is not known, so cannot be turned")]
    UnknownRank {
        /// Name of the output.
        name: String,
    },
    /// [`BytePictures`](crate::BytePictures) that no input fits, or with numbers that are not finite.
    #[error("pictures of bytes: {reason}")]
    BytePictures {
        /// What does not fit.
        reason: String,
    },
    /// `DEPTHWISE_ISA` names no instruction set.
    #[error("DEPTHWISE_ISA: {0}")]
    Isa(#[from] UnknownIsa),
    /// No threads.
    #[error(transparent)]
    Par(#[from] ParError),
    /// A tensor that cannot be.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// No memory.
    #[error(transparent)]
    Alloc(#[from] AllocError),
}

/// A node that no kernel computes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsupportedNode {
    /// Name of the node.
    pub node: String,
    /// Kind of its layer.
    pub kind: &'static str,
    /// What about it is not supported.
    pub reason: String,
}

fn count(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

fn list(nodes: &[UnsupportedNode]) -> String {
    nodes.iter().map(|n| format!("\n  \"{}\" ({}): {}", n.node, n.kind, n.reason)).collect()
}

/// Why one node could not be lowered to a step.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LowerError {
    #[error("{0}")]
    Unsupported(String),
    #[error(transparent)]
    Kernel(#[from] KernelError),
    #[error(transparent)]
    Layer(#[from] depthwise_layers::LayerError),
    #[error(transparent)]
    Tensor(#[from] TensorError),
    #[error(transparent)]
    Alloc(#[from] AllocError),
    #[error("the elements of \"{0}\" were dropped after packing")]
    Released(String),
}
