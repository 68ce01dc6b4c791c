//! Where channels lie in weights.

use depthwise_layers::Op;
use depthwise_tensor::Shape;

/// The output and the input channel that element `i` of the weights of a layer connects; the layer
/// has `inputs` input channels.
pub(crate) fn channels(op: &Op, shape: &Shape, inputs: usize, i: usize) -> (usize, usize) {
    match op {
        Op::Conv2d(conv) => {
            let depth = shape[3];
            let oc = i / (shape[1] * shape[2] * depth);
            let group = oc / (shape[0] / conv.groups.max(1)).max(1);
            (oc, group * depth + i % depth)
        }
        Op::DepthwiseConv2d(_) => {
            let oc = i % shape[2];
            (oc, oc / (shape[2] / inputs.max(1)).max(1))
        }
        Op::MatMul(_) => (i % shape[1], i / shape[1]),
        _ => (i / shape[1], i % shape[1]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use depthwise_layers::{Activation, Conv2d, Dense, DepthwiseConv2d, MatMul};

    #[test]
    fn every_layout_of_weights_is_known() {
        let shape = |dims: &[usize]| Shape::new(dims).unwrap();
        let grouped: Op = Conv2d { groups: 2, ..Conv2d::default() }.into();
        // The third of four filters of 1x1 over 3 of 6 channels.
        assert_eq!(channels(&grouped, &shape(&[4, 1, 1, 3]), 6, 7), (2, 4));
        let depthwise: Op = DepthwiseConv2d::default().into();
        // Two filters for each of three channels.
        assert_eq!(channels(&depthwise, &shape(&[3, 3, 6]), 3, 6 + 5), (5, 2));
        assert_eq!(
            channels(&Dense { activation: Activation::Identity }.into(), &shape(&[2, 5]), 5, 7),
            (1, 2)
        );
        assert_eq!(channels(&MatMul.into(), &shape(&[5, 2]), 5, 7), (1, 3));
    }
}
