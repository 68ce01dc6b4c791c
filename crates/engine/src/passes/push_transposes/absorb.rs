//! How each operation works on an untransposed operand.

use super::{Moved, inverse, moved, operands, put, reshape, restricted};
use crate::passes::Rewriter;
use depthwise_layers::ir::{NodeId, ValueId};
use depthwise_layers::*;

/// Lets a node read what the Transpose before it reads, if it knows how.
pub(super) fn absorb(rw: &mut Rewriter<'_>, id: NodeId) {
    match rw.node(id).op.clone() {
        Op::Binary(_) | Op::PRelu(_) | Op::QBinary(_) | Op::Select(_) => {
            operands::broadcast(rw, id)
        }
        Op::Concat(concat) => operands::concat(rw, id, &concat),
        op => {
            let Some(x) = rw.input(id, 0).and_then(|x| moved(rw, x)) else { return };
            absorb_one(rw, id, op, &x);
        }
    }
}

/// [`absorb`] of operations with one tensor among their inputs, the first.
fn absorb_one(rw: &mut Rewriter<'_>, id: NodeId, op: Op, x: &Moved) {
    let perm = &x.perm;
    let axis = |axis: i64| resolve(axis, perm.len()).map(|axis| perm[axis]);
    match op {
        Op::Activate(_) | Op::Cast(_) | Op::QLookup(_) | Op::Unary(_) => same(rw, id, op, x),
        // With one scale the axis means nothing.
        Op::Quantize(quantize) => {
            let axis = axis(quantize.axis).unwrap_or(0) as i64;
            same(rw, id, Quantize { axis, ..quantize }.into(), x);
        }
        Op::Dequantize(dequantize) => {
            let axis = axis(dequantize.axis).unwrap_or(0) as i64;
            same(rw, id, Dequantize { axis }.into(), x);
        }
        Op::Softmax(softmax) => {
            let Some(axis) = axis(softmax.axis) else { return };
            same(rw, id, Softmax { axis: axis as i64, ..softmax }.into(), x);
        }
        Op::BatchNorm(norm) => {
            let Some(axis) = axis(norm.axis) else { return };
            let axis = if axis + 1 == perm.len() { -1 } else { axis as i64 };
            same(rw, id, BatchNorm { axis, ..norm }.into(), x);
        }
        Op::Split(split) => {
            let Some(axis) = axis(split.axis) else { return };
            same(rw, id, Split { axis: axis as i64, ..split }.into(), x);
        }
        Op::ArgExtreme(extreme) => {
            let Some(axis) = axis(extreme.axis) else { return };
            let left = if extreme.keep_dims {
                perm.clone()
            } else {
                restricted(perm, |kept| kept != axis)
            };
            let op = ArgExtreme { axis: axis as i64, ..extreme };
            put_if_allowed(rw, id, op.into(), vec![Some(x.source)], left);
        }
        Op::Reduce(reduce) => absorb_reduce(rw, id, reduce, x),
        Op::Slice(_) => absorb_slice(rw, id, op, x),
        Op::Pad(_) => absorb_pad(rw, id, op, x),
        Op::Resize(_) => absorb_per_axis(rw, id, op, x, &[1, 2]),
        Op::Tile(_) => absorb_per_axis(rw, id, op, x, &[1]),
        Op::Expand(_) => {
            // A shape of higher rank than x adds axes in front of those that were reordered.
            let shape = rw.input(id, 1).and_then(|shape| rw.constant(shape));
            if shape.is_some_and(|shape| shape.elements() == perm.len()) {
                absorb_per_axis(rw, id, op, x, &[1]);
            }
        }
        Op::Gather(gather) => absorb_gather(rw, id, &gather, x),
        Op::ShapeOf(shape_of) => absorb_shape_of(rw, id, &shape_of, x),
        Op::Squeeze(squeeze) if !squeeze.axes.is_empty() => {
            let Some(axes) = resolve_all(&squeeze.axes, perm) else { return };
            let left = restricted(perm, |kept| !axes.contains(&(kept as i64)));
            put_if_allowed(rw, id, Squeeze { axes }.into(), vec![Some(x.source)], left);
        }
        Op::Unsqueeze(unsqueeze) => absorb_unsqueeze(rw, id, &unsqueeze, x),
        Op::Reshape(_) | Op::Flatten(_) | Op::Squeeze(_) => reshape::absorb(rw, id, x),
        _ => {}
    }
}

/// The axis that a possibly negative number means.
pub(super) fn resolve(axis: i64, rank: usize) -> Option<usize> {
    let axis = if axis < 0 { axis + rank as i64 } else { axis };
    usize::try_from(axis).ok().filter(|&axis| axis < rank)
}

/// Axes of a reordered tensor as axes of its source.
fn resolve_all(axes: &[i64], perm: &[usize]) -> Option<Vec<i64>> {
    axes.iter().map(|&axis| Some(perm[resolve(axis, perm.len())?] as i64)).collect()
}

fn put_if_allowed(
    rw: &mut Rewriter<'_>,
    id: NodeId,
    op: Op,
    inputs: Vec<Option<ValueId>>,
    perm: Vec<usize>,
) {
    if rw.allow() {
        let outputs = rw.node(id).outputs.len();
        put(rw, id, op, &inputs, &vec![perm; outputs]);
    }
}

/// The same operation, its other inputs as they are, on the source; all outputs reordered like it.
fn same(rw: &mut Rewriter<'_>, id: NodeId, op: Op, x: &Moved) {
    let mut inputs = rw.node(id).inputs.clone();
    inputs[0] = Some(x.source);
    put_if_allowed(rw, id, op, inputs, x.perm.clone());
}

fn absorb_reduce(rw: &mut Rewriter<'_>, id: NodeId, reduce: Reduce, x: &Moved) {
    let Some(axes) = resolve_all(&reduce.axes, &x.perm) else { return };
    let left = if reduce.keep_dims {
        x.perm.clone()
    } else if axes.is_empty() {
        Vec::new()
    } else {
        restricted(&x.perm, |kept| !axes.contains(&(kept as i64)))
    };
    put_if_allowed(rw, id, Reduce { axes, ..reduce }.into(), vec![Some(x.source)], left);
}

fn absorb_slice(rw: &mut Rewriter<'_>, id: NodeId, op: Op, x: &Moved) {
    let axes: Vec<i64> = match rw.input(id, 3) {
        Some(axes) => match rw.integers(axes) {
            Some(axes) => axes,
            None => return,
        },
        None => {
            let starts = rw.input(id, 1).and_then(|starts| rw.dims(starts));
            let Some(&[count]) = starts.as_deref() else { return };
            (0..count as i64).collect()
        }
    };
    let Some(axes) = resolve_all(&axes, &x.perm) else { return };
    if !rw.allow() {
        return;
    }
    let mut inputs = rw.node(id).inputs.clone();
    inputs.resize(inputs.len().max(4), None);
    inputs[0] = Some(x.source);
    inputs[3] = Some(rw.add_integers(&format!("{}.axes", rw.node(id).name.clone()), &axes));
    put(rw, id, op, &inputs, std::slice::from_ref(&x.perm));
}

fn absorb_pad(rw: &mut Rewriter<'_>, id: NodeId, op: Op, x: &Moved) {
    let axes = match rw.input(id, 3) {
        Some(axes) => rw.integers(axes).and_then(|axes| resolve_all(&axes, &x.perm)),
        None => Some(x.perm.iter().map(|&axis| axis as i64).collect()),
    };
    let Some(axes) = axes else { return };
    if !rw.allow() {
        return;
    }
    let mut inputs = rw.node(id).inputs.clone();
    inputs.resize(4, None);
    inputs[0] = Some(x.source);
    inputs[3] = Some(rw.add_integers(&format!("{}.axes", rw.node(id).name.clone()), &axes));
    put(rw, id, op, &inputs, std::slice::from_ref(&x.perm));
}

/// Operations with an entry per axis in each of the inputs `lists`.
fn absorb_per_axis(rw: &mut Rewriter<'_>, id: NodeId, op: Op, x: &Moved, lists: &[usize]) {
    if !rw.allow() {
        return;
    }
    let mut inputs = rw.node(id).inputs.clone();
    inputs[0] = Some(x.source);
    for &position in lists {
        if let Some(Some(list)) = inputs.get(position).copied() {
            inputs[position] = Some(picked(rw, list, &inverse(&x.perm)));
        }
    }
    put(rw, id, op, &inputs, std::slice::from_ref(&x.perm));
}

/// Elements of a list, by position.
fn picked(rw: &mut Rewriter<'_>, list: ValueId, positions: &[usize]) -> ValueId {
    let positions: Vec<i64> = positions.iter().map(|&p| p as i64).collect();
    let name = rw.graph().value(list).name.clone();
    let positions = rw.add_integers(&format!("{name}.order"), &positions);
    rw.add(&format!("{name}.reordered"), Gather { axis: 0 }, &[list, positions])
}

fn absorb_gather(rw: &mut Rewriter<'_>, id: NodeId, gather: &Gather, x: &Moved) {
    let Some(axis) = resolve(gather.axis, x.perm.len()).map(|axis| x.perm[axis]) else { return };
    let indices = rw.input(id, 1);
    let left = match indices.and_then(|indices| rw.rank(indices)) {
        Some(0) => restricted(&x.perm, |kept| kept != axis),
        Some(1) => x.perm.clone(),
        _ => return,
    };
    let op = Gather { axis: axis as i64 };
    put_if_allowed(rw, id, op.into(), vec![Some(x.source), indices], left);
}

/// Extents are asked of the source and put in the right order; the Transpose is left out of it.
fn absorb_shape_of(rw: &mut Rewriter<'_>, id: NodeId, shape_of: &ShapeOf, x: &Moved) {
    let rank = x.perm.len() as i64;
    let clamp = |axis: i64| (if axis < 0 { axis + rank } else { axis }).clamp(0, rank) as usize;
    let (start, end) = (clamp(shape_of.start), clamp(shape_of.end.unwrap_or(rank)));
    if start >= end || !rw.allow() {
        return;
    }
    let name = rw.node(id).name.clone();
    let extents = rw.add(&name, ShapeOf { start: 0, end: None }, &[x.source]);
    let order = picked(rw, extents, &x.perm[start..end]);
    let output = rw.node(id).outputs[0];
    rw.redirect(output, order);
}

/// New axes stand behind those of the source, from where they are transposed to their places.
fn absorb_unsqueeze(rw: &mut Rewriter<'_>, id: NodeId, unsqueeze: &Unsqueeze, x: &Moved) {
    let old = x.perm.len();
    let rank = old + unsqueeze.axes.len();
    let places: Option<Vec<usize>> =
        unsqueeze.axes.iter().map(|&axis| resolve(axis, rank)).collect();
    let Some(places) = places else { return };
    let (mut from_x, mut inserted) = (x.perm.iter().copied(), old..rank);
    let perm: Option<Vec<usize>> = (0..rank)
        .map(|axis| if places.contains(&axis) { inserted.next() } else { from_x.next() })
        .collect();
    let Some(perm) = perm else { return };
    let op = Unsqueeze { axes: (old as i64..rank as i64).collect() };
    put_if_allowed(rw, id, op.into(), vec![Some(x.source)], perm);
}
