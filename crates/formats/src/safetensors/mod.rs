//! safetensors: a JSON header, then the elements of every tensor.
//!
//! [`open`] reads tensor by tensor, [`read`] shares the bytes that it is given: a tensor is copied
//! only where they do not align it. Writing is deterministic: the same weights give the same bytes.

pub mod graph;
mod write;

pub use graph::GraphError;
pub use write::{save, to_bytes, write};

use crate::{Weights, file};
use ::safetensors::tensor::{Metadata, TensorInfo};
use ::safetensors::{Dtype, SafeTensorError, SafeTensors};
use bytes::Bytes;
use depthwise_layers::ir::Graph;
use depthwise_tensor::{AlignedBuf, DType, Shape, Tensor, TensorError};
use std::fs::File;
use std::io::{self, Read};
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
    /// The file is to hold a network, but its graph cannot be read.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// An error in a named file.
    #[error("{path}: {source}", path = path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<SafetensorsError>,
    },
}

/// Reads a file, each tensor into memory of its own.
///
/// # Errors
/// [`SafetensorsError::Io`] where the file cannot be read, else [`SafetensorsError::InFile`] with
/// what [`read`] would find.
pub fn open(path: impl AsRef<Path>) -> Result<Weights, SafetensorsError> {
    let weights = open_where(path.as_ref(), |_| true)?;
    Ok(weights.expect("all files are asked for"))
}

/// Reads a network; `None` where the file holds weights only. See [`graph`] for the form.
///
/// # Errors
/// As [`open`], and [`SafetensorsError::Graph`] where the graph is broken.
pub fn open_graph(path: impl AsRef<Path>) -> Result<Option<Graph>, SafetensorsError> {
    let path = path.as_ref();
    let has_graph = |metadata: &Metadata| {
        metadata.metadata().as_ref().is_some_and(|text| text.contains_key(graph::GRAPH_KEY))
    };
    let Some(weights) = open_where(path, has_graph)? else { return Ok(None) };
    let in_file = |source: GraphError| SafetensorsError::InFile {
        path: path.to_owned(),
        source: Box::new(source.into()),
    };
    graph::graph_of(&weights).transpose().map_err(in_file)
}

/// Reads a network from the bytes of a whole file; `None` where it holds weights only.
///
/// # Errors
/// As [`read`], and [`SafetensorsError::Graph`] where the graph is broken.
pub fn read_graph(bytes: Bytes) -> Result<Option<Graph>, SafetensorsError> {
    Ok(graph::graph_of(&read(bytes)?).transpose()?)
}

/// Reads a file whose header passes a test; `None` where it does not.
fn open_where(
    path: &Path,
    wanted: impl Fn(&Metadata) -> bool,
) -> Result<Option<Weights>, SafetensorsError> {
    let io = |source| SafetensorsError::Io { path: path.to_owned(), source };
    let in_file = |source| SafetensorsError::InFile { path: path.to_owned(), source };
    let (mut file, len) = file::open_regular(path).map_err(io)?;
    let header = header_of(&mut file, len).map_err(|error| match error {
        HeaderError::Io(source) => io(source),
        HeaderError::Bad(source) => in_file(Box::new(source.into())),
    })?;
    if !wanted(&header) {
        return Ok(None);
    }
    let mut tensors: Vec<_> = header.tensors().into_iter().collect();
    tensors.sort_by(|(a, x), (b, y)| (x.data_offsets, a).cmp(&(y.data_offsets, b)));
    let mut weights = weights_of(&header);
    for (name, info) in tensors {
        let (start, end) = info.data_offsets;
        let mut buf = AlignedBuf::zeroed(end - start).map_err(io::Error::other).map_err(io)?;
        file.read_exact(buf.bytes_mut()).map_err(io)?;
        insert(&mut weights, name, info, buf.into_bytes()).map_err(|e| in_file(Box::new(e)))?;
    }
    Ok(Some(weights))
}

enum HeaderError {
    Io(io::Error),
    Bad(SafeTensorError),
}

impl From<io::Error> for HeaderError {
    fn from(error: io::Error) -> HeaderError {
        HeaderError::Io(error)
    }
}

impl From<SafeTensorError> for HeaderError {
    fn from(error: SafeTensorError) -> HeaderError {
        HeaderError::Bad(error)
    }
}

/// The header of a file of `len` bytes, whose tensors follow each other to the end of the file.
fn header_of(file: &mut File, len: u64) -> Result<Metadata, HeaderError> {
    const COUNT: u64 = size_of::<u64>() as u64;
    let mut count = [0; COUNT as usize];
    if len < COUNT {
        return Err(SafeTensorError::HeaderTooSmall.into());
    }
    file.read_exact(&mut count)?;
    let count = u64::from_le_bytes(count);
    if count > len - COUNT {
        return Err(SafeTensorError::InvalidHeaderLength.into());
    }
    let mut header = Vec::new();
    file.take(count).read_to_end(&mut header)?;
    let header = std::str::from_utf8(&header).map_err(SafeTensorError::InvalidHeader)?;
    let header: Metadata =
        serde_json::from_str(header).map_err(SafeTensorError::InvalidHeaderDeserialization)?;
    let mut ranges: Vec<_> = header.tensors().values().map(|info| info.data_offsets).collect();
    ranges.sort_unstable();
    let mut end = 0;
    for (start, stop) in ranges {
        if start != end || stop < start {
            return Err(SafeTensorError::MetadataIncompleteBuffer.into());
        }
        end = stop;
    }
    if end as u64 != len - COUNT - count {
        return Err(SafeTensorError::MetadataIncompleteBuffer.into());
    }
    Ok(header)
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
    let mut weights = weights_of(&header);
    for (name, info) in header.tensors() {
        let (start, end) = info.data_offsets;
        insert(&mut weights, name, info, data.slice(start..end))?;
    }
    Ok(weights)
}

/// No tensors yet, but the metadata.
fn weights_of(header: &Metadata) -> Weights {
    let mut weights = Weights::default();
    let metadata = header.metadata().iter().flatten();
    weights.metadata = metadata.map(|(key, value)| (key.clone(), value.clone())).collect();
    weights
}

fn insert(
    weights: &mut Weights,
    name: String,
    info: &TensorInfo,
    data: Bytes,
) -> Result<(), SafetensorsError> {
    let Some(dtype) = dtype_of(info.dtype) else {
        return Err(SafetensorsError::DType { tensor: name, dtype: info.dtype.to_string() });
    };
    let tensor = Shape::new(&info.shape)
        .map_err(TensorError::from)
        .and_then(|shape| Tensor::new(dtype, shape, data));
    match tensor {
        Ok(tensor) => weights.tensors.insert(name, tensor),
        Err(source) => return Err(SafetensorsError::Tensor { tensor: name, source }),
    };
    Ok(())
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
