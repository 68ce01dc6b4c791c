//! Softmax.

use super::operand;
use crate::error::LowerError;
use crate::plan::Builder;
use depthwise_kernels::softmax::SoftmaxF32;
use depthwise_layers::Softmax;
use depthwise_layers::ir::Node;

pub(super) fn softmax(b: &mut Builder<'_>, node: &Node, layer: &Softmax) -> Result<(), LowerError> {
    let x = operand(node, 0)?;
    let axis = b
        .shape(x)
        .axis(layer.axis)
        .ok_or_else(|| LowerError::Unsupported(format!("axis {} of {}", layer.axis, b.shape(x))))?;
    let x = b.padded_arg(x)?;
    let (buf, out) = b.output(node.outputs[0]);
    let op = SoftmaxF32::new(b.cpu(), x.view, axis, layer.log, out, b.threads())?;
    b.push(op, &[&x], &[(buf, out)]);
    Ok(())
}
