//! Computes equal things once.

use super::{Pass, Rewriter};
use depthwise_layers::Op;
use depthwise_layers::ir::{Def, NodeId, ValueId};
use depthwise_tensor::{DType, Shape};
use std::collections::HashMap;

/// Merges nodes of equal operation and inputs, and small equal constants.
///
/// Measure: the number of nodes and constants in use.
pub(super) struct ShareSubexpressions;

/// Constants up to this size are compared: scalars, shapes, per-channel vectors.
const SMALL_BYTES: usize = 4096;

/// Bytes by which constants are told apart before they are compared.
const HEAD: usize = 16;

/// Different constants of one head that another is compared with, so that a file full of them takes no
/// time that grows with its square.
const MAX_COMPARED: usize = 64;

impl Pass for ShareSubexpressions {
    fn name(&self) -> &'static str {
        "share-subexpressions"
    }

    fn run(&self, rw: &mut Rewriter<'_>) {
        share_constants(rw);
        share_nodes(rw);
    }
}

fn share_constants(rw: &mut Rewriter<'_>) {
    let mut seen: HashMap<(DType, Shape, [u8; HEAD]), Vec<ValueId>> = HashMap::new();
    for id in rw.graph().value_ids() {
        let Def::Const(tensor) = &rw.graph().value(id).def else { continue };
        if tensor.bytes().len() > SMALL_BYTES || rw.is_output(id) || rw.readers(id).is_empty() {
            continue;
        }
        let mut head = [0; HEAD];
        for (to, from) in head.iter_mut().zip(tensor.bytes()) {
            *to = *from;
        }
        let others = seen.entry((tensor.dtype(), *tensor.shape(), head)).or_default();
        let is_equal = |other: &&ValueId| {
            let other = rw.graph().constant(**other);
            other.is_some_and(|other| other.bytes() == tensor.bytes())
        };
        match others.iter().find(is_equal).copied() {
            Some(first) => {
                if !rw.allow() {
                    return;
                }
                rw.redirect(id, first);
            }
            None if others.len() < MAX_COMPARED => others.push(id),
            None => {}
        }
    }
}

fn share_nodes(rw: &mut Rewriter<'_>) {
    let mut seen: HashMap<Vec<Option<ValueId>>, Vec<NodeId>> = HashMap::new();
    for id in rw.live_nodes() {
        let node = rw.node(id);
        let inputs = node.inputs.clone();
        let equal = |&first: &NodeId| same_op(&rw.node(first).op, &node.op);
        let first = seen.get(&inputs).and_then(|nodes| nodes.iter().copied().find(equal));
        let Some(first) = first else {
            seen.entry(inputs).or_default().push(id);
            continue;
        };
        let pairs: Vec<(ValueId, ValueId)> =
            node.outputs.iter().copied().zip(rw.node(first).outputs.iter().copied()).collect();
        if pairs.len() == rw.node(first).outputs.len()
            && pairs.iter().all(|&(old, new)| rw.can_redirect(old, new))
        {
            if !rw.allow() {
                return;
            }
            for (old, new) in pairs {
                rw.redirect(old, new);
            }
        }
    }
}

fn same_op(a: &Op, b: &Op) -> bool {
    std::mem::discriminant(a) == std::mem::discriminant(b) && a == b
}
