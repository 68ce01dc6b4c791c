//! Custom operators of common files.

use super::super::custom::CustomNode;
use super::convolution::{Transposed, transposed};
use depthwise_layers::Activation;
use depthwise_layers::ir::ValueId;
use depthwise_tensor::Hw;

/// A converter of a custom operator that is known from the start.
type BuiltIn = fn(&mut CustomNode<'_, '_, '_>) -> Result<Vec<ValueId>, String>;

pub(in super::super) const BUILT_IN: &[(&str, BuiltIn)] =
    &[("Convolution2DTransposeBias", convolution_2d_transpose_bias)];

/// MediaPipe's transposed convolution with a bias. Inputs: x, weights, bias. Options: padding rule
/// (1 is SAME, 2 is VALID), column step, row step, 32 bits each. SAME gives as many rows as the
/// input times the step.
fn convolution_2d_transpose_bias(
    node: &mut CustomNode<'_, '_, '_>,
) -> Result<Vec<ValueId>, String> {
    let options: Vec<u32> = node
        .options()
        .chunks_exact(4)
        .map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect();
    let (same, stride) = match options[..] {
        [rule @ (1 | 2), w, h, ..] if w > 0 && h > 0 => {
            (rule == 1, Hw { h: h as usize, w: w as usize })
        }
        _ => return Err(format!("its options {options:?} are no rule and steps")),
    };
    let op = Transposed { x: 0, weights: 1, bias: 2, output: None, same, stride };
    let context = &mut *node.context;
    let result = transposed(context, &op, Activation::Identity);
    node.note(result)
}
