//! Functions of two operands of unlike scales.

use super::{Requantize, bytes};
use crate::check::{Inputs, invalid};
use crate::reference::{Operands, broadcast_position, collect, from_i64};
use crate::{Arg, Layer, LayerError, TensorType};
use depthwise_tensor::{Tensor, broadcast};

/// A function of two numbers of eight bits, with the factors that bring it to the output's scale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum QBinaryFn {
    /// `(a - a_zero) * a_factor + (b - b_zero) * b_factor`: two products and a sum in `f32`, each
    /// rounded. The factors are `a_scale / y_scale` and `b_scale / y_scale`, the second negative
    /// for a difference.
    Sum {
        /// Factor of a.
        a_factor: f32,
        /// Factor of b.
        b_factor: f32,
    },
    /// `((a - a_zero) * (b - b_zero)) * factor`: the first product exact, the second in `f32`. The
    /// factor is `a_scale * b_scale / y_scale`.
    Product {
        /// Factor of the product.
        factor: f32,
    },
}

/// `y = requantize(f(a, b))`, element by element, the operands broadcast to a common shape. Both are
/// `i8` or `u8`, not necessarily the same.
#[derive(Clone, Debug, PartialEq)]
pub struct QBinary {
    /// The function.
    pub function: QBinaryFn,
    /// What stands for 0 in a.
    pub a_zero: i32,
    /// What stands for 0 in b.
    pub b_zero: i32,
    /// The result.
    pub output: Requantize,
}

impl QBinary {
    /// The result for two elements.
    pub fn eval(&self, a: i64, b: i64) -> i64 {
        let (a, b) = (a - i64::from(self.a_zero), b - i64::from(self.b_zero));
        self.output.round(match self.function {
            QBinaryFn::Sum { a_factor, b_factor } => a as f32 * a_factor + b as f32 * b_factor,
            QBinaryFn::Product { factor } => (a * b) as f32 * factor,
        })
    }
}

impl Layer for QBinary {
    fn kind(&self) -> &'static str {
        "QBinary"
    }

    fn infer(&self, inputs: &[Option<Arg<'_>>]) -> Result<Vec<TensorType>, LayerError> {
        let inputs = Inputs::new(self.kind(), inputs, "2", &[0, 1], 2)?;
        self.output.check(self.kind())?;
        let finite = match self.function {
            QBinaryFn::Sum { a_factor, b_factor } => a_factor.is_finite() && b_factor.is_finite(),
            QBinaryFn::Product { factor } => factor.is_finite(),
        };
        if !finite {
            return Err(invalid!(self.kind(), "{:?} is not finite", self.function));
        }
        let shape = broadcast(&bytes(&inputs, 0)?.ty.shape, &bytes(&inputs, 1)?.ty.shape)?;
        Ok(vec![TensorType { dtype: self.output.dtype, shape }])
    }

    fn reference(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, LayerError> {
        let operands = Operands::new(self, inputs)?;
        let ty = operands.output();
        let (a, b) = (operands.get(0), operands.get(1));
        let (x, y) = (a.to_i64(), b.to_i64());
        let values = collect(&ty.shape, |index| {
            let i = broadcast_position(a.shape(), index);
            self.eval(x[i], y[broadcast_position(b.shape(), index)])
        })?;
        Ok(vec![from_i64(ty, values)?])
    }
}
