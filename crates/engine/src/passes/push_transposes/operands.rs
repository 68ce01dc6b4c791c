//! Operations with several tensors among their operands.

use super::absorb::resolve;
use super::{Moved, add_extents, composed, inverse, moved, moves_only_ones, put};
use super::{transposed_constant, type_before};
use crate::passes::Rewriter;
use depthwise_layers::ir::{NodeId, ValueId};
use depthwise_layers::{Concat, Op, Reshape, Transpose};

/// What an operand becomes when the operation works on reordered axes.
enum Operand {
    /// Another value that is there already, or the operand itself (one element).
    Ready(ValueId),
    /// A constant: reordered at once.
    Constant(ValueId),
    /// A tensor whose reordering moves only extents of 1: reshaped to these.
    Reshaped(ValueId, Vec<usize>),
    /// Any other: transposed when run.
    Transposed(ValueId),
}

/// Elementwise operations: operands broadcast against each other from the last axis backwards.
pub(super) fn broadcast(rw: &mut Rewriter<'_>, id: NodeId) {
    let Some(perm) = common_perm(rw, id) else { return };
    if rw.node(id).inputs.iter().flatten().any(|&v| rw.rank(v).is_none_or(|r| r > perm.len())) {
        return;
    }
    let op = rw.node(id).op.clone();
    rewrite(rw, id, op, &perm, true);
}

/// Concatenation: operands of one rank.
pub(super) fn concat(rw: &mut Rewriter<'_>, id: NodeId, concat: &Concat) {
    let Some(perm) = common_perm(rw, id) else { return };
    let Some(axis) = resolve(concat.axis, perm.len()) else { return };
    let op = Concat { axis: perm[axis] as i64 };
    rewrite(rw, id, op.into(), &perm, false);
}

/// The order that most transposed operands have.
fn common_perm(rw: &Rewriter<'_>, id: NodeId) -> Option<Vec<usize>> {
    let perms: Vec<Vec<usize>> = rw
        .node(id)
        .inputs
        .iter()
        .flatten()
        .filter_map(|&v| moved(rw, v))
        .map(|moved| moved.perm)
        .collect();
    let count = |perm: &Vec<usize>| perms.iter().filter(|&other| other == perm).count();
    perms.iter().rev().max_by_key(|perm| (perm.len(), count(perm))).cloned()
}

fn rewrite(rw: &mut Rewriter<'_>, id: NodeId, op: Op, perm: &[usize], broadcasts: bool) {
    let inputs = rw.node(id).inputs.clone();
    let operands: Option<Vec<Option<Operand>>> = inputs
        .iter()
        .map(|input| match input {
            None => Some(None),
            Some(v) => operand(rw, *v, perm, broadcasts).map(Some),
        })
        .collect();
    let Some(operands) = operands else { return };
    let output = rw.node(id).outputs[0];
    let (removed, added) = count(rw, &inputs, &operands, perm);
    // With transposes to add, it must pay for certain: one that goes if its reader undoes it, one
    // more at the output if not.
    let undone = added > 0 && is_undone(rw, output, perm, 4);
    if added > 0 && added + usize::from(!undone) >= removed + usize::from(undone) {
        return;
    }
    if !rw.allow() {
        return;
    }
    let inputs: Vec<Option<ValueId>> = operands
        .into_iter()
        .map(|operand| operand.map(|operand| materialize(rw, operand, perm)))
        .collect();
    put(rw, id, op, &inputs, &[perm.to_vec()]);
}

/// What one operand becomes; `None` where it has too many or too few axes, or an unknown number.
fn operand(rw: &Rewriter<'_>, v: ValueId, perm: &[usize], broadcasts: bool) -> Option<Operand> {
    if let Some(Moved { source, perm: own }) = moved(rw, v)
        && own == perm
    {
        return Some(Operand::Ready(source));
    }
    let rank = rw.rank(v)?;
    if rank > perm.len() || (!broadcasts && rank != perm.len()) {
        return None;
    }
    let dims = rw.dims(v);
    let elements = dims.as_ref().map(|dims| dims.iter().product::<usize>());
    if broadcasts && elements == Some(1) {
        return Some(Operand::Ready(v));
    }
    if rw.constant(v).is_some() {
        return Some(Operand::Constant(v));
    }
    let back = inverse(perm);
    if let Some(dims) = dims {
        let mut full = vec![1; perm.len() - rank];
        full.extend(dims);
        if moves_only_ones(&full, &back) {
            let to = back.iter().map(|&axis| full[axis]).collect();
            return Some(Operand::Reshaped(v, to));
        }
    }
    (rank == perm.len()).then_some(Operand::Transposed(v))
}

/// Transposes that the node no longer needs, and those that it needs in their place.
fn count(
    rw: &Rewriter<'_>,
    inputs: &[Option<ValueId>],
    operands: &[Option<Operand>],
    perm: &[usize],
) -> (usize, usize) {
    let (mut removed, mut added) = (0, 0);
    for (input, operand) in inputs.iter().zip(operands) {
        let (Some(input), Some(operand)) = (input, operand) else { continue };
        let own = moved(rw, *input);
        // One that others read as well stays.
        let goes = own.is_some() && rw.readers(*input).len() == 1 && !rw.is_output(*input);
        match operand {
            Operand::Transposed(_) => match own {
                // The one it has and the new one become one.
                Some(own) if composed(&own.perm, &inverse(perm)).is_sorted() => {}
                Some(_) if goes => {}
                _ => added += 1,
            },
            _ => removed += usize::from(goes),
        }
    }
    (removed, added)
}

/// Whether all readers of a value undo a transposition of it by `perm`, at once or behind
/// operations that do not care for the order of axes.
fn is_undone(rw: &Rewriter<'_>, v: ValueId, perm: &[usize], depth: usize) -> bool {
    let readers = rw.readers(v);
    depth > 0
        && !readers.is_empty()
        && !rw.is_output(v)
        && readers.iter().all(|&reader| match &rw.node(reader).op {
            Op::Transpose(next) => {
                next.perm.len() == perm.len() && composed(perm, &next.perm).is_sorted()
            }
            Op::Activate(_) | Op::Cast(_) | Op::Unary(_) => {
                is_undone(rw, rw.node(reader).outputs[0], perm, depth - 1)
            }
            _ => false,
        })
}

fn materialize(rw: &mut Rewriter<'_>, operand: Operand, perm: &[usize]) -> ValueId {
    let back = inverse(perm);
    match operand {
        Operand::Ready(v) => v,
        Operand::Constant(v) => {
            let name = rw.graph().value(v).name.clone();
            let tensor = rw.constant(v).and_then(|tensor| transposed_constant(tensor, &back));
            match tensor {
                Some(tensor) => rw.add_const(name, tensor),
                None => unreachable!("ranks were compared"),
            }
        }
        Operand::Reshaped(v, dims) => {
            let name = rw.graph().value(v).name.clone();
            let shape = add_extents(rw, &format!("{name}.shape"), &dims);
            let reshape = Reshape { allow_zero: true };
            rw.add(&format!("{name}.reshape"), reshape, &[v, shape])
        }
        Operand::Transposed(v) => {
            let name = rw.graph().value(v).name.clone();
            let (source, perm) = match moved(rw, v) {
                Some(own) => (own.source, composed(&own.perm, &back)),
                None => (v, back),
            };
            let ty = type_before(rw.ty(source), &inverse(&perm));
            let out = rw.add(&format!("{name}.transpose"), Transpose { perm }, &[source]);
            rw.set_type(out, ty);
            out
        }
    }
}
