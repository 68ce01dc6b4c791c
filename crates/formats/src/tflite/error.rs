//! Why a TFLite file could not be read.

use super::wire::WireError;
use depthwise_layers::ir::VerifyError;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why a TFLite file could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TfliteError {
    /// The file could not be read.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The bytes are not a TFLite model.
    #[error("not a well-formed TFLite file: {0}")]
    Wire(#[from] WireError),
    /// Operators that cannot be imported: all of them. Nothing was built.
    #[error("{} of the model's operators are not supported:{}", .0.len(), list(.0))]
    Unsupported(Vec<UnsupportedOperator>),
    /// A part of the format that is not supported.
    #[error("not supported: {0}")]
    Feature(String),
    /// A tensor whose type, extents or elements do not go together.
    #[error("tensor {index} \"{tensor}\": {reason}")]
    Tensor {
        /// Position of the tensor.
        index: usize,
        /// Name of the tensor.
        tensor: String,
        /// What is wrong.
        reason: String,
    },
    /// An operator or an output reads a tensor that nothing before it defines.
    #[error("{reader} reads tensor {tensor}, which nothing before it defines")]
    Undefined {
        /// The operator or the list of outputs.
        reader: String,
        /// Position and name of the tensor.
        tensor: String,
    },
    /// Copies of constants that take many times the memory of the file.
    #[error("the constants of the file take many times its {len} bytes")]
    TooLarge {
        /// Bytes of the file.
        len: usize,
    },
    /// The importer built a graph that breaks the rules of graphs.
    #[error("the imported graph is not well-formed: {0}")]
    Verify(#[from] VerifyError),
    /// An error in a named file.
    #[error("{path}: {source}", path = path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<TfliteError>,
    },
}

/// An operator that cannot be imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsupportedOperator {
    /// Position in the file.
    pub index: usize,
    /// Kind of the operator; of a custom one its own name.
    pub op: String,
    /// Name of the first tensor that it computes.
    pub output: String,
    /// Why it cannot be imported.
    pub reason: String,
}

impl fmt::Display for UnsupportedOperator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let UnsupportedOperator { index, op, output, reason } = self;
        write!(f, "operator {index} ({op}), which computes \"{output}\": {reason}")
    }
}

fn list(operators: &[UnsupportedOperator]) -> String {
    operators.iter().map(|operator| format!("\n  {operator}")).collect()
}
