//! A tensor repeated.

use crate::check::{Inputs, invalid};
use crate::reference::{Operands, position, rearrange};
use crate::{Arg, Layer, LayerError, TensorType};
use depthwise_tensor::Tensor;

/// x repeated along every axis. Inputs: x; repeats, `i64` of the rank of x.
#[derive(Clone, Debug, PartialEq)]
pub struct Tile;

impl Layer for Tile {
    fn kind(&self) -> &'static str {
        "Tile"
    }

    fn infer(&self, inputs: &[Option<Arg<'_>>]) -> Result<Vec<TensorType>, LayerError> {
        let inputs = Inputs::new(self.kind(), inputs, "2", &[0, 1], 2)?;
        let x = inputs.any(0)?.ty;
        let repeats = inputs.extents(1)?;
        if repeats.len() != x.shape.rank() {
            return Err(invalid!(
                self.kind(),
                "{} repeats for {} dimensions",
                repeats.len(),
                x.shape.rank()
            ));
        }
        let dims = x.shape.iter().zip(&repeats).map(|(&d, &r)| d.saturating_mul(r));
        Ok(vec![TensorType::new(x.dtype, &dims.collect::<Vec<_>>())?])
    }

    fn reference(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, LayerError> {
        let operands = Operands::new(self, inputs)?;
        let x = operands.get(0);
        let y = rearrange(x, operands.output().shape, &[], |index| {
            let source: Vec<usize> =
                index.iter().zip(x.shape().iter()).map(|(i, d)| i % d).collect();
            Some(position(x.shape(), &source))
        })?;
        Ok(vec![y])
    }
}
