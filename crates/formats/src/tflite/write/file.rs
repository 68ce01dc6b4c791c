//! The whole file.

use super::values::{Target, Writer, operand};
use super::{
    Refused, activation, arithmetic, convolution, moving, picture, quantize, reduce, refuse,
};
use crate::export::{Encoded, Known, SaveError, SaveFormat, SaveOptions, UnsupportedLayer, folded};
use crate::tflite::wire::{self, Field, IDENTIFIER, Record};
use depthwise_layers::Op;
use depthwise_layers::ir::{Graph, Node, ValueId};
use depthwise_tensor::DType;

/// Name of the metadata entry that holds the graph's free text, as JSON.
pub(crate) const METADATA: &str = "depthwise.metadata";

/// Version of the schema.
const SCHEMA: i32 = 3;

/// Most bytes that the offsets of the format reach.
const LIMIT: u64 = i32::MAX as u64;

/// The bytes of a file with the graph.
pub(crate) fn encode(graph: &Graph, options: &SaveOptions) -> Result<Encoded, SaveError> {
    let graph = &folded(graph);
    let known = Known::fixed(graph, &options.input_shapes)?;
    let mut writer = Writer::new(graph, &known);
    let mut layers = Vec::new();
    for id in graph.node_ids() {
        let node = graph.node(id);
        writer.begin(&node.name, false);
        // What is known already needs no operator; a Dequantize is written when something asks for
        // its result.
        let read = |&id: &ValueId| writer.integers.real.contains_key(&id);
        let known = |id: &ValueId| writer.tensor(*id).is_some() || read(id);
        if node.outputs.iter().all(known) {
            continue;
        }
        let integer = writer.integers.is_layer(id);
        writer.begin(&node.name, integer);
        if let Err(refused) = checked(&mut writer, node) {
            layers.push(UnsupportedLayer {
                node: node.name.clone(),
                kind: node.op.layer().kind(),
                reason: refused.0,
            });
            // Something to read for the nodes that follow, so that they are looked at too.
            for &id in &node.outputs {
                writer.result(Target::Value(id));
            }
        }
    }
    writer.begin("outputs", false);
    let outputs = outputs(&mut writer, &mut layers);
    if !layers.is_empty() {
        return Err(SaveError::Unsupported { format: SaveFormat::Tflite.name(), layers });
    }
    let constants = writer.constants;
    let too_large =
        |bytes| SaveError::TooLarge { format: SaveFormat::Tflite.name(), bytes, limit: LIMIT };
    if constants.0 > LIMIT {
        return Err(too_large(constants.0));
    }
    let operators = std::mem::take(&mut writer.counts);
    let bytes = file(writer, outputs);
    match bytes.len() as u64 > LIMIT {
        true => Err(too_large(bytes.len() as u64)),
        false => Ok(Encoded { bytes, operators, constants }),
    }
}

/// The tensors of the outputs; a value that is also an input is an output as it is.
fn outputs(writer: &mut Writer<'_>, layers: &mut Vec<UnsupportedLayer>) -> Vec<i32> {
    let mut tensors = Vec::new();
    for &id in writer.graph.outputs() {
        match writer.value(id) {
            Ok(tensor) => tensors.push(tensor),
            Err(refused) => layers.push(UnsupportedLayer {
                node: writer.graph.value(id).name.clone(),
                kind: "output",
                reason: refused.0,
            }),
        }
    }
    tensors
}

fn file(mut writer: Writer<'_>, outputs: Vec<i32>) -> Vec<u8> {
    let graph = writer.graph;
    let inputs = graph.inputs().iter().filter_map(|&id| writer.value(id).ok()).collect();
    let [tensors, operators, codes, mut buffers] = writer.into_records();
    let name = if graph.name.is_empty() { "main" } else { &graph.name };
    let network = Record::new()
        .with(0, Field::Tables(tensors))
        .with(1, Field::I32s(inputs))
        .with(2, Field::I32s(outputs))
        .with(3, Field::Tables(operators))
        .with(4, Field::Text(name.into()));
    let mut metadata = Vec::new();
    if !graph.metadata.is_empty() {
        let text = serde_json::to_string(&graph.metadata).expect("texts are always JSON");
        let entry = Record::new()
            .with(0, Field::Text(METADATA.into()))
            .with(1, Field::I32(buffers.len() as i32));
        buffers.push(Record::new().with(0, Field::Bytes(text.into_bytes())));
        metadata.push(entry);
    }
    let model = Record::new()
        .with(0, Field::I32(SCHEMA))
        .with(1, Field::Tables(codes))
        .with(2, Field::Tables(vec![network]))
        .with(3, Field::Text("depthwise".into()))
        .with(4, Field::Tables(buffers))
        .with(6, Field::Tables(metadata));
    wire::encode(IDENTIFIER, &model)
}

fn checked(w: &mut Writer<'_>, node: &Node) -> Result<(), Refused> {
    let narrow = |&id: &ValueId| {
        let dtype = w.ty(id).dtype;
        (dtype.is_float() && dtype != DType::F32).then_some(dtype)
    };
    match node.outputs.iter().find_map(narrow) {
        Some(dtype) => refuse(format!("it computes in {dtype}; TFLite computes in f32")),
        None => write(w, node),
    }
}

fn write(w: &mut Writer<'_>, node: &Node) -> Result<(), Refused> {
    match &node.op {
        Op::Activate(op) => activation::activate_node(w, node, op),
        Op::ArgExtreme(op) => reduce::arg_extreme(w, node, op),
        Op::BatchNorm(op) => convolution::batch_norm(w, node, op),
        Op::Binary(op) => arithmetic::binary(w, node, op),
        Op::Cast(op) => arithmetic::cast(w, node, op),
        Op::Concat(op) => moving::concat(w, node, op),
        Op::ConstantOfShape(op) => moving::constant_of_shape(w, node, op),
        Op::Conv2d(op) => convolution::conv2d(w, node, op),
        Op::ConvTranspose2d(op) => convolution::conv_transpose2d(w, node, op),
        Op::Dense(op) => convolution::dense(w, node, op),
        Op::DepthToSpace(op) => picture::depth_to_space(w, node, op),
        Op::Dequantize(_) => refuse("its scales are not constant, or not those of what it reads"),
        Op::DepthwiseConv2d(op) => convolution::depthwise(w, node, op),
        Op::Expand(_) => moving::expand(w, node),
        Op::Flatten(_) | Op::Reshape(_) | Op::Squeeze(_) | Op::Unsqueeze(_) => {
            let x = w.value(operand(node, 0)?)?;
            moving::reshape(w, x, Target::Value(node.outputs[0]))?;
            Ok(())
        }
        Op::Gather(op) => moving::gather(w, node, op),
        Op::MatMul(_) => convolution::matmul(w, node),
        Op::PRelu(_) => arithmetic::prelu(w, node),
        Op::Pad(op) => moving::pad(w, node, op),
        Op::Pool2d(op) => picture::pool2d(w, node, op),
        Op::Quantize(op) => quantize::quantize(w, node, op),
        Op::Range(_) => refuse("numbers that are not known before the network runs"),
        Op::Reduce(op) => reduce::reduce(w, node, op),
        Op::Resize(op) => picture::resize(w, node, op),
        Op::Select(_) => arithmetic::select(w, node),
        Op::ShapeOf(_) => refuse("extents that are not known before the network runs"),
        Op::Slice(op) => moving::slice(w, node, op),
        Op::Softmax(op) => reduce::softmax(w, node, op),
        Op::SpaceToDepth(op) => picture::space_to_depth(w, node, op),
        Op::Split(op) => moving::split(w, node, op),
        Op::Tile(_) => moving::tile(w, node),
        Op::Transpose(op) => moving::transpose_node(w, node, op),
        Op::Unary(op) => arithmetic::unary(w, node, op),
        #[allow(unreachable_patterns, reason = "the list of layers grows")]
        _ => refuse("TensorFlow Lite has no form for it yet"),
    }
}
