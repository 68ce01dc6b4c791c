//! Reductions over whole axes.

use super::context::{Context, Fail};
use super::{Row, row};
use depthwise_layers::ir::ValueId;
use depthwise_layers::{ArgExtreme, Cast, Reduce, ReduceFn};
use depthwise_tensor::DType;

pub(super) const ROWS: &[Row] = &[
    row("ArgMax", 7, |c| arg_extreme(c, true)),
    row("ArgMin", 7, |c| arg_extreme(c, false)),
    row("ReduceL1", 7, |c| reduce(c, ReduceFn::L1)),
    row("ReduceL2", 7, |c| reduce(c, ReduceFn::L2)),
    row("ReduceLogSum", 7, |c| reduce(c, ReduceFn::LogSum)),
    row("ReduceLogSumExp", 7, |c| reduce(c, ReduceFn::LogSumExp)),
    row("ReduceMax", 7, |c| reduce(c, ReduceFn::Max)),
    row("ReduceMean", 7, |c| reduce(c, ReduceFn::Mean)),
    row("ReduceMin", 7, |c| reduce(c, ReduceFn::Min)),
    row("ReduceProd", 7, |c| reduce(c, ReduceFn::Prod)),
    row("ReduceSum", 7, |c| reduce(c, ReduceFn::Sum)),
    row("ReduceSumSquare", 7, |c| reduce(c, ReduceFn::SumSquare)),
];

/// The axes are an attribute in older versions and an operand in newer ones: 13 for the sum, 18
/// for the others.
fn reduce(c: &mut Context<'_, '_>, function: ReduceFn) -> Result<Vec<ValueId>, Fail> {
    let x = c.input(0)?;
    let axes = match c.ints_attr("axes")? {
        Some(axes) => axes,
        None => c.constant_ints(1, "axes")?.unwrap_or_default(),
    };
    let keep_dims = c.flag("keepdims", true)?;
    if c.flag("noop_with_empty_axes", false)? && axes.is_empty() {
        return Ok(vec![x]);
    }
    let op = Reduce { function, axes, keep_dims };
    let extreme = matches!(function, ReduceFn::Max | ReduceFn::Min);
    if c.facts(x).dtype != Some(DType::Bool) || !extreme {
        return Ok(vec![c.add("", op, &[x])]);
    }
    // Since version 20 also of truth values: any of them, or all.
    let bytes = c.as_dtype("bytes", x, DType::U8);
    let y = c.add("extreme", op, &[bytes]);
    Ok(vec![c.add("", Cast { to: DType::Bool }, &[y])])
}

fn arg_extreme(c: &mut Context<'_, '_>, largest: bool) -> Result<Vec<ValueId>, Fail> {
    let x = c.input(0)?;
    let op = ArgExtreme {
        largest,
        axis: c.int_or("axis", 0)?,
        keep_dims: c.flag("keepdims", true)?,
        select_last: c.flag("select_last_index", false)?,
    };
    Ok(vec![c.add("", op, &[x])])
}
