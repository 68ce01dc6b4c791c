//! Mathematical functions of one operand.

use crate::check::Inputs;
use crate::reference::{Operands, from_f64, from_i64};
use crate::{Arg, Layer, LayerError, TensorType};
use depthwise_tensor::{Tensor, erf};

/// A function of one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UnaryFn {
    /// `-x`
    Neg,
    /// `|x|`
    Abs,
    /// `e^x`
    Exp,
    /// Natural logarithm.
    Log,
    /// Square root.
    Sqrt,
    /// `1 / x`
    Reciprocal,
    /// `x * x`
    Square,
    /// `1 / sqrt(x)`
    Rsqrt,
    /// Error function.
    Erf,
    /// Sine.
    Sin,
    /// Cosine.
    Cos,
    /// Largest integer not above.
    Floor,
    /// Smallest integer not below.
    Ceil,
    /// Nearest integer, halves to even.
    Round,
    /// -1, 0 or 1.
    Sign,
    /// Logical negation of truth values.
    Not,
}

/// `y = f(x)`, element by element; the output has the dtype of the input.
#[derive(Clone, Debug, PartialEq)]
pub struct Unary {
    /// The function.
    pub function: UnaryFn,
}

impl UnaryFn {
    /// Whether the function takes integers too.
    pub const fn takes_ints(self) -> bool {
        matches!(self, UnaryFn::Neg | UnaryFn::Abs | UnaryFn::Sign | UnaryFn::Square)
    }

    /// The function of a float; a truth value as 0 or 1.
    pub fn eval(self, x: f64) -> f64 {
        match self {
            UnaryFn::Neg => -x,
            UnaryFn::Abs => x.abs(),
            UnaryFn::Exp => x.exp(),
            UnaryFn::Log => x.ln(),
            UnaryFn::Sqrt => x.sqrt(),
            UnaryFn::Reciprocal => 1.0 / x,
            UnaryFn::Square => x * x,
            UnaryFn::Rsqrt => 1.0 / x.sqrt(),
            UnaryFn::Erf => erf(x),
            UnaryFn::Sin => x.sin(),
            UnaryFn::Cos => x.cos(),
            UnaryFn::Floor => x.floor(),
            UnaryFn::Ceil => x.ceil(),
            UnaryFn::Round => x.round_ties_even(),
            UnaryFn::Sign if x == 0.0 || x.is_nan() => x,
            UnaryFn::Sign => x.signum(),
            UnaryFn::Not => f64::from(u8::from(x == 0.0)),
        }
    }

    /// Of integers, modulo 2^64.
    fn eval_int(self, x: i64) -> i64 {
        match self {
            UnaryFn::Neg => x.wrapping_neg(),
            UnaryFn::Abs => x.wrapping_abs(),
            UnaryFn::Sign => x.signum(),
            UnaryFn::Square => x.wrapping_mul(x),
            UnaryFn::Not => i64::from(x == 0),
            _ => x,
        }
    }
}

impl Layer for Unary {
    fn kind(&self) -> &'static str {
        "Unary"
    }

    fn infer(&self, inputs: &[Option<Arg<'_>>]) -> Result<Vec<TensorType>, LayerError> {
        let inputs = Inputs::new(self.kind(), inputs, "1", &[0], 1)?;
        let x = match self.function {
            UnaryFn::Not => inputs.bools(0)?,
            function if function.takes_ints() => inputs.number(0)?,
            _ => inputs.float(0)?,
        };
        Ok(vec![x.ty])
    }

    fn reference(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, LayerError> {
        let operands = Operands::new(self, inputs)?;
        let (x, ty) = (operands.get(0), operands.output());
        let y = if ty.dtype.is_float() {
            from_f64(ty, x.to_f64().iter().map(|&x| self.function.eval(x)).collect())?
        } else {
            from_i64(ty, x.to_i64().iter().map(|&x| self.function.eval_int(x)).collect())?
        };
        Ok(vec![y])
    }
}
