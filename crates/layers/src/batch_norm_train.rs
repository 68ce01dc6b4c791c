//! Batch normalization with the statistics of the batch, and its gradient.

use crate::check::{Inputs, axis, invalid};
use crate::reference::{Operands, collect, from_f64, zeros};
use crate::{Arg, Layer, LayerError, TensorType};
use depthwise_tensor::{Shape, Tensor};

/// Batch normalization in training: `y = (x - mean[c]) / sqrt(var[c] + epsilon) * gamma[c] +
/// beta[c]`, where `mean` and `var` (the biased variance) are those of `x` over every axis but the
/// channels' (Ioffe and Szegedy 2015).
///
/// Inputs: x, gamma, beta; the last two of shape `C` and may be left out (1 and 0). Outputs: y,
/// mean and var. The average over many batches that [`BatchNorm`](crate::BatchNorm) takes is the
/// caller's.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchNormTrain {
    /// Added to the variance.
    pub epsilon: f32,
    /// The channel axis, negative from the end.
    pub axis: i64,
}

/// Gradient of a [`BatchNormTrain`] with `m` elements per channel, mean and variance depending on x:
///
/// `dbeta = sum dy`, `dgamma = sum dy * h`, `dx = gamma / sqrt(var + epsilon) * (dy - dbeta / m - h *
/// dgamma / m)`, where `h = (x - mean) / sqrt(var + epsilon)`.
///
/// Inputs: dy, x, gamma (may be left out), mean, var. Outputs: dx, dgamma, dbeta.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchNormGrad {
    /// Added to the variance.
    pub epsilon: f32,
    /// The channel axis, negative from the end.
    pub axis: i64,
}

/// For every element of a shape, its channel.
fn channels(shape: &Shape, axis: usize) -> Result<Vec<usize>, LayerError> {
    collect(shape, |index| index[axis])
}

/// The channel axis and the type of one value per channel.
fn per_channel(
    kind: &'static str,
    x: TensorType,
    at: i64,
) -> Result<(usize, TensorType), LayerError> {
    let axis = axis(kind, &x.shape, at)?;
    if x.shape.elements() == 0 {
        return Err(invalid!(kind, "x is {}: there is nothing to take statistics of", x.shape));
    }
    Ok((axis, TensorType::new(x.dtype, &[x.shape[axis]])?))
}

impl Layer for BatchNormTrain {
    fn kind(&self) -> &'static str {
        "BatchNormTrain"
    }

    fn infer(&self, inputs: &[Option<Arg<'_>>]) -> Result<Vec<TensorType>, LayerError> {
        let inputs = Inputs::new(self.kind(), inputs, "1 to 3", &[0], 3)?;
        let x = inputs.float(0)?.ty;
        let (_, channel) = per_channel(self.kind(), x, self.axis)?;
        for i in 1..3 {
            inputs.opt_weight(i)?;
            inputs.expect_shape(i, &channel.shape)?;
        }
        Ok(vec![x, channel, channel])
    }

    fn reference(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, LayerError> {
        let operands = Operands::new(self, inputs)?;
        let (ty, channel) = (operands.outputs[0], operands.outputs[1]);
        let of = channels(&ty.shape, axis(self.kind(), &ty.shape, self.axis)?)?;
        let x = operands.get(0).to_f64();
        let count = (x.len() / channel.shape.elements()) as f64;
        let mut mean = zeros(channel.shape.elements())?;
        x.iter().zip(&of).for_each(|(x, &c)| mean[c] += x / count);
        let mut var = zeros(channel.shape.elements())?;
        x.iter().zip(&of).for_each(|(x, &c)| var[c] += (x - mean[c]) * (x - mean[c]) / count);
        let gamma = operands.opt(1).map(Tensor::to_f64);
        let beta = operands.opt(2).map(Tensor::to_f64);
        let normal = |(x, &c): (&f64, &usize)| {
            let h = (x - mean[c]) / (var[c] + f64::from(self.epsilon)).sqrt();
            h * gamma.as_ref().map_or(1.0, |g| g[c]) + beta.as_ref().map_or(0.0, |b| b[c])
        };
        let y = x.iter().zip(&of).map(normal).collect();
        Ok(vec![from_f64(ty, y)?, from_f64(channel, mean)?, from_f64(channel, var)?])
    }
}

impl Layer for BatchNormGrad {
    fn kind(&self) -> &'static str {
        "BatchNormGrad"
    }

    fn infer(&self, inputs: &[Option<Arg<'_>>]) -> Result<Vec<TensorType>, LayerError> {
        let inputs = Inputs::new(self.kind(), inputs, "5", &[0, 1, 3, 4], 5)?;
        let (dy, x) = (inputs.float(0)?.ty, inputs.like_first(1)?.ty);
        inputs.expect_shape(1, &dy.shape)?;
        let (_, channel) = per_channel(self.kind(), x, self.axis)?;
        for i in 2..5 {
            inputs.opt_weight(i)?;
            inputs.expect_shape(i, &channel.shape)?;
        }
        Ok(vec![x, channel, channel])
    }

    fn reference(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, LayerError> {
        let operands = Operands::new(self, inputs)?;
        let (ty, channel) = (operands.outputs[0], operands.outputs[1]);
        let of = channels(&ty.shape, axis(self.kind(), &ty.shape, self.axis)?)?;
        let (dy, x) = (operands.get(0).to_f64(), operands.get(1).to_f64());
        let gamma = operands.opt(2).map(Tensor::to_f64);
        let (mean, var) = (operands.get(3).to_f64(), operands.get(4).to_f64());
        let count = (x.len() / channel.shape.elements()) as f64;
        let scale: Vec<f64> =
            var.iter().map(|v| 1.0 / (v + f64::from(self.epsilon)).sqrt()).collect();
        let h: Vec<f64> = x.iter().zip(&of).map(|(x, &c)| (x - mean[c]) * scale[c]).collect();
        let mut dgamma = zeros(channel.shape.elements())?;
        let mut dbeta = zeros(channel.shape.elements())?;
        for ((dy, h), &c) in dy.iter().zip(&h).zip(&of) {
            dgamma[c] += dy * h;
            dbeta[c] += dy;
        }
        let dx = dy.iter().zip(&h).zip(&of).map(|((dy, h), &c)| {
            let gamma = gamma.as_ref().map_or(1.0, |g| g[c]);
            gamma * scale[c] * (dy - dbeta[c] / count - h * dgamma[c] / count)
        });
        let dx = dx.collect();
        Ok(vec![from_f64(ty, dx)?, from_f64(channel, dgamma)?, from_f64(channel, dbeta)?])
    }
}
