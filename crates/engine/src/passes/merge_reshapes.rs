//! One reshape instead of several in a row.

use super::{Pass, Rewriter};
use depthwise_layers::ir::{NodeId, ValueId};
use depthwise_layers::{Op, Reshape};

/// Lets a reshape read what the reshape before it reads: always where its target shape copies no
/// extent of its input, with known shapes everywhere (then Flatten, Squeeze and Unsqueeze too).
///
/// Measure: the number of reshapes that read a reshape.
pub(super) struct MergeReshapes;

impl Pass for MergeReshapes {
    fn name(&self) -> &'static str {
        "merge-reshapes"
    }

    fn run(&self, rw: &mut Rewriter<'_>) {
        for id in rw.live_nodes() {
            let Some((x, target)) = merged(rw, id) else { continue };
            if !rw.allow() {
                return;
            }
            let (reshape, shape) = match target {
                Target::Given(reshape, shape) => (reshape, shape),
                Target::Extents(list) => {
                    let name = format!("{}.shape", rw.node(id).name);
                    (Reshape { allow_zero: true }, rw.add_integers(&name, &list))
                }
            };
            rw.replace_node(id, reshape, vec![Some(x), Some(shape)]);
        }
    }
}

enum Target {
    /// The node's own shape input.
    Given(Reshape, ValueId),
    /// Extents that are known.
    Extents(Vec<i64>),
}

fn merged(rw: &Rewriter<'_>, id: NodeId) -> Option<(ValueId, Target)> {
    if !is_reshape(&rw.node(id).op) {
        return None;
    }
    let (before, node) = rw.producer(rw.input(id, 0)?)?;
    if !is_reshape(&node.op) {
        return None;
    }
    let x = rw.input(before, 0)?;
    if let Op::Reshape(reshape) = &rw.node(id).op {
        let shape = rw.input(id, 1)?;
        let copies = |list: Vec<i64>| !reshape.allow_zero && list.contains(&0);
        if rw.integers(shape).is_some_and(|list| !copies(list)) {
            return Some((x, Target::Given(reshape.clone(), shape)));
        }
    }
    let dims = rw.ty(rw.node(id).outputs[0])?.shape;
    Some((x, Target::Extents(dims.iter().map(|&n| n as i64).collect())))
}

/// Whether an operation only gives its input other extents.
pub(super) fn is_reshape(op: &Op) -> bool {
    matches!(op, Op::Flatten(_) | Op::Reshape(_) | Op::Squeeze(_) | Op::Unsqueeze(_))
}
