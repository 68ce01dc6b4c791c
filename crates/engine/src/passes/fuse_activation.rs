//! Lets a layer apply the activation that follows it.

use super::{Pass, Rewriter};
use depthwise_layers::ir::{NodeId, ValueId};
use depthwise_layers::{Activation, Op};

/// Moves an activation into the convolution, dense layer or elementwise function before it, where
/// nothing else reads the value in between. Two clips become one.
///
/// Measure: the number of nodes.
pub(super) struct FuseActivation;

impl Pass for FuseActivation {
    fn name(&self) -> &'static str {
        "fuse-activation"
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

/// The node before an activation, with the activation in it.
fn fused(rw: &Rewriter<'_>, id: NodeId) -> Option<(Op, Vec<Option<ValueId>>)> {
    let Op::Activate(activate) = &rw.node(id).op else { return None };
    let x = rw.input(id, 0)?;
    let (_, producer) = rw.producer(x)?;
    if !rw.is_read_once(x) {
        return None;
    }
    let mut op = producer.op.clone();
    let activation = activation_of(&mut op)?;
    *activation = merged(*activation, activate.activation)?;
    Some((op, producer.inputs.clone()))
}

/// The activation that a layer applies last.
pub(super) fn activation_of(op: &mut Op) -> Option<&mut Activation> {
    match op {
        Op::Activate(layer) => Some(&mut layer.activation),
        Op::Binary(layer) => Some(&mut layer.activation),
        Op::Conv2d(layer) => Some(&mut layer.activation),
        Op::ConvTranspose2d(layer) => Some(&mut layer.activation),
        Op::Dense(layer) => Some(&mut layer.activation),
        Op::DepthwiseConv2d(layer) => Some(&mut layer.activation),
        _ => None,
    }
}

/// One function that is the two in turn.
pub(super) fn merged(first: Activation, then: Activation) -> Option<Activation> {
    if first == Activation::Identity {
        return Some(then);
    }
    let ((a_min, a_max), (min, max)) = (first.as_clamp()?, then.as_clamp()?);
    if !(a_min <= a_max && min <= max) {
        return None;
    }
    Some(Activation::Clip { min: a_min.max(min).min(max), max: a_max.max(min).min(max) })
}
