//! Random omission, which only training does.

use crate::check::{Inputs, invalid};
use crate::reference::Operands;
use crate::{Arg, Layer, LayerError, TensorType};
use depthwise_tensor::Tensor;

/// Dropout (Srivastava et al. 2014) as a network holds it: outside training it gives back its
/// input. In training each element is dropped with probability `rate` and the others are divided by
/// `1 - rate`; the mask is then an operand, so that a run can be repeated to the bit.
#[derive(Clone, Debug, PartialEq)]
pub struct Dropout {
    /// Probability that an element is dropped: from 0 up to, not including, 1.
    pub rate: f32,
}

impl Layer for Dropout {
    fn kind(&self) -> &'static str {
        "Dropout"
    }

    fn infer(&self, inputs: &[Option<Arg<'_>>]) -> Result<Vec<TensorType>, LayerError> {
        let inputs = Inputs::new(self.kind(), inputs, "1", &[0], 1)?;
        if !(0.0..1.0).contains(&self.rate) {
            return Err(invalid!(self.kind(), "a rate of {} is not in 0..1", self.rate));
        }
        Ok(vec![inputs.float(0)?.ty])
    }

    fn reference(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, LayerError> {
        Ok(vec![Operands::new(self, inputs)?.get(0).clone()])
    }
}
