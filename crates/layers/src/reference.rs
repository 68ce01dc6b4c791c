//! What the references share: operands, index arithmetic, and the one rounding at the end.

use crate::check::invalid;
use crate::{Arg, Layer, LayerError, TensorType};
use bytes::Bytes;
use depthwise_tensor::buf::AllocError;
use depthwise_tensor::{DType, MAX_RANK, Shape, Tensor, TensorError};
use half::{bf16, f16};

/// The operands of a reference, after [`Layer::infer`] has accepted them.
pub(crate) struct Operands<'a> {
    tensors: &'a [Option<&'a Tensor>],
    /// Types of the results.
    pub(crate) outputs: Vec<TensorType>,
}

impl<'a> Operands<'a> {
    /// Runs the layer's own inference over the operands.
    pub(crate) fn new(
        layer: &dyn Layer,
        tensors: &'a [Option<&'a Tensor>],
    ) -> Result<Operands<'a>, LayerError> {
        let args: Vec<_> = tensors.iter().map(|t| t.map(Arg::constant)).collect();
        let outputs = layer.infer(&args)?;
        Ok(Operands { tensors, outputs })
    }

    /// A required operand.
    pub(crate) fn get(&self, i: usize) -> &'a Tensor {
        self.opt(i).expect("infer refuses a missing operand")
    }

    /// An operand that may be left out.
    pub(crate) fn opt(&self, i: usize) -> Option<&'a Tensor> {
        self.tensors.get(i).copied().flatten()
    }

    /// Type of the only result.
    pub(crate) fn output(&self) -> TensorType {
        self.outputs[0]
    }
}

/// An empty vector with room for `len` elements, or an error where there is no memory.
pub(crate) fn with_room<T>(len: usize) -> Result<Vec<T>, LayerError> {
    let mut vec = Vec::new();
    vec.try_reserve_exact(len).map_err(|_| {
        let bytes = len.saturating_mul(size_of::<T>());
        LayerError::Tensor(TensorError::Alloc(AllocError { bytes }))
    })?;
    Ok(vec)
}

/// This many zeros to add to.
pub(crate) fn zeros(len: usize) -> Result<Vec<f64>, LayerError> {
    let mut sums = with_room(len)?;
    sums.resize(len, 0.0);
    Ok(sums)
}

/// `f` of every multi-index of a shape, in row-major order.
pub(crate) fn collect<T>(
    shape: &Shape,
    mut f: impl FnMut(&[usize]) -> T,
) -> Result<Vec<T>, LayerError> {
    let mut out = with_room(shape.elements())?;
    let mut index = [0; MAX_RANK];
    for _ in 0..shape.elements() {
        out.push(f(&index[..shape.rank()]));
        for axis in (0..shape.rank()).rev() {
            index[axis] += 1;
            if index[axis] < shape.dims()[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
    Ok(out)
}

/// Row-major position of a multi-index.
pub(crate) fn position(shape: &Shape, index: &[usize]) -> usize {
    shape.dims().iter().zip(index).fold(0, |at, (&extent, &i)| at * extent + i)
}

/// Position in an operand of `shape` that broadcasts to where `index` points in the result.
pub(crate) fn broadcast_position(shape: &Shape, index: &[usize]) -> usize {
    let lead = index.len() - shape.rank();
    let inner = shape.dims().iter().zip(&index[lead..]);
    inner.fold(0, |at, (&extent, &i)| at * extent + if extent == 1 { 0 } else { i })
}

/// A tensor of the elements of `x` that `from` names for every multi-index of `shape`; `fill`
/// where it names none. Moves bytes, so it is exact for every dtype.
pub(crate) fn rearrange(
    x: &Tensor,
    shape: Shape,
    fill: &[u8],
    from: impl Fn(&[usize]) -> Option<usize>,
) -> Result<Tensor, LayerError> {
    let size = x.dtype().size_bytes();
    let mut out: Vec<u8> = with_room(shape.elements() * size)?;
    for source in collect(&shape, from)? {
        match source {
            Some(at) => out.extend_from_slice(&x.bytes()[at * size..(at + 1) * size]),
            None => out.extend_from_slice(fill),
        }
    }
    Ok(Tensor::new(x.dtype(), shape, Bytes::from(out))?)
}

/// A tensor of these values, each rounded once to the dtype; integers truncate toward zero and
/// saturate (NaN gives 0), truth values ask for non-zero.
pub(crate) fn from_f64(ty: TensorType, values: Vec<f64>) -> Result<Tensor, LayerError> {
    let dims = ty.shape.dims();
    let tensor = match ty.dtype {
        DType::F64 => Tensor::from_vec(dims, values),
        DType::F32 => Tensor::from_vec(dims, map(&values, |x| x as f32)?),
        DType::F16 => Tensor::from_vec(dims, map(&values, |x| f16::from_f32(round_to_odd(x)))?),
        DType::Bf16 => Tensor::from_vec(dims, map(&values, |x| bf16::from_f32(round_to_odd(x)))?),
        DType::I64 => Tensor::from_vec(dims, map(&values, |x| x as i64)?),
        DType::I32 => Tensor::from_vec(dims, map(&values, |x| x as i32)?),
        DType::I16 => Tensor::from_vec(dims, map(&values, |x| x as i16)?),
        DType::I8 => Tensor::from_vec(dims, map(&values, |x| x as i8)?),
        DType::U8 => Tensor::from_vec(dims, map(&values, |x| x as u8)?),
        DType::Bool => Tensor::from_bools(dims, &map(&values, |x| x != 0.0)?),
        other => return Err(invalid!("reference", "no rounding to {other} is defined")),
    };
    Ok(tensor?)
}

/// A tensor of these integers: narrower integers keep the low bits, floats round to nearest, truth
/// values ask for non-zero.
pub(crate) fn from_i64(ty: TensorType, values: Vec<i64>) -> Result<Tensor, LayerError> {
    let dims = ty.shape.dims();
    let tensor = match ty.dtype {
        DType::I64 => Tensor::from_vec(dims, values),
        DType::I32 => Tensor::from_vec(dims, map(&values, |x| x as i32)?),
        DType::I16 => Tensor::from_vec(dims, map(&values, |x| x as i16)?),
        DType::I8 => Tensor::from_vec(dims, map(&values, |x| x as i8)?),
        DType::U8 => Tensor::from_vec(dims, map(&values, |x| x as u8)?),
        DType::Bool => Tensor::from_bools(dims, &map(&values, |x| x != 0)?),
        DType::F32 => Tensor::from_vec(dims, map(&values, |x| x as f32)?),
        _ => return from_f64(ty, map(&values, |x| x as f64)?),
    };
    Ok(tensor?)
}

fn map<T: Copy, U>(values: &[T], f: impl Fn(T) -> U) -> Result<Vec<U>, LayerError> {
    let mut out = with_room(values.len())?;
    out.extend(values.iter().map(|&x| f(x)));
    Ok(out)
}

/// `x` as `f32`, rounded to odd where inexact. Rounding the result once more, to a format at least
/// two bits narrower, then gives what one rounding of `x` gives (Boldo and Melquiond 2008).
fn round_to_odd(x: f64) -> f32 {
    let y = x as f32;
    let back = f64::from(y);
    if back == x || x.is_nan() || y.to_bits() & 1 == 1 {
        return y;
    }
    // The odd neighbour lies on the side of x.
    let bits = y.to_bits();
    f32::from_bits(if back.abs() < x.abs() { bits + 1 } else { bits - 1 })
}

/// The lowest finite number of a type.
pub(crate) fn lowest(dtype: DType) -> f64 {
    match dtype {
        DType::F16 => f16::MIN.into(),
        DType::Bf16 => bf16::MIN.into(),
        DType::F64 => f64::MIN,
        DType::F32 => f32::MIN.into(),
        integer => int_range(integer).0 as f64,
    }
}

/// The smallest and largest number of an integer type.
pub(crate) fn int_range(dtype: DType) -> (i64, i64) {
    match dtype {
        DType::I32 => (i32::MIN.into(), i32::MAX.into()),
        DType::I16 => (i16::MIN.into(), i16::MAX.into()),
        DType::I8 => (i8::MIN.into(), i8::MAX.into()),
        DType::U8 => (0, u8::MAX.into()),
        DType::Bool => (0, 1),
        _ => (i64::MIN, i64::MAX),
    }
}

/// The larger; NaN if either is.
pub(crate) fn max(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}

/// The smaller; NaN if either is.
pub(crate) fn min(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.min(b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_precision_is_rounded_once() {
        // Just above the tie between 1 and 1 + 2^-10: f32 alone would round it onto the tie.
        let x = 1.0 + 2f64.powi(-11) + 2f64.powi(-40);
        let ty = TensorType::new(DType::F16, &[1]).unwrap();
        let got = from_f64(ty, vec![x]).unwrap();
        assert_eq!(got.to_f64()[..], [1.0 + 2f64.powi(-10)]);
        assert_eq!(from_f64(ty, vec![1e300]).unwrap().to_f64()[..], [f64::INFINITY]);
        assert_eq!(from_f64(ty, vec![-1e-300]).unwrap().to_f64()[..], [-0.0]);
        assert!(from_f64(ty, vec![f64::NAN]).unwrap().to_f64()[0].is_nan());
    }

    #[test]
    fn indices_run_in_row_major_order() {
        let shape = Shape::new(&[2, 3]).unwrap();
        let all = collect(&shape, |i| (i[0], i[1])).unwrap();
        assert_eq!(all, [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]);
        assert_eq!(collect(&Shape::SCALAR, |i| i.len()).unwrap(), [0]);
        assert!(collect(&Shape::new(&[3, 0]).unwrap(), |_| ()).unwrap().is_empty());
    }

    #[test]
    fn memory_that_cannot_be_is_an_error() {
        assert!(matches!(
            with_room::<f64>(isize::MAX as usize / 8),
            Err(LayerError::Tensor(TensorError::Alloc(_)))
        ));
    }
}
