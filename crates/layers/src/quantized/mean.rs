//! Averages in integers.

use super::{Requantize, bytes};
use crate::check::{Inputs, invalid};
use crate::reference::{Operands, collect, from_i64, position};
use crate::{Arg, Layer, LayerError, Pool2d, PoolKind, Reduce, ReduceFn, TensorType};
use depthwise_tensor::{DType, Nhwc, Shape, Tensor};

/// An average over windows in integers: `y = requantize(m, sum of (x - x_zero))`, with
/// `m = x_scale / y_scale / cells` computed in `f64` and rounded once to `f32`. Input: x, `i8` or
/// `u8`, `N,H,W,C`.
#[derive(Clone, Debug, PartialEq)]
pub struct QPool2d {
    /// The windows; its kind is an average.
    pub pool: Pool2d,
    /// What stands for 0 in x.
    pub input_zero: i32,
    /// `x_scale / y_scale`
    pub ratio: f64,
    /// The result.
    pub output: Requantize,
}

/// A mean over whole axes in integers; as [`QPool2d`]. Input: x, `i8` or `u8`.
#[derive(Clone, Debug, PartialEq)]
pub struct QMean {
    /// Axes to reduce, negative from the end. Empty means every axis.
    pub axes: Vec<i64>,
    /// Keep reduced axes with extent 1.
    pub keep_dims: bool,
    /// What stands for 0 in x.
    pub input_zero: i32,
    /// `x_scale / y_scale`
    pub ratio: f64,
    /// The result.
    pub output: Requantize,
}

impl QPool2d {
    /// The factor of a sum of so many cells.
    pub fn multiplier(&self, cells: usize) -> f32 {
        (self.ratio / cells.max(1) as f64) as f32
    }
}

impl Layer for QPool2d {
    fn kind(&self) -> &'static str {
        "QPool2d"
    }

    fn infer(&self, inputs: &[Option<Arg<'_>>]) -> Result<Vec<TensorType>, LayerError> {
        let inputs = Inputs::new(self.kind(), inputs, "1", &[0], 1)?;
        self.output.check(self.kind())?;
        if self.pool.kind == PoolKind::Max {
            return Err(invalid!(self.kind(), "the largest of integers needs no scales: Pool2d"));
        }
        let Nhwc { n, h, w, c } = self.pool.geometry(bytes(&inputs, 0)?.ty.shape)?.output;
        Ok(vec![TensorType::new(self.output.dtype, &[n, h, w, c])?])
    }

    fn reference(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, LayerError> {
        let operands = Operands::new(self, inputs)?;
        let shape = *operands.get(0).shape();
        let g = self.pool.geometry(shape)?;
        let x = operands.get(0).to_i64();
        let (rows, cols) = (g.rows(), g.cols());
        let ty = operands.output();
        let y = collect(&ty.shape, |index| {
            let &[n, oh, ow, c] = index else { unreachable!("a picture has four dimensions") };
            let (kh, kw) = (rows.taps(oh), cols.taps(ow));
            let mut sum = 0;
            for ih in (kh.0..kh.1).map(|k| rows.position(oh, k)) {
                for iw in (kw.0..kw.1).map(|k| cols.position(ow, k)) {
                    sum += x[position(&shape, &[n, ih, iw, c])] - i64::from(self.input_zero);
                }
            }
            self.output.apply(sum, self.multiplier(self.pool.cells(&g, oh, ow)))
        })?;
        Ok(vec![from_i64(ty, y)?])
    }
}

impl QMean {
    fn sum(&self) -> Reduce {
        let QMean { axes, keep_dims, .. } = self.clone();
        Reduce { function: ReduceFn::Sum, axes, keep_dims }
    }

    /// The factor of the sums, for an input of this shape.
    ///
    /// # Errors
    /// [`LayerError::Invalid`] where an axis is out of range or named twice.
    pub fn multiplier(&self, x: &Shape) -> Result<f32, LayerError> {
        let (cells, _) = self.sum().resolve(x)?;
        Ok((self.ratio / cells.max(1) as f64) as f32)
    }
}

impl Layer for QMean {
    fn kind(&self) -> &'static str {
        "QMean"
    }

    fn infer(&self, inputs: &[Option<Arg<'_>>]) -> Result<Vec<TensorType>, LayerError> {
        let inputs = Inputs::new(self.kind(), inputs, "1", &[0], 1)?;
        self.output.check(self.kind())?;
        let (_, shape) = self.sum().resolve(&bytes(&inputs, 0)?.ty.shape)?;
        Ok(vec![TensorType { dtype: self.output.dtype, shape }])
    }

    fn reference(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, LayerError> {
        let operands = Operands::new(self, inputs)?;
        let x = operands.get(0);
        let factor = self.multiplier(x.shape())?;
        let shifted = x.to_i64().iter().map(|x| x - i64::from(self.input_zero)).collect();
        let shifted = from_i64(TensorType { dtype: DType::I64, shape: *x.shape() }, shifted)?;
        let sums = self.sum().reference(&[Some(&shifted)])?;
        let y = sums[0].to_i64().iter().map(|&sum| self.output.apply(sum, factor)).collect();
        Ok(vec![from_i64(operands.output(), y)?])
    }
}
