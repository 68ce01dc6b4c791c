//! Broadcasting made explicit.

use crate::check::Inputs;
use crate::reference::{Operands, broadcast_position, rearrange};
use crate::{Arg, Layer, LayerError, TensorType};
use depthwise_tensor::{Shape, Tensor, broadcast};

/// x broadcast with a shape (NumPy's rules, so an extent 1 in the shape keeps that of x). Inputs:
/// x; shape, `i64`.
#[derive(Clone, Debug, PartialEq)]
pub struct Expand;

impl Layer for Expand {
    fn kind(&self) -> &'static str {
        "Expand"
    }

    fn infer(&self, inputs: &[Option<Arg<'_>>]) -> Result<Vec<TensorType>, LayerError> {
        let inputs = Inputs::new(self.kind(), inputs, "2", &[0, 1], 2)?;
        let x = inputs.any(0)?.ty;
        let shape = broadcast(&x.shape, &Shape::new(&inputs.extents(1)?)?)?;
        Ok(vec![TensorType { dtype: x.dtype, shape }])
    }

    fn reference(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, LayerError> {
        let operands = Operands::new(self, inputs)?;
        let x = operands.get(0);
        let from = |index: &[usize]| Some(broadcast_position(x.shape(), index));
        Ok(vec![rearrange(x, operands.output().shape, &[], from)?])
    }
}
