//! What every layer can say about itself.

use depthwise_tensor::{DType, Shape, ShapeError, Tensor, TensorError};
use std::fmt;
use std::ops::Range;

/// The type of a value: dtype and concrete extents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TensorType {
    /// Element type.
    pub dtype: DType,
    /// Extents.
    pub shape: Shape,
}

impl TensorType {
    /// The type with this dtype and extents.
    ///
    /// # Errors
    /// As [`Shape::new`].
    pub fn new(dtype: DType, dims: &[usize]) -> Result<TensorType, ShapeError> {
        Ok(TensorType { dtype, shape: Shape::new(dims)? })
    }

    /// The type of a tensor.
    pub fn of(tensor: &Tensor) -> TensorType {
        TensorType { dtype: tensor.dtype(), shape: *tensor.shape() }
    }

    /// Bytes of a dense tensor of this type.
    pub fn bytes(&self) -> usize {
        self.shape.elements() * self.dtype.size_bytes()
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}[{}]", self.dtype, self.shape))
    }
}

/// What shape inference knows of one input: its type, and its value where that is constant.
#[derive(Clone, Copy, Debug)]
pub struct Arg<'a> {
    /// Type of the input.
    pub ty: TensorType,
    /// The value, where it is known before anything runs.
    pub value: Option<&'a Tensor>,
}

impl<'a> Arg<'a> {
    /// An input of which only the type is known.
    pub fn of_type(ty: TensorType) -> Arg<'a> {
        Arg { ty, value: None }
    }

    /// A constant input.
    pub fn constant(value: &'a Tensor) -> Arg<'a> {
        Arg { ty: TensorType::of(value), value: Some(value) }
    }
}

/// What a layer costs, as the literature counts it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Multiply-accumulate steps of convolutions, dense layers and matrix products; 0 elsewhere.
    pub macs: u64,
    /// Elements of trainable constants.
    pub params: u64,
    /// Bytes read and written once: inputs, constants and outputs.
    pub bytes: u64,
}

impl std::ops::AddAssign for Cost {
    fn add_assign(&mut self, other: Cost) {
        self.macs += other.macs;
        self.params += other.params;
        self.bytes += other.bytes;
    }
}

/// Why a layer refuses its inputs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LayerError {
    /// Not the number of inputs that the layer takes.
    #[error("{layer} takes {want} inputs, but has {got}")]
    Arity {
        /// Kind of the layer.
        layer: &'static str,
        /// What it takes, in words.
        want: &'static str,
        /// What it was given.
        got: usize,
    },
    /// An input without a default that is left out.
    #[error("{layer}: input {input} is left out, but has no default")]
    Missing {
        /// Kind of the layer.
        layer: &'static str,
        /// Position of the input.
        input: usize,
    },
    /// An input of an element type that the layer does not take.
    #[error("{layer}: input {input} is {got}; it takes {want}")]
    DType {
        /// Kind of the layer.
        layer: &'static str,
        /// Position of the input.
        input: usize,
        /// What it takes, in words.
        want: &'static str,
        /// What it was given.
        got: DType,
    },
    /// Shapes or attributes that do not go together.
    #[error("{layer}: {reason}")]
    Invalid {
        /// Kind of the layer.
        layer: &'static str,
        /// What is wrong, with both numbers.
        reason: String,
    },
    /// The output shape depends on an input whose value is not known before the network runs.
    #[error("{layer}: the value of input {input} decides the output shape, but is not constant")]
    NotConstant {
        /// Kind of the layer.
        layer: &'static str,
        /// Position of the input.
        input: usize,
    },
    /// A shape that cannot be.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// A tensor that cannot be.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

/// One operation of a network: what it means, not how it runs.
pub trait Layer: fmt::Debug {
    /// Name of the kind, as printed: `Conv2d`.
    fn kind(&self) -> &'static str;

    /// Types of the outputs, from the types (and, where an input is constant, the values) of the
    /// inputs. An input that is left out is `None`.
    ///
    /// # Errors
    /// [`LayerError`] where the inputs do not fit the attributes.
    fn infer(&self, inputs: &[Option<Arg<'_>>]) -> Result<Vec<TensorType>, LayerError>;

    /// Multiply-accumulate steps, for inputs and outputs of these types.
    fn macs(&self, inputs: &[Option<TensorType>], outputs: &[TensorType]) -> u64 {
        let _ = (inputs, outputs);
        0
    }

    /// Positions of the inputs that training changes, where they are constants: weights, biases,
    /// scales.
    fn weights(&self) -> Range<usize> {
        0..0
    }

    /// The outputs, computed naively: in `f64` and rounded once, or in exact integers.
    ///
    /// # Errors
    /// [`LayerError`] where [`Layer::infer`] refuses the inputs.
    fn reference(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, LayerError>;
}

/// `elements` times all of `factors`, at most `u64::MAX`.
pub(crate) fn product(elements: usize, factors: &[usize]) -> u64 {
    factors.iter().fold(elements as u64, |product, &factor| product.saturating_mul(factor as u64))
}
