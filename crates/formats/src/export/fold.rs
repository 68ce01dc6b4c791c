//! Constants that the graph rearranges before it uses them.

use depthwise_layers::Op;
use depthwise_layers::ir::{Graph, GraphEdit};
use depthwise_tensor::Tensor;

/// The graph with rearranged constants as constants. Nothing grows: only elements change places.
pub(crate) fn folded(graph: &Graph) -> Graph {
    let mut graph = graph.clone();
    let nodes = graph.node_ids();
    let mut edit = GraphEdit::new(&mut graph);
    for id in nodes {
        let node = edit.graph().node(id).clone();
        let moves = matches!(
            node.op,
            Op::Transpose(_) | Op::Reshape(_) | Op::Flatten(_) | Op::Squeeze(_) | Op::Unsqueeze(_)
        );
        if !moves {
            continue;
        }
        let operands: Option<Vec<Option<&Tensor>>> = node
            .inputs
            .iter()
            .map(|input| input.map_or(Some(None), |id| edit.graph().constant(id).map(Some)))
            .collect();
        let results = operands.and_then(|operands| node.op.layer().reference(&operands).ok());
        let Some([result]) = results.as_deref() else { continue };
        let name = edit.graph().value(node.outputs[0]).name.clone();
        let constant = edit.add_const(name, result.clone());
        edit.replace_uses(node.outputs[0], constant);
    }
    edit.finish();
    graph
}
