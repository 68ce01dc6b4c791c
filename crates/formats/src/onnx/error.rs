//! Why an ONNX file could not be read.

use super::wire::WireError;
use depthwise_layers::ir::VerifyError;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why an ONNX file could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OnnxError {
    /// The file could not be read.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The bytes are not an ONNX model.
    #[error("not a well-formed ONNX file: {0}")]
    Wire(#[from] WireError),
    /// Nodes that cannot be imported: all of them. Nothing was built.
    #[error("{} of the model's nodes are not supported:{}", .0.len(), list(.0))]
    Unsupported(Vec<UnsupportedNode>),
    /// A part of the format that is not supported.
    #[error("not supported: {0}")]
    Feature(String),
    /// An input of the model that is no tensor of known type and rank.
    #[error("input \"{input}\": {reason}")]
    Input {
        /// Name of the input.
        input: String,
        /// What is wrong.
        reason: String,
    },
    /// A constant whose elements do not fit its type or extents.
    #[error("tensor \"{tensor}\": {reason}")]
    Tensor {
        /// Name of the tensor, or of the node that holds it.
        tensor: String,
        /// What is wrong.
        reason: String,
    },
    /// A constant whose elements lie in another file that cannot be used.
    #[error("tensor \"{tensor}\" has its elements in \"{location}\": {source}")]
    External {
        /// Name of the tensor.
        tensor: String,
        /// Where the model says the elements are.
        location: String,
        /// What is wrong.
        source: ExternalError,
    },
    /// A node or an output reads a value that nothing defines.
    #[error("{reader} reads \"{value}\", which nothing defines")]
    Undefined {
        /// The node or output.
        reader: String,
        /// Name of the value.
        value: String,
    },
    /// Two definitions of one value, or two inputs or outputs of one name.
    #[error("the value \"{0}\" is defined twice")]
    Redefined(String),
    /// Nodes that depend on each other.
    #[error("node \"{0}\" depends on its own result")]
    Cycle(String),
    /// The importer built a graph that breaks the rules of graphs.
    #[error("the imported graph is not well-formed: {0}")]
    Verify(#[from] VerifyError),
    /// An error in a named file.
    #[error("{path}: {source}", path = path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<OnnxError>,
    },
}

/// A node that cannot be imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsupportedNode {
    /// Name of the node; made up where the file gives none.
    pub node: String,
    /// Operator.
    pub op_type: String,
    /// Operator set; empty for the standard one.
    pub domain: String,
    /// Why it cannot be imported.
    pub reason: String,
}

impl fmt::Display for UnsupportedNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let domain = if self.domain.is_empty() { "ai.onnx" } else { &self.domain };
        write!(f, "\"{}\" ({domain}.{}): {}", self.node, self.op_type, self.reason)
    }
}

fn list(nodes: &[UnsupportedNode]) -> String {
    nodes.iter().map(|node| format!("\n  {node}")).collect()
}

/// Why elements outside the model's file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExternalError {
    /// The model was not read from a folder.
    #[error("the model was read from memory, without a folder to look in")]
    NoFolder,
    /// The location is absolute, climbs out of the folder, or is empty.
    #[error("the location must be a relative path without \"..\"")]
    Location,
    /// A link leads out of the folder of the model.
    #[error("the file lies outside the folder of the model")]
    Outside,
    /// The file could not be read.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// `offset` or `length` is not a number.
    #[error("\"{key}\" is \"{value}\", not a number of bytes")]
    Number {
        /// `offset` or `length`.
        key: String,
        /// What the file says.
        value: String,
    },
    /// The length does not fit the extents.
    #[error("the length is given as {got} bytes, but the extents take {want}")]
    Length {
        /// Bytes that type and extents take.
        want: usize,
        /// Bytes given.
        got: u64,
    },
    /// The elements reach past the end of the file.
    #[error("{want} bytes from byte {offset} reach past the end of the file, which has {len}")]
    PastEnd {
        /// First byte.
        offset: u64,
        /// Bytes wanted.
        want: usize,
        /// Bytes of the file.
        len: u64,
    },
    /// Tensors overlap so much that they take several times the memory of the file.
    #[error("the tensors in this file take many times its {len} bytes")]
    Overlap {
        /// Bytes of the file.
        len: u64,
    },
}
