//! Computes equal things once.

use super::{Pass, Rewriter};
use depthwise_layers::Op;
use depthwise_layers::ir::{Def, NodeId, ValueId};
use depthwise_tensor::{DType, Shape, Tensor};
use std::collections::HashMap;

/// Merges nodes of equal operation and inputs, and small equal constants.
///
/// Measure: the number of nodes and constants in use.
pub(super) struct ShareSubexpressions;

/// Constants up to this size are compared: scalars, shapes, per-channel vectors.
const SMALL_BYTES: usize = 4096;

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
    let mut seen: HashMap<(DType, Shape, Vec<u8>), ValueId> = HashMap::new();
    for id in rw.graph().value_ids() {
        let Def::Const(tensor) = &rw.graph().value(id).def else { continue };
        if tensor.bytes().len() > SMALL_BYTES || rw.is_output(id) || rw.readers(id).is_empty() {
            continue;
        }
        let key = |t: &Tensor| (t.dtype(), *t.shape(), t.bytes().to_vec());
        match seen.entry(key(tensor)) {
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(id);
            }
            std::collections::hash_map::Entry::Occupied(entry) => {
                let first = *entry.get();
                if !rw.allow() {
                    return;
                }
                rw.redirect(id, first);
            }
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
