//! Functions of two and more operands.

use super::context::{Context, Fail, unsupported};
use super::{Row, row};
use depthwise_layers::ir::ValueId;
use depthwise_layers::{Activation, Binary, BinaryFn, Cast, Select, Unary, UnaryFn};
use depthwise_tensor::DType;

pub(super) const ROWS: &[Row] = &[
    row(0, "ADD", |c| fused(c, BinaryFn::Add)),
    row(18, "MUL", |c| fused(c, BinaryFn::Mul)),
    row(41, "SUB", |c| fused(c, BinaryFn::Sub)),
    row(42, "DIV", |c| fused(c, BinaryFn::Div)),
    row(55, "MAXIMUM", |c| plain(c, BinaryFn::Max)),
    row(57, "MINIMUM", |c| plain(c, BinaryFn::Min)),
    row(58, "LESS", |c| plain(c, BinaryFn::Less)),
    row(61, "GREATER", |c| plain(c, BinaryFn::Greater)),
    row(62, "GREATER_EQUAL", |c| plain(c, BinaryFn::GreaterOrEqual)),
    row(63, "LESS_EQUAL", |c| plain(c, BinaryFn::LessOrEqual)),
    row(71, "EQUAL", |c| plain(c, BinaryFn::Equal)),
    row(72, "NOT_EQUAL", not_equal),
    row(78, "POW", |c| plain(c, BinaryFn::Pow)),
    row(84, "LOGICAL_OR", |c| plain(c, BinaryFn::Or)),
    row(86, "LOGICAL_AND", |c| plain(c, BinaryFn::And)),
    row(90, "FLOOR_DIV", floor_div),
    row(95, "FLOOR_MOD", |c| plain(c, BinaryFn::Mod)),
    row(99, "SQUARED_DIFFERENCE", squared_difference),
    row(106, "ADD_N", add_n),
    row(53, "CAST", cast),
    row(64, "SELECT", select),
    row(123, "SELECT_V2", select),
    // What it gives are integers that stand for real numbers: the importer adds what makes them.
    row(114, "QUANTIZE", |c| Ok(vec![c.input(0)?])),
];

fn operands(c: &mut Context<'_, '_>) -> Result<(ValueId, ValueId), Fail> {
    Ok((c.input(0)?, c.input(1)?))
}

fn fused(c: &mut Context<'_, '_>, function: BinaryFn) -> Result<Vec<ValueId>, Fail> {
    let (a, b) = operands(c)?;
    let activation = c.activation(0)?;
    Ok(vec![c.add("", Binary { function, activation }, &[a, b])?])
}

fn plain(c: &mut Context<'_, '_>, function: BinaryFn) -> Result<Vec<ValueId>, Fail> {
    let (a, b) = operands(c)?;
    Ok(vec![c.binary("", function, a, b)?])
}

fn not_equal(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let (a, b) = operands(c)?;
    let equal = c.binary("equal", BinaryFn::Equal, a, b)?;
    Ok(vec![c.add("", Unary { function: UnaryFn::Not }, &[equal])?])
}

fn floor_div(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let (a, b) = operands(c)?;
    if c.ty(a).dtype.is_float() {
        let quotient = c.binary("quotient", BinaryFn::Div, a, b)?;
        return Ok(vec![c.add("", Unary { function: UnaryFn::Floor }, &[quotient])?]);
    }
    // (a - (a mod b)) / b, where mod has the sign of b, so nothing is left to round.
    let rest = c.binary("rest", BinaryFn::Mod, a, b)?;
    let even = c.binary("even", BinaryFn::Sub, a, rest)?;
    Ok(vec![c.binary("", BinaryFn::Div, even, b)?])
}

fn squared_difference(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let (a, b) = operands(c)?;
    let difference = c.binary("difference", BinaryFn::Sub, a, b)?;
    Ok(vec![c.add("", Unary { function: UnaryFn::Square }, &[difference])?])
}

fn add_n(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let all = c.all_inputs()?;
    let Some((&first, rest)) = all.split_first() else { return unsupported("it has no operands") };
    let op = Binary { function: BinaryFn::Add, activation: Activation::Identity };
    let sum = rest.iter().try_fold(first, |sum, &x| c.add("", op.clone(), &[sum, x]))?;
    Ok(vec![sum])
}

fn cast(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    // Of the integers themselves where they stand for real numbers.
    let x = c.raw(0)?;
    // The type of the result tensor decides; files often leave the option out.
    let Some(to) = c.result_dtype(0) else {
        return unsupported("the element type of its result is not supported");
    };
    if to == DType::Bool && c.ty(x).dtype.is_float() {
        return unsupported("truth values of floats");
    }
    Ok(vec![c.add("", Cast { to }, &[x])?])
}

fn select(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let [condition, a, b] = [c.input(0)?, c.input(1)?, c.input(2)?];
    let (have, want) = (c.ty(condition).shape, c.ty(a).shape);
    // SELECT lets a list choose whole slices, where broadcasting would start at the last axis.
    if have.rank() == 1 && want.rank() > 1 && have[0] != 1 {
        let mut dims = vec![1; want.rank()];
        dims[0] = have[0] as i64;
        let condition = c.reshape("slices", condition, &dims)?;
        return Ok(vec![c.add("", Select, &[condition, a, b])?]);
    }
    Ok(vec![c.add("", Select, &[condition, a, b])?])
}
