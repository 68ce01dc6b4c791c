//! Exponentials normalised to sum 1, of eight bits.

use super::{Requantize, bytes};
use crate::check::{Inputs, axis, invalid};
use crate::reference::{Operands, from_i64};
use crate::{Arg, Layer, LayerError, TensorType};
use depthwise_tensor::Tensor;

/// `y = requantize(e * (1 / (total * y_scale)))` along an axis, where `e` is `exp(-x_scale * (max - x))`,
/// computed in `f64` and rounded to `f32`, and the total is the sum of all `e` in `f32`, in order.
/// Input: x, `i8` or `u8`.
#[derive(Clone, Debug, PartialEq)]
pub struct QSoftmax {
    /// The axis, negative from the end.
    pub axis: i64,
    /// Scale of x.
    pub input_scale: f32,
    /// Scale of y.
    pub output_scale: f32,
    /// The result.
    pub output: Requantize,
}

impl QSoftmax {
    /// `e` of a distance from the largest.
    fn exponential(&self, distance: i64) -> f32 {
        (-(distance as f64) * f64::from(self.input_scale)).exp() as f32
    }
}

impl Layer for QSoftmax {
    fn kind(&self) -> &'static str {
        "QSoftmax"
    }

    fn infer(&self, inputs: &[Option<Arg<'_>>]) -> Result<Vec<TensorType>, LayerError> {
        let inputs = Inputs::new(self.kind(), inputs, "1", &[0], 1)?;
        self.output.check(self.kind())?;
        let positive = |scale: f32| scale.is_finite() && scale > 0.0;
        if !positive(self.input_scale) || !positive(self.output_scale) {
            let (input, output) = (self.input_scale, self.output_scale);
            return Err(invalid!(self.kind(), "scales {input} and {output} must be positive"));
        }
        let shape = bytes(&inputs, 0)?.ty.shape;
        axis(self.kind(), &shape, self.axis)?;
        Ok(vec![TensorType { dtype: self.output.dtype, shape }])
    }

    fn reference(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, LayerError> {
        let operands = Operands::new(self, inputs)?;
        let x = operands.get(0).to_i64();
        let ty = operands.output();
        let axis = axis(self.kind(), &ty.shape, self.axis)?;
        let (extent, stride) = (ty.shape[axis], ty.shape.strides()[axis]);
        let mut y = x.to_vec();
        for first in (0..y.len()).filter(|first| first / stride % extent == 0) {
            let row = || (0..extent).map(|i| first + i * stride);
            let top = row().map(|at| x[at]).max().unwrap_or(0);
            let total = row().fold(0.0, |sum: f32, at| sum + self.exponential(top - x[at]));
            let factor = 1.0 / (total * self.output_scale);
            for at in row() {
                y[at] = self.output.round(self.exponential(top - x[at]) * factor);
            }
        }
        Ok(vec![from_i64(ty, y)?])
    }
}
