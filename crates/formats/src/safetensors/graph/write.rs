//! From a graph to weights with a text.

use super::{ConstantText, DimText, GRAPH_KEY, GraphText, InputText, NodeText, VERSION, ops};
use crate::Weights;
use crate::export::{Encoded, Known, SaveError, SaveFormat, SaveOptions, UnsupportedLayer};
use crate::safetensors;
use depthwise_layers::ir::{Dim, Graph, ValueId};
use depthwise_tensor::Tensor;
use std::collections::{BTreeMap, HashMap};

/// The bytes of a file with the graph.
pub(crate) fn encode(graph: &Graph, options: &SaveOptions) -> Result<Encoded, SaveError> {
    let mut writer = Writer::default();
    writer.inputs(graph, options)?;
    writer.constants(graph);
    writer.nodes(graph)?;
    let mut operators = BTreeMap::new();
    for node in &writer.nodes {
        *operators.entry(node.op.clone()).or_default() += 1;
    }
    let outputs = graph.outputs().iter().map(|id| writer.numbers[id]).collect();
    let text = GraphText {
        version: VERSION,
        name: graph.name.clone(),
        inputs: writer.inputs,
        constants: writer.constants,
        nodes: writer.nodes,
        outputs,
    };
    let text = serde_json::to_string(&text).expect("texts and numbers are always JSON");
    let mut weights = writer.weights;
    weights.metadata = graph.metadata.clone();
    weights.metadata.insert(GRAPH_KEY.into(), text);
    let constant_bytes = weights.iter().map(|(_, tensor)| tensor.bytes().len() as u64).sum();
    let constants = (constant_bytes, weights.len());
    Ok(Encoded { bytes: safetensors::to_bytes(&weights)?, operators, constants })
}

#[derive(Default)]
struct Writer {
    numbers: HashMap<ValueId, usize>,
    weights: Weights,
    inputs: Vec<InputText>,
    constants: Vec<ConstantText>,
    nodes: Vec<NodeText>,
}

impl Writer {
    fn number(&mut self, id: ValueId) {
        let next = self.numbers.len();
        self.numbers.insert(id, next);
    }

    fn inputs(&mut self, graph: &Graph, options: &SaveOptions) -> Result<(), SaveError> {
        let given = match options.input_shapes.is_empty() {
            true => None,
            false => Some(Known::new(graph, &options.input_shapes)?.inputs),
        };
        for (index, &id) in graph.inputs().iter().enumerate() {
            self.number(id);
            let Some(ty) = graph.input_type(id) else { continue };
            let dims = match &given {
                Some(shapes) => shapes[index].iter().map(|&n| DimText::Fixed(n)).collect(),
                None => ty.dims.iter().map(dim).collect(),
            };
            let (name, dtype) = (graph.value(id).name.clone(), ty.dtype.name().into());
            self.inputs.push(InputText { name, dtype, dims });
        }
        Ok(())
    }

    /// The constants that something reads, in order.
    fn constants(&mut self, graph: &Graph) {
        let mut read = vec![false; graph.values().len()];
        let operands = graph.nodes().iter().flat_map(|node| node.inputs.iter().flatten());
        operands.chain(graph.outputs()).for_each(|id| read[id.index()] = true);
        for id in graph.value_ids().filter(|id| read[id.index()]) {
            if let Some(tensor) = graph.constant(id) {
                self.number(id);
                let name = graph.value(id).name.clone();
                let tensor = self.store(&name, tensor);
                self.constants.push(ConstantText { name, tensor });
            }
        }
    }

    /// The name in the file of a tensor: that of the constant, numbered where it is taken.
    fn store(&mut self, name: &str, tensor: &Tensor) -> String {
        let number = self.constants.len();
        let taken = |name: &str| {
            name.is_empty() || name == "__metadata__" || self.weights.get(name).is_some()
        };
        let mut own = name.to_owned();
        while taken(&own) {
            own = format!("{own}#{number}");
        }
        self.weights.tensors.insert(own.clone(), tensor.clone());
        own
    }

    fn nodes(&mut self, graph: &Graph) -> Result<(), SaveError> {
        let mut layers = Vec::new();
        for node in graph.nodes() {
            node.outputs.iter().for_each(|&id| self.number(id));
            let Some((op, attributes)) = ops::write(&node.op) else {
                layers.push(UnsupportedLayer {
                    node: node.name.clone(),
                    kind: node.op.layer().kind(),
                    reason: "it has no form in a graph file".into(),
                });
                continue;
            };
            let name = |&id: &ValueId| graph.value(id).name.clone();
            self.nodes.push(NodeText {
                name: node.name.clone(),
                op: op.into(),
                attributes,
                inputs: node.inputs.iter().map(|id| id.map(|id| self.numbers[&id])).collect(),
                outputs: node.outputs.iter().map(name).collect(),
            });
        }
        match layers.is_empty() {
            true => Ok(()),
            false => Err(SaveError::Unsupported { format: SaveFormat::Safetensors.name(), layers }),
        }
    }
}

fn dim(dim: &Dim) -> DimText {
    match dim {
        Dim::Fixed(n) => DimText::Fixed(*n),
        Dim::Free(name) => DimText::Free(name.clone()),
    }
}
