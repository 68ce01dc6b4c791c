//! Extents, and the same elements under others.

use super::context::{Context, Fail, unsupported};
use super::{Row, row};
use depthwise_layers::ir::ValueId;
use depthwise_layers::{ConstantOfShape, Range};
use depthwise_layers::{Expand, Reshape, ShapeOf, Squeeze, Tile, Unsqueeze};
use depthwise_tensor::{DType, Tensor};

pub(super) const ROWS: &[Row] = &[
    row(22, "RESHAPE", reshape),
    row(39, "TRANSPOSE", transpose),
    row(43, "SQUEEZE", squeeze),
    row(69, "TILE", |c| with_list(c, Tile)),
    row(70, "EXPAND_DIMS", expand_dims),
    row(77, "SHAPE", shape),
    row(93, "ZEROS_LIKE", zeros_like),
    row(94, "FILL", fill),
    row(96, "RANGE", range),
    row(110, "RANK", rank),
    row(130, "BROADCAST_TO", |c| with_list(c, Expand)),
];

fn reshape(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let x = c.input(0)?;
    let extents = match c.optional(1)? {
        Some(extents) => c.as_dtype("extents", extents, DType::I64)?,
        None => {
            let list: Vec<i64> = c.i32s(0)?.iter().take(c.max_rank()).map(i64::from).collect();
            c.list("extents", &list)
        }
    };
    Ok(vec![c.add("", Reshape { allow_zero: true }, &[x, extents])?])
}

fn transpose(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let x = c.input(0)?;
    let rank = c.rank(x) as i64;
    let axis = |&axis: &i64| if axis < 0 { axis.saturating_add(rank) } else { axis };
    let perm = c.ints(1, "axes")?;
    let perm: Result<Vec<usize>, _> = perm.iter().map(|a| usize::try_from(axis(a))).collect();
    match perm {
        Ok(perm) if perm.len() == rank as usize => Ok(vec![c.transpose("", x, &perm)?]),
        _ => unsupported("its order of axes fits not its input"),
    }
}

fn squeeze(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let x = c.input(0)?;
    let axes: Vec<i64> = c.i32s(0)?.iter().take(c.max_rank()).map(i64::from).collect();
    if axes.is_empty() && c.has_free() {
        return unsupported("axes that depend on free extents");
    }
    Ok(vec![c.add("", Squeeze { axes }, &[x])?])
}

fn expand_dims(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let x = c.input(0)?;
    let axis = c.axis(1)?;
    Ok(vec![c.add("", Unsqueeze { axes: vec![axis] }, &[x])?])
}

/// A layer whose second operand is a list of `i64`.
fn with_list(
    c: &mut Context<'_, '_>,
    op: impl Into<depthwise_layers::Op>,
) -> Result<Vec<ValueId>, Fail> {
    let (x, list) = (c.input(0)?, c.input(1)?);
    let list = c.as_dtype("list", list, DType::I64)?;
    Ok(vec![c.add("", op, &[x, list])?])
}

fn shape(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let x = c.input(0)?;
    let extents = c.add("wide", ShapeOf { start: 0, end: None }, &[x])?;
    let to = c.result_dtype(0).filter(|dtype| matches!(dtype, DType::I32 | DType::I64));
    Ok(vec![c.as_dtype("", extents, to.unwrap_or(DType::I32))?])
}

fn rank(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let x = c.input(0)?;
    let rank = c.rank(x) as i32;
    Ok(vec![c.constant("", Tensor::scalar(rank))])
}

fn zeros_like(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let x = c.input(0)?;
    let extents = c.add("extents", ShapeOf { start: 0, end: None }, &[x])?;
    let value = zero(c.ty(x).dtype)?;
    Ok(vec![c.add("", ConstantOfShape { value }, &[extents])?])
}

fn zero(dtype: DType) -> Result<Tensor, Fail> {
    let one = depthwise_tensor::Shape::new(&[1]).expect("an extent of 1");
    Tensor::zeros(dtype, one).map_err(|error| Fail::Unsupported(error.to_string()))
}

fn fill(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let (extents, value) = (c.input(0)?, c.input(1)?);
    let extents = c.as_dtype("extents", extents, DType::I64)?;
    Ok(vec![c.add("", Expand, &[value, extents])?])
}

fn range(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let [start, limit, delta] = [c.input(0)?, c.input(1)?, c.input(2)?];
    Ok(vec![c.add("", Range, &[start, limit, delta])?])
}
