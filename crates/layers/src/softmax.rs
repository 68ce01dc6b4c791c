//! Exponentials normalised to sum 1.

use crate::check::{Inputs, axis};
use crate::reference::{Operands, from_f64, max};
use crate::{Arg, Layer, LayerError, TensorType};
use depthwise_tensor::Tensor;

/// `y = exp(x - max) / sum(exp(x - max))` along `axis`, or its logarithm.
#[derive(Clone, Debug, PartialEq)]
pub struct Softmax {
    /// The axis, negative from the end.
    pub axis: i64,
    /// Give the logarithm instead (ONNX `LogSoftmax`).
    pub log: bool,
}

impl Layer for Softmax {
    fn kind(&self) -> &'static str {
        "Softmax"
    }

    fn infer(&self, inputs: &[Option<Arg<'_>>]) -> Result<Vec<TensorType>, LayerError> {
        let inputs = Inputs::new(self.kind(), inputs, "1", &[0], 1)?;
        let x = inputs.float(0)?.ty;
        axis(self.kind(), &x.shape, self.axis)?;
        Ok(vec![x])
    }

    fn reference(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, LayerError> {
        let operands = Operands::new(self, inputs)?;
        let ty = operands.output();
        let axis = axis(self.kind(), &ty.shape, self.axis)?;
        let x = operands.get(0).to_f64();
        let mut y = x.to_vec();
        let (extent, stride) = (ty.shape[axis], ty.shape.strides()[axis]);
        for first in 0..y.len() {
            if first / stride % extent != 0 {
                continue;
            }
            let row = || (0..extent).map(|i| first + i * stride);
            let top = row().map(|at| x[at]).fold(f64::NEG_INFINITY, max);
            let sum: f64 = row().map(|at| (x[at] - top).exp()).sum();
            for at in row() {
                let shifted = x[at] - top;
                y[at] = if self.log { shifted - sum.ln() } else { shifted.exp() / sum };
            }
        }
        Ok(vec![from_f64(ty, y)?])
    }
}
