//! Activation functions as layers of their own.

use crate::check::Inputs;
use crate::reference::{Operands, from_f64};
use crate::{Arg, Layer, LayerError, TensorType};
use depthwise_tensor::{Activation, Tensor};

/// `y = activation(x)`, element by element.
#[derive(Clone, Debug, PartialEq)]
pub struct Activate {
    /// The function.
    pub activation: Activation,
}

impl Layer for Activate {
    fn kind(&self) -> &'static str {
        "Activate"
    }

    fn infer(&self, inputs: &[Option<Arg<'_>>]) -> Result<Vec<TensorType>, LayerError> {
        let inputs = Inputs::new(self.kind(), inputs, "1", &[0], 1)?;
        Ok(vec![inputs.float(0)?.ty])
    }

    fn reference(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, LayerError> {
        let operands = Operands::new(self, inputs)?;
        let x = operands.get(0).to_f64();
        let y = x.iter().map(|&x| self.activation.eval(x)).collect();
        Ok(vec![from_f64(operands.output(), y)?])
    }
}
