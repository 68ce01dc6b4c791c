//! The network in the form that is quantized.

use crate::CompressError;
use depthwise_engine::passes::{self, PassOptions};
use depthwise_layers::ir::{Graph, GraphEdit};
use depthwise_layers::{Activate, Activation, Binary, BinaryFn, Op};

/// Batch normalization folded, activations fused as far as they only clamp, sums on their own: each
/// node then is what one integer layer computes.
pub(crate) fn prepared(mut graph: Graph) -> Result<Graph, CompressError> {
    graph.verify()?;
    if let Some(state) = graph.states().first() {
        let input = graph.value(graph.inputs()[state.input]).name.clone();
        return Err(CompressError::State { input });
    }
    let is_quantized = |op: &Op| matches!(op, Op::Quantize(_) | Op::Dequantize(_));
    if let Some(node) = graph.nodes().iter().find(|node| is_quantized(&node.op)) {
        let kind = node.op.layer().kind();
        return Err(CompressError::Quantized { node: node.name.clone(), kind });
    }
    let mut options = PassOptions::default();
    options.set("fuse-residual", false).expect("the engine has this pass");
    passes::prepare(&mut graph, &options);
    split(&mut graph);
    graph.verify()?;
    Ok(graph)
}

/// Takes residuals, and activations that do more than clamp, off the layers that they are fused into.
fn split(graph: &mut Graph) {
    let nodes = graph.node_ids();
    let mut edit = GraphEdit::new(graph);
    for id in nodes {
        let node = edit.graph().node(id).clone();
        let mut op = node.op.clone();
        let Some(activation) = fused(&mut op) else { continue };
        let mut inputs = node.inputs.clone();
        let residual = match &op {
            Op::Conv2d(_) => inputs.get_mut(3).and_then(Option::take),
            _ => None,
        };
        let clamps = activation.as_clamp().is_some();
        if residual.is_none() && clamps {
            continue;
        }
        inputs.truncate(3);
        let linear = format!("{}.linear", node.name);
        let mut value = edit.add_node(linear, op, &inputs);
        if let Some(residual) = residual {
            let activation = if clamps { activation } else { Activation::Identity };
            let sum = Binary { function: BinaryFn::Add, activation };
            let name = if clamps { node.name.clone() } else { format!("{}.sum", node.name) };
            value = edit.add_node(name, sum, &[Some(value), Some(residual)]);
        }
        if !clamps {
            value = edit.add_node(node.name.clone(), Activate { activation }, &[Some(value)]);
        }
        edit.replace_uses(node.outputs[0], value);
    }
    edit.finish();
}

/// Takes the activation out of a layer that has one.
fn fused(op: &mut Op) -> Option<Activation> {
    let activation = match op {
        Op::Conv2d(op) => &mut op.activation,
        Op::DepthwiseConv2d(op) => &mut op.activation,
        Op::Dense(op) => &mut op.activation,
        Op::Binary(op) => &mut op.activation,
        _ => return None,
    };
    Some(std::mem::replace(activation, Activation::Identity))
}

#[cfg(test)]
mod tests {
    use super::*;
    use depthwise_layers::Conv2d;
    use depthwise_layers::ir::{InputType, interpret};
    use depthwise_tensor::{DType, Tensor};
    use depthwise_testkit::random_tensor;

    #[test]
    fn residuals_and_curved_activations_stand_alone_and_mean_the_same() {
        let mut graph = Graph::new("fused");
        let x = graph.add_input("x", InputType::fixed(DType::F32, &[1, 3, 3, 4]));
        let w = graph.add_const("w", random_tensor(&[4, 1, 1, 4], 1));
        let b = graph.add_const("b", random_tensor(&[4], 2));
        let conv = Conv2d { activation: Activation::HardSwish, ..Conv2d::default() };
        let y = graph.add("y", conv, &[x, w, b, x]);
        graph.add_output(y);
        let input: Tensor = random_tensor(&[1, 3, 3, 4], 3);
        let want = interpret(&graph, std::slice::from_ref(&input)).unwrap();
        let graph = prepared(graph).unwrap();
        let kinds: Vec<_> = graph.nodes().iter().map(|node| node.op.layer().kind()).collect();
        assert_eq!(kinds, ["Conv2d", "Binary", "Activate"]);
        assert_eq!(graph.value(graph.outputs()[0]).name, "y");
        let got = interpret(&graph, &[input]).unwrap();
        depthwise_testkit::assert_close(
            &got[0],
            &want[0],
            &depthwise_testkit::Bound::RelativeToMax(1e-6),
        );
    }
}
