//! A new head on a backbone, and the backbone alone.

use crate::{Initializer, TrainError};
use depthwise_layers::ir::{Def, Dim, Graph, InputType, ValueId, infer_types};
use depthwise_layers::{Activation, Dense, Dropout, Op, Reduce, ReduceFn, TensorType};
use depthwise_tensor::{Shape, Tensor};
use std::collections::HashMap;

/// A classifier: global average pool (of a picture), dropout, dense layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Head {
    /// Classes.
    pub classes: usize,
    /// Rate of the dropout before the dense layer; 0 for none.
    pub dropout: f32,
    /// Start of the weights.
    pub initializer: Initializer,
    /// Of the weights.
    pub seed: u64,
}

impl Head {
    /// A head for this many classes: dropout 0.2, Glorot's weights.
    pub fn new(classes: usize) -> Head {
        Head { classes, dropout: 0.2, initializer: Initializer::Glorot, seed: 0 }
    }
}

/// Side that a free extent of a picture is taken to have where only channels are asked for.
const ANY_SIDE: usize = 224;

/// The value that the classifier of a network reads: the input of its last dense layer (or 1x1
/// convolution), without dropout, reshapes and pools in between.
pub fn default_cut(graph: &Graph) -> Option<String> {
    let last = graph.nodes().iter().rev().find(|node| {
        let weighted = node.inputs.get(1).copied().flatten();
        matches!(node.op, Op::Dense(_) | Op::Conv2d(_))
            && weighted.is_some_and(|w| graph.constant(w).is_some())
    })?;
    let mut at = last.inputs[0]?;
    while let Some(node) = graph.producer(at).map(|id| graph.node(id)) {
        let passes = match &node.op {
            Op::Dropout(_) | Op::Flatten(_) | Op::Reshape(_) | Op::Squeeze(_) => true,
            Op::Reduce(reduce) => reduce.function == ReduceFn::Mean,
            Op::Pool2d(_) => true,
            _ => false,
        };
        match node.inputs[0] {
            Some(before) if passes => at = before,
            _ => break,
        }
    }
    Some(graph.value(at).name.clone())
}

/// Cuts a network at a value (`N,H,W,C` or `N,C`) and ends it in a new classifier, whose
/// parameters are `head.weight` and `head.bias` and whose output is `logits`.
///
/// # Errors
/// [`TrainError::NoSuchValue`] where nothing bears the name, [`TrainError::Setting`] for a head
/// without classes or with a dropout out of range, [`TrainError::Infer`] where the network does not
/// fit its own inputs.
pub fn replace_head(mut graph: Graph, at: &str, head: &Head) -> Result<Graph, TrainError> {
    if !(0.0..1.0).contains(&head.dropout) {
        return Err(TrainError::setting("dropout", head.dropout, "in 0..1"));
    }
    if head.classes == 0 {
        return Err(TrainError::setting("classes", 0, "1 or more"));
    }
    let cut = find(&graph, at)?;
    graph.set_outputs(&[cut]);
    let shape = type_of(&graph, cut)?.shape;
    let Some(&channels) = shape.last().filter(|_| [2, 4].contains(&shape.rank())) else {
        let hint = format!("it is {shape}; a head goes on N,H,W,C or N,C");
        return Err(TrainError::NoSuchValue { name: at.into(), hint });
    };
    let mut x = cut;
    if shape.rank() == 4 {
        let pool = Reduce { function: ReduceFn::Mean, axes: vec![1, 2], keep_dims: false };
        x = graph.add("head.pool", pool, &[x]);
    }
    if head.dropout > 0.0 {
        x = graph.add("head.dropout", Dropout { rate: head.dropout }, &[x]);
    }
    let (classes, seed) = (head.classes, head.seed);
    let dims = Shape::new(&[classes, channels]).map_err(depthwise_tensor::TensorError::from)?;
    let weight = head.initializer.fill(&dims, (channels, classes), seed, "head.weight")?;
    let weight = graph.add_const("head.weight", weight);
    let bias = Tensor::from_vec(&[classes], vec![0f32; classes])?;
    let bias = graph.add_const("head.bias", bias);
    let dense = Dense { activation: Activation::Identity };
    let inputs = [Some(x), Some(weight), Some(bias)];
    let logits = graph.add_node("head", dense, &inputs, &["logits"])[0];
    graph.set_outputs(&[logits]);
    Ok(graph)
}

/// Cuts a network in two at a value: the front ends in it, the back starts from it. So features of
/// a frozen backbone are computed once, by the fast engine, and the back is trained on them. The
/// batch of the back is free.
///
/// # Errors
/// [`TrainError::NoSuchValue`] where nothing bears the name, or the back needs another value of the
/// front, too.
pub fn split_at(graph: &Graph, at: &str) -> Result<(Graph, Graph), TrainError> {
    let cut = find(graph, at)?;
    let ty = type_of(graph, cut)?;
    let mut front = graph.clone();
    front.set_outputs(&[cut]);
    let mut back = Graph::new(graph.name.clone());
    back.metadata = graph.metadata.clone();
    let mut dims: Vec<Dim> = ty.shape.iter().map(|&d| Dim::Fixed(d)).collect();
    if let Some(batch) = dims.first_mut() {
        *batch = Dim::Free("batch".into());
    }
    let input = back.add_input(at, InputType { dtype: ty.dtype, dims });
    let mut new: HashMap<ValueId, ValueId> = HashMap::from([(cut, input)]);
    let mut after: Vec<bool> = vec![false; graph.values().len()];
    after[cut.index()] = true;
    for node in graph.nodes() {
        if node.outputs.contains(&cut) || !node.inputs.iter().flatten().any(|i| after[i.index()]) {
            continue;
        }
        let mut inputs = Vec::new();
        for &id in &node.inputs {
            inputs.push(id.map(|id| carried(graph, &mut back, &mut new, id, at)).transpose()?);
        }
        let names: Vec<&str> = node.outputs.iter().map(|&y| graph.value(y).name.as_str()).collect();
        let outputs = back.add_node(node.name.clone(), node.op.clone(), &inputs, &names);
        for (&old, id) in node.outputs.iter().zip(outputs) {
            after[old.index()] = true;
            new.insert(old, id);
        }
    }
    for &id in graph.outputs() {
        let id = carried(graph, &mut back, &mut new, id, at)?;
        back.add_output(id);
    }
    Ok((front, back))
}

/// A value of the whole as a value of the back.
fn carried(
    graph: &Graph,
    back: &mut Graph,
    new: &mut HashMap<ValueId, ValueId>,
    id: ValueId,
    at: &str,
) -> Result<ValueId, TrainError> {
    if let Some(&id) = new.get(&id) {
        return Ok(id);
    }
    let value = graph.value(id);
    let Def::Const(tensor) = &value.def else {
        let hint = format!("what follows it also reads \"{}\"; cut later", value.name);
        return Err(TrainError::NoSuchValue { name: at.into(), hint });
    };
    let constant = back.add_const(value.name.clone(), tensor.clone());
    new.insert(id, constant);
    Ok(constant)
}

fn find(graph: &Graph, name: &str) -> Result<ValueId, TrainError> {
    let computed = |id: &ValueId| {
        graph.value(*id).name == name
            && (graph.producer(*id).is_some_and(|node| node.index() < graph.nodes().len())
                || graph.inputs().contains(id))
    };
    graph.value_ids().find(computed).ok_or_else(|| {
        let names = graph.nodes().iter().rev().take(8).flat_map(|node| &node.outputs);
        let names: Vec<&str> = names.map(|&id| graph.value(id).name.as_str()).collect();
        let hint = format!("the last ones are {}", names.join(", "));
        TrainError::NoSuchValue { name: name.into(), hint }
    })
}

/// The type of a value where free extents are 1 (the batch) and 224.
fn type_of(graph: &Graph, id: ValueId) -> Result<TensorType, TrainError> {
    let shapes = graph.inputs().iter().map(|&input| {
        let dims = graph.input_type(input).map_or(&[][..], |ty| &ty.dims);
        let dims: Vec<usize> = dims
            .iter()
            .enumerate()
            .map(|(axis, dim)| match dim {
                Dim::Fixed(n) => *n,
                Dim::Free(_) if axis == 0 => 1,
                Dim::Free(_) => ANY_SIDE,
            })
            .collect();
        Shape::new(&dims).map_err(depthwise_tensor::TensorError::from)
    });
    let shapes = shapes.collect::<Result<Vec<_>, _>>()?;
    Ok(infer_types(graph, &shapes)?.of(id))
}
