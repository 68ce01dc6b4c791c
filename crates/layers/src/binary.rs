//! Functions of two operands, with broadcasting.

use crate::check::{Inputs, invalid};
use crate::reference::{Operands, broadcast_position, collect, from_f64, from_i64, max, min};
use crate::{Arg, Layer, LayerError, TensorType};
use depthwise_tensor::{Activation, DType, Tensor, broadcast};

/// A function of two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BinaryFn {
    /// `a + b`
    Add,
    /// `a - b`
    Sub,
    /// `a * b`
    Mul,
    /// `a / b`; integers truncate toward zero, division by zero is 0 there.
    Div,
    /// The smaller; NaN if either is.
    Min,
    /// The larger; NaN if either is.
    Max,
    /// `a^b`
    Pow,
    /// Remainder with the sign of `b` (ONNX Mod with fmod = 0).
    Mod,
    /// Remainder with the sign of `a` (ONNX Mod with fmod = 1).
    Rem,
    /// `a == b`, a truth value.
    Equal,
    /// `a < b`, a truth value.
    Less,
    /// `a <= b`, a truth value.
    LessOrEqual,
    /// `a > b`, a truth value.
    Greater,
    /// `a >= b`, a truth value.
    GreaterOrEqual,
    /// Both, on truth values.
    And,
    /// Either, on truth values.
    Or,
    /// One but not both, on truth values.
    Xor,
}

/// `y = act(f(a, b))`, element by element, the operands broadcast to a common shape (NumPy's
/// rules). Both operands have the same dtype; comparisons give truth values.
#[derive(Clone, Debug, PartialEq)]
pub struct Binary {
    /// The function.
    pub function: BinaryFn,
    /// Applied last; [`Activation::Identity`] for anything but floats.
    pub activation: Activation,
}

impl BinaryFn {
    /// Whether the result is a truth value whatever the operands are.
    pub const fn is_comparison(self) -> bool {
        use BinaryFn::*;
        matches!(self, Equal | Less | LessOrEqual | Greater | GreaterOrEqual)
    }

    /// Whether the operands are truth values.
    pub const fn is_logical(self) -> bool {
        matches!(self, BinaryFn::And | BinaryFn::Or | BinaryFn::Xor)
    }

    /// The function of two floats; truth values as 0 and 1.
    pub fn eval(self, a: f64, b: f64) -> f64 {
        let truth = |t: bool| f64::from(u8::from(t));
        match self {
            BinaryFn::Add => a + b,
            BinaryFn::Sub => a - b,
            BinaryFn::Mul => a * b,
            BinaryFn::Div => a / b,
            BinaryFn::Min => min(a, b),
            BinaryFn::Max => max(a, b),
            BinaryFn::Pow => a.powf(b),
            BinaryFn::Mod => {
                let r = a % b;
                if r != 0.0 && (r < 0.0) != (b < 0.0) { r + b } else { r }
            }
            BinaryFn::Rem => a % b,
            BinaryFn::Equal => truth(a == b),
            BinaryFn::Less => truth(a < b),
            BinaryFn::LessOrEqual => truth(a <= b),
            BinaryFn::Greater => truth(a > b),
            BinaryFn::GreaterOrEqual => truth(a >= b),
            BinaryFn::And => truth(a != 0.0 && b != 0.0),
            BinaryFn::Or => truth(a != 0.0 || b != 0.0),
            BinaryFn::Xor => truth((a != 0.0) != (b != 0.0)),
        }
    }

    /// The function of two integers, modulo 2^64; truth values as 0 and 1. A remainder by zero is
    /// 0, like a quotient.
    pub fn eval_int(self, a: i64, b: i64) -> i64 {
        match self {
            BinaryFn::Add => a.wrapping_add(b),
            BinaryFn::Sub => a.wrapping_sub(b),
            BinaryFn::Mul => a.wrapping_mul(b),
            BinaryFn::Div if b == 0 => 0,
            BinaryFn::Div => a.wrapping_div(b),
            BinaryFn::Min => a.min(b),
            BinaryFn::Max => a.max(b),
            BinaryFn::Pow => int_pow(a, b),
            BinaryFn::Mod | BinaryFn::Rem if b == 0 => 0,
            BinaryFn::Mod => {
                let r = a.wrapping_rem(b);
                if r != 0 && (r < 0) != (b < 0) { r.wrapping_add(b) } else { r }
            }
            BinaryFn::Rem => a.wrapping_rem(b),
            BinaryFn::Equal => i64::from(a == b),
            BinaryFn::Less => i64::from(a < b),
            BinaryFn::LessOrEqual => i64::from(a <= b),
            BinaryFn::Greater => i64::from(a > b),
            BinaryFn::GreaterOrEqual => i64::from(a >= b),
            BinaryFn::And => i64::from(a != 0 && b != 0),
            BinaryFn::Or => i64::from(a != 0 || b != 0),
            BinaryFn::Xor => i64::from((a != 0) != (b != 0)),
        }
    }
}

/// `a^b` modulo 2^64; for negative `b` the quotient `1 / a^-b` truncated, 0 where `a` is 0.
fn int_pow(a: i64, b: i64) -> i64 {
    if b < 0 {
        return match a {
            1 => 1,
            -1 => 1 - 2 * (b & 1),
            _ => 0,
        };
    }
    let (mut power, mut square, mut left) = (1i64, a, b);
    while left > 0 {
        if left & 1 == 1 {
            power = power.wrapping_mul(square);
        }
        square = square.wrapping_mul(square);
        left >>= 1;
    }
    power
}

impl Layer for Binary {
    fn kind(&self) -> &'static str {
        "Binary"
    }

    fn infer(&self, inputs: &[Option<Arg<'_>>]) -> Result<Vec<TensorType>, LayerError> {
        let inputs = Inputs::new(self.kind(), inputs, "2", &[0, 1], 2)?;
        let a = if self.function.is_logical() {
            inputs.bools(0)?
        } else if self.function == BinaryFn::Equal {
            inputs.any(0)?
        } else {
            inputs.number(0)?
        };
        let b = inputs.like_first(1)?;
        let shape = broadcast(&a.ty.shape, &b.ty.shape)?;
        let dtype = if self.function.is_comparison() { DType::Bool } else { a.ty.dtype };
        if self.activation != Activation::Identity && !dtype.is_float() {
            return Err(invalid!(
                self.kind(),
                "{} cannot follow a result of {dtype}",
                self.activation
            ));
        }
        Ok(vec![TensorType { dtype, shape }])
    }

    fn reference(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, LayerError> {
        let operands = Operands::new(self, inputs)?;
        let ty = operands.output();
        let (a, b) = (operands.get(0), operands.get(1));
        let at = |index: &[usize]| {
            (broadcast_position(a.shape(), index), broadcast_position(b.shape(), index))
        };
        let result = if a.dtype().is_float() {
            let (x, y) = (a.to_f64(), b.to_f64());
            let values = collect(&ty.shape, |index| {
                let (i, j) = at(index);
                self.activation.eval(self.function.eval(x[i], y[j]))
            })?;
            from_f64(ty, values)?
        } else {
            let (x, y) = (a.to_i64(), b.to_i64());
            let values = collect(&ty.shape, |index| {
                let (i, j) = at(index);
                self.function.eval_int(x[i], y[j])
            })?;
            from_i64(ty, values)?
        };
        Ok(vec![result])
    }
}
