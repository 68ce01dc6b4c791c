//! Why a network could not be built.

use depthwise_tensor::{DType, Shape, ShapeError, TensorError};
use std::fmt;

/// Why a network could not be built or cut.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ZooError {
    /// Weights do not fit the network; all that do not.
    #[error("the weights do not fit {network}:{}", Listed(faults))]
    Weights {
        /// Name of the network.
        network: String,
        /// Everything that is wrong, in the order of the network; what is left over comes last.
        faults: Vec<WeightFault>,
    },
    /// A setting outside its range.
    #[error("{setting} = {value}: {want}")]
    Setting {
        /// The setting.
        setting: &'static str,
        /// Its value.
        value: String,
        /// What is accepted.
        want: &'static str,
    },
    /// No node bears the name, or a name below it.
    #[error("the network has no layer \"{0}\"")]
    NoLayer(String),
    /// The built-in file is not what this crate expects; it was changed after it was made.
    #[error("built-in {file}: {reason}")]
    BuiltIn {
        /// The file.
        file: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Extents that cannot be.
    #[error(transparent)]
    Shape(#[from] ShapeError),
}

/// One weight that does not fit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WeightFault {
    /// The network needs it, the file has none.
    #[error("missing: {name} ({shape})")]
    Missing {
        /// The name that was looked for, as the file would call it.
        name: String,
        /// Extents in the file's layout.
        shape: Shape,
    },
    /// The file has it in other extents.
    #[error("wrong shape: {name} is {got}, the network needs {want}")]
    Shape {
        /// Name in the file.
        name: String,
        /// Extents needed, in the file's layout.
        want: Box<Shape>,
        /// Extents found.
        got: Box<Shape>,
    },
    /// The file has it as numbers of a type that weights cannot have.
    #[error("wrong type: {name} is {got}, the network needs f32, f16 or bf16")]
    DType {
        /// Name in the file.
        name: String,
        /// Type found.
        got: DType,
    },
    /// The elements could not be brought into the network's layout.
    #[error("{name}: {source}")]
    Tensor {
        /// Name in the file.
        name: String,
        /// What went wrong.
        source: TensorError,
    },
    /// The file has it, the network knows no such weight.
    #[error("left over: {name} ({shape})")]
    Extra {
        /// Name in the file.
        name: String,
        /// Extents found.
        shape: Shape,
    },
}

/// One fault per line.
struct Listed<'f>(&'f [WeightFault]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}
