//! Elements and slices at places that indices name, and points of pictures.

use super::values::{Form, Writer, operand};
use super::{Attr, Refused, refuse};
use depthwise_layers::ir::Node;
use depthwise_layers::{
    GatherElements, GatherNd, GridSample, Outside, SampleMode, ScatterElements, ScatterFn,
    ScatterNd, TopK,
};

/// A node whose operands are all plain.
fn plain(
    w: &mut Writer<'_>,
    node: &Node,
    op_type: &'static str,
    attributes: Vec<(&'static str, Attr)>,
) -> Result<(), Refused> {
    let ids = (0..node.inputs.len()).map(|at| operand(node, at)).collect::<Result<Vec<_>, _>>()?;
    let inputs = ids.into_iter().map(|id| w.plain(id)).collect::<Result<Vec<_>, _>>()?;
    let names: Vec<String> =
        node.outputs.iter().map(|&id| w.name_of_result(id, Form::Plain)).collect();
    w.push(op_type, inputs, names.clone(), attributes);
    node.outputs.iter().zip(names).for_each(|(&id, name)| w.alias(id, Form::Plain, name));
    Ok(())
}

pub(super) fn gather_elements(
    w: &mut Writer<'_>,
    node: &Node,
    op: &GatherElements,
) -> Result<(), Refused> {
    plain(w, node, "GatherElements", vec![("axis", Attr::Int(op.axis))])
}

pub(super) fn gather_nd(w: &mut Writer<'_>, node: &Node, op: &GatherNd) -> Result<(), Refused> {
    plain(w, node, "GatherND", vec![("batch_dims", Attr::Int(op.batch_dims as i64))])
}

fn reduction(function: ScatterFn) -> Result<(&'static str, Attr), Refused> {
    let name = match function {
        ScatterFn::Replace => "none",
        ScatterFn::Add => "add",
        ScatterFn::Mul => "mul",
        ScatterFn::Max => "max",
        ScatterFn::Min => "min",
        other => return refuse(format!("the reduction {other:?} has no form in ONNX")),
    };
    Ok(("reduction", Attr::Text(name)))
}

pub(super) fn scatter_elements(
    w: &mut Writer<'_>,
    node: &Node,
    op: &ScatterElements,
) -> Result<(), Refused> {
    let attributes = vec![("axis", Attr::Int(op.axis)), reduction(op.function)?];
    plain(w, node, "ScatterElements", attributes)
}

pub(super) fn scatter_nd(w: &mut Writer<'_>, node: &Node, op: &ScatterNd) -> Result<(), Refused> {
    plain(w, node, "ScatterND", vec![reduction(op.function)?])
}

/// ONNX has the number of elements as a list.
pub(super) fn top_k(w: &mut Writer<'_>, node: &Node, op: &TopK) -> Result<(), Refused> {
    let k = operand(node, 1)?;
    let Some([k]) = w.ints(k).map(|k| <[i64; 1]>::try_from(k).unwrap_or_default()) else {
        return refuse("a number of elements that is not known");
    };
    let inputs = vec![w.plain(operand(node, 0)?)?, w.list("k", &[k])];
    let attributes = vec![("axis", Attr::Int(op.axis)), ("largest", Attr::Int(op.largest.into()))];
    let names: Vec<String> =
        node.outputs.iter().map(|&id| w.name_of_result(id, Form::Plain)).collect();
    w.push("TopK", inputs, names.clone(), attributes);
    node.outputs.iter().zip(names).for_each(|(&id, name)| w.alias(id, Form::Plain, name));
    Ok(())
}

pub(super) fn grid_sample(w: &mut Writer<'_>, node: &Node, op: &GridSample) -> Result<(), Refused> {
    let mode = match op.mode {
        SampleMode::Nearest => "nearest",
        SampleMode::Linear => "linear",
        SampleMode::Cubic => "cubic",
        other => return refuse(format!("the interpolation {other:?} has no form in ONNX")),
    };
    let outside = match op.outside {
        Outside::Zeros => "zeros",
        Outside::Border => "border",
        Outside::Reflection => "reflection",
        other => return refuse(format!("the border {other:?} has no form in ONNX")),
    };
    let (x, grid) = (operand(node, 0)?, operand(node, 1)?);
    let inputs = vec![w.get(x, Form::Nchw)?, w.plain(grid)?];
    let attributes = vec![
        ("mode", Attr::Text(mode)),
        ("padding_mode", Attr::Text(outside)),
        ("align_corners", Attr::Int(op.align_corners.into())),
    ];
    w.result(node.outputs[0], Form::Nchw, "GridSample", inputs, attributes);
    Ok(())
}
