//! Arithmetic, comparisons and logic, with broadcasting.

use super::context::{Context, Fail, unsupported};
use super::{Row, row};
use depthwise_layers::ir::ValueId;
use depthwise_layers::{BinaryFn, Cast, Select, Unary, UnaryFn};

pub(super) const ROWS: &[Row] = &[
    row("Abs", 7, |c| unary(c, UnaryFn::Abs)),
    row("Ceil", 7, |c| unary(c, UnaryFn::Ceil)),
    row("Cos", 7, |c| unary(c, UnaryFn::Cos)),
    row("Erf", 9, |c| unary(c, UnaryFn::Erf)),
    row("Exp", 7, |c| unary(c, UnaryFn::Exp)),
    row("Floor", 7, |c| unary(c, UnaryFn::Floor)),
    row("Log", 7, |c| unary(c, UnaryFn::Log)),
    row("Neg", 7, |c| unary(c, UnaryFn::Neg)),
    row("Not", 7, |c| unary(c, UnaryFn::Not)),
    row("Reciprocal", 7, |c| unary(c, UnaryFn::Reciprocal)),
    row("Round", 11, |c| unary(c, UnaryFn::Round)),
    row("Sign", 9, |c| unary(c, UnaryFn::Sign)),
    row("Sin", 7, |c| unary(c, UnaryFn::Sin)),
    row("Sqrt", 7, |c| unary(c, UnaryFn::Sqrt)),
    row("Add", 7, |c| binary(c, BinaryFn::Add)),
    row("And", 7, |c| binary(c, BinaryFn::And)),
    row("Div", 7, |c| binary(c, BinaryFn::Div)),
    row("Equal", 7, |c| binary(c, BinaryFn::Equal)),
    row("Greater", 7, |c| binary(c, BinaryFn::Greater)),
    row("GreaterOrEqual", 12, |c| binary(c, BinaryFn::GreaterOrEqual)),
    row("Less", 7, |c| binary(c, BinaryFn::Less)),
    row("LessOrEqual", 12, |c| binary(c, BinaryFn::LessOrEqual)),
    row("Mod", 10, modulo),
    row("Mul", 7, |c| binary(c, BinaryFn::Mul)),
    row("Or", 7, |c| binary(c, BinaryFn::Or)),
    row("Pow", 7, pow),
    row("Sub", 7, |c| binary(c, BinaryFn::Sub)),
    row("Xor", 7, |c| binary(c, BinaryFn::Xor)),
    row("Max", 7, |c| fold(c, BinaryFn::Max)),
    row("Mean", 7, mean),
    row("Min", 7, |c| fold(c, BinaryFn::Min)),
    row("Sum", 7, |c| fold(c, BinaryFn::Add)),
    row("Cast", 7, cast),
    row("CastLike", 15, cast_like),
    row("Where", 9, |c| {
        let operands = [c.input(0)?, c.input(1)?, c.input(2)?];
        Ok(vec![c.add("", Select, &operands)])
    }),
];

fn unary(c: &mut Context<'_, '_>, function: UnaryFn) -> Result<Vec<ValueId>, Fail> {
    let x = c.input(0)?;
    Ok(vec![c.add("", Unary { function }, &[x])])
}

fn binary(c: &mut Context<'_, '_>, function: BinaryFn) -> Result<Vec<ValueId>, Fail> {
    let (a, b) = (c.input(0)?, c.input(1)?);
    Ok(vec![c.binary("", function, a, b)])
}

/// The exponent may be of another type than the base, whose type the result has.
fn pow(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let (base, exponent) = (c.input(0)?, c.input(1)?);
    let exponent = match c.facts(base).dtype {
        Some(dtype) => c.as_dtype("exponent", exponent, dtype),
        None => exponent,
    };
    Ok(vec![c.binary("", BinaryFn::Pow, base, exponent)])
}

fn modulo(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let function = if c.flag("fmod", false)? { BinaryFn::Rem } else { BinaryFn::Mod };
    binary(c, function)
}

/// One operand after the other.
fn fold(c: &mut Context<'_, '_>, function: BinaryFn) -> Result<Vec<ValueId>, Fail> {
    let operands = c.operands()?;
    let Some((&first, rest)) = operands.split_first() else {
        return unsupported("it has no inputs");
    };
    let mut result = first;
    for (index, &next) in rest.iter().enumerate() {
        let role = if index + 1 == rest.len() { String::new() } else { format!("part{index}") };
        result = c.binary(&role, function, result, next);
    }
    Ok(vec![result])
}

fn mean(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let operands = c.operands()?;
    let Some((&first, rest)) = operands.split_first() else {
        return unsupported("it has no inputs");
    };
    let dtype = c.dtype(first)?;
    let mut sum = first;
    for (index, &next) in rest.iter().enumerate() {
        sum = c.binary(&format!("part{index}"), BinaryFn::Add, sum, next);
    }
    let count = c.scalar("count", dtype, operands.len() as f64);
    Ok(vec![c.binary("", BinaryFn::Div, sum, count)])
}

fn cast(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let x = c.input(0)?;
    let to = c.dtype_attr("to")?;
    // How narrow floats overflow, which no type here does.
    c.ignore(&["saturate", "round_mode"]);
    Ok(vec![c.add("", Cast { to }, &[x])])
}

fn cast_like(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let (x, like) = (c.input(0)?, c.input(1)?);
    let to = c.dtype(like)?;
    c.ignore(&["saturate", "round_mode"]);
    Ok(vec![c.add("", Cast { to }, &[x])])
}
