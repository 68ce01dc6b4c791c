//! Lets a convolution add the shortcut around it.

use super::fuse_activation::{activation_of, merged};
use super::{Pass, Rewriter};
use depthwise_layers::ir::{NodeId, ValueId};
use depthwise_layers::{Activation, BinaryFn, Op};

/// Turns `conv(x) + r` into one convolution with a residual input, where shapes are known and
/// equal and nothing else reads the convolution. The activation of the sum moves along.
///
/// Measure: the number of nodes.
pub(super) struct FuseResidual;

impl Pass for FuseResidual {
    fn name(&self) -> &'static str {
        "fuse-residual"
    }

    fn run(&self, rw: &mut Rewriter<'_>) {
        for id in rw.live_nodes() {
            let Some((op, inputs)) = fused(rw, id) else { continue };
            if !rw.allow() {
                return;
            }
            rw.replace_node(id, op, inputs);
        }
    }
}

fn fused(rw: &Rewriter<'_>, id: NodeId) -> Option<(Op, Vec<Option<ValueId>>)> {
    let Op::Binary(binary) = &rw.node(id).op else { return None };
    let (a, b) = (rw.input(id, 0)?, rw.input(id, 1)?);
    if binary.function != BinaryFn::Add || rw.ty(a).is_none() || rw.ty(a) != rw.ty(b) {
        return None;
    }
    // The later of two convolutions: then the earlier one need not wait for it.
    let (sum, residual) = match (convolution(rw, a), convolution(rw, b)) {
        (Some(first), Some(second)) if first > second => (first, b),
        (_, Some(second)) => (second, a),
        (Some(first), None) => (first, b),
        (None, None) => return None,
    };
    let conv = rw.node(sum);
    let mut op = conv.op.clone();
    let activation = activation_of(&mut op)?;
    *activation = merged(*activation, binary.activation)?;
    let mut inputs = conv.inputs.clone();
    inputs.resize(4, None);
    inputs[3] = Some(residual);
    Some((op, inputs))
}

/// The convolution that computes a value, if it can still take a residual.
fn convolution(rw: &Rewriter<'_>, id: ValueId) -> Option<NodeId> {
    let (node_id, node) = rw.producer(id)?;
    let free = match &node.op {
        Op::Conv2d(conv) => conv.activation == Activation::Identity,
        _ => false,
    };
    (free && rw.input(node_id, 3).is_none() && rw.is_read_once(id)).then_some(node_id)
}
