//! Computes in integers what a file describes as real numbers between integers.
//!
//! Files say `Dequantize -> op -> Quantize`. Each such op becomes the layer that does the same in
//! integers:
//!
//! - what only moves elements, or compares them, works on integers as it does on real numbers:
//!   the Dequantize moves behind it ([`movement`]);
//! - a Quantize behind a Dequantize is nothing where both have the same scale, else a table;
//! - convolutions, dense layers, sums, products, averages and functions of one number have
//!   integer forms ([`layers`]), which take the place of the Quantize that follows them.
//!
//! What fits nowhere stays as it is, in real numbers.
//!
//! Measure: first the number of Quantize nodes; then the number of nodes that a Dequantize stands
//! before.

mod layers;
mod movement;
mod operands;

use super::{Pass, Rewriter};
use depthwise_layers::Op;
use depthwise_layers::ir::Graph;

/// See the [module](self).
pub(super) struct FoldQuantized;

/// Whether a graph has anything for this pass.
pub(super) fn is_quantized(graph: &Graph) -> bool {
    graph.nodes().iter().any(|node| matches!(node.op, Op::Quantize(_) | Op::Dequantize(_)))
}

impl Pass for FoldQuantized {
    fn name(&self) -> &'static str {
        "fold-quantized"
    }

    fn run(&self, rw: &mut Rewriter<'_>) {
        for id in rw.live_nodes() {
            if !rw.is_live(id) {
                continue;
            }
            match rw.node(id).op {
                Op::Quantize(_) => layers::fold(rw, id),
                _ => movement::fold(rw, id),
            }
        }
    }
}
