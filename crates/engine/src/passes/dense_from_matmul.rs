//! Finds fully connected layers among matrix products.

use super::fold_constants::transposed;
use super::{Pass, Rewriter};
use depthwise_layers::ir::NodeId;
use depthwise_layers::{Activation, Dense, Op};
use depthwise_tensor::{DType, Tensor};

/// Turns a product with a constant matrix `I,O` into a [`Dense`] layer with weights `O,I`. A
/// constant vector added afterwards becomes its bias in
/// [`FoldChannelAffine`](super::fold_channel_affine::FoldChannelAffine).
///
/// Measure: the number of matrix products.
pub(super) struct DenseFromMatMul;

impl Pass for DenseFromMatMul {
    fn name(&self) -> &'static str {
        "dense-from-matmul"
    }

    fn run(&self, rw: &mut Rewriter<'_>) {
        for id in rw.live_nodes() {
            let Some(weights) = dense(rw, id) else { continue };
            if !rw.allow() {
                return;
            }
            let x = rw.node(id).inputs[0];
            let name = rw.input(id, 1).map(|w| rw.graph().value(w).name.clone());
            let weights = rw.add_const(name.unwrap_or_default(), weights);
            let dense = Dense { activation: Activation::Identity };
            rw.replace_node(id, dense, vec![x, Some(weights)]);
        }
    }
}

fn dense(rw: &Rewriter<'_>, id: NodeId) -> Option<Tensor> {
    let Op::MatMul(_) = rw.node(id).op else { return None };
    let b = rw.graph().constant(rw.input(id, 1)?)?;
    if b.shape().rank() != 2 || b.dtype() != DType::F32 {
        return None;
    }
    transposed(b, &[1, 0])
}
