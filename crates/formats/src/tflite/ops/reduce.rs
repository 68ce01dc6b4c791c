//! Reductions over whole axes.

use super::context::{Context, Fail, unsupported};
use super::{Row, row};
use depthwise_layers::ir::ValueId;
use depthwise_layers::{ArgExtreme, BinaryFn, Reduce, ReduceFn, Unary, UnaryFn};
use depthwise_tensor::{DType, Tensor};

pub(super) const ROWS: &[Row] = &[
    row(40, "MEAN", |c| reduce(c, ReduceFn::Mean)),
    row(74, "SUM", |c| reduce(c, ReduceFn::Sum)),
    row(81, "REDUCE_PROD", |c| reduce(c, ReduceFn::Prod)),
    row(82, "REDUCE_MAX", |c| reduce(c, ReduceFn::Max)),
    row(89, "REDUCE_MIN", |c| reduce(c, ReduceFn::Min)),
    row(56, "ARG_MAX", |c| arg(c, true)),
    row(79, "ARG_MIN", |c| arg(c, false)),
    row(11, "L2_NORMALIZATION", l2_normalization),
];

fn reduce(c: &mut Context<'_, '_>, function: ReduceFn) -> Result<Vec<ValueId>, Fail> {
    let x = c.input(0)?;
    let mut axes = c.ints(1, "axes")?;
    let rank = c.rank(x) as i64;
    axes.iter_mut().filter(|axis| (-rank..0).contains(*axis)).for_each(|axis| *axis += rank);
    axes.sort_unstable();
    axes.dedup();
    if axes.is_empty() {
        return Ok(vec![x]);
    }
    let keep_dims = c.flag(0)?;
    Ok(vec![c.add("", Reduce { function, axes, keep_dims }, &[x])?])
}

fn arg(c: &mut Context<'_, '_>, largest: bool) -> Result<Vec<ValueId>, Fail> {
    let x = c.input(0)?;
    let axis = c.axis(1)?;
    let Some(to @ (DType::I32 | DType::I64)) = c.result_dtype(0) else {
        return unsupported("positions that are neither i32 nor i64");
    };
    let op = ArgExtreme { largest, axis, keep_dims: false, select_last: false };
    let role = if to == DType::I64 { "" } else { "wide" };
    let positions = c.add(role, op, &[x])?;
    Ok(vec![c.as_dtype("", positions, to)?])
}

/// `x / sqrt(max(sum of x^2, 1e-6))` along the last axis, as LiteRT's kernel has it.
fn l2_normalization(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let x = c.input(0)?;
    let activation = c.activation(0)?;
    let op = Reduce { function: ReduceFn::SumSquare, axes: vec![-1], keep_dims: true };
    let sum = c.add("squares", op, &[x])?;
    let least = c.constant("least", Tensor::scalar(1e-6f32));
    let sum = c.binary("bounded", BinaryFn::Max, sum, least)?;
    let factor = c.add("factor", Unary { function: UnaryFn::Rsqrt }, &[sum])?;
    let y = c.binary("", BinaryFn::Mul, x, factor)?;
    Ok(vec![c.activate(y, activation)?])
}
