//! Gradient of an activation.

use crate::check::{Inputs, invalid};
use crate::reference::{Operands, from_f64};
use crate::{Arg, Layer, LayerError, TensorType};
use depthwise_tensor::{Activation, Tensor};

/// `dx = dy * f'`, element by element.
///
/// Inputs: dy, and of the same shape the output y of the activation where that decides the
/// derivative ([`Activation::derivative_from_output`]) and `from_output` is set, else its input x.
/// To keep y alone lets the activation run where x lies.
#[derive(Clone, Debug, PartialEq)]
pub struct ActivateGrad {
    /// The function.
    pub activation: Activation,
    /// Whether the second input is the output of the activation.
    pub from_output: bool,
}

impl Layer for ActivateGrad {
    fn kind(&self) -> &'static str {
        "ActivateGrad"
    }

    fn infer(&self, inputs: &[Option<Arg<'_>>]) -> Result<Vec<TensorType>, LayerError> {
        let inputs = Inputs::new(self.kind(), inputs, "2", &[0, 1], 2)?;
        let dy = inputs.float(0)?.ty;
        inputs.like_first(1)?;
        inputs.expect_shape(1, &dy.shape)?;
        if self.from_output && self.activation.derivative_from_output(0.0).is_none() {
            let name = self.activation;
            return Err(invalid!(self.kind(), "the output of {name} does not decide its slope"));
        }
        Ok(vec![dy])
    }

    fn reference(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, LayerError> {
        let operands = Operands::new(self, inputs)?;
        let (dy, at) = (operands.get(0).to_f64(), operands.get(1).to_f64());
        let slope = |&at: &f64| match self.from_output {
            true => self.activation.derivative_from_output(at).unwrap_or(f64::NAN),
            false => self.activation.derivative(at),
        };
        let dx = dy.iter().zip(at.iter()).map(|(dy, at)| dy * slope(at)).collect();
        Ok(vec![from_f64(operands.output(), dx)?])
    }
}
