//! An immutable array that shares its bytes.

use crate::buf::{AlignedBuf, AllocError};
use crate::{DType, Element, Shape, ShapeError};
use bytemuck::Pod;
use bytes::Bytes;
use half::slice::HalfFloatSliceExt;
use std::borrow::Cow;
use std::fmt;

/// Why a tensor could not be made or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TensorError {
    /// The bytes do not make up the shape.
    #[error("{shape} of {dtype} takes {want} bytes, but {got} were given")]
    Length {
        /// Extents asked for.
        shape: Box<Shape>,
        /// Element type asked for.
        dtype: DType,
        /// Bytes that these take.
        want: usize,
        /// Bytes given.
        got: usize,
    },
    /// The elements are of another type.
    #[error("the tensor holds {got}, not {want}")]
    DType {
        /// Type asked for.
        want: DType,
        /// Type of the tensor.
        got: DType,
    },
    /// The shape was refused.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// There was no memory.
    #[error(transparent)]
    Alloc(#[from] AllocError),
}

/// An immutable, dense, row-major array. Cloning shares the bytes.
///
/// The bytes may be owned, static (weights in the binary) or mapped from a file; they always
/// start at a multiple of the element size.
#[derive(Clone)]
pub struct Tensor {
    dtype: DType,
    shape: Shape,
    data: Bytes,
}

impl Tensor {
    /// A tensor of these bytes, little-endian. Shares them where they are aligned for `dtype`,
    /// else copies.
    ///
    /// # Errors
    /// [`TensorError::Length`] where the byte count does not fit, [`TensorError::Alloc`] where a
    /// needed copy finds no memory.
    pub fn new(dtype: DType, shape: Shape, data: Bytes) -> Result<Tensor, TensorError> {
        let want = shape.elements() * dtype.size_bytes();
        if data.len() != want {
            return Err(TensorError::Length {
                shape: Box::new(shape),
                dtype,
                want,
                got: data.len(),
            });
        }
        let aligned = (data.as_ptr() as usize).is_multiple_of(dtype.size_bytes());
        let data = if aligned { data } else { AlignedBuf::copy_of(&data)?.into_bytes() };
        Ok(Tensor { dtype, shape, data })
    }

    /// A tensor with a copy of these elements.
    ///
    /// # Errors
    /// [`TensorError::Length`] where the element count does not fit the extents.
    pub fn from_slice<T: Element>(dims: &[usize], data: &[T]) -> Result<Tensor, TensorError> {
        let bytes = AlignedBuf::copy_of(bytemuck::cast_slice(data))?.into_bytes();
        Tensor::new(T::DTYPE, Shape::new(dims)?, bytes)
    }

    /// A tensor that takes over these elements.
    ///
    /// # Errors
    /// [`TensorError::Length`] where the element count does not fit the extents.
    pub fn from_vec<T: Element>(dims: &[usize], data: Vec<T>) -> Result<Tensor, TensorError> {
        struct Owner<T>(Vec<T>);
        impl<T: Pod> AsRef<[u8]> for Owner<T> {
            fn as_ref(&self) -> &[u8] {
                bytemuck::cast_slice(&self.0)
            }
        }
        let bytes = if data.is_empty() { Bytes::new() } else { Bytes::from_owner(Owner(data)) };
        Tensor::new(T::DTYPE, Shape::new(dims)?, bytes)
    }

    /// A tensor without dimensions.
    pub fn scalar<T: Element>(value: T) -> Tensor {
        let data = Bytes::copy_from_slice(bytemuck::bytes_of(&value));
        Tensor::new(T::DTYPE, Shape::SCALAR, data).expect("one element makes a scalar")
    }

    /// A truth-value tensor.
    ///
    /// # Errors
    /// [`TensorError::Length`] where the element count does not fit the extents.
    pub fn from_bools(dims: &[usize], data: &[bool]) -> Result<Tensor, TensorError> {
        let bytes: Vec<u8> = data.iter().map(|&b| u8::from(b)).collect();
        Tensor::new(DType::Bool, Shape::new(dims)?, Bytes::from(bytes))
    }

    /// A tensor of zeros.
    ///
    /// # Errors
    /// [`TensorError::Alloc`] where there is no memory.
    pub fn zeros(dtype: DType, shape: Shape) -> Result<Tensor, TensorError> {
        let buf = AlignedBuf::zeroed(shape.elements() * dtype.size_bytes())?;
        Tensor::new(dtype, shape, buf.into_bytes())
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Extents.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.shape.elements()
    }

    /// The bytes, little-endian.
    pub fn bytes(&self) -> &Bytes {
        &self.data
    }

    /// The elements. `u8` also reads truth values.
    ///
    /// # Errors
    /// [`TensorError::DType`] where the tensor holds another type.
    pub fn data<T: Element>(&self) -> Result<&[T], TensorError> {
        let bools_as_bytes = self.dtype == DType::Bool && T::DTYPE == DType::U8;
        if self.dtype != T::DTYPE && !bools_as_bytes {
            return Err(TensorError::DType { want: T::DTYPE, got: self.dtype });
        }
        // An empty `Bytes` has an address of no alignment.
        Ok(if self.data.is_empty() { &[] } else { bytemuck::cast_slice(&self.data) })
    }

    /// The elements as `f32`, whatever the type: exact from `f16` and `bf16`, rounded to nearest
    /// from `f64` and from integers beyond 2^24. Borrowed where the tensor holds `f32`.
    pub fn to_f32(&self) -> Cow<'_, [f32]> {
        fn widened(half: &[impl Pod], into: impl FnOnce(&mut [f32])) -> Cow<'static, [f32]> {
            let mut wide = vec![0.0; half.len()];
            into(&mut wide);
            Cow::Owned(wide)
        }
        if let Ok(data) = self.data::<f32>() {
            return Cow::Borrowed(data);
        }
        // Many at a time, where the CPU can.
        if let Ok(data) = self.data::<half::f16>() {
            return widened(data, |wide| data.convert_to_f32_slice(wide));
        }
        if let Ok(data) = self.data::<half::bf16>() {
            return widened(data, |wide| data.convert_to_f32_slice(wide));
        }
        Cow::Owned(self.map_all(|x| x as f32, |x| x as f32))
    }

    /// The elements as `f64`, whatever the type; exact but for integers beyond 2^53.
    pub fn to_f64(&self) -> Cow<'_, [f64]> {
        match self.data::<f64>() {
            Ok(data) => Cow::Borrowed(data),
            Err(_) => Cow::Owned(self.map_all(|x| x, |x| x as f64)),
        }
    }

    /// The elements as `i64`, whatever the type: floats are truncated toward zero and saturate,
    /// NaN gives 0.
    pub fn to_i64(&self) -> Cow<'_, [i64]> {
        match self.data::<i64>() {
            Ok(data) => Cow::Borrowed(data),
            Err(_) => Cow::Owned(self.map_all(|x| x as i64, |x| x)),
        }
    }

    /// The same elements under other extents; shares the bytes.
    ///
    /// # Errors
    /// [`TensorError::Length`] where the element count differs.
    pub fn reshape(&self, dims: &[usize]) -> Result<Tensor, TensorError> {
        Tensor::new(self.dtype, Shape::new(dims)?, self.data.clone())
    }

    fn map_all<U>(&self, float: impl Fn(f64) -> U, int: impl Fn(i64) -> U) -> Vec<U> {
        fn each<T: Pod, U>(bytes: &[u8], f: impl Fn(T) -> U) -> Vec<U> {
            bytes.chunks_exact(size_of::<T>()).map(|b| f(bytemuck::pod_read_unaligned(b))).collect()
        }
        let bytes = &self.data[..];
        match self.dtype {
            DType::F64 => each::<f64, U>(bytes, float),
            DType::F32 => each::<f32, U>(bytes, |x| float(x.into())),
            DType::F16 => each::<half::f16, U>(bytes, |x| float(x.into())),
            DType::Bf16 => each::<half::bf16, U>(bytes, |x| float(x.into())),
            DType::I64 => each::<i64, U>(bytes, int),
            DType::I32 => each::<i32, U>(bytes, |x| int(x.into())),
            DType::I16 => each::<i16, U>(bytes, |x| int(x.into())),
            DType::I8 => each::<i8, U>(bytes, |x| int(x.into())),
            DType::U8 | DType::Bool => each::<u8, U>(bytes, |x| int(x.into())),
        }
    }
}

impl PartialEq for Tensor {
    /// Same type, extents and bytes; so a NaN equals itself and 0.0 differs from -0.0.
    fn eq(&self, other: &Tensor) -> bool {
        self.dtype == other.dtype && self.shape == other.shape && self.data == other.data
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor({} {}", self.dtype, self.shape)?;
        if self.elements() <= 8 {
            write!(f, " {:?}", self.to_f64())?;
        }
        write!(f, ")")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misaligned_bytes_are_copied() {
        let backing = AlignedBuf::copy_of(&[9, 0, 0, 128, 63]).unwrap().into_bytes();
        let t = Tensor::new(DType::F32, Shape::new(&[1]).unwrap(), backing.slice(1..)).unwrap();
        assert_eq!(t.data::<f32>().unwrap(), [1.0]);
        let aligned = AlignedBuf::copy_of(&[0, 0, 128, 63]).unwrap().into_bytes();
        let t = Tensor::new(DType::F32, Shape::new(&[1]).unwrap(), aligned.clone()).unwrap();
        assert_eq!(t.bytes().as_ptr(), aligned.as_ptr(), "aligned bytes are shared");
    }

    #[test]
    fn wrong_lengths_and_types_are_errors() {
        assert!(matches!(
            Tensor::from_slice(&[2, 2], &[1f32; 3]),
            Err(TensorError::Length { want: 16, got: 12, .. })
        ));
        let t = Tensor::scalar(3i64);
        assert!(matches!(t.data::<f32>(), Err(TensorError::DType { .. })));
        assert_eq!(t.to_f32()[..], [3.0]);
    }

    #[test]
    fn empty_tensors_read_as_empty_slices() {
        let t = Tensor::zeros(DType::I64, Shape::new(&[0, 3]).unwrap()).unwrap();
        assert_eq!(t.data::<i64>().unwrap(), [0i64; 0]);
        assert!(Tensor::from_vec::<f32>(&[0], vec![]).unwrap().data::<f32>().unwrap().is_empty());
    }

    #[test]
    fn conversions_truncate_and_saturate() {
        let t = Tensor::from_slice(&[4], &[1.9f32, -1.9, f32::NAN, 1e30]).unwrap();
        assert_eq!(t.to_i64()[..], [1, -1, 0, i64::MAX]);
        let half = Tensor::from_slice(&[1], &[half::f16::from_f32(0.5)]).unwrap();
        assert_eq!(half.to_f32()[..], [0.5]);
    }
}
