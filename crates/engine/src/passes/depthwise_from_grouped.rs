//! Finds depthwise convolutions among grouped ones.

use super::fold_constants::transposed;
use super::{Pass, Rewriter};
use depthwise_layers::ir::NodeId;
use depthwise_layers::{DepthwiseConv2d, Op};
use depthwise_tensor::Tensor;

/// Turns a convolution with one input channel per group and constant weights into a
/// [`DepthwiseConv2d`], weights `OC,KH,KW,1` into `KH,KW,OC`. Output channels stand in the same
/// order: those of group 0, those of group 1, ..
///
/// Measure: the number of grouped convolutions.
pub(super) struct DepthwiseFromGrouped;

impl Pass for DepthwiseFromGrouped {
    fn name(&self) -> &'static str {
        "depthwise-from-grouped"
    }

    fn run(&self, rw: &mut Rewriter<'_>) {
        for id in rw.live_nodes() {
            let Some((conv, weights)) = depthwise(rw, id) else { continue };
            if !rw.allow() {
                return;
            }
            let node = rw.node(id);
            let (x, bias) = (node.inputs[0], node.inputs.get(2).copied().flatten());
            let name = rw.input(id, 1).map(|w| rw.graph().value(w).name.clone());
            let weights = rw.add_const(name.unwrap_or_default(), weights);
            rw.replace_node(id, conv, vec![x, Some(weights), bias]);
        }
    }
}

fn depthwise(rw: &Rewriter<'_>, id: NodeId) -> Option<(DepthwiseConv2d, Tensor)> {
    let Op::Conv2d(conv) = &rw.node(id).op else { return None };
    let weights = rw.graph().constant(rw.input(id, 1)?)?;
    let &[oc, kh, kw, 1] = weights.shape().dims() else { return None };
    if conv.groups < 2 || !oc.is_multiple_of(conv.groups) || rw.input(id, 3).is_some() {
        return None;
    }
    let flat = weights.reshape(&[oc, kh * kw]).ok()?;
    let weights = transposed(&flat, &[1, 0])?.reshape(&[kh, kw, oc]).ok()?;
    let depthwise = DepthwiseConv2d {
        stride: conv.stride,
        dilation: conv.dilation,
        padding: conv.padding,
        activation: conv.activation,
    };
    Some((depthwise, weights))
}
