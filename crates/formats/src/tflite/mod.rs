//! TensorFlow Lite: networks as phones run them.
//!
//! | stage | where |
//! |---|---|
//! | bytes to records | [`wire`] |
//! | constants: half precision, sparse, scaled integers | `tensor.rs`, `sparse.rs` |
//! | tensors and operators, in order | `import.rs` |
//! | what lasts from run to run | `variable.rs` |
//! | what each operator means | `ops/` |
//! | labels and normalization | `metadata.rs` |
//! | operators that the format does not know | [`CustomOps`] |
//!
//! Integers that stand for real numbers reach the graph as the file has them, with a `Dequantize`
//! before each operation that reads them and a `Quantize` behind each that gives them; every
//! operation in between is the one of real numbers.
//!
//! The format is NHWC throughout, so no axis changes its place. Padding, fused activations and
//! the order of weights are TensorFlow's.

mod custom;
mod error;
mod flexbuffer;
mod import;
mod metadata;
pub(crate) mod ops;
mod sparse;
mod tensor;
mod variable;
pub mod wire;
pub(crate) mod write;

pub use custom::{CustomConvert, CustomNode, CustomOps};
pub use error::{TfliteError, UnsupportedOperator};

use crate::file;
use bytes::Bytes;
use depthwise_layers::ir::Graph;
use std::collections::BTreeMap;
use std::path::Path;

/// Reads a model.
///
/// # Errors
/// [`TfliteError::Io`] where the file cannot be read, else [`TfliteError::InFile`] with what
/// [`read`] found.
pub fn open(path: impl AsRef<Path>) -> Result<Graph, TfliteError> {
    open_with(path, &CustomOps::built_in())
}

/// Reads a model that uses operators of its own.
///
/// # Errors
/// As [`open`].
pub fn open_with(path: impl AsRef<Path>, custom: &CustomOps) -> Result<Graph, TfliteError> {
    let path = path.as_ref();
    let bytes =
        file::read(path).map_err(|source| TfliteError::Io { path: path.to_owned(), source })?;
    read_with(bytes, custom)
        .map_err(|source| TfliteError::InFile { path: path.to_owned(), source: Box::new(source) })
}

/// Reads the bytes of a model. Names of inputs, outputs and values are those of the file;
/// elements are shared with `bytes` where they are aligned, else copied once.
///
/// # Errors
/// [`TfliteError::Unsupported`] with every operator that cannot be imported, else the first fault.
pub fn read(bytes: Bytes) -> Result<Graph, TfliteError> {
    read_with(bytes, &CustomOps::built_in())
}

/// Reads the bytes of a model that uses operators of its own.
///
/// # Errors
/// As [`read`].
pub fn read_with(bytes: Bytes, custom: &CustomOps) -> Result<Graph, TfliteError> {
    let model = wire::Model::decode(&bytes)?;
    let mut graph = import::import(&model, bytes.clone(), custom)?;
    graph.metadata = metadata::read(&model, &bytes);
    Ok(graph)
}

/// What a file says of its network, also of one that cannot be run: `name`, `description`,
/// `version`, `author`, `license`; `labels` of the first output that has any, one per line;
/// `input.mean` and `input.std`, one number or one per channel, separated by commas, where an
/// input is `(x - mean) / std`. Graphs that [`read`] gives have the same as their metadata.
///
/// # Errors
/// [`TfliteError::Wire`] where the bytes are no TFLite model. What is wrong inside the description
/// is left out.
pub fn metadata(bytes: &[u8]) -> Result<BTreeMap<String, String>, TfliteError> {
    Ok(metadata::read(&wire::Model::decode(bytes)?, bytes))
}

#[cfg(test)]
mod tests;
