//! The same elements under other extents, and extents as values.

use super::context::{Context, Fail, unsupported};
use super::{Row, row};
use depthwise_layers::ir::ValueId;
use depthwise_layers::{
    Expand, Flatten, Reduce, ReduceFn, Reshape, ShapeOf, Squeeze, Tile, Transpose, Unsqueeze,
};
use depthwise_tensor::Tensor;

pub(super) const ROWS: &[Row] = &[
    row("Dropout", 7, dropout),
    row("Expand", 8, |c| {
        let (x, shape) = (c.input(0)?, c.input(1)?);
        let shape = c.as_i64("shape", shape);
        Ok(vec![c.add("", Expand, &[x, shape])])
    }),
    row("Flatten", 7, |c| {
        let (x, axis) = (c.input(0)?, c.int_or("axis", 1)?);
        Ok(vec![c.add("", Flatten { axis }, &[x])])
    }),
    row("Identity", 7, |c| Ok(vec![c.input(0)?])),
    row("Reshape", 7, |c| {
        let (x, shape) = (c.input(0)?, c.input(1)?);
        let allow_zero = c.flag("allowzero", false)?;
        let shape = c.as_i64("shape", shape);
        Ok(vec![c.add("", Reshape { allow_zero }, &[x, shape])])
    }),
    row("Shape", 7, |c| {
        let (x, start, end) = (c.input(0)?, c.int_or("start", 0)?, c.int_attr("end")?);
        Ok(vec![c.add("", ShapeOf { start, end }, &[x])])
    }),
    row("Size", 7, |c| {
        let x = c.input(0)?;
        let extents = c.add("extents", ShapeOf { start: 0, end: None }, &[x]);
        let op = Reduce { function: ReduceFn::Prod, axes: vec![0], keep_dims: false };
        Ok(vec![c.add("", op, &[extents])])
    }),
    row("Squeeze", 7, squeeze),
    row("Tile", 7, |c| {
        let (x, repeats) = (c.input(0)?, c.input(1)?);
        let repeats = c.as_i64("repeats", repeats);
        Ok(vec![c.add("", Tile, &[x, repeats])])
    }),
    row("Transpose", 7, transpose),
    row("Unsqueeze", 7, unsqueeze),
];

/// Nothing, in a network that is not being trained.
fn dropout(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    c.ignore(&["ratio", "seed"]);
    if let Some(training) = c.constant_ints(2, "training mode")?
        && training != [0]
    {
        return unsupported("training_mode = 1 is not supported");
    }
    let x = c.input(0)?;
    if !c.wants_output(1) {
        return Ok(vec![x]);
    }
    // Which elements were kept: all.
    let shape = c.add("shape", ShapeOf { start: 0, end: None }, &[x]);
    let kept = c.constant("kept", Tensor::from_bools(&[], &[true]).expect("one element"));
    Ok(vec![x, c.add("mask", Expand, &[kept, shape])])
}

/// Axes as an attribute before version 13, as an operand since.
fn axes(c: &mut Context<'_, '_>) -> Result<Option<Vec<i64>>, Fail> {
    match c.ints_attr("axes")? {
        Some(axes) => Ok(Some(axes)),
        None => c.constant_ints(1, "axes"),
    }
}

fn squeeze(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let x = c.input(0)?;
    let axes = axes(c)?;
    // Here an empty list means every axis of extent 1, in the file it means none.
    if axes.as_ref().is_some_and(Vec::is_empty) {
        return Ok(vec![x]);
    }
    Ok(vec![c.add("", Squeeze { axes: axes.unwrap_or_default() }, &[x])])
}

fn unsqueeze(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let x = c.input(0)?;
    match axes(c)? {
        Some(axes) => Ok(vec![c.add("", Unsqueeze { axes }, &[x])]),
        None => unsupported("its axes are missing"),
    }
}

/// Without a permutation the axes are reversed.
fn transpose(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let x = c.input(0)?;
    let perm = match c.ints_attr("perm")? {
        Some(perm) => perm,
        None => (0..c.rank(x)? as i64).rev().collect(),
    };
    let positions: Option<Vec<usize>> = perm.iter().map(|&p| usize::try_from(p).ok()).collect();
    let mut sorted = positions.clone().unwrap_or_default();
    sorted.sort_unstable();
    match positions {
        Some(perm) if sorted.iter().copied().eq(0..perm.len()) => {
            Ok(vec![c.add("", Transpose { perm }, &[x])])
        }
        _ => unsupported(format!("perm {perm:?} is not a permutation")),
    }
}
