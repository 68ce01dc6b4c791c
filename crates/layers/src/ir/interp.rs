//! The oracle: any graph, run through the references.

use super::{Def, Graph, InferError, infer_types};
use crate::LayerError;
use depthwise_tensor::{Shape, Tensor};

/// Why the interpreter stopped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InterpError {
    /// The inputs do not fit the graph.
    #[error(transparent)]
    Infer(#[from] InferError),
    /// A reference refused its operands.
    #[error("node \"{node}\": {source}")]
    Layer {
        /// Name of the node.
        node: String,
        /// What it refused.
        source: LayerError,
    },
    /// A value that the graph needs is not there: a released constant, or a node out of order.
    #[error("value \"{0}\" has no elements")]
    Missing(String),
}

/// Runs a graph node by node through [`Layer::reference`](crate::Layer::reference). Slow; for
/// tests of passes, plans and importers.
///
/// # Errors
/// [`InterpError`] where inputs do not fit, a layer refuses its operands, or a constant has been
/// released.
pub fn interpret(graph: &Graph, inputs: &[Tensor]) -> Result<Vec<Tensor>, InterpError> {
    let shapes: Vec<Shape> = inputs.iter().map(|t| *t.shape()).collect();
    infer_types(graph, &shapes)?;
    let mut values: Vec<Option<Tensor>> = graph
        .values()
        .iter()
        .map(|v| match &v.def {
            Def::Const(t) => Some(t.clone()),
            _ => None,
        })
        .collect();
    for (&id, tensor) in graph.inputs().iter().zip(inputs) {
        values[id.index()] = Some(tensor.clone());
    }
    for node in graph.nodes() {
        let operands = node
            .inputs
            .iter()
            .map(|input| match input {
                None => Ok(None),
                Some(id) => match &values[id.index()] {
                    Some(tensor) => Ok(Some(tensor)),
                    None => Err(InterpError::Missing(graph.value(*id).name.clone())),
                },
            })
            .collect::<Result<Vec<_>, _>>()?;
        let results = node
            .op
            .layer()
            .reference(&operands)
            .map_err(|source| InterpError::Layer { node: node.name.clone(), source })?;
        for (id, tensor) in node.outputs.iter().zip(results) {
            values[id.index()] = Some(tensor);
        }
    }
    let missing = |id: &super::ValueId| InterpError::Missing(graph.value(*id).name.clone());
    let outputs = graph.outputs().iter();
    outputs.map(|id| values[id.index()].clone().ok_or_else(|| missing(id))).collect()
}
