//! From the file's tensors to ours.

use super::OnnxError;
use super::external::{self, External};
use super::wire::{self, data_type};
use bytemuck::Pod;
use bytes::Bytes;
use depthwise_tensor::{AlignedBuf, DType, Shape, Tensor};
use half::{bf16, f16};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

/// Our element type for one of the format's; `None` for those that have none here.
pub(super) fn dtype(data_type: i32) -> Option<DType> {
    Some(match data_type {
        data_type::FLOAT => DType::F32,
        data_type::UINT8 => DType::U8,
        data_type::INT8 => DType::I8,
        data_type::INT16 => DType::I16,
        data_type::INT32 => DType::I32,
        data_type::INT64 => DType::I64,
        data_type::BOOL => DType::Bool,
        data_type::FLOAT16 => DType::F16,
        data_type::DOUBLE => DType::F64,
        data_type::BFLOAT16 => DType::Bf16,
        _ => return None,
    })
}

/// The name of an element type, for messages.
pub(super) fn dtype_name(data_type: i64) -> String {
    let known = i32::try_from(data_type).ok().and_then(dtype);
    match (known, data_type) {
        (Some(dtype), _) => dtype.to_string(),
        (None, 4) => "u16".into(),
        (None, 8) => "string".into(),
        (None, 12) => "u32".into(),
        (None, 13) => "u64".into(),
        (None, 14) => "complex64".into(),
        (None, 15) => "complex128".into(),
        (None, 17..=20) => "an 8-bit float".into(),
        (None, 21 | 22) => "a 4-bit integer".into(),
        (None, other) => format!("type number {other}"),
    }
}

/// Makes tensors from those of one file.
#[derive(Debug)]
pub(super) struct TensorReader {
    source: Source,
    external: External,
}

/// Where a file's own elements come from.
#[derive(Debug)]
pub(super) enum Source {
    /// The whole file, to share its bytes.
    Memory(Bytes),
    /// The open file, for what was left in it.
    File(File),
}

impl TensorReader {
    pub(super) fn new(source: Source, external: External) -> TensorReader {
        TensorReader { source, external }
    }

    /// The tensor, whose type [`dtype`] must know. Raw bytes are shared where they are aligned,
    /// else copied once.
    pub(super) fn read(
        &mut self,
        tensor: &wire::Tensor<'_>,
        dtype: DType,
        name: &str,
    ) -> Result<Tensor, OnnxError> {
        let fail = |reason: String| OnnxError::Tensor { tensor: name.to_owned(), reason };
        let dims = tensor.dims.iter().map(|&d| usize::try_from(d)).collect::<Result<Vec<_>, _>>();
        let dims = dims.map_err(|_| fail(format!("extents {:?} are negative", tensor.dims)))?;
        let shape = Shape::new(&dims).map_err(|error| fail(error.to_string()))?;
        let data = if tensor.is_external {
            let want = shape.elements() * dtype.size_bytes();
            let location = external::location(&tensor.external_data);
            self.external.read(&tensor.external_data, want).map_err(|source| {
                OnnxError::External { tensor: name.into(), location: location.into(), source }
            })?
        } else {
            self.data(tensor, dtype).map_err(fail)?
        };
        if dtype == DType::Bool && data.iter().any(|&b| b > 1) {
            return Err(fail("a truth value is neither 0 nor 1".into()));
        }
        Tensor::new(dtype, shape, data).map_err(|error| fail(error.to_string()))
    }

    fn data(&mut self, tensor: &wire::Tensor<'_>, dtype: DType) -> Result<Bytes, String> {
        if let Some((offset, len)) = tensor.raw_in_file {
            return self.read_range(offset, len).map_err(|error| error.to_string());
        }
        if let Some(raw) = tensor.raw_data {
            return Ok(self.share(raw));
        }
        match dtype {
            DType::F32 => Ok(self.share(&tensor.float_data)),
            DType::F64 => Ok(self.share(&tensor.double_data)),
            DType::I64 => owned(&tensor.int64_data),
            DType::I32 => owned(&tensor.int32_data),
            DType::I16 => narrow::<i16>(&tensor.int32_data),
            DType::I8 => narrow::<i8>(&tensor.int32_data),
            DType::U8 | DType::Bool => narrow::<u8>(&tensor.int32_data),
            DType::F16 => narrow_bits(&tensor.int32_data, f16::from_bits),
            DType::Bf16 => narrow_bits(&tensor.int32_data, bf16::from_bits),
            other => Err(format!("elements of {other} are not read")),
        }
    }

    /// The bytes, shared with the file where they lie in it.
    fn share(&self, data: &[u8]) -> Bytes {
        match &self.source {
            Source::Memory(file)
                if !data.is_empty() && file.as_ptr_range().contains(&data.as_ptr()) =>
            {
                file.slice_ref(data)
            }
            _ => Bytes::copy_from_slice(data),
        }
    }

    /// Bytes that were left in the file.
    fn read_range(&mut self, offset: u64, len: usize) -> io::Result<Bytes> {
        let Source::File(file) = &mut self.source else {
            return Err(io::Error::other("the elements are in a file that is not open"));
        };
        let mut buf = AlignedBuf::zeroed(len).map_err(io::Error::other)?;
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(buf.bytes_mut())?;
        Ok(buf.into_bytes())
    }
}

fn owned<T: Pod>(elements: &[T]) -> Result<Bytes, String> {
    let buf = AlignedBuf::copy_of(bytemuck::cast_slice(elements));
    Ok(buf.map_err(|error| error.to_string())?.into_bytes())
}

fn narrow<T: Pod + TryFrom<i32>>(elements: &[i32]) -> Result<Bytes, String> {
    let each = |&n: &i32| T::try_from(n).map_err(|_| format!("element {n} is out of range"));
    owned(&elements.iter().map(each).collect::<Result<Vec<T>, _>>()?)
}

fn narrow_bits<T: Pod>(elements: &[i32], from_bits: fn(u16) -> T) -> Result<Bytes, String> {
    let each = |&n: &i32| {
        u16::try_from(n).map(from_bits).map_err(|_| format!("element bits {n} are out of range"))
    };
    owned(&elements.iter().map(each).collect::<Result<Vec<T>, _>>()?)
}
