//! From a layer to an operator: one file per kind, each connecting attributes, weights and kernel.

mod conv_transpose;
mod convolution;
mod dense;
mod detections;
mod elementwise;
mod gradient;
mod indexed;
mod movement;
mod pool;
mod quantized;
mod reduce;
mod resize;
mod softmax;

use crate::error::LowerError;
use crate::plan::Builder;
use depthwise_layers::Op;
use depthwise_layers::ir::{Node, ValueId};

/// Adds the steps that compute a node.
pub(crate) fn lower(b: &mut Builder<'_>, node: &Node) -> Result<(), LowerError> {
    match &node.op {
        Op::Binary(_) | Op::Cast(_) | Op::Pool2d(_) | Op::Reduce(_) if b.is_absorbed() => Ok(()),
        Op::Activate(layer) => elementwise::activate(b, node, layer),
        Op::ArgExtreme(layer) => reduce::arg_extreme(b, node, layer),
        Op::Binary(layer) => elementwise::binary(b, node, layer),
        Op::Cast(layer) => movement::cast(b, node, layer),
        Op::Concat(layer) => movement::concat(b, node, layer),
        Op::Conv2d(layer) if streams_weights(b, node) => gradient::conv2d(b, node, layer),
        Op::Conv2d(layer) => convolution::conv2d(b, node, layer),
        Op::ConvTranspose2d(layer) => conv_transpose::conv_transpose2d(b, node, layer),
        Op::Dense(layer) if streams_weights(b, node) => gradient::dense(b, node, layer),
        Op::Dense(layer) => dense::dense(b, node, layer),
        Op::Dequantize(_) => quantized::dequantize(b, node),
        Op::DepthToSpace(layer) => movement::depth_to_space(b, node, layer),
        Op::Detections(layer) => detections::detections(b, node, layer),
        Op::DepthwiseConv2d(layer) if streams_weights(b, node) => {
            gradient::depthwise(b, node, layer)
        }
        Op::DepthwiseConv2d(layer) => convolution::depthwise(b, node, layer),
        Op::Expand(_) => movement::expand(b, node),
        Op::Flatten(_) | Op::Reshape(_) | Op::Squeeze(_) | Op::Unsqueeze(_) => {
            movement::reshape(b, node)
        }
        Op::Gather(layer) => movement::gather(b, node, layer),
        Op::GatherElements(layer) => indexed::gather_elements(b, node, layer),
        Op::GatherNd(layer) => indexed::gather_nd(b, node, layer),
        Op::GridSample(layer) => indexed::grid_sample(b, node, layer),
        Op::MatMul(_) => dense::matmul(b, node),
        Op::MaxPositions(layer) => pool::max_positions(b, node, layer),
        Op::PRelu(_) => elementwise::prelu(b, node),
        Op::Pad(layer) => movement::pad(b, node, layer),
        Op::Pool2d(layer) => pool::pool(b, node, layer),
        Op::QBinary(layer) => quantized::binary(b, node, layer),
        Op::QConv2d(layer) => quantized::conv2d(b, node, layer),
        Op::QDense(layer) => quantized::dense(b, node, layer),
        Op::QDepthwiseConv2d(layer) => quantized::depthwise(b, node, layer),
        Op::QLookup(_) => quantized::lookup(b, node),
        Op::QMean(layer) => quantized::mean(b, node, layer),
        Op::QPool2d(layer) => quantized::pool(b, node, layer),
        Op::QResize(layer) => quantized::resize(b, node, layer),
        Op::QSoftmax(layer) => quantized::softmax(b, node, layer),
        Op::Quantize(layer) => quantized::quantize(b, node, layer),
        Op::Reduce(layer) => reduce::reduce(b, node, layer),
        Op::Resize(layer) => resize::resize(b, node, layer),
        Op::ScatterElements(layer) => indexed::scatter_elements(b, node, layer),
        Op::ScatterNd(layer) => indexed::scatter_nd(b, node, layer),
        Op::Select(_) => elementwise::select(b, node),
        Op::Slice(layer) => movement::slice(b, node, layer),
        Op::Softmax(layer) => softmax::softmax(b, node, layer),
        Op::SpaceToDepth(layer) => movement::space_to_depth(b, node, layer),
        Op::Split(layer) => movement::split(b, node, layer),
        Op::Tile(_) => movement::tile(b, node),
        Op::TopK(layer) => indexed::top_k(b, node, layer),
        Op::Transpose(layer) => movement::transpose(b, node, layer),
        Op::Unary(layer) => elementwise::unary(b, node, layer),
        Op::ActivateGrad(layer) => gradient::activate(b, node, layer),
        Op::BatchNormGrad(layer) => gradient::batch_norm_grad(b, node, layer),
        Op::BatchNormTrain(layer) => gradient::batch_norm(b, node, layer),
        Op::Conv2dInputGrad(layer) => gradient::conv2d_input(b, node, layer),
        Op::Conv2dWeightGrad(layer) => gradient::conv2d_weight(b, node, layer),
        Op::DepthwiseInputGrad(layer) => gradient::depthwise_input(b, node, layer),
        Op::DepthwiseWeightGrad(layer) => gradient::depthwise_weight(b, node, layer),
        Op::GatherGrad(layer) => gradient::gather(b, node, layer),
        Op::Pool2dGrad(layer) => gradient::pool(b, node, layer),
        Op::ResizeGrad(layer) => gradient::resize(b, node, layer),
        other => Err(LowerError::Unsupported(format!(
            "no kernel computes {} of values that are not constant",
            other.layer().kind()
        ))),
    }
}

/// As [`lower`], for a node before a convolution that does not compute it.
pub(crate) fn lower_absorbed(b: &mut Builder<'_>, node: &Node) -> Result<(), LowerError> {
    match &node.op {
        Op::Binary(layer) => elementwise::binary(b, node, layer),
        Op::Cast(layer) => movement::cast(b, node, layer),
        _ => lower(b, node),
    }
}

/// Whether the weights or the bias of a layer come with every run, so that they cannot be packed now.
fn streams_weights(b: &Builder<'_>, node: &Node) -> bool {
    (1..3).filter_map(|i| optional(node, i)).any(|id| b.is_streamed(id))
}

/// Operand `i`, which the layer requires.
fn operand(node: &Node, i: usize) -> Result<ValueId, LowerError> {
    optional(node, i).ok_or_else(|| LowerError::Unsupported(format!("input {i} is missing")))
}

/// Operand `i`, which may be left out.
fn optional(node: &Node, i: usize) -> Option<ValueId> {
    node.inputs.get(i).copied().flatten()
}
