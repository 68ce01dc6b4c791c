//! The extents of a tensor, as a tensor.

use crate::check::Inputs;
use crate::reference::Operands;
use crate::{Arg, Layer, LayerError, TensorType};
use depthwise_tensor::{Shape, Tensor};

/// `i64` extents of x from axis `start` up to `end` (ONNX `Shape`); negative from the end,
/// clamped.
#[derive(Clone, Debug, PartialEq)]
pub struct ShapeOf {
    /// First axis.
    pub start: i64,
    /// Past the last axis; `None` means to the end.
    pub end: Option<i64>,
}

impl ShapeOf {
    /// The chosen extents of `x`.
    pub fn extents(&self, x: &Shape) -> Tensor {
        let rank = x.rank() as i64;
        let clamp = |axis: i64| {
            let axis = if axis < 0 { axis.saturating_add(rank) } else { axis };
            axis.clamp(0, rank) as usize
        };
        let (start, end) = (clamp(self.start), self.end.map_or(x.rank(), clamp));
        let chosen = x.get(start..end).unwrap_or_default();
        let extents: Vec<i64> = chosen.iter().map(|&d| d as i64).collect();
        Tensor::from_vec(&[extents.len()], extents).expect("a list of its own length")
    }
}

impl Layer for ShapeOf {
    fn kind(&self) -> &'static str {
        "ShapeOf"
    }

    fn infer(&self, inputs: &[Option<Arg<'_>>]) -> Result<Vec<TensorType>, LayerError> {
        let inputs = Inputs::new(self.kind(), inputs, "1", &[0], 1)?;
        Ok(vec![TensorType::of(&self.extents(&inputs.any(0)?.ty.shape))])
    }

    fn reference(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, LayerError> {
        let operands = Operands::new(self, inputs)?;
        Ok(vec![self.extents(operands.get(0).shape())])
    }
}
