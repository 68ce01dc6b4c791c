//! Drops nodes that give back their input.

use super::{Pass, Rewriter};
use depthwise_layers::ir::{NodeId, ValueId};
use depthwise_layers::{Activate, Activation, BinaryFn, Op};

/// Drops casts to the same type, dropout, reshapes to the same shape, transposes that keep the order,
/// slices of everything, pads of nothing, concatenations of one, resizes to the same size,
/// arithmetic with neutral constants (of which an activation may stay).
///
/// Measure: the number of nodes that are no activations.
pub(super) struct RemoveIdentities;

impl Pass for RemoveIdentities {
    fn name(&self) -> &'static str {
        "remove-identities"
    }

    fn run(&self, rw: &mut Rewriter<'_>) {
        for id in rw.live_nodes() {
            if let Some((x, activation)) = neutral_operand(rw, id)
                && activation != Activation::Identity
            {
                if !rw.allow() {
                    return;
                }
                rw.replace_node(id, Activate { activation }, vec![Some(x)]);
                continue;
            }
            let Some(same) = same_as(rw, id) else { continue };
            let output = rw.node(id).outputs[0];
            if rw.can_redirect(output, same) {
                if !rw.allow() {
                    return;
                }
                rw.redirect(output, same);
            }
        }
    }
}

/// The input that a node gives back as it is.
fn same_as(rw: &Rewriter<'_>, id: NodeId) -> Option<ValueId> {
    let node = rw.node(id);
    let &[output] = &node.outputs[..] else { return None };
    let x = node.inputs.first().copied().flatten()?;
    let same_type = || rw.ty(x).is_some() && rw.ty(x) == rw.ty(output);
    let all = |position: usize, neutral: i64| {
        let list = rw.input(id, position).and_then(|id| rw.integers(id));
        list.is_some_and(|list| list.iter().all(|&n| n == neutral))
    };
    let same = match &node.op {
        Op::Activate(activate) => activate.activation == Activation::Identity,
        Op::Binary(_) => return neutral_operand(rw, id).map(|(x, _)| x),
        Op::Cast(cast) => {
            let constant = rw.graph().constant(x).map(|t| t.dtype());
            rw.ty(x).map(|ty| ty.dtype).or(constant) == Some(cast.to)
        }
        Op::Concat(_) => node.inputs.len() == 1,
        // It drops elements in training alone.
        Op::Dropout(_) => true,
        Op::Expand(_) | Op::Flatten(_) | Op::Reshape(_) | Op::Squeeze(_) | Op::Unsqueeze(_) => {
            same_type()
        }
        Op::Pad(_) => all(1, 0),
        Op::Resize(_) => same_type() && keeps_scale(rw, id),
        Op::Slice(_) => same_type() && (rw.input(id, 4).is_none() || all(4, 1)),
        Op::Tile(_) => all(1, 1),
        Op::Transpose(transpose) => transpose.perm.is_sorted(),
        _ => false,
    };
    same.then_some(x)
}

/// The other operand of `x + 0`, `x - 0`, `x * 1` and `x / 1`, and the activation that follows.
fn neutral_operand(rw: &Rewriter<'_>, id: NodeId) -> Option<(ValueId, Activation)> {
    let Op::Binary(binary) = &rw.node(id).op else { return None };
    let (a, b) = (rw.input(id, 0)?, rw.input(id, 1)?);
    let (neutral, commutes) = match binary.function {
        BinaryFn::Add => (0.0, true),
        BinaryFn::Sub => (0.0, false),
        BinaryFn::Mul => (1.0, true),
        BinaryFn::Div => (1.0, false),
        _ => return None,
    };
    if rw.scalar_beside(b, a) == Some(neutral) {
        return Some((a, binary.activation));
    }
    let other = commutes && rw.scalar_beside(a, b) == Some(neutral);
    other.then_some((b, binary.activation))
}

/// Whether a resize to the size that its input has maps every sample onto itself. From sizes, or
/// from scales of exactly 1, every coordinate mapping is the identity, at which all
/// interpolations give the sample itself. A scale of 1.01 can also keep the size, but shifts.
fn keeps_scale(rw: &Rewriter<'_>, id: NodeId) -> bool {
    match rw.input(id, 2) {
        None => true,
        Some(scales) => rw
            .constant(scales)
            .is_some_and(|scales| scales.to_f64().iter().all(|&scale| scale == 1.0)),
    }
}
