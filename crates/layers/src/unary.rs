//! Mathematical functions of one operand.

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
