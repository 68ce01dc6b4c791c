//! Activations computed again on the way back (Chen et al., "Training Deep Nets with Sublinear
//! Memory Cost", 2016).
//!
//! The nodes of the way forward are cut into pieces. What crosses from piece to piece is kept; all
//! else is dropped after its last use forward, and its piece is computed once more when the way
//! back comes to it. The last piece is still there.

use crate::TrainError;
use crate::builder::Builder;
use depthwise_layers::ir::{Node, ValueId};
use std::collections::HashMap;
use std::ops::Range;

pub(super) struct Recompute {
    /// First node of each piece, and the number of nodes.
    cuts: Vec<usize>,
    /// Of every value, the last piece that reads it on the way forward.
    last_piece: Vec<usize>,
    /// The piece that was computed last, and its values in place of the first ones.
    piece: usize,
    second: HashMap<ValueId, ValueId>,
}

/// Most pieces that are tried.
const MAX_PIECES: usize = 32;

impl Recompute {
    /// For the nodes of a way forward that ends in `loss`.
    pub(super) fn new(b: &Builder, nodes: &[Node], loss: ValueId) -> Recompute {
        let cuts = Sizes::of(b, nodes).cuts();
        let mut last_piece = vec![0; b.graph.values().len()];
        for (piece, range) in cuts.windows(2).enumerate() {
            for input in nodes[range[0]..range[1]].iter().flat_map(|n| n.inputs.iter().flatten()) {
                last_piece[input.index()] = piece;
            }
        }
        let last = cuts.len().saturating_sub(2);
        last_piece[loss.index()] = last;
        Recompute { cuts, last_piece, piece: last, second: HashMap::new() }
    }

    /// Node `at` with what it reads and computes as the way back is to see it.
    pub(super) fn node(
        &mut self,
        b: &mut Builder,
        nodes: &[Node],
        at: usize,
    ) -> Result<Node, TrainError> {
        let piece = self.cuts.partition_point(|&cut| cut <= at) - 1;
        if piece != self.piece {
            self.piece = piece;
            self.compute(b, &nodes[self.cuts[piece]..self.cuts[piece + 1]])?;
        }
        let of = |id: &ValueId| *self.second.get(id).unwrap_or(id);
        Ok(Node {
            inputs: nodes[at].inputs.iter().map(|input| input.as_ref().map(of)).collect(),
            outputs: nodes[at].outputs.iter().map(of).collect(),
            ..nodes[at].clone()
        })
    }

    fn compute(&mut self, b: &mut Builder, nodes: &[Node]) -> Result<(), TrainError> {
        self.second.clear();
        for node in nodes {
            let of = |id: &ValueId| *self.second.get(id).unwrap_or(id);
            let inputs: Vec<_> = node.inputs.iter().map(|x| x.as_ref().map(of)).collect();
            let outputs: Vec<&str> = vec![""; node.outputs.len()];
            let name = format!("{}.again", node.name);
            let again = b.node(&name, node.op.clone(), &inputs, &outputs)?;
            for (&first, again) in node.outputs.iter().zip(again) {
                // What a later piece reads has been kept for it.
                if self.last_piece[first.index()] <= self.piece {
                    self.second.insert(first, again);
                }
            }
        }
        Ok(())
    }
}

/// Where values come from and go to, in nodes, and how large they are.
struct Sizes {
    /// Node that computes it, node that reads it last, bytes.
    values: Vec<(usize, usize, usize)>,
    nodes: usize,
}

impl Sizes {
    fn of(b: &Builder, nodes: &[Node]) -> Sizes {
        let mut last: HashMap<ValueId, usize> = HashMap::new();
        for (at, node) in nodes.iter().enumerate() {
            node.inputs.iter().flatten().for_each(|&id| {
                last.insert(id, at);
            });
        }
        let outputs =
            nodes.iter().enumerate().flat_map(|(at, n)| n.outputs.iter().map(move |&y| (at, y)));
        let value = |(at, y): (usize, ValueId)| (at, *last.get(&y).unwrap_or(&at), b.ty(y).bytes());
        Sizes { values: outputs.map(value).collect(), nodes: nodes.len() }
    }

    /// Bytes that cross from the nodes before `cut` to it and those behind.
    fn crossing(&self, cut: usize) -> usize {
        let crosses = |v: &&(usize, usize, usize)| v.0 < cut && v.1 >= cut;
        self.values.iter().filter(crosses).map(|v| v.2).sum()
    }

    /// Bytes that the nodes of a piece compute.
    fn computed(&self, piece: Range<usize>) -> usize {
        self.values.iter().filter(|v| piece.contains(&v.0)).map(|v| v.2).sum()
    }

    /// The cuts that keep least: all that crosses one, and the largest piece.
    fn cuts(&self) -> Vec<usize> {
        let crossing: Vec<usize> = (0..=self.nodes).map(|cut| self.crossing(cut)).collect();
        let total = self.computed(0..self.nodes);
        let tried = (1..=MAX_PIECES).map(|pieces| self.cut_evenly(&crossing, total / pieces));
        let cost = |cuts: &Vec<usize>| {
            let largest = cuts.windows(2).map(|w| self.computed(w[0]..w[1])).max().unwrap_or(0);
            let kept = |v: &&(usize, usize, usize)| cuts.iter().any(|&cut| v.0 < cut && v.1 >= cut);
            largest + self.values.iter().filter(kept).map(|v| v.2).sum::<usize>()
        };
        tried.min_by_key(cost).unwrap_or_else(|| vec![0, self.nodes])
    }

    /// Cuts where least crosses, so that pieces compute from half to about all of `bytes`.
    fn cut_evenly(&self, crossing: &[usize], bytes: usize) -> Vec<usize> {
        let mut per_node = vec![0; self.nodes];
        self.values.iter().for_each(|v| per_node[v.0] += v.2);
        let (mut cuts, mut sum, mut best, mut at) = (vec![0], 0, None, 0);
        while at < self.nodes {
            sum += per_node[at];
            at += 1;
            if at < self.nodes
                && 2 * sum >= bytes
                && best.is_none_or(|b: usize| crossing[at] < crossing[b])
            {
                best = Some(at);
            }
            if let Some(cut) = best.filter(|_| sum >= bytes) {
                cuts.push(cut);
                (at, sum, best) = (cut, 0, None);
            }
        }
        cuts.push(self.nodes);
        cuts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_fall_where_little_crosses() {
        // A chain of 12 values of 10 bytes; those of nodes 3 and 8 are small.
        let bytes = |at: usize| if at == 3 || at == 8 { 1 } else { 10 };
        let sizes =
            Sizes { values: (0..12).map(|at| (at, at + 1, bytes(at))).collect(), nodes: 12 };
        let cuts = sizes.cuts();
        assert_eq!(cuts, [0, 4, 9, 12]);
        assert_eq!((sizes.crossing(4), sizes.computed(4..9)), (1, 41));
        let one = Sizes { values: vec![(0, 0, 5)], nodes: 1 };
        assert_eq!(one.cuts(), [0, 1]);
    }
}
