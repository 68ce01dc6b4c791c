//! Tensors joined along an axis.

use crate::check::{Inputs, axis, invalid};
use crate::reference::{Operands, with_room};
use crate::{Arg, Layer, LayerError, TensorType};
use bytes::Bytes;
use depthwise_tensor::{Shape, Tensor};

/// All inputs one after the other along `axis`; they agree on every other axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Concat {
    /// The axis, negative from the end.
    pub axis: i64,
}

impl Layer for Concat {
    fn kind(&self) -> &'static str {
        "Concat"
    }

    fn infer(&self, inputs: &[Option<Arg<'_>>]) -> Result<Vec<TensorType>, LayerError> {
        let all: Vec<usize> = (0..inputs.len().max(1)).collect();
        let inputs = Inputs::new(self.kind(), inputs, "1 or more", &all, all.len())?;
        let first = inputs.any(0)?.ty;
        let axis = axis(self.kind(), &first.shape, self.axis)?;
        let mut dims = first.shape.to_vec();
        for &i in &all[1..] {
            let shape = inputs.like_first(i)?.ty.shape;
            let same = |(at, (a, b)): (usize, (&usize, &usize))| at == axis || a == b;
            if shape.rank() != dims.len() || !shape.iter().zip(&dims).enumerate().all(same) {
                return Err(invalid!(
                    self.kind(),
                    "input {i} is {shape}, input 0 is {}; they may differ on axis {axis} only",
                    first.shape
                ));
            }
            dims[axis] = dims[axis].saturating_add(shape[axis]);
        }
        Ok(vec![TensorType { dtype: first.dtype, shape: Shape::new(&dims)? }])
    }

    fn reference(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, LayerError> {
        let ty = Operands::new(self, inputs)?.output();
        let axis = axis(self.kind(), &ty.shape, self.axis)?;
        let outer: usize = ty.shape[..axis].iter().product();
        let mut bytes: Vec<u8> = with_room(ty.bytes())?;
        for o in 0..outer {
            for tensor in inputs.iter().flatten() {
                let chunk = tensor.bytes().len() / outer;
                bytes.extend_from_slice(&tensor.bytes()[o * chunk..(o + 1) * chunk]);
            }
        }
        Ok(vec![Tensor::new(ty.dtype, ty.shape, Bytes::from(bytes))?])
    }
}
