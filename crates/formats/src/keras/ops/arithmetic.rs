//! Layers that merge their operands, and numbers applied to a whole operand.

use super::context::{Context, Fail, unsupported};
use super::{Row, row};
use depthwise_layers::ir::ValueId;
use depthwise_layers::{BinaryFn, Cast, Concat};
use depthwise_tensor::{DType, Tensor};

pub(super) const ROWS: &[Row] = &[
    row("Add", |c| merge(c, BinaryFn::Add)),
    row("Average", average),
    row("Concatenate", concatenate),
    row("Maximum", |c| merge(c, BinaryFn::Max)),
    row("Minimum", |c| merge(c, BinaryFn::Min)),
    row("Multiply", |c| merge(c, BinaryFn::Mul)),
    row("Rescaling", rescaling),
    row("Subtract", subtract),
];

/// Operands of one number of dimensions. Where they differ, Keras puts the missing ones after the
/// samples, and NumPy before.
fn alike(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let operands = c.operands()?;
    let ranks: Vec<_> = operands.iter().filter_map(|&x| c.rank(x)).collect();
    match ranks.split_first() {
        Some((first, rest)) if rest.iter().any(|rank| rank != first) => {
            unsupported(format!("operands of {ranks:?} dimensions"))
        }
        _ if operands.is_empty() => unsupported("it has no operands"),
        _ => Ok(operands),
    }
}

/// One operand after the other.
fn fold(
    c: &mut Context<'_, '_>,
    function: BinaryFn,
    operands: &[ValueId],
    last_role: &str,
) -> Result<ValueId, Fail> {
    let mut result = operands[0];
    for (index, &next) in operands.iter().enumerate().skip(1) {
        let part = format!("part{index}");
        let role = if index + 1 == operands.len() { last_role } else { &part };
        result = c.binary(role, function, result, next)?;
    }
    Ok(result)
}

fn merge(c: &mut Context<'_, '_>, function: BinaryFn) -> Result<Vec<ValueId>, Fail> {
    let operands = alike(c)?;
    Ok(vec![fold(c, function, &operands, "")?])
}

fn subtract(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    match alike(c)?[..] {
        [a, b] => Ok(vec![c.binary("", BinaryFn::Sub, a, b)?]),
        ref operands => unsupported(format!("the difference of {} operands", operands.len())),
    }
}

fn average(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let operands = alike(c)?;
    let sum = fold(c, BinaryFn::Add, &operands, "sum")?;
    let count = c.constant("count", Tensor::scalar(operands.len() as f32));
    Ok(vec![c.binary("", BinaryFn::Div, sum, count)?])
}

pub(super) fn concatenate(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let axis = c.int("axis")?.unwrap_or(-1);
    match c.operands()?[..] {
        [] => unsupported("it has no operands"),
        [only] => Ok(vec![only]),
        ref operands => Ok(vec![c.add("", Concat { axis }, operands)?]),
    }
}

/// `x * scale + offset`
fn rescaling(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let (scale, offset) = (c.floats("scale")?, c.floats("offset")?);
    let mut y = c.input()?;
    if c.is_integer(y) {
        y = c.add("float", Cast { to: DType::F32 }, &[y])?;
    }
    let offset = offset.filter(|offset| offset.iter().any(|&x| x != 0.0));
    if let Some(scale) = scale {
        let scale = c.numbers("scale", scale);
        let role = if offset.is_some() { "scaled" } else { "" };
        y = c.binary(role, BinaryFn::Mul, y, scale)?;
    }
    if let Some(offset) = offset {
        let offset = c.numbers("offset", offset);
        y = c.binary("", BinaryFn::Add, y, offset)?;
    }
    Ok(vec![y])
}
