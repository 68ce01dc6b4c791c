//! A whole network in a safetensors file: the constants as tensors, the graph as JSON text under
//! the key [`GRAPH_KEY`] of the metadata.
//!
//! This is the project's own form. It holds every graph exactly: reading gives the same layers,
//! names and bits; constants that nothing reads are left out. Other programs see an ordinary
//! safetensors file of weights. The text starts with its version; another version, a layer that is
//! not known, and an attribute that is not known are errors.
//!
//! ```text
//! {"version": 1, "name": "...",
//!  "inputs": [{"name": "x", "dtype": "f32", "dims": ["N", 224, 224, 3]}],
//!  "constants": [{"name": "w", "tensor": "w"}],
//!  "nodes": [{"name": "conv", "op": "Conv2d", "attributes": {"stride": [2, 2], ..},
//!             "inputs": [0, 1, null], "outputs": ["conv"]}],
//!  "outputs": [2]}
//! ```
//!
//! Values are numbered: the inputs, then the constants, then the results of the nodes in order.

mod attributes;
mod ops;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub(super) use read::graph_of;
pub(crate) use write::encode;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Key of the graph in the metadata of the file.
pub const GRAPH_KEY: &str = "depthwise.graph";

/// Version of the text.
const VERSION: u32 = 1;

/// The text, field by field.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GraphText {
    version: u32,
    name: String,
    inputs: Vec<InputText>,
    constants: Vec<ConstantText>,
    nodes: Vec<NodeText>,
    outputs: Vec<usize>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct InputText {
    name: String,
    dtype: String,
    dims: Vec<DimText>,
}

/// An extent, or the name of a free one.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum DimText {
    Fixed(usize),
    Free(String),
}

/// A constant: its name in the graph, and that of its tensor in the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConstantText {
    name: String,
    tensor: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeText {
    name: String,
    op: String,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    attributes: Map<String, Value>,
    inputs: Vec<Option<usize>>,
    outputs: Vec<String>,
}

/// Why the graph in a safetensors file cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GraphError {
    /// The text is not JSON of the expected form.
    #[error("the text of the graph is broken: {0}")]
    Text(#[from] serde_json::Error),
    /// A version that this program does not know.
    #[error("the graph has version {0}, but this program reads version {VERSION}; update it")]
    Version(u64),
    /// A constant without its tensor.
    #[error("constant \"{constant}\" names the tensor \"{tensor}\", which is not in the file")]
    Tensor {
        /// Name of the constant.
        constant: String,
        /// Name of the tensor.
        tensor: String,
    },
    /// An input of a type that cannot be.
    #[error("input \"{input}\": {reason}")]
    Input {
        /// Name of the input.
        input: String,
        /// What is wrong.
        reason: String,
    },
    /// A node that cannot be.
    #[error("node \"{node}\" ({op}): {reason}")]
    Node {
        /// Name of the node.
        node: String,
        /// Kind of its layer.
        op: String,
        /// What is wrong.
        reason: String,
    },
    /// An output that no value stands for.
    #[error("output number {0} is no value of the graph")]
    Output(usize),
    /// The graph breaks the rules of graphs.
    #[error("the graph is not well-formed: {0}")]
    Verify(#[from] depthwise_layers::ir::VerifyError),
}
