//! Keras: whole models, as `model.save` writes them.
//!
//! | stage | where |
//! |---|---|
//! | `.keras` archives, `.h5` files | `container.rs`, `h5.rs` |
//! | layers, calls, inputs and outputs | `model.rs`, `call.rs` |
//! | where the weights of a layer stand | `weights.rs` |
//! | order, models in models | `import.rs` |
//! | what each layer means | `ops/` |
//!
//! Functional and Sequential models of Keras 2 and 3. The format is NHWC throughout, so no axis
//! changes its place; padding is TensorFlow's. What only training sees, such as dropout, is left
//! out.

mod call;
mod container;
mod error;
mod h5;
mod import;
mod model;
pub(crate) mod ops;
mod weights;

pub use error::{KerasError, UnsupportedLayer};

pub(crate) use container::HDF5_START;

use crate::file;
use bytes::Bytes;
use depthwise_layers::ir::Graph;
use std::path::Path;

/// Reads a model.
///
/// # Errors
/// [`KerasError::Io`] where the file cannot be read, else [`KerasError::InFile`] with what [`read`]
/// found.
pub fn open(path: impl AsRef<Path>) -> Result<Graph, KerasError> {
    let path = path.as_ref();
    let bytes =
        file::read(path).map_err(|source| KerasError::Io { path: path.to_owned(), source })?;
    read(bytes)
        .map_err(|source| KerasError::InFile { path: path.to_owned(), source: Box::new(source) })
}

/// Reads the bytes of a model, an archive or a file of HDF5. Nodes and outputs bear the names of
/// the layers, those of models in the model after the name of that and a slash; further calls of a
/// layer have `:1`, `:2` and so on at the end. The number of samples is free.
///
/// # Errors
/// [`KerasError::Unsupported`] with every layer that cannot be imported, else the first fault.
pub fn read(bytes: Bytes) -> Result<Graph, KerasError> {
    import::import(&container::open(&bytes)?)
}

#[cfg(test)]
mod tests;
