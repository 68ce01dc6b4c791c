//! Extents, and the same elements under others.

use super::values::{Form, TO_NHWC, Writer, operand};
use super::{Attr, Refused};
use depthwise_layers::ir::{Node, ValueId};
use depthwise_layers::{ConstantOfShape, Flatten, Reshape, ShapeOf};
use depthwise_tensor::Tensor;

/// A layer that takes its operands as they are in the graph and has no attributes.
pub(super) fn with_operands(
    w: &mut Writer<'_>,
    node: &Node,
    op_type: &'static str,
) -> Result<(), Refused> {
    let ids = (0..node.inputs.len()).map(|at| operand(node, at)).collect::<Result<Vec<_>, _>>()?;
    let inputs = ids.iter().map(|&id| w.plain(id)).collect::<Result<Vec<_>, _>>()?;
    w.result(node.outputs[0], Form::Plain, op_type, inputs, vec![]);
    Ok(())
}

/// The three numbers must be scalars.
pub(super) fn range(w: &mut Writer<'_>, node: &Node) -> Result<(), Refused> {
    let ids = (0..3).map(|at| operand(node, at)).collect::<Result<Vec<_>, _>>()?;
    let mut inputs = Vec::new();
    for id in ids {
        let name = w.plain(id)?;
        inputs.push(match w.rank(id) {
            0 => name,
            _ => {
                let shape = w.list("no.extents", &[]);
                w.part("scalar", "Reshape", vec![name, shape], vec![])
            }
        });
    }
    w.result(node.outputs[0], Form::Plain, "Range", inputs, vec![]);
    Ok(())
}

/// A fill is the value broadcast, which needs no attribute of its own.
pub(super) fn constant_of_shape(
    w: &mut Writer<'_>,
    node: &Node,
    op: &ConstantOfShape,
) -> Result<(), Refused> {
    let value = op.value.reshape(&[]).map_err(|error| Refused(error.to_string()))?;
    let inputs = vec![w.constant("value", value), w.plain(operand(node, 0)?)?];
    w.result(node.outputs[0], Form::Plain, "Expand", inputs, vec![]);
    Ok(())
}

/// The name of a value for a layer that only counts elements in order: a picture of one pixel or
/// one channel has the same order in either form.
fn in_order(w: &mut Writer<'_>, x: ValueId) -> Result<String, Refused> {
    let one = |axis| w.known.extent(x, axis) == Some(1);
    let same = w.rank(x) == 4 && (one(3) || (one(1) && one(2)));
    let form = if same { w.common(&[x]) } else { Form::Plain };
    w.get(x, form)
}

pub(super) fn reshape(w: &mut Writer<'_>, node: &Node, op: &Reshape) -> Result<(), Refused> {
    let (x, spec) = (operand(node, 0)?, operand(node, 1)?);
    // A 0 copies an extent, for which the axes have to be where they are in the graph.
    let copies = w.ints(spec).is_none_or(|spec| spec.iter().skip(1).any(|&n| n == 0));
    let name = if copies && !op.allow_zero { w.plain(x)? } else { in_order(w, x)? };
    let inputs = vec![name, w.plain(spec)?];
    let attributes = match op.allow_zero && copies {
        true => vec![("allowzero", Attr::Int(1))],
        false => vec![],
    };
    w.result(node.outputs[0], Form::Plain, "Reshape", inputs, attributes);
    Ok(())
}

pub(super) fn flatten(w: &mut Writer<'_>, node: &Node, op: &Flatten) -> Result<(), Refused> {
    let x = operand(node, 0)?;
    let name = if op.axis == 1 { in_order(w, x)? } else { w.plain(x)? };
    let attributes = vec![("axis", Attr::Int(op.axis))];
    w.result(node.outputs[0], Form::Plain, "Flatten", vec![name], attributes);
    Ok(())
}

pub(super) fn squeeze(w: &mut Writer<'_>, node: &Node, axes: &[i64]) -> Result<(), Refused> {
    let x = operand(node, 0)?;
    // Rows and columns dropped leave the same in either form.
    let pixel = axes.len() == 2 && axes.iter().all(|axis| [1, 2, -2, -3].contains(axis));
    let form = if pixel && w.rank(x) == 4 { w.common(&[x]) } else { Form::Plain };
    let mut inputs = vec![w.get(x, form)?];
    if !axes.is_empty() {
        let placed = |&axis: &i64| match form {
            Form::Plain => axis,
            Form::Nchw => form.axis(axis.rem_euclid(4) as usize) as i64,
        };
        inputs.push(w.list("axes", &axes.iter().map(placed).collect::<Vec<_>>()));
    }
    w.result(node.outputs[0], Form::Plain, "Squeeze", inputs, vec![]);
    Ok(())
}

pub(super) fn unsqueeze(w: &mut Writer<'_>, node: &Node, axes: &[i64]) -> Result<(), Refused> {
    let inputs = vec![w.plain(operand(node, 0)?)?, w.list("axes", axes)];
    w.result(node.outputs[0], Form::Plain, "Unsqueeze", inputs, vec![]);
    Ok(())
}

/// Extents of an NCHW form are put in order instead of its elements.
pub(super) fn shape_of(w: &mut Writer<'_>, node: &Node, op: &ShapeOf) -> Result<(), Refused> {
    let (x, y) = (operand(node, 0)?, node.outputs[0]);
    let form = w.common(&[x]);
    let name = w.get(x, form)?;
    if form == Form::Plain {
        let start = (op.start != 0).then_some(("start", Attr::Int(op.start)));
        let end = op.end.map(|end| ("end", Attr::Int(end)));
        let attributes = start.into_iter().chain(end).collect();
        w.result(y, Form::Plain, "Shape", vec![name], attributes);
        return Ok(());
    }
    let all = w.part("extents", "Shape", vec![name], vec![]);
    // The chosen axes: what the layer takes of the numbers of the axes themselves.
    let places = depthwise_tensor::Shape::new(&TO_NHWC).expect("four small numbers");
    let chosen: Tensor = op.extents(&places);
    let chosen = w.constant("order", chosen);
    w.result(y, Form::Plain, "Gather", vec![all, chosen], vec![]);
    Ok(())
}
