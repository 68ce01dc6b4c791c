//! ONNX: the common exchange format of networks.
//!
//! | stage | where |
//! |---|---|
//! | bytes to messages | [`wire`] |
//! | order, names, inputs, outputs | `import.rs` |
//! | constants, in the file or beside it | `tensor.rs`, `external.rs` |
//! | what each operator means | `ops/` |
//!
//! Operator sets 7 to 28 are read. Convolutions and pools become NHWC between two transposes,
//! everything else keeps the file's axis order; `depthwise-engine` cancels the transposes.

mod error;
mod external;
mod facts;
mod import;
pub(crate) mod ops;
mod tensor;
pub mod wire;
pub(crate) mod write;

pub use error::{ExternalError, OnnxError, UnsupportedNode};

use crate::file;
use bytes::Bytes;
use depthwise_layers::ir::Graph;
use std::io::BufReader;
use std::path::Path;
use tensor::{Source, TensorReader};

/// Reads a model, and the files beside it that hold its weights, if any. Large constants go
/// straight from the file into memory of their own, which is free again when they are packed.
///
/// # Errors
/// [`OnnxError::Io`] where the file cannot be read, else [`OnnxError::InFile`] with what [`read`]
/// found.
pub fn open(path: impl AsRef<Path>) -> Result<Graph, OnnxError> {
    let path = path.as_ref();
    let io = |source| OnnxError::Io { path: path.to_owned(), source };
    let (file, len) = file::open_regular(path).map_err(io)?;
    let skeleton = wire::Skeleton::read(BufReader::new(&file), len).map_err(io)?;
    let graph = || {
        let model = wire::Model::decode_skeleton(&skeleton)?;
        let external = external::External::new(Some(path.parent().unwrap_or(Path::new(""))));
        import::import(&model, TensorReader::new(Source::File(file), external))
    };
    graph().map_err(|source| OnnxError::InFile { path: path.to_owned(), source: Box::new(source) })
}

/// Reads the bytes of a whole model. `base_dir` is the folder in which weights outside the file
/// are looked for; without it a model that has such weights is refused.
///
/// Names of inputs, outputs and values are those of the file; constants that the file also lists
/// as inputs are constants. Elements are shared with `bytes` where they are aligned, else copied
/// once.
///
/// # Errors
/// [`OnnxError::Unsupported`] with every node that cannot be imported, else the first fault.
pub fn read(bytes: Bytes, base_dir: Option<&Path>) -> Result<Graph, OnnxError> {
    let model = wire::Model::decode(&bytes)?;
    let external = external::External::new(base_dir);
    import::import(&model, TensorReader::new(Source::Memory(bytes.clone()), external))
}

#[cfg(test)]
mod tests;
