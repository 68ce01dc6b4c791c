//! Reductions over axes.

use super::values::{Form, Writer, operand};
use super::{Attr, Refused, refuse};
use depthwise_layers::ir::{Node, ValueId};
use depthwise_layers::{ArgExtreme, Reduce, ReduceFn, Softmax};

/// The form for a reduction: without the reduced axes, those that are left must stand in the order
/// that they have in the graph.
fn form_of(w: &Writer<'_>, x: ValueId, reduced: &[usize], keep_dims: bool) -> Form {
    let form = w.common(&[x]);
    let channels_left = !reduced.contains(&3);
    let pixels_left = !(reduced.contains(&1) && reduced.contains(&2));
    match form {
        Form::Nchw if !keep_dims && channels_left && pixels_left => Form::Plain,
        form => form,
    }
}

pub(super) fn reduce(w: &mut Writer<'_>, node: &Node, op: &Reduce) -> Result<(), Refused> {
    let (x, y) = (operand(node, 0)?, node.outputs[0]);
    let shape = w.known.ty(x).shape;
    let axes: Vec<usize> = match op.axes.is_empty() {
        true => (0..shape.rank()).collect(),
        false => {
            let axes: Option<_> = op.axes.iter().map(|&axis| shape.axis(axis)).collect();
            axes.ok_or_else(|| Refused(format!("axes {:?} of {shape}", op.axes)))?
        }
    };
    let form = form_of(w, x, &axes, op.keep_dims);
    let inputs = vec![w.get(x, form)?];
    let result = if op.keep_dims { form } else { Form::Plain };
    let whole = form == Form::Nchw && op.keep_dims && {
        let mut sorted = axes.clone();
        sorted.sort_unstable();
        sorted == [1, 2]
    };
    let op_type = match op.function {
        ReduceFn::Mean if whole => {
            w.result(y, result, "GlobalAveragePool", inputs, vec![]);
            return Ok(());
        }
        ReduceFn::Mean => "ReduceMean",
        ReduceFn::Sum => "ReduceSum",
        ReduceFn::Max => "ReduceMax",
        ReduceFn::Min => "ReduceMin",
        ReduceFn::Prod => "ReduceProd",
        ReduceFn::L1 => "ReduceL1",
        ReduceFn::L2 => "ReduceL2",
        ReduceFn::SumSquare => "ReduceSumSquare",
        ReduceFn::LogSum => "ReduceLogSum",
        ReduceFn::LogSumExp => "ReduceLogSumExp",
        other => return refuse(format!("the reduction {other:?} has no form in ONNX")),
    };
    let axes: Vec<i64> = axes.iter().map(|&axis| form.axis(axis) as i64).collect();
    let inputs = [inputs, vec![w.list("axes", &axes)]].concat();
    let attributes = vec![("keepdims", Attr::Int(op.keep_dims.into()))];
    w.result(y, result, op_type, inputs, attributes);
    Ok(())
}

pub(super) fn arg_extreme(w: &mut Writer<'_>, node: &Node, op: &ArgExtreme) -> Result<(), Refused> {
    let (x, y) = (operand(node, 0)?, node.outputs[0]);
    let shape = w.known.ty(x).shape;
    let Some(axis) = shape.axis(op.axis) else {
        return refuse(format!("axis {} of {shape}", op.axis));
    };
    let form = form_of(w, x, &[axis], op.keep_dims);
    let inputs = vec![w.get(x, form)?];
    let attributes = vec![
        ("axis", Attr::Int(form.axis(axis) as i64)),
        ("keepdims", Attr::Int(op.keep_dims.into())),
        ("select_last_index", Attr::Int(op.select_last.into())),
    ];
    let op_type = if op.largest { "ArgMax" } else { "ArgMin" };
    let result = if op.keep_dims { form } else { Form::Plain };
    w.result(y, result, op_type, inputs, attributes);
    Ok(())
}

pub(super) fn softmax(w: &mut Writer<'_>, node: &Node, op: &Softmax) -> Result<(), Refused> {
    let (x, y) = (operand(node, 0)?, node.outputs[0]);
    let shape = w.known.ty(x).shape;
    let Some(axis) = shape.axis(op.axis) else {
        return refuse(format!("axis {} of {shape}", op.axis));
    };
    let form = w.common(&[x]);
    let inputs = vec![w.get(x, form)?];
    let attributes = vec![("axis", Attr::Int(form.axis(axis) as i64))];
    w.result(y, form, if op.log { "LogSoftmax" } else { "Softmax" }, inputs, attributes);
    Ok(())
}
