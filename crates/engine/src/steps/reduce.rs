//! Reductions.

use super::operand;
use crate::error::LowerError;
use crate::plan::Builder;
use depthwise_kernels::reduce::{ArgF32, ReduceF32, ReduceOp};
use depthwise_layers::ir::Node;
use depthwise_layers::{ArgExtreme, Reduce, ReduceFn};
use depthwise_tensor::Shape;

pub(super) fn reduce(b: &mut Builder<'_>, node: &Node, layer: &Reduce) -> Result<(), LowerError> {
    let function = match layer.function {
        ReduceFn::Mean => ReduceOp::Mean,
        ReduceFn::Sum => ReduceOp::Sum,
        ReduceFn::Max => ReduceOp::Max,
        ReduceFn::Min => ReduceOp::Min,
        ReduceFn::Prod => ReduceOp::Prod,
        ReduceFn::L1 => ReduceOp::L1,
        ReduceFn::L2 => ReduceOp::L2,
        ReduceFn::SumSquare => ReduceOp::SumSquare,
        ReduceFn::LogSum => ReduceOp::LogSum,
        ReduceFn::LogSumExp => ReduceOp::LogSumExp,
        other => return Err(LowerError::Unsupported(format!("{other:?}"))),
    };
    let x = operand(node, 0)?;
    let shape = b.shape(x);
    let axes = match layer.axes.is_empty() {
        true => (0..shape.rank()).collect(),
        false => layer.axes.iter().map(|&a| axis(&shape, a)).collect::<Result<Vec<_>, _>>()?,
    };
    let x = b.padded_arg(x)?;
    let (buf, out) = b.output(node.outputs[0]);
    let op = ReduceF32::new(b.cpu(), function, x.view, &axes, out, b.threads())?;
    b.push(op, &[&x], &[(buf, out)]);
    Ok(())
}

pub(super) fn arg_extreme(
    b: &mut Builder<'_>,
    node: &Node,
    layer: &ArgExtreme,
) -> Result<(), LowerError> {
    let x = operand(node, 0)?;
    let axis = axis(&b.shape(x), layer.axis)?;
    let x = super::quantized::as_floats(b, x)?;
    let (buf, out) = b.output(node.outputs[0]);
    let op =
        ArgF32::new(b.cpu(), layer.largest, layer.select_last, x.view, axis, out, b.threads())?;
    b.push(op, &[&x], &[(buf, out)]);
    Ok(())
}

fn axis(shape: &Shape, axis: i64) -> Result<usize, LowerError> {
    shape.axis(axis).ok_or_else(|| LowerError::Unsupported(format!("axis {axis} of {shape}")))
}
