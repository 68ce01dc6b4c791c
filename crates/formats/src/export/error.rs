//! Why a graph could not be written.

use crate::safetensors::SafetensorsError;
use depthwise_layers::ir::{Def, Graph, InferError, VerifyError};
use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why a graph could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SaveError {
    /// The file could not be written.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The name tells no format that can be written.
    #[error("{path}: name the file .onnx, .tflite or .safetensors", path = path.display())]
    Extension {
        /// The file.
        path: PathBuf,
    },
    /// Layers that the format has no form for, all of them.
    #[error("{} of the network cannot be written as {format}:{}", count(layers), list(layers))]
    Unsupported {
        /// Name of the format.
        format: &'static str,
        /// The layers.
        layers: Vec<UnsupportedLayer>,
    },
    /// An input whose free extents the format cannot leave free.
    #[error("input \"{input}\" is declared as {declared}; give the shapes of the inputs")]
    FreeShape {
        /// Name of the input.
        input: String,
        /// Its declared type.
        declared: String,
    },
    /// The shapes given for the inputs do not fit the graph, or a layer refuses its operands.
    #[error(transparent)]
    Infer(#[from] InferError),
    /// The graph breaks its own rules.
    #[error("the network is not well-formed: {0}")]
    Verify(#[from] VerifyError),
    /// A constant whose elements were dropped after they had been packed for a kernel.
    #[error("node \"{node}\": the elements of \"{value}\" were dropped after packing")]
    Released {
        /// Name of the node.
        node: String,
        /// Name of the constant.
        value: String,
    },
    /// More bytes than the format can address.
    #[error("the file would take {bytes} bytes; {format} files hold at most {limit}")]
    TooLarge {
        /// Name of the format.
        format: &'static str,
        /// Bytes of the constants.
        bytes: u64,
        /// Most bytes of a file.
        limit: u64,
    },
    /// Weights that safetensors cannot hold.
    #[error(transparent)]
    Safetensors(#[from] SafetensorsError),
}

/// A layer that a format has no form for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsupportedLayer {
    /// Name of the node.
    pub node: String,
    /// Kind of its layer.
    pub kind: &'static str,
    /// What cannot be expressed.
    pub reason: String,
}

impl fmt::Display for UnsupportedLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" ({}): {}", self.node, self.kind, self.reason)
    }
}

fn count(layers: &[UnsupportedLayer]) -> String {
    match layers.len() {
        1 => "1 layer".into(),
        n => format!("{n} layers"),
    }
}

fn list(layers: &[UnsupportedLayer]) -> String {
    layers.iter().map(|layer| format!("\n  {layer}")).collect()
}

/// Refuses a graph that reads constants whose elements are gone.
pub(super) fn check_released(graph: &Graph) -> Result<(), SaveError> {
    for node in graph.nodes() {
        for &id in node.inputs.iter().flatten() {
            if matches!(graph.value(id).def, Def::Released(_)) {
                let (node, value) = (node.name.clone(), graph.value(id).name.clone());
                return Err(SaveError::Released { node, value });
            }
        }
    }
    Ok(())
}
