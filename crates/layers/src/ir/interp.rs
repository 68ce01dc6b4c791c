//! The oracle: any graph, run through the references.

use super::{Def, Graph, InferError, State, infer_types};
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

/// Runs a graph that keeps states: `inputs` are those that are no states, in order, and so are the
/// results. `states` holds what the run before left, or the initial elements where it is empty, and
/// what this run leaves afterwards.
///
/// # Errors
/// As [`interpret`].
pub fn interpret_stateful(
    graph: &Graph,
    states: &mut Vec<Tensor>,
    inputs: &[Tensor],
) -> Result<Vec<Tensor>, InterpError> {
    if states.is_empty() {
        states.extend(graph.states().iter().map(|state| state.initial.clone()));
    }
    let mut given = inputs.iter();
    let mut all = Vec::new();
    for position in 0..graph.inputs().len() {
        let state = graph.states().iter().position(|state| state.input == position);
        match state.map_or_else(|| given.next(), |state| states.get(state)) {
            Some(tensor) => all.push(tensor.clone()),
            // Too few: what follows says so.
            None => break,
        }
    }
    all.extend(given.cloned());
    let results = interpret(graph, &all)?;
    let kept = |state: &State| results[state.output].clone();
    *states = graph.states().iter().map(kept).collect();
    let is_state = |position: usize| graph.states().iter().any(|s| s.output == position);
    let results = results.into_iter().enumerate();
    Ok(results.filter(|(position, _)| !is_state(*position)).map(|(_, result)| result).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{InputType, VerifyError};
    use crate::{Binary, BinaryFn};
    use depthwise_tensor::{Activation, DType};

    /// `y = x + s`, `s' = y`: a running sum from 10.
    fn sum() -> Graph {
        let mut graph = Graph::new("sum");
        let s = graph.add_input("s", InputType::fixed(DType::F32, &[1]));
        let x = graph.add_input("x", InputType::fixed(DType::F32, &[1]));
        let add = Binary { function: BinaryFn::Add, activation: Activation::Identity };
        let y = graph.add("y", add.clone(), &[x, s]);
        let next = graph.add("next", add, &[x, s]);
        graph.add_output(next);
        graph.add_output(y);
        let initial = Tensor::from_slice(&[1], &[10f32]).unwrap();
        graph.add_state(State { input: 0, output: 0, initial });
        graph
    }

    #[test]
    fn states_go_from_run_to_run() {
        let graph = sum();
        graph.verify().unwrap();
        let (mut states, mut got) = (Vec::new(), Vec::new());
        for x in [1f32, 2.0, 3.0] {
            let x = Tensor::from_slice(&[1], &[x]).unwrap();
            let results = interpret_stateful(&graph, &mut states, &[x]).unwrap();
            assert_eq!(results.len(), 1);
            got.extend(results[0].to_f32().to_vec());
        }
        assert_eq!(got, [11.0, 13.0, 16.0]);
        assert!(interpret_stateful(&graph, &mut states, &[]).is_err());
        assert!(graph.to_string().contains("state f32[1]"), "{graph}");
    }

    #[test]
    fn states_need_their_own_input_and_output() {
        let initial = |dims: &[usize]| Tensor::from_slice(dims, &[0f32]).unwrap();
        for (input, output, dims) in [(0, 1, &[1][..]), (1, 0, &[1]), (1, 2, &[1]), (1, 1, &[1, 1])]
        {
            let mut graph = sum();
            graph.add_state(State { input, output, initial: initial(dims) });
            assert_eq!(graph.verify(), Err(VerifyError::State(1)), "{input} {output}");
        }
        let mut graph = sum();
        graph.add_state(State { input: 1, output: 1, initial: initial(&[1]) });
        assert_eq!(graph.verify(), Ok(()));
    }
}
