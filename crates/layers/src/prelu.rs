//! Leaky ReLU with learned slopes.

use crate::check::{Inputs, invalid};
use crate::reference::{Operands, broadcast_position, collect, from_f64, position};
use crate::{Arg, Layer, LayerError, TensorType};
use depthwise_tensor::{Tensor, broadcast};
use std::ops::Range;

/// `y = x` where positive, else `slope * x`. Inputs: x, slope; slope broadcasts to x (He et al.
/// 2015).
#[derive(Clone, Debug, PartialEq)]
pub struct PRelu;

impl Layer for PRelu {
    fn kind(&self) -> &'static str {
        "PRelu"
    }

    fn infer(&self, inputs: &[Option<Arg<'_>>]) -> Result<Vec<TensorType>, LayerError> {
        let inputs = Inputs::new(self.kind(), inputs, "2", &[0, 1], 2)?;
        let (x, slope) = (inputs.float(0)?.ty, inputs.like_first(1)?.ty);
        if broadcast(&x.shape, &slope.shape)? != x.shape {
            return Err(invalid!(
                self.kind(),
                "slope {} does not broadcast to x {}",
                slope.shape,
                x.shape
            ));
        }
        Ok(vec![x])
    }

    fn weights(&self) -> Range<usize> {
        1..2
    }

    fn reference(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, LayerError> {
        let operands = Operands::new(self, inputs)?;
        let ty = operands.output();
        let (x, slope) = (operands.get(0).to_f64(), operands.get(1).to_f64());
        let slope_shape = operands.get(1).shape();
        let y = collect(&ty.shape, |index| {
            let x = x[position(&ty.shape, index)];
            if x > 0.0 { x } else { x * slope[broadcast_position(slope_shape, index)] }
        })?;
        Ok(vec![from_f64(ty, y)?])
    }
}
