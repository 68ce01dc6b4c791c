//! Operations that give some of their operand's elements, unchanged.

use super::operands::{Params, dequantized, dtype_of};
use crate::passes::Rewriter;
use depthwise_layers::ir::{NodeId, ValueId};
use depthwise_layers::{Dequantize, Op, PadMode, PoolKind, ResizeMode, TensorType};
use depthwise_tensor::{DType, Tensor};

/// Whether an operation gives elements of its first operand (or of all, for a Concat) as they are.
pub(super) fn keeps_elements(op: &Op) -> bool {
    match op {
        Op::Concat(_)
        | Op::DepthToSpace(_)
        | Op::Expand(_)
        | Op::Flatten(_)
        | Op::Gather(_)
        | Op::Pad(_)
        | Op::Reshape(_)
        | Op::Slice(_)
        | Op::SpaceToDepth(_)
        | Op::Split(_)
        | Op::Squeeze(_)
        | Op::Tile(_)
        | Op::Transpose(_)
        | Op::Unsqueeze(_) => true,
        Op::Pool2d(pool) => pool.kind == PoolKind::Max,
        Op::Resize(resize) => matches!(resize.mode, ResizeMode::Nearest(_)),
        _ => false,
    }
}

/// Lets an operation read integers, with the Dequantize behind it.
pub(super) fn fold(rw: &mut Rewriter<'_>, id: NodeId) {
    match rw.node(id).op.clone() {
        Op::ArgExtreme(_) => fold_arg(rw, id),
        Op::Concat(_) => fold_concat(rw, id),
        Op::Transpose(transpose) => fold_transpose(rw, id, &transpose.perm),
        Op::Reshape(_) if has_scales_by_axis(rw, id) => fold_reshape(rw, id),
        op if keeps_elements(&op) => {
            let Some((stored, params)) = rw.input(id, 0).and_then(|x| dequantized(rw, x)) else {
                return;
            };
            let Some(inputs) = operands(rw, id, stored, params) else { return };
            put(rw, id, inputs, 0);
        }
        _ => {}
    }
}

/// Inputs of the operation on integers.
fn operands(
    rw: &mut Rewriter<'_>,
    id: NodeId,
    stored: ValueId,
    params: Params,
) -> Option<Vec<Option<ValueId>>> {
    let mut inputs = rw.node(id).inputs.clone();
    inputs[0] = Some(stored);
    let Op::Pad(pad) = &rw.node(id).op else { return Some(inputs) };
    if pad.mode != PadMode::Constant {
        return Some(inputs);
    }
    let value = match rw.input(id, 2) {
        None => 0.0,
        Some(value) => *rw.constant(value)?.to_f64().first()?,
    };
    let q = params.nearest(value);
    // What the integers cannot say stays real.
    if params.real(q) as f32 != value as f32 {
        return None;
    }
    let name = format!("{}.value", rw.node(id).name);
    inputs.resize(inputs.len().max(3), None);
    inputs[2] = Some(rw.add_const(name, scalar(params.dtype, q)));
    Some(inputs)
}

fn scalar(dtype: DType, q: i64) -> Tensor {
    if dtype == DType::I8 { Tensor::scalar(q as i8) } else { Tensor::scalar(q as u8) }
}

/// The largest real number is where the largest integer is.
fn fold_arg(rw: &mut Rewriter<'_>, id: NodeId) {
    let Some((stored, _)) = rw.input(id, 0).and_then(|x| dequantized(rw, x)) else { return };
    if rw.allow() {
        let op = rw.node(id).op.clone();
        rw.replace_node(id, op, vec![Some(stored)]);
    }
}

/// Operands that share their scale; others are brought to the scale of the result, if that has
/// one, by [`super::layers`].
fn fold_concat(rw: &mut Rewriter<'_>, id: NodeId) {
    let inputs = rw.node(id).inputs.clone();
    let parts: Option<Vec<(ValueId, Params)>> =
        inputs.iter().map(|&x| dequantized(rw, x?)).collect();
    let Some(parts) = parts else { return };
    if parts.windows(2).all(|pair| pair[0].1 == pair[1].1) {
        put(rw, id, parts.iter().map(|part| Some(part.0)).collect(), 0);
    }
}

/// Scales by axis go along.
fn fold_transpose(rw: &mut Rewriter<'_>, id: NodeId, perm: &[usize]) {
    let Some((node, found)) = rw.input(id, 0).and_then(|x| rw.producer(x)) else { return };
    let Op::Dequantize(layer) = &found.op else { return };
    let from = if layer.axis < 0 { layer.axis + perm.len() as i64 } else { layer.axis };
    let axis = perm.iter().position(|&source| source as i64 == from).map_or(0, |axis| axis as i64);
    let stored = rw.input(node, 0);
    put(rw, id, vec![stored], axis);
}

/// Whether the first operand has a scale for each slice of an axis.
fn has_scales_by_axis(rw: &Rewriter<'_>, id: NodeId) -> bool {
    let Some((node, found)) = rw.input(id, 0).and_then(|x| rw.producer(x)) else { return false };
    let scale = rw.input(node, 1).and_then(|scale| rw.constant(scale));
    matches!(found.op, Op::Dequantize(_)) && scale.is_some_and(|scale| scale.elements() > 1)
}

/// Scales by axis go along where the axis is there afterwards: as many slices, behind as many
/// elements. So it is for filters of one input channel, whose transposition is a reshape.
fn fold_reshape(rw: &mut Rewriter<'_>, id: NodeId) {
    let Some((node, found)) = rw.input(id, 0).and_then(|x| rw.producer(x)) else { return };
    let Op::Dequantize(layer) = &found.op else { return };
    let Some(stored) = rw.input(node, 0) else { return };
    let Some(from) = rw.constant(stored).map(|tensor| *tensor.shape()) else { return };
    let axis = from.axis(layer.axis);
    let Some((axis, to)) = axis.zip(extents_after(rw, id)) else { return };
    let before: usize = from[..axis].iter().product();
    let same = |&b: &usize| to[b] == from[axis] && to[..b].iter().product::<usize>() == before;
    let Some(axis) = (0..to.len()).find(same) else { return };
    let mut inputs = rw.node(id).inputs.clone();
    inputs[0] = Some(stored);
    put(rw, id, inputs, axis as i64);
}

/// Extents of the result of a Reshape, where the graph tells.
fn extents_after(rw: &Rewriter<'_>, id: NodeId) -> Option<Vec<usize>> {
    if let Some(ty) = rw.ty(rw.node(id).outputs[0]) {
        return Some(ty.shape.to_vec());
    }
    let list = rw.constant(rw.input(id, 1)?)?.to_i64();
    list.iter().map(|&extent| usize::try_from(extent).ok().filter(|&extent| extent > 0)).collect()
}

/// Puts the operation on integers in place of a node, and a Dequantize behind each of its results.
fn put(rw: &mut Rewriter<'_>, id: NodeId, inputs: Vec<Option<ValueId>>, axis: i64) {
    let node = rw.node(id).clone();
    let Some((scaled, _)) = node.inputs[0].and_then(|x| rw.producer(x)) else { return };
    let scales: Vec<Option<ValueId>> = rw.node(scaled).inputs.clone();
    let Some(dtype) = inputs[0].and_then(|stored| dtype_of(rw, stored)) else { return };
    // A result of the network keeps its name only where a node may take it over.
    if !rw.allow() {
        return;
    }
    let names: Vec<String> =
        node.outputs.iter().map(|&v| format!("{}.integers", rw.graph().value(v).name)).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let results = rw.add_with_outputs(&node.name, node.op.clone(), &inputs, &names);
    for (&old, &stored) in node.outputs.iter().zip(&results) {
        let ty = rw.ty(old).map(|ty| TensorType { dtype, shape: ty.shape });
        rw.set_type(stored, ty);
        let mut inputs = scales.clone();
        inputs[0] = Some(stored);
        let name = rw.graph().value(old).name.clone();
        let real = rw.add_with_outputs(&name, Dequantize { axis }, &inputs, &[&name])[0];
        rw.redirect(old, real);
    }
}
