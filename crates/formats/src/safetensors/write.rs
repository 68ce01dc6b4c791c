//! Weights to bytes.

use super::SafetensorsError;
use crate::Weights;
use crate::export::write_atomically;
use ::safetensors::{Dtype, tensor::TensorInfo};
use depthwise_tensor::{DType, Tensor};
use std::cmp::Reverse;
use std::io::{self, Write};
use std::path::Path;

/// Key of the free text in the header; no tensor may bear this name.
const METADATA: &str = "__metadata__";

/// The header's length is padded to a multiple of this, so that every element is aligned.
const HEADER_ALIGN: usize = 8;

/// Writes the weights to a file, which appears whole or not at all.
///
/// # Errors
/// [`SafetensorsError::Io`] where the file cannot be written, else as [`write()`].
pub fn save(weights: &Weights, path: impl AsRef<Path>) -> Result<(), SafetensorsError> {
    let path = path.as_ref();
    let header = Header::new(weights)?;
    let replaced = write_atomically(path, |out| header.write(out));
    replaced.map_err(|source| SafetensorsError::Io { path: path.to_owned(), source })
}

/// Writes the weights. The same weights give the same bytes: wide types first, then by name, as
/// the safetensors library orders them, and metadata sorted by key.
///
/// # Errors
/// [`SafetensorsError::Name`] for a tensor called `__metadata__`, [`SafetensorsError::Io`] (with
/// an empty path) where `out` refuses bytes.
pub fn write(weights: &Weights, mut out: impl Write) -> Result<(), SafetensorsError> {
    let header = Header::new(weights)?;
    header.write(&mut out).map_err(|source| SafetensorsError::Io { path: "".into(), source })
}

/// The bytes that [`write()`] writes.
///
/// # Errors
/// [`SafetensorsError::Name`] for a tensor called `__metadata__`.
pub fn to_bytes(weights: &Weights) -> Result<Vec<u8>, SafetensorsError> {
    let header = Header::new(weights)?;
    let data_len: usize = weights.tensors.values().map(|t| t.bytes().len()).sum();
    let mut bytes = Vec::with_capacity(size_of::<u64>() + header.text.len() + data_len);
    header.write(&mut bytes).expect("memory takes all bytes");
    Ok(bytes)
}

struct Header<'a> {
    text: String,
    tensors: Vec<&'a Tensor>,
}

impl<'a> Header<'a> {
    fn new(weights: &'a Weights) -> Result<Header<'a>, SafetensorsError> {
        let mut order: Vec<(&str, &Tensor)> = weights.iter().collect();
        order.sort_by_key(|&(name, tensor)| (Reverse(dtype_for(tensor.dtype())), name));
        let mut text = String::from("{");
        if !weights.metadata.is_empty() {
            text += &json(METADATA);
            text += ":";
            text += &json(&weights.metadata);
        }
        let mut offset = 0;
        for &(name, tensor) in &order {
            if name == METADATA {
                return Err(SafetensorsError::Name(name.to_owned()));
            }
            let end = offset + tensor.bytes().len();
            let info = TensorInfo {
                dtype: dtype_for(tensor.dtype()),
                shape: tensor.shape().to_vec(),
                data_offsets: (offset, end),
            };
            offset = end;
            if text.len() > 1 {
                text += ",";
            }
            text += &json(name);
            text += ":";
            text += &json(&info);
        }
        text += "}";
        let padding = text.len().next_multiple_of(HEADER_ALIGN) - text.len();
        text.extend(std::iter::repeat_n(' ', padding));
        Ok(Header { text, tensors: order.into_iter().map(|(_, tensor)| tensor).collect() })
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(&(self.text.len() as u64).to_le_bytes())?;
        out.write_all(self.text.as_bytes())?;
        self.tensors.iter().try_for_each(|tensor| out.write_all(tensor.bytes()))
    }
}

fn json<T: serde::Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).expect("strings and numbers are always JSON")
}

fn dtype_for(dtype: DType) -> Dtype {
    match dtype {
        DType::F64 => Dtype::F64,
        DType::F32 => Dtype::F32,
        DType::F16 => Dtype::F16,
        DType::Bf16 => Dtype::BF16,
        DType::I64 => Dtype::I64,
        DType::I32 => Dtype::I32,
        DType::I16 => Dtype::I16,
        DType::I8 => Dtype::I8,
        DType::U8 => Dtype::U8,
        DType::Bool => Dtype::BOOL,
        other => unreachable!("no safetensors type for {other}"),
    }
}
