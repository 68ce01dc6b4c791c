//! A tensor of one value.

use crate::check::{Inputs, invalid};
use crate::reference::{Operands, rearrange};
use crate::{Arg, Layer, LayerError, TensorType};
use depthwise_tensor::{Shape, Tensor};

/// A tensor filled with one value. Input: shape, `i64`.
#[derive(Clone, Debug, PartialEq)]
pub struct ConstantOfShape {
    /// The value: one element.
    pub value: Tensor,
}

impl Layer for ConstantOfShape {
    fn kind(&self) -> &'static str {
        "ConstantOfShape"
    }

    fn infer(&self, inputs: &[Option<Arg<'_>>]) -> Result<Vec<TensorType>, LayerError> {
        let inputs = Inputs::new(self.kind(), inputs, "1", &[0], 1)?;
        if self.value.elements() != 1 {
            return Err(invalid!(
                self.kind(),
                "the value must have 1 element, but has {}",
                self.value.elements()
            ));
        }
        let shape = Shape::new(&inputs.extents(0)?)?;
        Ok(vec![TensorType { dtype: self.value.dtype(), shape }])
    }

    fn reference(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, LayerError> {
        let ty = Operands::new(self, inputs)?.output();
        Ok(vec![rearrange(&self.value, ty.shape, &[], |_| Some(0))?])
    }
}
