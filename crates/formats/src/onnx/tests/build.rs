//! Models written by hand.

use crate::onnx::wire::{
    Attribute, AttributeValue, Dimension, Graph, Model, Node, Opset, Tensor, ValueInfo, data_type,
};
use crate::onnx::{OnnxError, UnsupportedNode, read};
use bytes::Bytes;
use depthwise_layers::ir::interpret;
use depthwise_tensor::Tensor as Value;
use std::borrow::Cow;

pub(super) type Attr = (&'static str, AttributeValue<'static>);

pub(super) fn int(n: i64) -> AttributeValue<'static> {
    AttributeValue::Int(n)
}

pub(super) fn ints(list: &[i64]) -> AttributeValue<'static> {
    AttributeValue::Ints(list.to_vec())
}

pub(super) fn float(x: f32) -> AttributeValue<'static> {
    AttributeValue::Float(x)
}

pub(super) fn text(text: &'static str) -> AttributeValue<'static> {
    AttributeValue::String(text.as_bytes())
}

pub(super) fn node(
    op_type: &'static str,
    inputs: &[&'static str],
    outputs: &[&'static str],
    attributes: Vec<Attr>,
) -> Node<'static> {
    Node {
        name: "",
        op_type,
        domain: "",
        inputs: inputs.to_vec(),
        outputs: outputs.to_vec(),
        attributes: attributes.into_iter().map(|(name, value)| Attribute { name, value }).collect(),
    }
}

pub(super) fn f32s(name: &'static str, dims: &[i64], data: &[f32]) -> Tensor<'static> {
    let bytes: Vec<u8> = data.iter().flat_map(|x| x.to_le_bytes()).collect();
    Tensor {
        name,
        dims: dims.to_vec(),
        data_type: data_type::FLOAT,
        float_data: Cow::Owned(bytes),
        ..Tensor::default()
    }
}

pub(super) fn i64s(name: &'static str, data: &[i64]) -> Tensor<'static> {
    Tensor {
        name,
        dims: vec![data.len() as i64],
        data_type: data_type::INT64,
        int64_data: data.to_vec(),
        ..Tensor::default()
    }
}

pub(super) fn info(name: &'static str, dims: &[i64]) -> ValueInfo<'static> {
    let dims = dims.iter().map(|&n| Dimension::Value(n)).collect();
    ValueInfo { name, elem_type: data_type::FLOAT, shape: Some(dims) }
}

/// A model with the input `x` and the output `y`.
pub(super) fn model(
    version: i64,
    dims: &[i64],
    nodes: Vec<Node<'static>>,
    initializers: Vec<Tensor<'static>>,
) -> Model<'static> {
    Model {
        ir_version: 8,
        opsets: vec![Opset { domain: "", version }],
        graph: Graph {
            name: "test",
            nodes,
            initializers,
            inputs: vec![info("x", dims)],
            outputs: vec![ValueInfo { name: "y", ..ValueInfo::default() }],
            ..Graph::default()
        },
        ..Model::default()
    }
}

/// The outputs for one input, by the interpreter.
pub(super) fn run(model: &Model<'_>, x: &Value) -> Vec<Value> {
    let graph = read(Bytes::from(model.encode()), None).unwrap();
    interpret(&graph, std::slice::from_ref(x)).unwrap()
}

/// The elements of the output of a model with one node.
pub(super) fn run_node(
    version: i64,
    node: Node<'static>,
    initializers: Vec<Tensor<'static>>,
    x: &Value,
) -> Vec<f32> {
    let dims: Vec<i64> = x.shape().iter().map(|&n| n as i64).collect();
    let model = model(version, &dims, vec![node], initializers);
    run(&model, x)[0].to_f32().into_owned()
}

/// The nodes that the model is refused for.
pub(super) fn refused(model: &Model<'_>) -> Vec<UnsupportedNode> {
    match read(Bytes::from(model.encode()), None) {
        Err(OnnxError::Unsupported(nodes)) => nodes,
        other => panic!("expected unsupported nodes, not {other:?}"),
    }
}

pub(super) fn error(model: &Model<'_>) -> OnnxError {
    read(Bytes::from(model.encode()), None).unwrap_err()
}

pub(super) fn value(dims: &[usize], data: &[f32]) -> Value {
    Value::from_slice(dims, data).unwrap()
}

/// `from, from + 1, ..`
pub(super) fn ramp(dims: &[usize], from: f32) -> Value {
    let count = dims.iter().product::<usize>();
    let data: Vec<f32> = (0..count).map(|i| from + i as f32).collect();
    value(dims, &data)
}

#[track_caller]
pub(super) fn assert_close(got: &[f32], want: &[f32]) {
    let close = |(g, w): (&f32, &f32)| (g - w).abs() <= 1e-5 * w.abs().max(1.0);
    assert!(
        got.len() == want.len() && got.iter().zip(want).all(close),
        "{got:?} instead of {want:?}"
    );
}
