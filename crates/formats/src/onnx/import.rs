//! From the file's graph to ours: order, names, inputs and outputs. What a node means is said in
//! `ops/`.

use super::error::{OnnxError, UnsupportedNode};
use super::facts::Facts;
use super::ops::{self, Context, Fail};
use super::tensor::{self, TensorReader};
use super::wire::{self, Dimension};
use depthwise_layers::ir::{Dim, Graph, InputType, ValueId};
use depthwise_layers::{Activate, Activation, Arg, Cast, Op, ShapeOf, TensorType};
use depthwise_tensor::{DType, MAX_RANK, Tensor};
use std::collections::{HashMap, HashSet};

/// Builds the graph of a model.
pub(super) fn import(model: &wire::Model<'_>, tensors: TensorReader) -> Result<Graph, OnnxError> {
    if model.graph.sparse_initializers > 0 {
        let count = model.graph.sparse_initializers;
        return Err(OnnxError::Feature(format!(
            "sparse constants, of which the model has {count}"
        )));
    }
    let mut importer = Importer::new(model, tensors)?;
    let mut unsupported = Vec::new();
    for index in order(model)? {
        if let Some(node) = importer.node(index)? {
            unsupported.push(node);
        }
    }
    if !unsupported.is_empty() {
        return Err(OnnxError::Unsupported(unsupported));
    }
    importer.finish()
}

/// The state between nodes.
pub(super) struct Importer<'m> {
    pub(super) graph: Graph,
    pub(super) tensors: TensorReader,
    model: &'m wire::Model<'m>,
    /// Version of each operator set.
    versions: HashMap<&'m str, i64>,
    /// Domain and name of what the model defines for itself.
    functions: HashSet<(&'m str, &'m str)>,
    /// Constants of the file that no node has asked for yet.
    initializers: HashMap<&'m str, &'m wire::Tensor<'m>>,
    value_info: HashMap<&'m str, &'m wire::ValueInfo<'m>>,
    values: HashMap<&'m str, ValueId>,
    /// What is known of each value of `graph`.
    facts: Vec<Facts>,
    node_names: HashSet<String>,
    /// Elements of values that follow from a few constants, as axes and sizes may.
    computed: HashMap<ValueId, Tensor>,
}

/// Operands and results up to this size are computed while the graph is built.
const FEW_BYTES: usize = 1 << 10;

impl<'m> Importer<'m> {
    fn new(model: &'m wire::Model<'m>, tensors: TensorReader) -> Result<Importer<'m>, OnnxError> {
        let source = &model.graph;
        let mut importer = Importer {
            graph: Graph::new(source.name),
            tensors,
            model,
            versions: model.opsets.iter().map(|set| (standard(set.domain), set.version)).collect(),
            functions: model.functions.iter().copied().collect(),
            initializers: HashMap::new(),
            value_info: source.value_info.iter().map(|info| (info.name, info)).collect(),
            values: HashMap::new(),
            facts: Vec::new(),
            node_names: HashSet::new(),
            computed: HashMap::new(),
        };
        let metadata = model.metadata.iter();
        importer.graph.metadata = metadata.map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
        for tensor in &source.initializers {
            if importer.initializers.insert(tensor.name, tensor).is_some() {
                return Err(OnnxError::Redefined(tensor.name.to_owned()));
            }
        }
        for info in &source.inputs {
            // Older files list their constants as inputs too.
            if !importer.initializers.contains_key(info.name) {
                importer.input(info)?;
            }
        }
        Ok(importer)
    }

    fn input(&mut self, info: &'m wire::ValueInfo<'m>) -> Result<(), OnnxError> {
        let fail = |reason: String| OnnxError::Input { input: info.name.to_owned(), reason };
        let Some(dtype) = tensor::dtype(info.elem_type) else {
            let name = tensor::dtype_name(info.elem_type.into());
            return Err(fail(format!("its type ({name}) is not supported")));
        };
        let Some(shape) = &info.shape else {
            return Err(fail("the number of its dimensions is not known".into()));
        };
        if shape.len() > MAX_RANK {
            return Err(fail(format!("{} dimensions; at most {MAX_RANK}", shape.len())));
        }
        let dim = |dim: &Dimension<'_>| match *dim {
            Dimension::Value(n) => match usize::try_from(n) {
                Ok(n) => Dim::Fixed(n),
                Err(_) => Dim::Free(String::new()),
            },
            // Some exporters write "?" for every extent that they do not know.
            Dimension::Param("?") | Dimension::Unknown => Dim::Free(String::new()),
            Dimension::Param(name) => Dim::Free(name.to_owned()),
        };
        let ty = InputType { dtype, dims: shape.iter().map(dim).collect() };
        let facts = Facts::known(dtype, ty.dims.len());
        let id = self.graph.add_input(info.name, ty);
        self.facts.push(facts);
        match self.values.insert(info.name, id) {
            None => Ok(()),
            Some(_) => Err(OnnxError::Redefined(info.name.to_owned())),
        }
    }

    /// Imports a node; the report on it where that cannot be done.
    fn node(&mut self, index: usize) -> Result<Option<UnsupportedNode>, OnnxError> {
        let model = self.model;
        let node = &model.graph.nodes[index];
        let name = self.node_name(node, index);
        let reason = match self.convert(node, &name) {
            Ok((results, first_new)) => {
                for (result, &output) in results.into_iter().zip(&node.outputs) {
                    self.bind(output, result, first_new);
                }
                return Ok(None);
            }
            Err(Fail::Error(error)) => return Err(error),
            Err(Fail::Unsupported(reason)) => Some(reason),
            Err(Fail::Poisoned) => None,
        };
        // Something to read for the nodes that follow, so that they are checked too.
        for &output in node.outputs.iter().filter(|name| !name.is_empty()) {
            let ty = InputType { dtype: DType::F32, dims: Vec::new() };
            let id = self.graph.add_input(output, ty);
            self.facts.resize(self.graph.values().len(), Facts::POISONED);
            self.values.insert(output, id);
        }
        Ok(reason.map(|reason| UnsupportedNode {
            node: name,
            op_type: node.op_type.to_owned(),
            domain: node.domain.to_owned(),
            reason,
        }))
    }

    /// The results of a node, and the number of values that were there before it.
    fn convert(
        &mut self,
        node: &'m wire::Node<'m>,
        name: &str,
    ) -> Result<(Vec<ValueId>, usize), Fail> {
        if self.functions.contains(&(node.domain, node.op_type)) {
            return Err(Fail::Unsupported("it is a function defined by the model".into()));
        }
        let domain = standard(node.domain);
        let version = self.versions.get(domain).copied();
        let convert = ops::find(domain, node.op_type, version)?;
        let operands = node.inputs.iter().map(|&input| self.value(input));
        let operands = operands.collect::<Result<Vec<_>, _>>()?;
        let first_new = self.graph.values().len();
        let mut context = Context::new(self, node, name, operands, version.unwrap_or_default());
        let results = convert(&mut context)?;
        context.check_all_read()?;
        let unmet = node.outputs.iter().skip(results.len()).position(|name| !name.is_empty());
        if let Some(position) = unmet {
            let number = position + results.len();
            return Err(Fail::Unsupported(format!("its output number {number} is used")));
        }
        Ok((results, first_new))
    }

    /// The value of this name, made from an initializer where it is the first time; `None` for
    /// the empty name.
    fn value(&mut self, name: &'m str) -> Result<Option<ValueId>, Fail> {
        if name.is_empty() {
            return Ok(None);
        }
        if let Some(&id) = self.values.get(name) {
            return Ok(Some(id));
        }
        let source = self.initializers[name];
        let Some(dtype) = tensor::dtype(source.data_type) else {
            let dtype = tensor::dtype_name(source.data_type.into());
            let reason = format!("its input \"{name}\" is a constant of type {dtype}");
            return Err(Fail::Unsupported(reason));
        };
        let tensor = self.tensors.read(source, dtype, name)?;
        let id = self.add_const(name, tensor);
        self.values.insert(name, id);
        Ok(Some(id))
    }

    /// Gives a result of a node the name that the file has for it. A value that was there before
    /// keeps its own.
    fn bind(&mut self, output: &'m str, result: ValueId, first_new: usize) {
        if output.is_empty() {
            return;
        }
        if result.index() >= first_new {
            self.graph.rename_value(result, output);
        }
        if let Some(info) = self.value_info.get(output) {
            let rank = info.shape.as_ref().map(Vec::len);
            self.facts[result.index()].complete(tensor::dtype(info.elem_type), rank);
        }
        self.values.insert(output, result);
    }

    /// The node's name, or one made of operator and position where it has none or one that was
    /// used before.
    fn node_name(&mut self, node: &wire::Node<'_>, index: usize) -> String {
        let mut name = node.name.to_owned();
        if name.is_empty() {
            name = format!("{}_{index}", node.op_type);
        }
        while !self.node_names.insert(name.clone()) {
            name += &format!("_{index}");
        }
        name
    }

    pub(super) fn facts(&self, id: ValueId) -> &Facts {
        &self.facts[id.index()]
    }

    pub(super) fn add_const(&mut self, name: &str, tensor: Tensor) -> ValueId {
        self.facts.push(Facts::of_constant(&tensor));
        self.graph.add_const(name, tensor)
    }

    pub(super) fn add_node(
        &mut self,
        name: &str,
        op: Op,
        inputs: &[Option<ValueId>],
        outputs: usize,
    ) -> Vec<ValueId> {
        let operands: Vec<Option<&Facts>> =
            inputs.iter().map(|input| input.map(|id| self.facts(id))).collect();
        let constants: Vec<Option<&Tensor>> =
            inputs.iter().map(|input| input.and_then(|id| self.graph.constant(id))).collect();
        let facts = Facts::of_results(&op, &operands, &constants);
        self.facts.extend((0..outputs).map(|output| facts.of_result(&op, output)));
        let computed = if outputs == 1 { self.compute(&op, inputs) } else { None };
        // A long name in each of many results could outgrow the file; they get the file's names.
        let name_of_result = if outputs == 1 { name } else { "" };
        let results = self.graph.add_node(name, op, inputs, &vec![name_of_result; outputs]);
        self.computed.extend(results.first().copied().zip(computed));
        results
    }

    /// The elements of a value that is constant, or follows from a few constants.
    pub(super) fn known(&self, id: ValueId) -> Option<&Tensor> {
        self.graph.constant(id).or_else(|| self.computed.get(&id))
    }

    /// The result of an operation on a few elements that are known.
    fn compute(&self, op: &Op, inputs: &[Option<ValueId>]) -> Option<Tensor> {
        if let (Op::ShapeOf(ShapeOf { start: 0, end: None }), &[Some(x)]) = (op, inputs)
            && let Some(len) = self.facts(x).len
        {
            // The shape of a shape is known without the extents: how many there are.
            return Tensor::from_slice(&[1], &[i64::try_from(len).ok()?]).ok();
        }
        let operand = |input: &Option<ValueId>| match *input {
            None => Some(None),
            Some(id) => self.known(id).map(Some),
        };
        let operands: Vec<Option<&Tensor>> = inputs.iter().map(operand).collect::<Option<_>>()?;
        let few = |bytes: &mut dyn Iterator<Item = usize>| bytes.sum::<usize>() <= FEW_BYTES;
        if !few(&mut operands.iter().flatten().map(|tensor| tensor.bytes().len())) {
            return None;
        }
        let args: Vec<_> = operands.iter().map(|tensor| tensor.map(Arg::constant)).collect();
        let types = op.layer().infer(&args).ok()?;
        if !few(&mut types.iter().map(TensorType::bytes)) {
            return None;
        }
        op.layer().reference(&operands).ok()?.into_iter().next()
    }

    /// Declares the outputs, drops what none of them needs, and checks the whole.
    fn finish(mut self) -> Result<Graph, OnnxError> {
        let mut declared = HashSet::new();
        let outputs = &self.model.graph.outputs;
        if let Some(twice) = outputs.iter().find(|info| !declared.insert(info.name)) {
            return Err(OnnxError::Redefined(twice.name.to_owned()));
        }
        for info in outputs {
            let name = info.name;
            let value = match self.value(name) {
                Ok(Some(value)) => value,
                Err(Fail::Error(error)) => return Err(error),
                _ => return Err(OnnxError::Feature(format!("the constant output \"{name}\""))),
            };
            let value = self.output(name, value, &declared);
            self.graph.add_output(value);
        }
        self.graph.sort();
        self.graph.verify()?;
        Ok(self.graph)
    }

    /// A value that bears the name of the output: the value itself, or a copy of one that is
    /// known by another name (an input, a constant, another output).
    fn output(&mut self, name: &str, value: ValueId, declared: &HashSet<&str>) -> ValueId {
        if self.graph.producer(value).is_some() {
            if self.graph.value(value).name == name {
                return value;
            }
            if !declared.contains(self.graph.value(value).name.as_str()) {
                self.graph.rename_value(value, name);
                return value;
            }
        }
        let copy: Op = match self.facts(value).dtype {
            Some(dtype) => Cast { to: dtype }.into(),
            None => Activate { activation: Activation::Identity }.into(),
        };
        self.add_node(name, copy, &[Some(value)], 1)[0]
    }
}

/// The domain, where the standard one, which has two names, is the empty one.
fn standard(domain: &str) -> &str {
    if domain == "ai.onnx" { "" } else { domain }
}

/// Positions of the nodes, each after those that define its inputs; the file's own order where
/// that will do.
fn order(model: &wire::Model<'_>) -> Result<Vec<usize>, OnnxError> {
    let graph = &model.graph;
    let known: HashSet<&str> = graph
        .initializers
        .iter()
        .map(|tensor| tensor.name)
        .chain(graph.inputs.iter().map(|info| info.name))
        .collect();
    let mut producers = HashMap::new();
    for (index, node) in graph.nodes.iter().enumerate() {
        for &output in node.outputs.iter().filter(|name| !name.is_empty()) {
            if known.contains(output) || producers.insert(output, index).is_some() {
                return Err(OnnxError::Redefined(output.to_owned()));
            }
        }
    }
    let find = |reader: &dyn Fn() -> String, value: &str| match producers.get(value) {
        Some(&index) => Ok(Some(index)),
        None if value.is_empty() || known.contains(value) => Ok(None),
        None => Err(OnnxError::Undefined { reader: reader(), value: value.to_owned() }),
    };
    for info in &graph.outputs {
        find(&|| "the list of outputs".into(), info.name)?;
    }
    depth_first(&graph.nodes, |node, index, value| {
        find(&|| format!("node \"{}\" ({}, number {index})", node.name, node.op_type), value)
    })
}

#[derive(Clone, Copy, PartialEq)]
enum Visit {
    New,
    Open,
    Done,
}

/// Depth-first order of the nodes by their inputs, without recursion: `producer` names the node
/// that defines a value.
fn depth_first<'m>(
    nodes: &'m [wire::Node<'m>],
    producer: impl Fn(&wire::Node<'_>, usize, &str) -> Result<Option<usize>, OnnxError>,
) -> Result<Vec<usize>, OnnxError> {
    let mut order = Vec::with_capacity(nodes.len());
    let mut state = vec![Visit::New; nodes.len()];
    // Nodes being visited, each with the position of the next input to follow.
    let mut stack: Vec<(usize, usize)> = Vec::new();
    for start in 0..nodes.len() {
        if state[start] == Visit::New {
            stack.push((start, 0));
            state[start] = Visit::Open;
        }
        while let Some((index, position)) = stack.last_mut() {
            let index = *index;
            let node = &nodes[index];
            let Some(&input) = node.inputs.get(*position) else {
                state[index] = Visit::Done;
                order.push(index);
                stack.pop();
                continue;
            };
            *position += 1;
            let Some(before) = producer(node, index, input)? else { continue };
            match state[before] {
                Visit::Done => {}
                Visit::Open => return Err(OnnxError::Cycle(nodes[before].name.to_owned())),
                Visit::New => {
                    state[before] = Visit::Open;
                    stack.push((before, 0));
                }
            }
        }
    }
    Ok(order)
}
