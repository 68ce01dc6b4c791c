//! Reductions over axes.

use super::activation::plain;
use super::kinds::*;
use super::moving::{self, axis, permuted, transpose};
use super::values::{Target, Writer, operand};
use super::{Refused, refuse};
use crate::tflite::wire::{Field, Record, tensor_type};
use depthwise_layers::ir::Node;
use depthwise_layers::{ArgExtreme, Reduce, ReduceFn, Softmax, TensorType};
use depthwise_tensor::Tensor;

pub(super) fn reduce(w: &mut Writer<'_>, node: &Node, op: &Reduce) -> Result<(), Refused> {
    let (id, y) = (operand(node, 0)?, node.outputs[0]);
    let shape = w.shape(id);
    let axes: Vec<i64> = match op.axes.is_empty() {
        true => (0..shape.rank() as i64).collect(),
        false => {
            let axes = op.axes.iter().map(|&at| axis(&shape, at).map(|at| at as i64));
            axes.collect::<Result<_, _>>()?
        }
    };
    let x = w.value(id)?;
    let axes = w.list("axes", &axes)?;
    let (ty, target) = (w.ty(y), Target::Value(y));
    let options = Record::new().with(0, Field::U8(op.keep_dims.into()));
    let of = |w: &mut Writer<'_>, kind: Kind, x: i32, to: Target<'_>| {
        w.run(kind, options.clone(), &[x, axes], to)
    };
    let like = w.ty(id);
    match op.function {
        ReduceFn::Mean => of(w, MEAN, x, target),
        ReduceFn::Sum => of(w, SUM, x, target),
        ReduceFn::Max => of(w, REDUCE_MAX, x, target),
        ReduceFn::Min => of(w, REDUCE_MIN, x, target),
        ReduceFn::Prod => of(w, REDUCE_PROD, x, target),
        ReduceFn::L1 => {
            let size = w.run(ABS, Record::new(), &[x], Target::Part("sizes", like));
            of(w, SUM, size, target)
        }
        ReduceFn::SumSquare | ReduceFn::L2 => {
            let squares = w.run(MUL, plain(), &[x, x], Target::Part("squares", like));
            if op.function == ReduceFn::SumSquare {
                of(w, SUM, squares, target)
            } else {
                let sum = of(w, SUM, squares, Target::Part("sum", ty));
                w.run(SQRT, Record::new(), &[sum], target)
            }
        }
        ReduceFn::LogSum => {
            let sum = of(w, SUM, x, Target::Part("sum", ty));
            w.run(LOG, Record::new(), &[sum], target)
        }
        ReduceFn::LogSumExp => return log_sum_exp(w, node, x, axes, op.keep_dims),
        other => return refuse(format!("the reduction {other:?} has no form in TFLite")),
    };
    Ok(())
}

/// `max + ln(sum of exp(x - max))`
fn log_sum_exp(
    w: &mut Writer<'_>,
    node: &Node,
    x: i32,
    axes: i32,
    keep_dims: bool,
) -> Result<(), Refused> {
    let (id, y) = (operand(node, 0)?, node.outputs[0]);
    let op = Reduce { function: ReduceFn::Max, axes: axes_of(node), keep_dims: true };
    let kept = TensorType { dtype: w.ty(id).dtype, shape: op.resolve(&w.shape(id))?.1 };
    let keep = || Record::new().with(0, Field::U8(1));
    let top = w.run(REDUCE_MAX, keep(), &[x, axes], Target::Part("top", kept));
    let like = w.ty(id);
    let shifted = w.run(SUB, plain(), &[x, top], Target::Part("shifted", like));
    let powers = w.run(EXP, Record::new(), &[shifted], Target::Part("powers", like));
    let sum = w.run(SUM, keep(), &[powers, axes], Target::Part("sum", kept));
    let log = w.run(LOG, Record::new(), &[sum], Target::Part("log", kept));
    if keep_dims {
        w.run(ADD, plain(), &[log, top], Target::Value(y));
        return Ok(());
    }
    let result = w.run(ADD, plain(), &[log, top], Target::Part("kept", kept));
    moving::reshape(w, result, Target::Value(y))?;
    Ok(())
}

fn axes_of(node: &Node) -> Vec<i64> {
    match &node.op {
        depthwise_layers::Op::Reduce(op) => op.axes.clone(),
        _ => Vec::new(),
    }
}

pub(super) fn arg_extreme(w: &mut Writer<'_>, node: &Node, op: &ArgExtreme) -> Result<(), Refused> {
    if op.select_last {
        return refuse("ties that go to the last position have no form in TFLite");
    }
    let (id, y) = (operand(node, 0)?, node.outputs[0]);
    let shape = w.shape(id);
    let at = axis(&shape, op.axis)?;
    let inputs = [w.value(id)?, w.constant("axis", &Tensor::scalar(at as i32))];
    let kind = if op.largest { ARG_MAX } else { ARG_MIN };
    let options = Record::new().with(0, Field::U8(tensor_type::INT64.cast_unsigned()));
    if !op.keep_dims {
        w.run(kind, options, &inputs, Target::Value(y));
        return Ok(());
    }
    let mut dims = shape.to_vec();
    dims.remove(at);
    let ty = TensorType::new(w.ty(y).dtype, &dims)?;
    let positions = w.run(kind, options, &inputs, Target::Part("positions", ty));
    moving::reshape(w, positions, Target::Value(y))?;
    Ok(())
}

/// The format has the last axis only.
pub(super) fn softmax(w: &mut Writer<'_>, node: &Node, op: &Softmax) -> Result<(), Refused> {
    let (id, y) = (operand(node, 0)?, node.outputs[0]);
    let ty = w.ty(id);
    let (at, rank) = (axis(&ty.shape, op.axis)?, ty.shape.rank());
    let x = w.value(id)?;
    let (kind, options) = match op.log {
        true => (LOG_SOFTMAX, Record::new()),
        false => (SOFTMAX, Record::new().with(0, Field::F32(1.0))),
    };
    if at + 1 == rank {
        w.run(kind, options, &[x], Target::Value(y));
        return Ok(());
    }
    let mut perm: Vec<usize> = (0..rank).collect();
    perm.swap(at, rank - 1);
    let turned = permuted(ty, &perm)?;
    let x = transpose(w, x, &perm, Target::Part("turned", turned))?;
    let result = w.run(kind, options, &[x], Target::Part("result", turned));
    transpose(w, result, &perm, Target::Value(y))?;
    Ok(())
}
