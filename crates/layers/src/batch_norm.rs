//! Batch normalization with frozen statistics.

use crate::check::{Inputs, axis};
use crate::reference::{Operands, collect, from_f64, position};
use crate::{Arg, Layer, LayerError, TensorType};
use depthwise_tensor::Tensor;
use std::ops::Range;

/// `y = (x - mean[c]) / sqrt(var[c] + epsilon) * gamma[c] + beta[c]` along the channel axis
/// (Ioffe and Szegedy 2015).
///
/// Inputs: x, gamma, beta, mean, var; the last four of shape `C`. gamma and beta may be left out
/// (1 and 0).
#[derive(Clone, Debug, PartialEq)]
pub struct BatchNorm {
    /// Added to the variance.
    pub epsilon: f32,
    /// The channel axis: -1 for NHWC, 1 for what comes from an NCHW file.
    pub axis: i64,
}

impl Layer for BatchNorm {
    fn kind(&self) -> &'static str {
        "BatchNorm"
    }

    fn infer(&self, inputs: &[Option<Arg<'_>>]) -> Result<Vec<TensorType>, LayerError> {
        let inputs = Inputs::new(self.kind(), inputs, "5", &[0, 3, 4], 5)?;
        let x = inputs.float(0)?.ty;
        let channels = x.shape[axis(self.kind(), &x.shape, self.axis)?];
        for i in 1..5 {
            inputs.opt_weight(i)?;
            inputs.expect_shape(i, &[channels])?;
        }
        Ok(vec![x])
    }

    fn weights(&self) -> Range<usize> {
        1..3
    }

    fn reference(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, LayerError> {
        let operands = Operands::new(self, inputs)?;
        let ty = operands.output();
        let axis = axis(self.kind(), &ty.shape, self.axis)?;
        let x = operands.get(0).to_f64();
        let gamma = operands.opt(1).map(Tensor::to_f64);
        let beta = operands.opt(2).map(Tensor::to_f64);
        let (mean, var) = (operands.get(3).to_f64(), operands.get(4).to_f64());
        let y = collect(&ty.shape, |index| {
            let c = index[axis];
            let deviation = (var[c] + f64::from(self.epsilon)).sqrt();
            let normal = (x[position(&ty.shape, index)] - mean[c]) / deviation;
            normal * gamma.as_ref().map_or(1.0, |g| g[c]) + beta.as_ref().map_or(0.0, |b| b[c])
        })?;
        Ok(vec![from_f64(ty, y)?])
    }
}
