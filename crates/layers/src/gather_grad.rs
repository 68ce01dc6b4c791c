//! Gradient of a choice by indices.

use crate::check::{Inputs, axis, invalid};
use crate::reference::{Operands, from_f64, zeros};
use crate::{Arg, Gather, Layer, LayerError, TensorType};
use depthwise_tensor::{DType, Tensor};

/// Gradient of a [`Gather`] with respect to x: the gradients of all that was taken from a place are
/// added up there. For axis 0 and a table of vectors: the gradient of an embedding.
///
/// Inputs: dy, indices (`i64` or `i32`, negative from the end).
#[derive(Clone, Debug, PartialEq)]
pub struct GatherGrad {
    /// The choice.
    pub gather: Gather,
    /// Extents of x.
    pub shape: Vec<usize>,
}

impl Layer for GatherGrad {
    fn kind(&self) -> &'static str {
        "GatherGrad"
    }

    fn infer(&self, inputs: &[Option<Arg<'_>>]) -> Result<Vec<TensorType>, LayerError> {
        let inputs = Inputs::new(self.kind(), inputs, "2", &[0, 1], 2)?;
        let dy = inputs.float(0)?.ty;
        let indices = inputs.typed(1, "i64 or i32", |d| matches!(d, DType::I64 | DType::I32))?.ty;
        let x = TensorType::new(dy.dtype, &self.shape)?;
        let axis = axis(self.kind(), &x.shape, self.gather.axis)?;
        let want: Vec<usize> =
            [&self.shape[..axis], indices.shape.dims(), &self.shape[axis + 1..]].concat();
        if dy.shape.dims() != want {
            return Err(invalid!(self.kind(), "dy is {}, not {want:?}", dy.shape));
        }
        Ok(vec![x])
    }

    fn reference(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, LayerError> {
        let operands = Operands::new(self, inputs)?;
        let (dy, indices) = (operands.get(0).to_f64(), operands.get(1).to_i64());
        let ty = operands.output();
        let axis = axis(self.kind(), &ty.shape, self.gather.axis)?;
        let extent = self.shape[axis];
        let inner: usize = self.shape[axis + 1..].iter().product();
        let outer: usize = self.shape[..axis].iter().product();
        let mut dx = zeros(ty.shape.elements())?;
        for o in 0..outer {
            for (i, &index) in indices.iter().enumerate() {
                let at = if index < 0 { index.checked_add(extent as i64) } else { Some(index) };
                let at = at.and_then(|at| usize::try_from(at).ok()).filter(|&at| at < extent);
                let Some(at) = at else {
                    let kind = self.kind();
                    return Err(invalid!(kind, "index {index} is out of range for {extent}"));
                };
                for j in 0..inner {
                    dx[(o * extent + at) * inner + j] += dy[(o * indices.len() + i) * inner + j];
                }
            }
        }
        Ok(vec![from_f64(ty, dx)?])
    }
}
