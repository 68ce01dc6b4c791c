//! Elements moved, joined and cut.

use super::values::{Form, TO_NCHW, TO_NHWC, Writer, operand, optional};
use super::{Attr, Refused, refuse};
use depthwise_layers::ir::{Node, ValueId};
use depthwise_layers::{Concat, Gather, Pad, PadMode, Split, SplitParts, Transpose};

/// An axis from the start.
fn axis(w: &Writer<'_>, x: ValueId, axis: i64) -> Result<usize, Refused> {
    let shape = w.known.ty(x).shape;
    let found = shape.axis(axis);
    found.ok_or_else(|| Refused(format!("axis {axis} of {} dimensions", shape.rank())))
}

/// Between NHWC and NCHW no node; else one transpose, from the form that is there.
pub(super) fn transpose(w: &mut Writer<'_>, node: &Node, op: &Transpose) -> Result<(), Refused> {
    let (x, y) = (operand(node, 0)?, node.outputs[0]);
    if op.perm == TO_NCHW {
        let name = w.get(x, Form::Nchw)?;
        w.alias(y, Form::Plain, name);
        return Ok(());
    }
    if op.perm == TO_NHWC {
        let name = w.plain(x)?;
        w.alias(y, Form::Nchw, name);
        return Ok(());
    }
    let form = w.common(&[x]);
    let from = w.get(x, form)?;
    let perm: Vec<usize> = op.perm.iter().map(|&axis| form.axis(axis)).collect();
    let name = w.name_of_result(y, Form::Plain);
    w.transpose(from, &perm, name.clone());
    w.alias(y, Form::Plain, name);
    Ok(())
}

pub(super) fn concat(w: &mut Writer<'_>, node: &Node, op: &Concat) -> Result<(), Refused> {
    let ids = (0..node.inputs.len()).map(|at| operand(node, at)).collect::<Result<Vec<_>, _>>()?;
    let axis = axis(w, operand(node, 0)?, op.axis)?;
    let form = w.common(&ids);
    let names = ids.iter().map(|&id| w.get(id, form)).collect::<Result<Vec<_>, _>>()?;
    let axis = Attr::Int(form.axis(axis) as i64);
    w.result(node.outputs[0], form, "Concat", names, vec![("axis", axis)]);
    Ok(())
}

pub(super) fn gather(w: &mut Writer<'_>, node: &Node, op: &Gather) -> Result<(), Refused> {
    let (x, indices) = (operand(node, 0)?, operand(node, 1)?);
    let attributes = vec![("axis", Attr::Int(axis(w, x, op.axis)? as i64))];
    let inputs = vec![w.plain(x)?, w.plain(indices)?];
    w.result(node.outputs[0], Form::Plain, "Gather", inputs, attributes);
    Ok(())
}

/// Numbers per axis of a plain value, in the order of a form.
pub(super) fn ordered<T: Copy>(form: Form, list: &[T]) -> Vec<T> {
    match form {
        Form::Plain => list.to_vec(),
        Form::Nchw => TO_NCHW.iter().map(|&axis| list[axis]).collect(),
    }
}

pub(super) fn pad(w: &mut Writer<'_>, node: &Node, op: &Pad) -> Result<(), Refused> {
    let (x, pads, y) = (operand(node, 0)?, operand(node, 1)?, node.outputs[0]);
    let value = optional(node, 2);
    let mode = match op.mode {
        PadMode::Constant => "constant",
        PadMode::Reflect => "reflect",
        PadMode::Edge => "edge",
        PadMode::Wrap => "wrap",
    };
    let axes = optional(node, 3);
    let known_axes = match axes {
        None => Some(None),
        Some(axes) => w.ints(axes).map(Some),
    };
    let known = w.ints(pads).zip(known_axes);
    let crops = |pads: &[i64]| op.mode != PadMode::Constant && pads.iter().any(|&n| n < 0);
    let (form, pads, axes) = match known {
        Some((pads, axes)) => {
            if crops(&pads) {
                return refuse(format!("crops together with {mode} pads"));
            }
            let shape = w.known.ty(x).shape;
            let each = op.resolve(&shape, &pads, axes.as_deref());
            let each = each.map_err(|error| Refused(error.to_string()))?;
            let form = w.common(&[x]);
            let each = ordered(form, &each);
            let begins = each.iter().map(|pad| pad.0);
            let all: Vec<i64> = begins.chain(each.iter().map(|pad| pad.1)).collect();
            (form, w.list("pads", &all), None)
        }
        None => {
            let axes = axes.map(|axes| w.plain(axes)).transpose()?;
            (Form::Plain, w.plain(pads)?, axes)
        }
    };
    let mut inputs = vec![w.get(x, form)?, pads];
    match value {
        Some(value) => inputs.push(scalar(w, value)?),
        None if axes.is_some() => inputs.push(String::new()),
        None => {}
    }
    inputs.extend(axes);
    w.result(y, form, "Pad", inputs, vec![("mode", Attr::Text(mode))]);
    Ok(())
}

/// A value of one element without dimensions.
fn scalar(w: &mut Writer<'_>, id: ValueId) -> Result<String, Refused> {
    if w.rank(id) == 0 {
        return w.plain(id);
    }
    if let Some(tensor) = w.tensor(id) {
        let tensor = tensor.reshape(&[]).map_err(|error| Refused(error.to_string()))?;
        return Ok(w.constant("value", tensor));
    }
    let (name, shape) = (w.plain(id)?, w.list("no.extents", &[]));
    Ok(w.part("value", "Reshape", vec![name, shape], vec![]))
}

/// Where the axes are known they follow the form; starts, ends and steps are per axis and stay.
pub(super) fn slice(w: &mut Writer<'_>, node: &Node) -> Result<(), Refused> {
    let (x, y) = (operand(node, 0)?, node.outputs[0]);
    let rank = w.rank(x);
    let (starts, axes) = (operand(node, 1)?, optional(node, 3));
    let known: Option<Vec<i64>> = match axes {
        Some(axes) => w.ints(axes),
        None => Some((0..w.known.ty(starts).shape.elements() as i64).collect()),
    };
    let (form, axes) = match known {
        Some(axes) => {
            let form = w.common(&[x]);
            let placed = |&at: &i64| {
                let at = axis(w, x, at)?;
                Ok(form.axis(at) as i64)
            };
            let axes = axes.iter().map(placed).collect::<Result<Vec<_>, Refused>>()?;
            let in_order = axes.iter().copied().eq(0..axes.len() as i64) && axes.len() <= rank;
            let needed = !in_order || optional(node, 4).is_some();
            (form, if needed { w.list("axes", &axes) } else { String::new() })
        }
        None => {
            let axes = axes.map(|axes| w.plain(axes)).transpose()?;
            (Form::Plain, axes.unwrap_or_default())
        }
    };
    let mut inputs = vec![w.get(x, form)?, w.plain(starts)?, w.plain(operand(node, 2)?)?, axes];
    if let Some(steps) = optional(node, 4) {
        inputs.push(w.plain(steps)?);
    }
    w.result(y, form, "Slice", inputs, vec![]);
    Ok(())
}

pub(super) fn split(w: &mut Writer<'_>, node: &Node, op: &Split) -> Result<(), Refused> {
    let x = operand(node, 0)?;
    let at = axis(w, x, op.axis)?;
    let form = w.common(&[x]);
    let mut inputs = vec![w.get(x, form)?];
    let mut attributes = vec![("axis", Attr::Int(form.axis(at) as i64))];
    let sizes = match (&op.parts, w.known.extent(x, at)) {
        (SplitParts::Sizes(sizes), _) => Some(sizes.clone()),
        (SplitParts::Equal(_), Some(_)) => {
            let resolved = op.resolve(&w.known.ty(x).shape);
            Some(resolved.map_err(|error| Refused(error.to_string()))?.1)
        }
        (SplitParts::Equal(n), None) => {
            attributes.push(("num_outputs", Attr::Int(*n as i64)));
            None
        }
    };
    if let Some(sizes) = sizes {
        let sizes: Vec<i64> = sizes.iter().map(|&size| size as i64).collect();
        inputs.push(w.list("sizes", &sizes));
    }
    let names: Vec<String> = node.outputs.iter().map(|&id| w.name_of_result(id, form)).collect();
    w.push("Split", inputs, names.clone(), attributes);
    node.outputs.iter().zip(names).for_each(|(&id, name)| w.alias(id, form, name));
    Ok(())
}
