//! PyTorch checkpoints: state dictionaries as `torch.save` writes them.
//!
//! Two containers hold the same pickle: since PyTorch 1.6 a ZIP archive with a file per storage,
//! before that pickles and storages one after the other. The pickle is read by a machine that
//! executes nothing (`pickle.rs`); a file that needs more than plain tensors is refused by name.

mod container;
mod pickle;
mod views;

pub(crate) use container::LEGACY_START;

use crate::{Weights, file};
use bytes::Bytes;
use depthwise_tensor::TensorError;
use std::io;
use std::path::{Path, PathBuf};

/// Why a checkpoint could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TorchError {
    /// The file could not be read.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Neither a ZIP archive nor the older magic number.
    #[error("not a PyTorch checkpoint")]
    NotACheckpoint,
    /// A container of a kind that is not supported.
    #[error("a PyTorch checkpoint, but {0}")]
    Container(String),
    /// The file ends too early.
    #[error("the file ends within {what} at byte {offset}")]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// Where it went on, from the start of the pickle or file.
        offset: usize,
    },
    /// An instruction that no state dictionary needs.
    #[error("pickle opcode {opcode:#04x} at byte {offset} is not allowed")]
    Opcode {
        /// The instruction.
        opcode: u8,
        /// Where it stands in its pickle.
        offset: usize,
    },
    /// A Python name that is not on the list of what is understood. Nothing of it was run.
    #[error("the pickle names {module}.{name} at byte {offset}; only plain tensors are read")]
    Global {
        /// Python module.
        module: String,
        /// Name in the module.
        name: String,
        /// Where it stands in its pickle.
        offset: usize,
    },
    /// Instructions that do not make sense.
    #[error("malformed pickle at byte {offset}: {reason}")]
    Malformed {
        /// Where the instruction stands in its pickle.
        offset: usize,
        /// What is wrong.
        reason: String,
    },
    /// A run of elements that is missing or of another length than the pickle says.
    #[error("storage \"{key}\": {reason}")]
    Storage {
        /// Key of the storage.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// A tensor that reaches past its storage, or an entry of another kind.
    #[error("tensor \"{tensor}\": {reason}")]
    View {
        /// Name of the tensor.
        tensor: String,
        /// What is wrong.
        reason: String,
    },
    /// A tensor of impossible extents.
    #[error("tensor \"{tensor}\": {source}")]
    Tensor {
        /// Name of the tensor.
        tensor: String,
        /// What is wrong.
        source: TensorError,
    },
    /// Tensors that repeat the same elements so often that they outgrow the file.
    #[error("tensor \"{tensor}\": the tensors take more than {limit_bytes} bytes")]
    TooLarge {
        /// The tensor at which the limit was passed.
        tensor: String,
        /// The limit, which grows with the file.
        limit_bytes: usize,
    },
    /// An error in a named file.
    #[error("{path}: {source}", path = path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<TorchError>,
    },
}

/// Reads a checkpoint.
///
/// # Errors
/// [`TorchError::Io`] where the file cannot be read, else [`TorchError::InFile`] with what
/// [`read`] found.
pub fn open(path: impl AsRef<Path>) -> Result<Weights, TorchError> {
    let path = path.as_ref();
    let bytes =
        file::read(path).map_err(|source| TorchError::Io { path: path.to_owned(), source })?;
    read(bytes)
        .map_err(|source| TorchError::InFile { path: path.to_owned(), source: Box::new(source) })
}

/// Reads the bytes of a whole checkpoint, of either container.
///
/// Names of nested dictionaries and lists are joined with dots (`state_dict.conv1.weight`);
/// strings and numbers between the tensors become metadata. Every tensor comes out dense and
/// row-major; those that are so in the file share its bytes where these are aligned.
///
/// # Errors
/// [`TorchError`] for broken files, and for those that hold anything but plain tensors.
pub fn read(bytes: Bytes) -> Result<Weights, TorchError> {
    let container = container::open(&bytes)?;
    views::weights(&container, bytes.len())
}

#[cfg(test)]
mod tests;
