//! Elements chosen by index.

use crate::check::{Inputs, axis, invalid};
use crate::reference::{Operands, position, rearrange};
use crate::{Arg, Layer, LayerError, TensorType};
use depthwise_tensor::{DType, Tensor};
use std::ops::Range;

/// `y = x` with `axis` replaced by the dimensions of the indices. Inputs: x, indices (`i64` or
/// `i32`, negative from the end).
#[derive(Clone, Debug, PartialEq)]
pub struct Gather {
    /// The axis, negative from the end.
    pub axis: i64,
}

impl Layer for Gather {
    fn kind(&self) -> &'static str {
        "Gather"
    }

    fn infer(&self, inputs: &[Option<Arg<'_>>]) -> Result<Vec<TensorType>, LayerError> {
        let inputs = Inputs::new(self.kind(), inputs, "2", &[0, 1], 2)?;
        let x = inputs.any(0)?.ty;
        let is_index = |d| matches!(d, DType::I64 | DType::I32);
        let indices = inputs.typed(1, "i64 or i32", is_index)?;
        let axis = axis(self.kind(), &x.shape, self.axis)?;
        if let Some(value) = indices.value {
            let extent = x.shape[axis] as i64;
            if let Some(i) = value.to_i64().iter().find(|i| !(-extent..extent).contains(i)) {
                return Err(invalid!(
                    self.kind(),
                    "index {i} is out of range for extent {extent} of axis {axis}"
                ));
            }
        }
        let (lead, tail) = (&x.shape[..axis], &x.shape[axis + 1..]);
        let dims = [lead, indices.ty.shape.dims(), tail].concat();
        Ok(vec![TensorType::new(x.dtype, &dims)?])
    }

    /// A table that is constant is an embedding.
    fn weights(&self) -> Range<usize> {
        0..1
    }

    fn reference(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, LayerError> {
        let operands = Operands::new(self, inputs)?;
        let (x, indices) = (operands.get(0), operands.get(1));
        let chosen = indices.to_i64();
        let axis = axis(self.kind(), x.shape(), self.axis)?;
        let extent = x.shape()[axis] as i64;
        let end = axis + indices.shape().rank();
        let y = rearrange(x, operands.output().shape, &[], |index| {
            let i = chosen[position(indices.shape(), &index[axis..end])];
            let i = if i < 0 { i + extent } else { i } as usize;
            let source = [&index[..axis], &[i], &index[end..]].concat();
            Some(position(x.shape(), &source))
        })?;
        Ok(vec![y])
    }
}
