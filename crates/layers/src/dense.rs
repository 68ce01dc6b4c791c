//! Fully connected layer.

use crate::check::{Inputs, invalid};
use crate::layer::product;
use crate::reference::{Operands, collect, from_f64, position};
use crate::{Arg, Layer, LayerError, TensorType};
use depthwise_tensor::{Activation, Tensor};
use std::ops::Range;

/// `y[.., o] = act(b[o] + sum over i of x[.., i] * w[o, i])`
///
/// | input | shape |
/// |---|---|
/// | x | `.., I`, of rank 1 or more |
/// | w | `O,I` |
/// | b, may be left out | `O` |
#[derive(Clone, Debug, PartialEq)]
pub struct Dense {
    /// Applied last.
    pub activation: Activation,
}

impl Layer for Dense {
    fn kind(&self) -> &'static str {
        "Dense"
    }

    fn infer(&self, inputs: &[Option<Arg<'_>>]) -> Result<Vec<TensorType>, LayerError> {
        let inputs = Inputs::new(self.kind(), inputs, "2 or 3", &[0, 1], 3)?;
        let (x, w) = (inputs.float(0)?.ty, inputs.weight(1)?.ty.shape);
        let (&[outputs, depth], Some((&last, lead))) = (w.dims(), x.shape.split_last()) else {
            return Err(invalid!(
                self.kind(),
                "x is {} and the weights are {w}; they must have 1 or more and 2 dimensions",
                x.shape
            ));
        };
        if depth != last {
            return Err(invalid!(self.kind(), "weights {w} take {depth} features, x has {last}"));
        }
        inputs.opt_weight(2)?;
        inputs.expect_shape(2, &[outputs])?;
        let dims: Vec<usize> = lead.iter().copied().chain([outputs]).collect();
        Ok(vec![TensorType::new(x.dtype, &dims)?])
    }

    fn macs(&self, inputs: &[Option<TensorType>], outputs: &[TensorType]) -> u64 {
        let (Some(Some(w)), [y]) = (inputs.get(1), outputs) else { return 0 };
        product(y.shape.elements(), w.shape.get(1..).unwrap_or_default())
    }

    fn weights(&self) -> Range<usize> {
        1..3
    }

    fn reference(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, LayerError> {
        let operands = Operands::new(self, inputs)?;
        let (x, w) = (operands.get(0).to_f64(), operands.get(1).to_f64());
        let bias = operands.opt(2).map(Tensor::to_f64);
        let depth = operands.get(1).shape()[1];
        let outputs = operands.get(1).shape()[0];
        let ty = operands.output();
        let y = collect(&ty.shape, |index| {
            let o = index[index.len() - 1];
            let row = position(&ty.shape, index) / outputs;
            let mut sum = bias.as_ref().map_or(0.0, |b| b[o]);
            for i in 0..depth {
                sum += x[row * depth + i] * w[o * depth + i];
            }
            self.activation.eval(sum)
        })?;
        Ok(vec![from_f64(ty, y)?])
    }
}
