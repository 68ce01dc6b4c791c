//! Filters in half precision.

use depthwise_layers::Op;
use depthwise_layers::ir::{Graph, GraphEdit, ValueId};
use depthwise_tensor::{DType, Tensor};
use half::f16;
use std::collections::HashMap;

/// Position of the filters among the operands of a layer that takes them in any float type.
const FILTERS: usize = 1;

/// The graph with `f16` filters.
pub(super) fn halved(graph: &Graph) -> Graph {
    let mut graph = graph.clone();
    let mut made: HashMap<ValueId, Option<ValueId>> = HashMap::new();
    let nodes = graph.node_ids();
    let mut edit = GraphEdit::new(&mut graph);
    for id in nodes {
        let node = edit.graph().node(id).clone();
        let takes_half = matches!(
            node.op,
            Op::Conv2d(_) | Op::ConvTranspose2d(_) | Op::Dense(_) | Op::DepthwiseConv2d(_)
        );
        let Some(&Some(filters)) = node.inputs.get(FILTERS).filter(|_| takes_half) else {
            continue;
        };
        let half = *made.entry(filters).or_insert_with(|| {
            let half = edit.graph().constant(filters).and_then(rounded)?;
            let name = edit.graph().value(filters).name.clone();
            Some(edit.add_const(name, half))
        });
        if let Some(half) = half {
            let mut inputs = node.inputs;
            inputs[FILTERS] = Some(half);
            edit.replace_node(id, node.op, inputs);
        }
    }
    edit.finish();
    graph
}

/// The elements as `f16`, where they are `f32` and all of them fit.
fn rounded(tensor: &Tensor) -> Option<Tensor> {
    if tensor.dtype() != DType::F32 {
        return None;
    }
    let elements: Vec<f16> = tensor.to_f32().iter().map(|&x| f16::from_f32(x)).collect();
    if elements.iter().any(|x| !x.is_finite()) {
        return None;
    }
    Tensor::from_vec(tensor.shape().dims(), elements).ok()
}
