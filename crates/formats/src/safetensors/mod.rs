//! safetensors: a JSON header, then the elements of every tensor.
//!
//! Reading shares the bytes: a tensor is copied only where the file does not align it. Writing is
//! deterministic: the same weights give the same bytes.

mod write;

pub use write::{save, to_bytes, write};

use crate::{Weights, file};
use ::safetensors::{Dtype, SafeTensorError, SafeTensors};
use bytes::Bytes;
use depthwise_tensor::{DType, Shape, Tensor, TensorError};
use std::io;
use std::path::{Path, PathBuf};

/// Why a safetensors file could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SafetensorsError {
    /// The file could not be read or written.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The header is not that of a safetensors file, or does not fit the data.
    #[error("not a well-formed safetensors file: {0}")]
    Header(#[from] SafeTensorError),
    /// A tensor of a type that is not supported.
    #[error("tensor \"{tensor}\" is of type {dtype}, which is not supported")]
    DType {
        /// Name of the tensor.
        tensor: String,
        /// Its type, as the file calls it.
        dtype: String,
    },
    /// A tensor of impossible extents.
    #[error("tensor \"{tensor}\": {source}")]
    Tensor {
        /// Name of the tensor.
        tensor: String,
        /// What is wrong with it.
        source: TensorError,
    },
    /// A tensor of a name that the format reserves.
    #[error("a tensor cannot be named \"{0}\" in a safetensors file")]
    Name(String),
    /// An error in a named file.
    #[error("{path}: {source}", path = path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<SafetensorsError>,
    },
}

/// Reads a file.
///
/// # Errors
/// [`SafetensorsError::Io`] where the file cannot be read, else [`SafetensorsError::InFile`] with
/// what [`read`] found.
pub fn open(path: impl AsRef<Path>) -> Result<Weights, SafetensorsError> {
    let path = path.as_ref();
    let bytes = file::read(path)
        .map_err(|source| SafetensorsError::Io { path: path.to_owned(), source })?;
    read(bytes).map_err(|source| SafetensorsError::InFile {
        path: path.to_owned(),
        source: Box::new(source),
    })
}

/// Reads the bytes of a whole file. Tensors share them where they are aligned.
///
/// # Errors
/// [`SafetensorsError::Header`] where the header is broken or does not cover the data exactly,
/// [`SafetensorsError::DType`] for types without a [`DType`], [`SafetensorsError::Tensor`] for
/// impossible extents.
pub fn read(bytes: Bytes) -> Result<Weights, SafetensorsError> {
    let (header_len, header) = SafeTensors::read_metadata(&bytes)?;
    let data = bytes.slice(size_of::<u64>() + header_len..);
    let mut weights = Weights::default();
    for (name, info) in header.tensors() {
        let Some(dtype) = dtype_of(info.dtype) else {
            return Err(SafetensorsError::DType { tensor: name, dtype: info.dtype.to_string() });
        };
        let (start, end) = info.data_offsets;
        let tensor = Shape::new(&info.shape)
            .map_err(TensorError::from)
            .and_then(|shape| Tensor::new(dtype, shape, data.slice(start..end)));
        match tensor {
            Ok(tensor) => weights.tensors.insert(name, tensor),
            Err(source) => return Err(SafetensorsError::Tensor { tensor: name, source }),
        };
    }
    let metadata = header.metadata().iter().flatten();
    weights.metadata = metadata.map(|(key, value)| (key.clone(), value.clone())).collect();
    Ok(weights)
}

fn dtype_of(dtype: Dtype) -> Option<DType> {
    Some(match dtype {
        Dtype::F64 => DType::F64,
        Dtype::F32 => DType::F32,
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::Bf16,
        Dtype::I64 => DType::I64,
        Dtype::I32 => DType::I32,
        Dtype::I16 => DType::I16,
        Dtype::I8 => DType::I8,
        Dtype::U8 => DType::U8,
        Dtype::BOOL => DType::Bool,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
