//! Change of element type.

use crate::check::Inputs;
use crate::reference::{Operands, from_f64, from_i64};
use crate::{Arg, Layer, LayerError, TensorType};
use depthwise_tensor::{DType, Tensor};

/// Every element converted to another type: floats to integers truncate toward zero and saturate
/// (NaN gives 0), integers to narrower ones keep the low bits, to truth values non-zero is true,
/// narrower floats round to nearest even.
#[derive(Clone, Debug, PartialEq)]
pub struct Cast {
    /// The type to convert to.
    pub to: DType,
}

impl Layer for Cast {
    fn kind(&self) -> &'static str {
        "Cast"
    }

    fn infer(&self, inputs: &[Option<Arg<'_>>]) -> Result<Vec<TensorType>, LayerError> {
        let inputs = Inputs::new(self.kind(), inputs, "1", &[0], 1)?;
        Ok(vec![TensorType { dtype: self.to, shape: inputs.any(0)?.ty.shape }])
    }

    fn reference(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, LayerError> {
        let operands = Operands::new(self, inputs)?;
        let x = operands.get(0);
        let y = if x.dtype().is_float() {
            from_f64(operands.output(), x.to_f64().into_owned())?
        } else {
            from_i64(operands.output(), x.to_i64().into_owned())?
        };
        Ok(vec![y])
    }
}
