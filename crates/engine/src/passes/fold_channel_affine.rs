//! Constant factors and offsets per channel as part of weights and bias.

use super::weights::{Linear, factors_and_offsets};
use super::{Pass, Rewriter};
use depthwise_layers::ir::{NodeId, ValueId};
use depthwise_layers::{Binary, Op};
use depthwise_tensor::DType;

/// Folds sums, differences, products and quotients with constants, one number for all or one per
/// channel, into the convolution or dense layer before them. The activation moves along.
///
/// Measure: the number of nodes.
pub(super) struct FoldChannelAffine;

impl Pass for FoldChannelAffine {
    fn name(&self) -> &'static str {
        "fold-channel-affine"
    }

    fn run(&self, rw: &mut Rewriter<'_>) {
        for id in rw.live_nodes() {
            let Op::Binary(binary) = rw.node(id).op.clone() else { continue };
            let Some((linear, scale, shift)) = folded(rw, id, &binary) else { continue };
            let Some(weights) = linear.rescaled(rw, &scale, &shift) else { continue };
            if !rw.allow() {
                return;
            }
            linear.replace(rw, id, weights, binary.activation);
        }
    }
}

/// The layer before a node, and the factor and offset that the node applies per channel.
fn folded(rw: &Rewriter<'_>, id: NodeId, binary: &Binary) -> Option<(Linear, Vec<f64>, Vec<f64>)> {
    let (a, b) = (rw.input(id, 0)?, rw.input(id, 1)?);
    let (x, c, swapped) = if rw.is_constant(b) { (a, b, false) } else { (b, a, true) };
    let linear = Linear::before(rw, x)?;
    let list = per_channel(rw, c, x, linear.channels)?;
    let (scale, shift) = factors_and_offsets(binary.function, swapped, list)?;
    Some((linear, scale, shift))
}

/// A constant that broadcasts along the last axis of x and no other, as one number per channel.
fn per_channel(rw: &Rewriter<'_>, c: ValueId, x: ValueId, channels: usize) -> Option<Vec<f64>> {
    let tensor = rw.graph().constant(c)?;
    let dims = tensor.shape().dims();
    let (&last, leading) = dims.split_last().unwrap_or((&1, &[]));
    let fits = dims.len() <= 1 || rw.rank(x).is_some_and(|rank| dims.len() <= rank);
    if tensor.dtype() != DType::F32 || !fits || leading.iter().any(|&extent| extent != 1) {
        return None;
    }
    let values = tensor.to_f64();
    match last {
        1 => Some(vec![values[0]; channels]),
        n if n == channels => Some(values.into_owned()),
        _ => None,
    }
}
