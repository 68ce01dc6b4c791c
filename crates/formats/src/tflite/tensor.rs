//! From the file's constants to ours.

use super::TfliteError;
use super::sparse;
use super::wire::{self, Quantization, tensor_type};
use bytes::Bytes;
use depthwise_layers::TensorType;
use depthwise_tensor::{DType, Shape, Tensor};

/// How many times the memory of the file the copies of its constants may take: half precision
/// written out, sparse tensors filled up.
const COPIES: usize = 64;

/// Bytes of copies that every file may have.
const FREE_BYTES: usize = 1 << 20;

/// Our element type for one of the format's; `None` for those that have none here.
pub(super) fn dtype(number: i8) -> Option<DType> {
    Some(match number {
        tensor_type::FLOAT32 => DType::F32,
        tensor_type::FLOAT16 => DType::F16,
        tensor_type::INT32 => DType::I32,
        tensor_type::UINT8 => DType::U8,
        tensor_type::INT64 => DType::I64,
        tensor_type::BOOL => DType::Bool,
        tensor_type::INT16 => DType::I16,
        tensor_type::INT8 => DType::I8,
        tensor_type::FLOAT64 => DType::F64,
        tensor_type::BFLOAT16 => DType::Bf16,
        _ => return None,
    })
}

/// The name of an element type, for messages.
pub(super) fn dtype_name(number: i8) -> String {
    match (dtype(number), number) {
        (Some(dtype), _) => dtype.to_string(),
        (None, tensor_type::STRING) => "string".into(),
        (None, tensor_type::RESOURCE) => "resource".into(),
        (None, other) => format!("type number {other}"),
    }
}

/// The extents of a tensor; `None` where one is negative or there are too many.
pub(super) fn shape(tensor: &wire::Tensor<'_>) -> Result<Shape, String> {
    if tensor.shape.len() > depthwise_tensor::MAX_RANK {
        return Err(format!("{} dimensions are too many", tensor.shape.len()));
    }
    let extent = |d: i32| usize::try_from(d).map_err(|_| format!("{d} is no extent"));
    let dims = tensor.shape.iter().map(extent).collect::<Result<Vec<_>, _>>()?;
    Shape::new(&dims).map_err(|error| error.to_string())
}

/// Makes tensors from the constants of one file.
#[derive(Debug)]
pub(super) struct Constants<'m> {
    file: Bytes,
    buffers: &'m [&'m [u8]],
    /// Bytes that may still be copied.
    left: usize,
}

impl<'m> Constants<'m> {
    pub(super) fn new(file: Bytes, buffers: &'m [&'m [u8]]) -> Constants<'m> {
        let left = file.len().saturating_mul(COPIES).saturating_add(FREE_BYTES);
        Constants { file, buffers, left }
    }

    /// The same for another network of the file, with the room that is left.
    pub(super) fn again(&self) -> Constants<'m> {
        Constants { file: self.file.clone(), buffers: self.buffers, left: self.left }
    }

    /// Counts a copy of so many bytes.
    pub(super) fn charge(&mut self, bytes: usize) -> Result<(), TfliteError> {
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(TfliteError::TooLarge { len: self.file.len() }),
        }
    }

    /// Whether the file holds elements for a tensor.
    pub(super) fn has(&self, tensor: &wire::Tensor<'_>) -> bool {
        self.buffers.get(tensor.buffer as usize).is_some_and(|buffer| !buffer.is_empty())
    }

    /// The bytes of a buffer, shared with the file.
    pub(super) fn buffer(&self, index: u32) -> Option<Bytes> {
        let bytes = self.buffers.get(index as usize)?;
        Some(if bytes.is_empty() { Bytes::new() } else { self.file.slice_ref(bytes) })
    }

    /// The elements of a constant as they are stored, zeros filled in where it is sparse; an error
    /// without the name of the tensor. Shared with the file where they are aligned.
    pub(super) fn read(
        &mut self,
        tensor: &wire::Tensor<'_>,
        ty: TensorType,
    ) -> Result<Result<Tensor, String>, TfliteError> {
        let Some(bytes) = self.buffer(tensor.buffer) else {
            return Ok(Err(format!("there is no buffer {}", tensor.buffer)));
        };
        let size = ty.dtype.size_bytes();
        let aligned = (bytes.as_ptr() as usize).is_multiple_of(size);
        let bytes = match &tensor.sparsity {
            Some(sparsity) => {
                self.charge(ty.bytes())?;
                match sparse::densify(sparsity, &ty.shape, size, &bytes) {
                    Ok(dense) => Bytes::from(dense),
                    Err(reason) => return Ok(Err(reason)),
                }
            }
            None if bytes.len() != ty.bytes() => {
                let (have, want) = (bytes.len(), ty.bytes());
                return Ok(Err(format!("{ty} takes {want} bytes, but its buffer has {have}")));
            }
            None if !aligned => {
                self.charge(bytes.len())?;
                bytes
            }
            None => bytes,
        };
        if ty.dtype == DType::Bool && bytes.iter().any(|&b| b > 1) {
            return Ok(Err("a truth value is neither 0 nor 1".into()));
        }
        Ok(Tensor::new(ty.dtype, ty.shape, bytes).map_err(|error| error.to_string()))
    }

    /// A constant of half precision as `f32`.
    pub(super) fn real(&mut self, tensor: &Tensor) -> Result<Result<Tensor, String>, TfliteError> {
        self.charge(tensor.elements().saturating_mul(4))?;
        let values = tensor.to_f32().into_owned();
        Ok(Tensor::from_vec(tensor.shape().dims(), values).map_err(|error| error.to_string()))
    }
}

/// Scales and zero points of a tensor, one or a list of each; zero points that are all 0 are left
/// out. And the axis that a list goes along, counted from the end.
pub(super) type Scales = (Tensor, Option<Tensor>, i64);

/// The scales of a tensor of this shape.
pub(super) fn scales(shape: &Shape, q: &Quantization<'_>) -> Result<Scales, String> {
    let count = q.scale.len();
    let axis = match usize::try_from(q.axis) {
        _ if count == 1 => -1,
        Ok(axis) if shape.get(axis) == Some(&count) => axis as i64 - shape.rank() as i64,
        _ => return Err(format!("{count} scales for axis {} of {shape}", q.axis)),
    };
    let zeros = q.zero_point.len();
    if zeros > 1 && zeros != count {
        return Err(format!("{count} scales, but {zeros} zero points"));
    }
    if let Some(scale) = q.scale.iter().find(|scale| !(scale.is_finite() && *scale > 0.0)) {
        return Err(format!("a scale of {scale}"));
    }
    let zero = |i: usize| q.zero_point.get(i).or(q.zero_point.get(0)).unwrap_or(0);
    let zeros: Vec<i32> = (0..count)
        .map(|i| i32::try_from(zero(i)).map_err(|_| format!("a zero point of {}", zero(i))))
        .collect::<Result<_, _>>()?;
    let dims: &[usize] = if count == 1 { &[] } else { &[count] };
    let made = |tensor: Result<Tensor, depthwise_tensor::TensorError>| {
        tensor.map_err(|error| error.to_string())
    };
    let scale = made(Tensor::from_vec(dims, q.scale.iter().collect::<Vec<f32>>()))?;
    let all_zero = zeros.iter().all(|&zero| zero == 0);
    let zeros = if all_zero { None } else { Some(made(Tensor::from_vec(dims, zeros))?) };
    Ok((scale, zeros, axis))
}
