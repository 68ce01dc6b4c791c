//! Operators that compare positions.

use super::context::{Context, Fail, unsupported};
use super::{Row, row};
use depthwise_layers::ir::ValueId;
use depthwise_layers::{
    ArgExtreme, Binary, BinaryFn, Cast, Gather, MatMul, Range, Select, ShapeOf, Transpose,
    Unsqueeze,
};
use depthwise_tensor::{Activation, DType, Tensor};

pub(super) const ROWS: &[Row] = &[
    row("CumSum", 11, cumulative_sum),
    row("EyeLike", 9, eye_like),
    row("Hardmax", 7, hardmax),
    row("OneHot", 9, one_hot),
    row("Trilu", 14, trilu),
];

/// The extent of an axis, without dimensions.
fn extent(c: &mut Context<'_, '_>, x: ValueId, role: &str, axis: i64) -> ValueId {
    let extents = c.add(&format!("{role}.extents"), ShapeOf { start: 0, end: None }, &[x]);
    let axis = c.constant(&format!("{role}.axis"), Tensor::scalar(axis));
    c.add(role, Gather { axis: 0 }, &[extents, axis])
}

/// 0, 1, 2 ... up to `count`.
fn positions(c: &mut Context<'_, '_>, role: &str, count: ValueId) -> ValueId {
    let zero = c.constant(&format!("{role}.zero"), Tensor::scalar(0i64));
    let one = c.constant(&format!("{role}.one"), Tensor::scalar(1i64));
    c.add(role, Range, &[zero, count, one])
}

/// Row minus column for every cell of the last two axes, as `rows,1` and `1,columns`.
fn grid(c: &mut Context<'_, '_>, x: ValueId, (rows, columns): (i64, i64)) -> (ValueId, ValueId) {
    let count = extent(c, x, "row.count", rows);
    let row = positions(c, "row", count);
    let row = c.add("rows", Unsqueeze { axes: vec![1] }, &[row]);
    let count = extent(c, x, "column.count", columns);
    let column = positions(c, "column", count);
    (row, column)
}

/// The upper or the lower triangle of matrices; 0 elsewhere.
fn trilu(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let (x, k) = (c.input(0)?, c.optional(1));
    let upper = c.flag("upper", true)?;
    let dtype = c.dtype(x)?;
    let (row, column) = grid(c, x, (-2, -1));
    let row = match k {
        Some(k) => c.binary("shifted", BinaryFn::Add, row, k),
        None => row,
    };
    let function = if upper { BinaryFn::GreaterOrEqual } else { BinaryFn::LessOrEqual };
    let kept = c.binary("kept", function, column, row);
    let zero = zero(c, dtype)?;
    Ok(vec![c.add("", Select, &[kept, x, zero])])
}

fn zero(c: &mut Context<'_, '_>, dtype: DType) -> Result<ValueId, Fail> {
    let shape = depthwise_tensor::Shape::new(&[]).expect("no extents");
    match Tensor::zeros(dtype, shape) {
        Ok(tensor) => Ok(c.constant("nothing", tensor)),
        Err(error) => unsupported(error.to_string()),
    }
}

/// 1 on a diagonal, 0 elsewhere.
fn eye_like(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let (x, k) = (c.input(0)?, c.int_or("k", 0)?);
    let to = match c.int_attr("dtype")? {
        Some(_) => c.dtype_attr("dtype")?,
        None => c.dtype(x)?,
    };
    let (row, column) = grid(c, x, (0, 1));
    let k = c.constant("k", Tensor::scalar(k));
    let row = c.binary("shifted", BinaryFn::Add, row, k);
    let on = c.binary("diagonal", BinaryFn::Equal, column, row);
    Ok(vec![c.add("", Cast { to }, &[on])])
}

/// Negative axes from the end; positive ones as they are.
fn after(axis: i64, rank: i64) -> Result<i64, Fail> {
    let position = if axis < 0 { axis + rank } else { axis };
    match position {
        0.. if position < rank => Ok(position),
        _ => unsupported(format!("axis = {axis} of {rank} dimensions")),
    }
}

/// `on` where the position along a new axis is the index, else `off`.
fn one_hot(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let (indices, depth, values) = (c.input(0)?, c.input(1)?, c.input(2)?);
    let axis = c.int_or("axis", -1)?;
    let rank = c.rank(indices)? as i64 + 1;
    let axis = after(axis, rank)?;
    let depth = c.as_i64("depth", depth);
    let depth = match c.rank(depth)? {
        0 => depth,
        _ => c.add("depth.scalar", depthwise_layers::Squeeze { axes: vec![0] }, &[depth]),
    };
    let indices = c.as_i64("indices", indices);
    // Negative indices count from the end.
    let indices = wrapped(c, indices, depth);
    let indices = c.add("indices.wide", Unsqueeze { axes: vec![axis] }, &[indices]);
    let position = positions(c, "position", depth);
    let trailing: Vec<i64> = (1..rank - axis).collect();
    let position = match trailing.is_empty() {
        true => position,
        false => c.add("position.wide", Unsqueeze { axes: trailing }, &[position]),
    };
    let hot = c.binary("hot", BinaryFn::Equal, indices, position);
    let mut pick = |role: &str, at: i64| {
        let at = c.constant(&format!("{role}.position"), Tensor::scalar(at));
        c.add(role, Gather { axis: 0 }, &[values, at])
    };
    let (off, on) = (pick("off", 0), pick("on", 1));
    Ok(vec![c.add("", Select, &[hot, on, off])])
}

/// Indices from `-depth` on as those from 0 on; those out of range match no position.
fn wrapped(c: &mut Context<'_, '_>, indices: ValueId, depth: ValueId) -> ValueId {
    let zero = c.constant("zero", Tensor::scalar(0i64));
    let negative = c.binary("negative", BinaryFn::Less, indices, zero);
    let moved = c.binary("moved", BinaryFn::Add, indices, depth);
    c.add("indices.positive", Select, &[negative, moved, indices])
}

/// 1 at the first largest element along an axis, 0 elsewhere.
fn hardmax(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let x = c.input(0)?;
    let default = if c.version < 13 { 1 } else { -1 };
    let rank = c.rank(x)? as i64;
    let axis = after(c.int_or("axis", default)?, rank)?;
    if c.version < 13 && axis != rank - 1 {
        return unsupported("axes taken together, as before version 13");
    }
    let dtype = c.dtype(x)?;
    let op = ArgExtreme { largest: true, axis, keep_dims: true, select_last: false };
    let best = c.add("best", op, &[x]);
    let count = extent(c, x, "count", axis);
    let position = positions(c, "position", count);
    let trailing: Vec<i64> = (1..rank - axis).collect();
    let position = match trailing.is_empty() {
        true => position,
        false => c.add("position.wide", Unsqueeze { axes: trailing }, &[position]),
    };
    let hot = c.binary("hot", BinaryFn::Equal, best, position);
    Ok(vec![c.add("", Cast { to: dtype }, &[hot])])
}

/// Sums of all elements up to each along an axis: a product with a triangle of ones.
fn cumulative_sum(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let x = c.input(0)?;
    let Some(axis) = c.constant_ints(1, "axis")?.and_then(|axis| axis.first().copied()) else {
        return unsupported("its axis is missing");
    };
    let (exclusive, reverse) = (c.flag("exclusive", false)?, c.flag("reverse", false)?);
    let rank = c.rank(x)? as i64;
    let axis = after(axis, rank)?;
    let dtype = c.dtype(x)?;
    // The axis last, as the rows of a matrix.
    let mut perm: Vec<usize> = (0..rank as usize).collect();
    perm.swap(axis as usize, rank as usize - 1);
    let last = axis == rank - 1;
    let rows = if last { x } else { c.add("rows.last", Transpose { perm: perm.clone() }, &[x]) };
    let count = extent(c, x, "count", axis);
    let column = positions(c, "column", count);
    let row = c.add("row", Unsqueeze { axes: vec![1] }, &[column]);
    let function = match (exclusive, reverse) {
        (false, false) => BinaryFn::LessOrEqual,
        (true, false) => BinaryFn::Less,
        (false, true) => BinaryFn::GreaterOrEqual,
        (true, true) => BinaryFn::Greater,
    };
    let triangle =
        c.add("triangle", Binary { function, activation: Activation::Identity }, &[row, column]);
    let triangle = c.add("ones", Cast { to: dtype }, &[triangle]);
    let y = c.add(if last { "" } else { "sums" }, MatMul, &[rows, triangle]);
    Ok(vec![if last { y } else { c.add("", Transpose { perm }, &[y]) }])
}
