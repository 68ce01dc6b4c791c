//! Choice by a mask.

use crate::check::Inputs;
use crate::reference::{Operands, broadcast_position, collect, with_room};
use crate::{Arg, Layer, LayerError, TensorType};
use bytes::Bytes;
use depthwise_tensor::{Tensor, broadcast};

/// `y = a where condition else b`, all three broadcast to a common shape (ONNX `Where`).
/// Inputs: condition (truth values), a, b.
#[derive(Clone, Debug, PartialEq)]
pub struct Select;

impl Layer for Select {
    fn kind(&self) -> &'static str {
        "Select"
    }

    fn infer(&self, inputs: &[Option<Arg<'_>>]) -> Result<Vec<TensorType>, LayerError> {
        let inputs = Inputs::new(self.kind(), inputs, "3", &[0, 1, 2], 3)?;
        let (condition, a) = (inputs.bools(0)?.ty, inputs.any(1)?.ty);
        inputs.opt_like(2, 1)?;
        let b = inputs.any(2)?.ty;
        let shape = broadcast(&condition.shape, &broadcast(&a.shape, &b.shape)?)?;
        Ok(vec![TensorType { dtype: a.dtype, shape }])
    }

    fn reference(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, LayerError> {
        let operands = Operands::new(self, inputs)?;
        let ty = operands.output();
        let [condition, a, b] = [0, 1, 2].map(|i| operands.get(i));
        let size = ty.dtype.size_bytes();
        let mut bytes: Vec<u8> = with_room(ty.bytes())?;
        let chosen = collect(&ty.shape, |index| {
            let chosen = if condition.bytes()[broadcast_position(condition.shape(), index)] != 0 {
                a
            } else {
                b
            };
            (chosen, broadcast_position(chosen.shape(), index))
        })?;
        for (tensor, at) in chosen {
            bytes.extend_from_slice(&tensor.bytes()[at * size..(at + 1) * size]);
        }
        Ok(vec![Tensor::new(ty.dtype, ty.shape, Bytes::from(bytes))?])
    }
}
