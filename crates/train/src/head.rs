//! A new head on a backbone, and either alone.

use crate::form::trainable_constants;
use crate::{Initializer, TrainError};
use depthwise_layers::ir::{Def, Dim, Graph, GraphEdit, InputType, ValueId, infer_types};
use depthwise_layers::{Activation, Conv2d, Dense, Dropout, Op, Reduce, ReduceFn, TensorType};
use depthwise_tensor::{DType, Hw, Shape, Tensor};
use std::collections::HashMap;

/// A classifier: dropout and a dense layer on features `N,F`.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// Name of the dense layer. Its parameters are `NAME.weight` and `NAME.bias`.
    pub name: String,
    /// Classes.
    pub classes: usize,
    /// Rate of the dropout before the dense layer; 0 for none.
    pub dropout: f32,
    /// Start of the weights. Biases start at 0.
    pub initializer: Initializer,
    /// Of the weights.
    pub seed: u64,
}

impl Head {
    /// A head for this many classes: dropout 0.2, Glorot's weights, the name `head`.
    pub fn new(classes: usize) -> Head {
        let initializer = Initializer::Glorot;
        Head { name: "head".into(), classes, dropout: 0.2, initializer, seed: 0 }
    }

    /// The head alone: a network from features `N,F` of this width to `logits`, `N,C`.
    ///
    /// # Errors
    /// [`TrainError::Setting`] for a head without classes or with a dropout out of range.
    pub fn graph(&self, width: usize) -> Result<Graph, TrainError> {
        let mut graph = Graph::new(self.name.clone());
        let dims = vec![Dim::Free("batch".into()), Dim::Fixed(width)];
        let x = graph.add_input("features", InputType { dtype: DType::F32, dims });
        self.add_to(&mut graph, x, width)?;
        Ok(graph)
    }

    /// Lets a graph end in the head; `x` are features `N,F` of this width.
    fn add_to(&self, graph: &mut Graph, mut x: ValueId, width: usize) -> Result<(), TrainError> {
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(TrainError::setting("dropout", self.dropout, "in 0..1"));
        }
        if self.classes == 0 {
            return Err(TrainError::setting("classes", 0, "1 or more"));
        }
        let (name, classes) = (&self.name, self.classes);
        if self.dropout > 0.0 {
            x = graph.add(&format!("{name}.dropout"), Dropout { rate: self.dropout }, &[x]);
        }
        let weight_name = format!("{name}.weight");
        let dims = Shape::new(&[classes, width]).map_err(depthwise_tensor::TensorError::from)?;
        let weight = self.initializer.fill(&dims, (width, classes), self.seed, &weight_name)?;
        let weight = graph.add_const(weight_name, weight);
        let bias = Tensor::from_vec(&[classes], vec![0f32; classes])?;
        let bias = graph.add_const(format!("{name}.bias"), bias);
        let dense = Dense { activation: Activation::Identity };
        let inputs = [Some(x), Some(weight), Some(bias)];
        let logits = graph.add_node(name.clone(), dense, &inputs, &["logits"])[0];
        graph.set_outputs(&[logits]);
        Ok(())
    }
}

/// Side that a free extent of a picture is taken to have where only channels are asked for.
const ANY_SIDE: usize = 224;

/// Cuts the classifier off a network: what is left gives features `N,F`.
///
/// With `at` the network ends at the value of this name, or at the last node whose name begins so
/// (`features.13`). Without, it ends before the last dense layer, or before a 1x1 convolution that
/// stands for one; dropout goes with the classifier. A picture of features is averaged over rows
/// and columns.
///
/// # Errors
/// [`TrainError::NoSuchValue`] where nothing bears the name, [`TrainError::Head`] where no
/// classifier is found or the value holds no features, [`TrainError::Infer`] where the network does
/// not fit its own inputs.
pub fn cut(graph: &Graph, at: Option<&str>) -> Result<Graph, TrainError> {
    let mut graph = graph.clone();
    let end = match at {
        Some(name) => find(&graph, name)?,
        None => before_classifier(&graph)?,
    };
    graph.set_outputs(&[end]);
    match type_of(&graph, end)?.shape.rank() {
        2 => Ok(graph),
        4 => {
            let mean = Reduce { function: ReduceFn::Mean, axes: vec![1, 2], keep_dims: false };
            let pooled = graph.add("head.pool", mean, &[end]);
            graph.set_outputs(&[pooled]);
            Ok(graph)
        }
        rank => Err(TrainError::Head(format!(
            "\"{}\" has {rank} dimensions; features have 2, or 4 as a picture",
            graph.value(end).name
        ))),
    }
}

/// The features that the last layer reads: its input, before dropout.
fn before_classifier(graph: &Graph) -> Result<ValueId, TrainError> {
    let [output] = graph.outputs() else {
        return Err(TrainError::Head("it has several outputs; say where to cut it".into()));
    };
    let (mut at, mut classifier) = (*output, false);
    while let Some(node) = graph.producer(at).map(|id| graph.node(id)) {
        let Some(input) = node.inputs.first().copied().flatten() else { break };
        match &node.op {
            Op::Dropout(_) if classifier => {}
            _ if classifier => break,
            Op::Dense(_) => classifier = true,
            Op::Conv2d(conv) if is_pointwise(graph, conv, node.inputs.get(1)) => classifier = true,
            Op::Softmax(_) | Op::Reshape(_) | Op::Activate(_) | Op::Reduce(_) => {}
            _ => break,
        }
        at = input;
    }
    let name = &graph.value(at).name;
    let missing = || format!("no classifier is found before \"{name}\"; say where to cut it");
    if classifier { Ok(at) } else { Err(TrainError::Head(missing())) }
}

fn is_pointwise(graph: &Graph, conv: &Conv2d, weight: Option<&Option<ValueId>>) -> bool {
    let weight = weight.copied().flatten().and_then(|id| graph.constant(id));
    conv.stride == Hw::square(1) && weight.is_some_and(|w| matches!(w.shape().dims(), [_, 1, 1, _]))
}

/// Name of the last layer that [`cut`] takes off: that of the last [`Dense`] layer; `classifier`
/// where there is none.
pub fn classifier_name(graph: &Graph) -> &str {
    let mut dense = graph.nodes().iter().rev().filter(|node| matches!(node.op, Op::Dense(_)));
    dense.next().map_or("classifier", |node| &node.name)
}

/// [`cut`]s a network and ends it in a new classifier, whose output is `logits`, `N,C`.
///
/// # Errors
/// As [`cut`] and [`Head::graph`].
pub fn replace_head(graph: &Graph, at: Option<&str>, head: &Head) -> Result<Graph, TrainError> {
    let mut graph = cut(graph, at)?;
    let features = graph.outputs()[0];
    let width = type_of(&graph, features)?.shape[1];
    head.add_to(&mut graph, features, width)?;
    Ok(graph)
}

/// Gives the parameters of a network the values of those of the same names in another, such as a
/// head trained alone. Says how many it found.
///
/// # Errors
/// [`TrainError::State`] where shapes differ.
pub fn copy_parameters(from: &Graph, to: &mut Graph) -> Result<usize, TrainError> {
    let there: HashMap<String, ValueId> = trainable_constants(from).into_iter().collect();
    let mut changes = Vec::new();
    for (name, id) in trainable_constants(to) {
        let source = there.get(&name).and_then(|&id| from.constant(id));
        let (Some(source), Some(own)) = (source, to.constant(id)) else { continue };
        if source.shape() != own.shape() {
            let (got, want) = (source.shape(), own.shape());
            return Err(TrainError::State(format!("\"{name}\" is {got}, not {want}")));
        }
        changes.push((id, source.clone()));
    }
    let count = changes.len();
    let mut edit = GraphEdit::new(to);
    changes.into_iter().for_each(|(id, tensor)| edit.replace_with_const(id, tensor));
    edit.finish();
    Ok(count)
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

/// The computed value of this name, or the first output of the last node whose name begins so.
fn find(graph: &Graph, name: &str) -> Result<ValueId, TrainError> {
    let computed = |id: &ValueId| {
        graph.value(*id).name == name
            && (graph.producer(*id).is_some() || graph.inputs().contains(id))
    };
    let belongs = |node: &str| {
        node.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let node = graph.nodes().iter().rev().find(|node| belongs(&node.name));
    let value = graph.value_ids().find(computed);
    value.or_else(|| node?.outputs.first().copied()).ok_or_else(|| {
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
