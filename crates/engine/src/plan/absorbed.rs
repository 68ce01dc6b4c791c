//! Nodes that a convolution next to them computes itself: the conversion of a picture of bytes, the gate
//! of a squeeze-excite block, the global pool at the end of a network.

use super::builder::Builder;
use crate::error::LowerError;
use crate::options::Fusion;
use crate::passes::factors_and_offsets;
use crate::steps;
use depthwise_kernels::stem::{Pixels, STEPS};
use depthwise_layers::ir::{Node, NodeId, ValueId};
use depthwise_layers::{Activation, BinaryFn, Conv2d, Op, PoolKind, ReduceFn};
use depthwise_tensor::{DType, Hw};

/// A conversion of bytes, and sums and products with a constant per channel after it, that one
/// convolution alone reads.
pub(crate) struct PixelChain {
    /// The bytes.
    pub(crate) source: ValueId,
    /// What the convolution reads of a byte: composed in `f64`, rounded once.
    pub(crate) pixels: Pixels,
    /// First to last.
    pub(crate) nodes: Vec<NodeId>,
}

/// A product of a picture with a factor per channel that one 1x1 convolution alone reads.
pub(crate) struct Gate {
    /// The picture.
    pub(crate) x: ValueId,
    /// The factors: a row of channels for each picture.
    pub(crate) factors: ValueId,
    /// The product.
    pub(crate) node: NodeId,
}

impl Builder<'_> {
    /// Whether the node being lowered is left to a convolution, or was computed by one.
    pub(crate) fn is_absorbed(&self) -> bool {
        let Some(id) = self.node else { return false };
        match self.graph.node(id).op {
            Op::Binary(_) | Op::Cast(_) => self.convolution_behind(id).is_some_and(|conv| {
                self.chain_before(conv).is_some_and(|chain| chain.nodes.contains(&id))
                    || self.gate_of(conv).is_some_and(|gate| gate.node == id)
            }),
            Op::Pool2d(_) | Op::Reduce(_) => self.is_placed(self.graph.node(id).outputs[0]),
            _ => false,
        }
    }

    /// The bytes that the convolution being lowered may read instead of its operand.
    pub(crate) fn pixels_before(&self) -> Option<PixelChain> {
        self.chain_before(self.node?)
    }

    /// The product that the convolution being lowered may compute itself.
    pub(crate) fn gate_before(&self) -> Option<Gate> {
        self.gate_of(self.node?)
    }

    /// The global mean that alone reads what the convolution being lowered computes.
    pub(crate) fn mean_behind(&self) -> Option<NodeId> {
        if self.choices.fusion == Fusion::Off {
            return None;
        }
        let y = self.graph.node(self.node?).outputs[0];
        let [_, h, w, _] = *self.shape(y).dims() else { return None };
        if h * w < 2 || self.ty(y).dtype != DType::F32 {
            return None;
        }
        let reader = self.only_reader(y)?;
        let is_mean = match &self.graph.node(reader).op {
            Op::Reduce(reduce) => {
                let mut axes: Vec<i64> =
                    reduce.axes.iter().map(|axis| axis.rem_euclid(4)).collect();
                axes.sort_unstable();
                reduce.function == ReduceFn::Mean && axes == [1, 2]
            }
            Op::Pool2d(pool) => {
                let geometry = pool.geometry(self.shape(y)).ok()?;
                let pad = geometry.pad;
                matches!(pool.kind, PoolKind::Average { .. })
                    && (pool.kernel, geometry.output.hw()) == (Hw { h, w }, Hw::ONE)
                    && [pad.top, pad.bottom, pad.left, pad.right] == [0; 4]
            }
            _ => false,
        };
        is_mean.then_some(reader)
    }

    /// Lowers nodes that were left to a convolution after all, before it.
    pub(crate) fn lower_absorbed(&mut self, nodes: &[NodeId]) -> Result<(), LowerError> {
        let conv = self.node;
        for &id in nodes {
            self.node = Some(id);
            let node = self.graph.node(id).clone();
            steps::lower_absorbed(self, &node)?;
        }
        self.node = conv;
        Ok(())
    }

    /// Notes the nodes that the last step computes beside its own.
    pub(crate) fn note_absorbed(&mut self, nodes: &[NodeId]) {
        let names = nodes.iter().map(|&id| self.graph.node(id).name.clone()).collect();
        if let Some(draft) = self.drafts.last_mut() {
            draft.absorbed = names;
        }
    }

    /// The only output of a node.
    pub(crate) fn output_of(&self, id: NodeId) -> ValueId {
        self.graph.node(id).outputs[0]
    }

    /// The convolution behind sums and products that nothing else reads.
    fn convolution_behind(&self, id: NodeId) -> Option<NodeId> {
        let mut at = id;
        loop {
            at = self.only_reader(self.output_of(at))?;
            match self.graph.node(at).op {
                Op::Conv2d(_) => return Some(at),
                Op::Binary(_) => {}
                _ => return None,
            }
        }
    }

    /// The node that alone reads a value, once.
    fn only_reader(&self, id: ValueId) -> Option<NodeId> {
        if self.uses[id.index()] != 1 {
            return None;
        }
        let reads = |node: &NodeId| self.graph.node(*node).inputs.contains(&Some(id));
        self.graph.node_ids().find(reads)
    }

    /// Weights and bias that do not come with the run.
    fn is_packed(&self, node: &Node) -> bool {
        let input = |i: usize| node.inputs.get(i).copied().flatten();
        ![1, 2].into_iter().filter_map(input).any(|id| self.is_streamed(id))
    }

    fn gate_of(&self, conv: NodeId) -> Option<Gate> {
        let node = self.graph.node(conv);
        let Op::Conv2d(layer) = &node.op else { return None };
        if self.choices.fusion == Fusion::Off {
            return None;
        }
        let input = |node: &Node, i: usize| node.inputs.get(i).copied().flatten();
        let (x, w) = (input(node, 0)?, input(node, 1)?);
        let geometry = layer.geometry(self.shape(x), self.shape(w)).ok()?;
        let (pixels, columns) = (geometry.output.hw().area(), geometry.output.c);
        // The weights are multiplied instead of the picture: less work only below that many columns.
        if !geometry.is_pointwise() || pixels < columns || pixels < 2 || !self.is_packed(node) {
            return None;
        }
        let id = self.graph.producer(x).filter(|_| self.uses[x.index()] == 1)?;
        let product = self.graph.node(id);
        let Op::Binary(binary) = &product.op else { return None };
        if binary.function != BinaryFn::Mul || binary.activation != Activation::Identity {
            return None;
        }
        let (a, b) = (input(product, 0)?, input(product, 1)?);
        let (n, c) = (geometry.input.n, geometry.input.c);
        let is_row = |id: ValueId| self.shape(id).dims() == [n, 1, 1, c];
        let is_picture = |id: ValueId| self.shape(id) == self.shape(x) && self.is_streamed(id);
        let (picture, factors) = if is_row(b) { (a, b) } else { (b, a) };
        (is_row(factors) && is_picture(picture)).then_some(Gate { x: picture, factors, node: id })
    }

    fn chain_before(&self, conv: NodeId) -> Option<PixelChain> {
        let node = self.graph.node(conv);
        let Op::Conv2d(layer) = &node.op else { return None };
        let input = |i: usize| node.inputs.get(i).copied().flatten();
        let x = input(0)?;
        let [_, _, _, c] = *self.shape(x).dims() else { return None };
        if self.choices.fusion == Fusion::Off || !may_be_stem(layer, c) {
            return None;
        }
        if input(3).is_some() || !self.is_packed(node) {
            return None;
        }
        let (mut scale, mut shift) = (vec![1.0; c], vec![0.0; c]);
        let (mut at, mut nodes) = (x, Vec::new());
        loop {
            let id = self.graph.producer(at).filter(|_| self.uses[at.index()] == 1)?;
            nodes.push(id);
            let node = self.graph.node(id);
            let operand = |i: usize| node.inputs.get(i).copied().flatten();
            match &node.op {
                Op::Cast(cast) => {
                    let source = operand(0)?;
                    if cast.to != DType::F32 || self.ty(source).dtype != DType::U8 {
                        return None;
                    }
                    nodes.reverse();
                    let single = |list: &[f64]| list.iter().map(|&v| v as f32).collect();
                    let pixels = Pixels { scale: single(&scale), shift: single(&shift) };
                    return Some(PixelChain { source, pixels, nodes });
                }
                Op::Binary(binary) if binary.activation == Activation::Identity => {
                    let (a, b) = (operand(0)?, operand(1)?);
                    let (inner, constant, swapped) =
                        if self.constant(b).is_some() { (a, b, false) } else { (b, a, true) };
                    let list = self.per_channel(constant, c)?;
                    let (s, t) = factors_and_offsets(binary.function, swapped, list)?;
                    for channel in 0..c {
                        shift[channel] += scale[channel] * t[channel];
                        scale[channel] *= s[channel];
                    }
                    at = inner;
                }
                _ => return None,
            }
        }
    }

    /// A constant that varies along the last axis at most, one number per channel.
    fn per_channel(&self, id: ValueId, c: usize) -> Option<Vec<f64>> {
        let tensor = self.constant(id)?;
        let (&last, leading) = tensor.shape().dims().split_last().unwrap_or((&1, &[]));
        if tensor.dtype() != DType::F32 || leading.len() > 3 || leading.iter().any(|&n| n != 1) {
            return None;
        }
        let values = tensor.to_f64();
        match last {
            1 => Some(vec![values[0]; c]),
            _ if last == c => Some(values.into_owned()),
            _ => None,
        }
    }
}

/// Whether the kernels for first layers take a layer of so many input channels.
fn may_be_stem(layer: &Conv2d, channels: usize) -> bool {
    layer.groups == 1
        && layer.dilation == Hw::ONE
        && STEPS.contains(&layer.stride.w.saturating_mul(channels))
}
