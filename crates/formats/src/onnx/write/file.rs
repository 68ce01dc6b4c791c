//! The whole file.

use super::values::{Form, TO_NHWC, Writer};
use super::{
    NodeOut, activation, arithmetic, convolution, moving, number, picture, places, quantize,
    reduce, shape,
};
use crate::export::{Encoded, Known, SaveError, SaveFormat, SaveOptions, UnsupportedLayer};
use crate::onnx::wire::Tensor as WireTensor;
use crate::onnx::wire::{Attribute, Dimension, Graph as WireGraph, Model, Node, Opset, ValueInfo};
use depthwise_layers::ir::{Dim, Graph, ValueId};
use depthwise_layers::{Op, TensorType};
use std::collections::{BTreeMap, HashSet};

/// The operator set that is written, and the version of the file format that goes with it.
const OPSET: i64 = 20;
const IR_VERSION: i64 = 9;

/// Most bytes of a message.
const LIMIT: u64 = i32::MAX as u64;

/// The bytes of a file with the graph.
pub(crate) fn encode(graph: &Graph, options: &SaveOptions) -> Result<Encoded, SaveError> {
    let known = Known::new(graph, &options.input_shapes)?;
    let mut writer = Writer::new(graph, &known);
    let mut layers = Vec::new();
    for node in graph.nodes() {
        // What is known already needs no node.
        let known = |&id: &ValueId| writer.tensor(id).is_some();
        let scales = matches!(node.op, Op::Dequantize(_));
        if !scales && node.outputs.iter().all(known) && !node.outputs.is_empty() {
            continue;
        }
        writer.begin(&node.name);
        if let Err(refused) = write(&mut writer, node) {
            layers.push(UnsupportedLayer {
                node: node.name.clone(),
                kind: node.op.layer().kind(),
                reason: refused.0,
            });
            // Something to read for the nodes that follow, so that they are looked at too.
            for &id in &node.outputs {
                writer.alias(id, Form::Plain, String::new());
            }
        }
    }
    if layers.is_empty() {
        layers = outputs(&mut writer);
    }
    if !layers.is_empty() {
        return Err(SaveError::Unsupported { format: SaveFormat::Onnx.name(), layers });
    }
    let mut file = File::new(&writer, options);
    if options.nchw {
        file.turn_ends();
    }
    file.encode()
}

fn write(w: &mut Writer<'_>, node: &depthwise_layers::ir::Node) -> Result<(), super::Refused> {
    match &node.op {
        Op::Activate(op) => activation::activate(w, node, op),
        Op::ArgExtreme(op) => reduce::arg_extreme(w, node, op),
        Op::BatchNorm(op) => convolution::batch_norm(w, node, op),
        Op::Binary(op) => arithmetic::binary(w, node, op),
        Op::Cast(op) => arithmetic::cast(w, node, op),
        Op::Concat(op) => moving::concat(w, node, op),
        Op::ConstantOfShape(op) => shape::constant_of_shape(w, node, op),
        Op::Conv2d(op) => convolution::conv2d(w, node, op),
        Op::ConvTranspose2d(op) => convolution::conv_transpose2d(w, node, op),
        Op::Dense(op) => convolution::dense(w, node, op),
        Op::DepthToSpace(op) => picture::depth_to_space(w, node, op),
        Op::Dequantize(op) => quantize::dequantize(w, node, op),
        Op::DepthwiseConv2d(op) => convolution::depthwise(w, node, op),
        Op::Expand(_) => shape::with_operands(w, node, "Expand"),
        Op::Flatten(op) => shape::flatten(w, node, op),
        Op::Gather(op) => moving::gather(w, node, op),
        Op::GatherElements(op) => places::gather_elements(w, node, op),
        Op::GatherNd(op) => places::gather_nd(w, node, op),
        Op::GridSample(op) => places::grid_sample(w, node, op),
        Op::MatMul(_) => shape::with_operands(w, node, "MatMul"),
        Op::MaxPositions(op) => picture::max_positions(w, node, op),
        Op::PRelu(_) => arithmetic::prelu(w, node),
        Op::Pad(op) => moving::pad(w, node, op),
        Op::Pool2d(op) => picture::pool2d(w, node, op),
        Op::Quantize(op) => quantize::quantize(w, node, op),
        Op::Range(_) => shape::range(w, node),
        Op::Reduce(op) => reduce::reduce(w, node, op),
        Op::Reshape(op) => shape::reshape(w, node, op),
        Op::Resize(op) => picture::resize(w, node, op),
        Op::ScatterElements(op) => places::scatter_elements(w, node, op),
        Op::ScatterNd(op) => places::scatter_nd(w, node, op),
        Op::Select(_) => arithmetic::select(w, node),
        Op::ShapeOf(op) => shape::shape_of(w, node, op),
        Op::Slice(_) => moving::slice(w, node),
        Op::Softmax(op) => reduce::softmax(w, node, op),
        Op::SpaceToDepth(op) => picture::space_to_depth(w, node, op),
        Op::Split(op) => moving::split(w, node, op),
        Op::Squeeze(op) => shape::squeeze(w, node, &op.axes),
        Op::Tile(_) => shape::with_operands(w, node, "Tile"),
        Op::TopK(op) => places::top_k(w, node, op),
        Op::Transpose(op) => moving::transpose(w, node, op),
        Op::Unary(op) => arithmetic::unary(w, node, op),
        Op::Unsqueeze(op) => shape::unsqueeze(w, node, &op.axes),
        #[allow(unreachable_patterns, reason = "the list of layers grows")]
        _ => super::refuse("ONNX has no form for it yet"),
    }
}

/// Gives every output its name and the order of axes that the graph declares.
fn outputs(w: &mut Writer<'_>) -> Vec<UnsupportedLayer> {
    let mut layers = Vec::new();
    let mut done = HashSet::new();
    for &id in w.graph.outputs() {
        let own = w.graph.value(id).name.clone();
        w.begin(&own);
        match w.plain(id) {
            Err(refused) => layers.push(UnsupportedLayer {
                node: own.clone(),
                kind: "output",
                reason: refused.0,
            }),
            Ok(name) if name == own && w.graph.input_type(id).is_none() => {}
            // An input, a constant, or a value that bears the name of another output.
            Ok(name) => {
                let produced = w.nodes.iter().any(|node| node.outputs.contains(&name));
                let free = produced && !done.contains(&name) && !is_output(w, &name);
                match free {
                    true => w.rename(&name, &own),
                    false => w.push("Identity", vec![name], vec![own.clone()], Vec::new()),
                }
            }
        }
        done.insert(own);
    }
    layers
}

fn is_output(w: &Writer<'_>, name: &str) -> bool {
    w.graph.outputs().iter().any(|&id| w.graph.value(id).name == name)
}

/// An input or output as the file declares it.
struct End {
    name: String,
    ty: TensorType,
    /// Extents: numbers, names, or not known.
    dims: Vec<DimOut>,
}

enum DimOut {
    Value(i64),
    Name(String),
    Unknown,
}

struct File<'w, 'g> {
    writer: &'w Writer<'g>,
    nodes: Vec<NodeOut>,
    inputs: Vec<End>,
    outputs: Vec<End>,
}

impl<'w, 'g> File<'w, 'g> {
    fn new(writer: &'w Writer<'g>, options: &SaveOptions) -> File<'w, 'g> {
        let (graph, known) = (writer.graph, writer.known);
        let name = |id: ValueId| graph.value(id).name.clone();
        let input = |(index, &id): (usize, &ValueId)| {
            let declared = graph.input_type(id).map(|ty| ty.dims.clone()).unwrap_or_default();
            let dims = match options.input_shapes.get(index) {
                Some(shape) => shape.iter().map(|&n| DimOut::Value(n as i64)).collect(),
                None => declared.iter().map(declared_dim).collect(),
            };
            End { name: name(id), ty: known.ty(id), dims }
        };
        let output = |&id: &ValueId| {
            let dim = |axis: usize| match known.extent(id, axis) {
                Some(n) => DimOut::Value(n as i64),
                None => DimOut::Unknown,
            };
            let dims = (0..known.rank(id)).map(dim).collect();
            End { name: name(id), ty: known.ty(id), dims }
        };
        File {
            writer,
            nodes: writer.nodes.clone(),
            inputs: graph.inputs().iter().enumerate().map(input).collect(),
            outputs: graph.outputs().iter().map(output).collect(),
        }
    }

    /// Drops the transposes behind inputs and before outputs, also where the end is quantized in
    /// between.
    fn turn_ends(&mut self) {
        for i in 0..self.inputs.len() {
            let mut name = self.inputs[i].name.clone();
            while let Some(at) = self.only_reader(&name) {
                if turns(&self.nodes[at], true) {
                    let turned = self.nodes.remove(at).outputs.remove(0);
                    replace(&mut self.nodes, &turned, &name);
                    self.inputs[i].turn();
                } else if self.keeps_order(&self.nodes[at]) {
                    name.clone_from(&self.nodes[at].outputs[0]);
                    continue;
                }
                break;
            }
        }
        for i in 0..self.outputs.len() {
            let end = self.outputs[i].name.clone();
            let mut name = end.clone();
            while self.reads(&name) == usize::from(name != end) {
                let Some(at) = self.writer_of(&name) else { break };
                let from = self.nodes[at].inputs[0].clone();
                if !turns(&self.nodes[at], false) {
                    if !self.keeps_order(&self.nodes[at]) {
                        break;
                    }
                    name = from;
                    continue;
                }
                if self.writer_of(&from).is_some() {
                    self.nodes.remove(at);
                    let (old, new) = if name == end { (from, name) } else { (name, from) };
                    replace(&mut self.nodes, &old, &new);
                    self.outputs[i].turn();
                }
                break;
            }
        }
    }

    /// How often nodes read a value.
    fn reads(&self, name: &str) -> usize {
        self.nodes.iter().flat_map(|node| &node.inputs).filter(|input| *input == name).count()
    }

    fn writer_of(&self, name: &str) -> Option<usize> {
        self.nodes.iter().position(|node| node.outputs.iter().any(|output| output == name))
    }

    /// The node that alone reads a value, where it is no output.
    fn only_reader(&self, name: &str) -> Option<usize> {
        let is_output = self.outputs.iter().any(|output| output.name == name);
        let reads = |node: &NodeOut| node.inputs.first().is_some_and(|input| input == name);
        (!is_output && self.reads(name) == 1).then(|| self.nodes.iter().position(reads))?
    }

    /// Whether a node treats all elements alike: one scale and zero point.
    fn keeps_order(&self, node: &NodeOut) -> bool {
        let is_one = |name: &String| {
            let mut constants = self.writer.initializers.iter();
            constants.any(|(constant, tensor)| constant == name && tensor.elements() == 1)
        };
        matches!(node.op_type, "QuantizeLinear" | "DequantizeLinear")
            && node.inputs.iter().skip(1).all(is_one)
    }

    fn encode(&self) -> Result<Encoded, SaveError> {
        let writer = self.writer;
        // A constant that only nodes without use read, or none, is no part of the network.
        let read: HashSet<&str> =
            self.nodes.iter().flat_map(|node| &node.inputs).map(String::as_str).collect();
        let kept = writer.initializers.iter().filter(|(name, _)| read.contains(name.as_str()));
        let initializers: Vec<WireTensor<'_>> =
            kept.map(|(name, tensor)| initializer(name, tensor)).collect();
        let bytes_of = |tensor: &WireTensor<'_>| tensor.raw_data.map_or(0, <[u8]>::len) as u64;
        let bytes = initializers.iter().map(bytes_of).sum();
        // Names and nodes are small beside the constants; what they add is checked at the end.
        let too_large = |bytes| {
            let format = SaveFormat::Onnx.name();
            Err(SaveError::TooLarge { format, bytes, limit: LIMIT })
        };
        if bytes > LIMIT {
            return too_large(bytes);
        }
        let mut operators = BTreeMap::new();
        for node in &self.nodes {
            *operators.entry(node.op_type.to_owned()).or_default() += 1;
        }
        let constants = (bytes, initializers.len());
        let graph = WireGraph {
            name: if writer.graph.name.is_empty() { "network" } else { &writer.graph.name },
            nodes: self.nodes.iter().map(node).collect(),
            initializers,
            inputs: self.inputs.iter().map(End::info).collect(),
            outputs: self.outputs.iter().map(End::info).collect(),
            ..WireGraph::default()
        };
        let metadata = writer.graph.metadata.iter();
        let model = Model {
            ir_version: IR_VERSION,
            opsets: vec![Opset { domain: "", version: OPSET }],
            producer: "depthwise",
            graph,
            metadata: metadata.map(|(key, value)| (key.as_str(), value.as_str())).collect(),
            functions: Vec::new(),
        };
        let encoded = model.encode();
        if encoded.len() as u64 > LIMIT {
            return too_large(encoded.len() as u64);
        }
        Ok(Encoded { bytes: encoded, operators, constants })
    }
}

impl End {
    fn turn(&mut self) {
        let last = self.dims.remove(3);
        self.dims.insert(1, last);
    }

    fn info(&self) -> ValueInfo<'_> {
        let dims = self.dims.iter().map(|dim| match dim {
            DimOut::Value(n) => Dimension::Value(*n),
            DimOut::Name(name) => Dimension::Param(name),
            DimOut::Unknown => Dimension::Unknown,
        });
        ValueInfo {
            name: &self.name,
            elem_type: number(self.ty.dtype),
            shape: Some(dims.collect()),
        }
    }
}

fn declared_dim(dim: &Dim) -> DimOut {
    match dim {
        Dim::Fixed(n) => DimOut::Value(*n as i64),
        Dim::Free(name) if name.is_empty() => DimOut::Unknown,
        Dim::Free(name) => DimOut::Name(name.clone()),
    }
}

/// Whether a node changes a picture from NHWC to NCHW, or back.
fn turns(node: &NodeOut, to_nchw: bool) -> bool {
    let perm = if to_nchw { super::values::TO_NCHW } else { TO_NHWC };
    let matches = |attr: &super::Attr| match attr {
        super::Attr::Ints(list) => list.iter().copied().eq(perm.iter().map(|&axis| axis as i64)),
        _ => false,
    };
    node.op_type == "Transpose" && node.attributes.iter().any(|(_, attr)| matches(attr))
}

fn replace(nodes: &mut [NodeOut], from: &str, to: &str) {
    for node in nodes {
        let names = node.inputs.iter_mut().chain(&mut node.outputs);
        names.filter(|name| *name == from).for_each(|name| *name = to.to_owned());
    }
}

fn node(node: &NodeOut) -> Node<'_> {
    let attributes =
        node.attributes.iter().map(|(name, attr)| Attribute { name, value: attr.value() });
    Node {
        name: &node.name,
        op_type: node.op_type,
        domain: "",
        inputs: node.inputs.iter().map(String::as_str).collect(),
        outputs: node.outputs.iter().map(String::as_str).collect(),
        attributes: attributes.collect(),
    }
}

fn initializer<'a>(name: &'a str, tensor: &'a depthwise_tensor::Tensor) -> WireTensor<'a> {
    WireTensor {
        name,
        dims: tensor.shape().iter().map(|&n| n as i64).collect(),
        data_type: number(tensor.dtype()),
        raw_data: Some(tensor.bytes()),
        ..WireTensor::default()
    }
}
