//! Functions of one operand that are made of others.

use super::context::{Context, Fail, unsupported};
use super::{Row, row};
use depthwise_layers::ir::ValueId;
use depthwise_layers::{BinaryFn, Cast, Select, Unary, UnaryFn};
use depthwise_tensor::DType;

pub(super) const ROWS: &[Row] = &[
    row("Acosh", 9, |c| logarithm(c, BinaryFn::Sub)),
    row("Asinh", 9, |c| logarithm(c, BinaryFn::Add)),
    row("Atanh", 9, atanh),
    row("Cosh", 9, |c| hyperbolic(c, BinaryFn::Add)),
    row("IsInf", 10, is_inf),
    row("IsNaN", 9, is_nan),
    row("Shrink", 9, shrink),
    row("Sinh", 9, |c| hyperbolic(c, BinaryFn::Sub)),
    row("Tan", 7, |c| {
        let x = c.input(0)?;
        let (sine, cosine) =
            (unary(c, "sine", UnaryFn::Sin, x), unary(c, "cosine", UnaryFn::Cos, x));
        Ok(vec![c.binary("", BinaryFn::Div, sine, cosine)])
    }),
    row("ThresholdedRelu", 10, thresholded_relu),
];

fn unary(c: &mut Context<'_, '_>, role: &str, function: UnaryFn, x: ValueId) -> ValueId {
    c.add(role, Unary { function }, &[x])
}

/// `(e^x + e^-x) / 2`, or the difference.
fn hyperbolic(c: &mut Context<'_, '_>, function: BinaryFn) -> Result<Vec<ValueId>, Fail> {
    let x = c.input(0)?;
    let two = c.scalar("two", c.dtype(x)?, 2.0);
    let up = unary(c, "up", UnaryFn::Exp, x);
    let negative = unary(c, "negative", UnaryFn::Neg, x);
    let down = unary(c, "down", UnaryFn::Exp, negative);
    let both = c.binary("both", function, up, down);
    Ok(vec![c.binary("", BinaryFn::Div, both, two)])
}

/// `ln(x + sqrt(x^2 + 1))`, or with -1: of the size of `x` and with its sign, since the sum cancels
/// below zero.
fn logarithm(c: &mut Context<'_, '_>, function: BinaryFn) -> Result<Vec<ValueId>, Fail> {
    let x = c.input(0)?;
    let one = c.scalar("one", c.dtype(x)?, 1.0);
    let size = unary(c, "size", UnaryFn::Abs, x);
    let square = c.binary("square", BinaryFn::Mul, x, x);
    let square = c.binary("moved", function, square, one);
    let root = unary(c, "root", UnaryFn::Sqrt, square);
    let sum = c.binary("sum", BinaryFn::Add, size, root);
    let y = unary(c, "logarithm", UnaryFn::Log, sum);
    let sign = unary(c, "sign", UnaryFn::Sign, x);
    Ok(vec![c.binary("", BinaryFn::Mul, y, sign)])
}

/// `ln((1 + x) / (1 - x)) / 2`
fn atanh(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let x = c.input(0)?;
    let dtype = c.dtype(x)?;
    let (one, half) = (c.scalar("one", dtype, 1.0), c.scalar("half", dtype, 0.5));
    let above = c.binary("above", BinaryFn::Add, one, x);
    let below = c.binary("below", BinaryFn::Sub, one, x);
    let ratio = c.binary("ratio", BinaryFn::Div, above, below);
    let y = unary(c, "logarithm", UnaryFn::Log, ratio);
    Ok(vec![c.binary("", BinaryFn::Mul, y, half)])
}

fn is_inf(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let x = c.input(0)?;
    let (negative, positive) = (c.flag("detect_negative", true)?, c.flag("detect_positive", true)?);
    let infinity = if positive { f64::INFINITY } else { f64::NEG_INFINITY };
    let infinity = c.scalar("infinity", c.dtype(x)?, infinity);
    match (negative, positive) {
        (true, true) => {
            let size = unary(c, "size", UnaryFn::Abs, x);
            Ok(vec![c.binary("", BinaryFn::Equal, size, infinity)])
        }
        (false, false) => unsupported("it detects neither infinity"),
        _ => Ok(vec![c.binary("", BinaryFn::Equal, x, infinity)]),
    }
}

/// What does not equal itself.
fn is_nan(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let x = c.input(0)?;
    let same = c.binary("same", BinaryFn::Equal, x, x);
    Ok(vec![unary(c, "", UnaryFn::Not, same)])
}

/// `x` where above `alpha`, else 0.
fn thresholded_relu(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let (x, alpha) = (c.input(0)?, c.float_or("alpha", 1.0)?);
    let dtype = c.dtype(x)?;
    let (alpha, zero) = (c.scalar("alpha", dtype, alpha.into()), c.scalar("zero", dtype, 0.0));
    let above = c.binary("above", BinaryFn::Greater, x, alpha);
    Ok(vec![c.add("", Select, &[above, x, zero])])
}

/// `x + bias` below `-lambd`, `x - bias` above `lambd`, 0 between.
fn shrink(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let x = c.input(0)?;
    let (bias, bound) = (c.float_or("bias", 0.0)?, c.float_or("lambd", 0.5)?);
    let dtype = c.dtype(x)?;
    // Integers meet bounds that are none.
    let wide = if dtype.is_int() { DType::F32 } else { dtype };
    let from = c.as_dtype("wide", x, wide);
    let mut number = |role: &str, value: f32| c.scalar(role, wide, value.into());
    let (zero, bias) = (number("zero", 0.0), number("bias", bias));
    let (low, high) = (number("low", -bound), number("high", bound));
    let raised = c.binary("raised", BinaryFn::Add, from, bias);
    let lowered = c.binary("lowered", BinaryFn::Sub, from, bias);
    let below = c.binary("below", BinaryFn::Less, from, low);
    let above = c.binary("above", BinaryFn::Greater, from, high);
    let y = c.add("upper", Select, &[above, lowered, zero]);
    let y = c.add("both", Select, &[below, raised, y]);
    Ok(vec![if wide == dtype { y } else { c.add("", Cast { to: dtype }, &[y]) }])
}
