//! Interpolation of eight bits.

use super::{Requantize, bytes};
use crate::check::{Inputs, invalid};
use crate::reference::{Operands, collect, from_i64, position};
use crate::{Arg, Layer, LayerError, Resize, ResizeAxis, TensorType};
use depthwise_tensor::{DType, Shape, Tensor};

/// Interpolation of a picture: `y = requantize(sum over kh of wr[kh] * (sum over kw of wc[kw] *
/// (x - x_zero)) * factor)`, over the samples of [`Resize::taps`], weights rounded to `f32`, every
/// product and sum one `f32` operation in order.
///
/// | input | shape |
/// |---|---|
/// | x, `i8` or `u8` | `N,H,W,C` |
/// | sizes and scales | as of [`Resize`]; only rows and columns change |
#[derive(Clone, Debug, PartialEq)]
pub struct QResize {
    /// The samples.
    pub resize: Resize,
    /// What stands for 0 in x.
    pub input_zero: i32,
    /// `x_scale / y_scale`
    pub ratio: f64,
    /// The result.
    pub output: Requantize,
}

impl QResize {
    /// Rows and columns.
    ///
    /// # Errors
    /// [`LayerError::Invalid`] where x is no picture, or another axis changes.
    pub fn resolve(
        &self,
        x: &Shape,
        sizes: Option<&[i64]>,
        scales: Option<&[f32]>,
    ) -> Result<[ResizeAxis; 2], LayerError> {
        let axes = self.resize.resolve(x, sizes, scales)?;
        match axes[..] {
            [n, rows, cols, c] if n.is_identity() && c.is_identity() => Ok([rows, cols]),
            _ => Err(invalid!(self.kind(), "{x} is no picture whose rows and columns change")),
        }
    }
}

impl Layer for QResize {
    fn kind(&self) -> &'static str {
        "QResize"
    }

    fn infer(&self, inputs: &[Option<Arg<'_>>]) -> Result<Vec<TensorType>, LayerError> {
        self.output.check(self.kind())?;
        let checked = Inputs::new(self.kind(), inputs, "2 or 3", &[0], 3)?;
        let x = bytes(&checked, 0)?.ty.shape;
        // The extents are those of real numbers.
        let mut real = inputs.to_vec();
        real[0] = Some(Arg::of_type(TensorType { dtype: DType::F32, shape: x }));
        let shape = self.resize.infer(&real)?[0].shape;
        let same = |axis: usize| x.get(axis) == shape.get(axis);
        if x.rank() != 4 || !same(0) || !same(3) {
            return Err(invalid!(self.kind(), "{x} is no picture whose rows and columns change"));
        }
        Ok(vec![TensorType { dtype: self.output.dtype, shape }])
    }

    fn reference(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, LayerError> {
        let operands = Operands::new(self, inputs)?;
        let (x, ty) = (operands.get(0), operands.output());
        let sizes = operands.opt(1).map(Tensor::to_i64);
        let scales = operands.opt(2).map(Tensor::to_f32);
        let [rows, cols] = self.resolve(x.shape(), sizes.as_deref(), scales.as_deref())?;
        let xs = x.to_i64();
        let y = collect(&ty.shape, |index| {
            let &[n, oh, ow, c] = index else { unreachable!("a picture has four dimensions") };
            let mut sum = 0f32;
            for (ih, row_weight) in self.resize.taps(&rows, oh) {
                let mut part = 0f32;
                for (iw, weight) in self.resize.taps(&cols, ow) {
                    let at = position(x.shape(), &[n, ih, iw, c]);
                    part += weight as f32 * (xs[at] - i64::from(self.input_zero)) as f32;
                }
                sum += row_weight as f32 * part;
            }
            self.output.round(sum * self.ratio as f32)
        })?;
        Ok(vec![from_i64(ty, y)?])
    }
}
