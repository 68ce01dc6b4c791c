//! Functions of two operands, with broadcasting.

use depthwise_tensor::Activation;

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
