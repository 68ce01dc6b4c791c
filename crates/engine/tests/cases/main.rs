//! CASES.md: small models that people reported as broken elsewhere, from ONNX bytes to answers, by
//! the interpreter and by the engine at every level, thread count and way of fusing.

mod activation;
mod convolution;
mod files;
mod pooling;
mod quantized;
mod transposes;
mod volumes;

use depthwise_engine::formats::onnx::{self, wire};
use depthwise_engine::layers::ir::interpret;
use depthwise_engine::{Cpu, Fusion, Graph, Model, Options, Tensor};
use std::borrow::Cow;
use wire::{Attribute, AttributeValue, Dimension, Node, Opset, ValueInfo, data_type};

/// Channels that the planes are repeated to, around the widths of vectors.
const CHANNELS: [usize; 5] = [1, 3, 8, 17, 33];

fn int(n: i64) -> AttributeValue<'static> {
    AttributeValue::Int(n)
}

fn list(numbers: &[i64]) -> AttributeValue<'static> {
    AttributeValue::Ints(numbers.to_vec())
}

fn float(x: f32) -> AttributeValue<'static> {
    AttributeValue::Float(x)
}

fn text(text: &'static str) -> AttributeValue<'static> {
    AttributeValue::String(text.as_bytes())
}

type Attributes = Vec<(&'static str, AttributeValue<'static>)>;

fn node(
    op_type: &'static str,
    inputs: &[&'static str],
    output: &'static str,
    attributes: Attributes,
) -> Node<'static> {
    let attributes = attributes.into_iter().map(|(name, value)| Attribute { name, value });
    Node {
        name: output,
        op_type,
        domain: "",
        inputs: inputs.to_vec(),
        outputs: vec![output],
        attributes: attributes.collect(),
    }
}

fn extents(dims: &[usize]) -> Vec<i64> {
    dims.iter().map(|&n| n as i64).collect()
}

fn floats(name: &'static str, dims: &[usize], data: &[f32]) -> wire::Tensor<'static> {
    assert_eq!(dims.iter().product::<usize>(), data.len());
    wire::Tensor {
        name,
        dims: extents(dims),
        data_type: data_type::FLOAT,
        float_data: Cow::Owned(data.iter().flat_map(|x| x.to_le_bytes()).collect()),
        ..wire::Tensor::default()
    }
}

fn integers(name: &'static str, data: &[i64]) -> wire::Tensor<'static> {
    wire::Tensor {
        name,
        dims: vec![data.len() as i64],
        data_type: data_type::INT64,
        int64_data: data.to_vec(),
        ..wire::Tensor::default()
    }
}

fn info(name: &'static str, dims: &[usize]) -> ValueInfo<'static> {
    let shape = extents(dims).into_iter().map(Dimension::Value).collect();
    ValueInfo { name, elem_type: data_type::FLOAT, shape: Some(shape) }
}

/// A model of one input `x` and one output `y`.
fn model(
    opset: i64,
    x: &[usize],
    nodes: Vec<Node<'static>>,
    initializers: Vec<wire::Tensor<'static>>,
) -> wire::Model<'static> {
    wire::Model {
        ir_version: 8,
        opsets: vec![Opset { domain: "", version: opset }],
        graph: wire::Graph {
            name: "case",
            nodes,
            initializers,
            inputs: vec![info("x", x)],
            outputs: vec![ValueInfo { name: "y", ..ValueInfo::default() }],
            ..wire::Graph::default()
        },
        ..wire::Model::default()
    }
}

fn load(model: &wire::Model<'_>) -> Graph {
    onnx::read(model.encode().into(), None).unwrap()
}

fn tensor(dims: &[usize], data: &[f32]) -> Tensor {
    Tensor::from_slice(dims, data).unwrap()
}

/// `first, first + 1, ..`
fn ramp(count: usize, first: f32) -> Vec<f32> {
    (0..count).map(|i| first + i as f32).collect()
}

/// Every level, with one and three threads, fused where it pays and wherever possible.
fn all_options() -> impl Iterator<Item = Options> {
    Cpu::from_env().unwrap().levels().flat_map(|cpu| {
        [(1, Fusion::Auto), (3, Fusion::Auto), (3, Fusion::Always)].map(|(threads, fusion)| {
            Options { threads, fusion, isa: Some(cpu.isa()), ..Options::default() }
        })
    })
}

/// The elements of the first output.
fn run(graph: &Graph, options: Options, x: &Tensor) -> Vec<f32> {
    let model = Model::from_graph(graph.clone(), options).unwrap();
    let mut session = model.session_for(&[*x.shape()]).unwrap();
    let outputs = session.run_tensors(std::slice::from_ref(x)).unwrap();
    outputs[0].to_f32().into_owned()
}

/// The interpreter and every engine against what is right; bits equal at each level.
#[track_caller]
fn check_graph(graph: &Graph, x: &Tensor, want: &[f32]) {
    let close = |got: &[f32], who: &str| {
        let right = |(g, w): (&f32, &f32)| (g - w).abs() <= 1e-5 * w.abs().max(1.0);
        let same = got.len() == want.len() && got.iter().zip(want).all(right);
        assert!(same, "{who}: {got:?} instead of {want:?}");
    };
    let naive = interpret(graph, std::slice::from_ref(x)).unwrap();
    close(&naive[0].to_f32(), "interpreter");
    let mut before: Option<(Options, Vec<f32>)> = None;
    for options in all_options() {
        let got = run(graph, options.clone(), x);
        close(&got, &format!("{:?} {}", options.isa, options.threads));
        if let Some((other, bits)) = &before
            && other.isa == options.isa
        {
            assert_eq!(bits, &got, "{:?}: bits differ", options.isa);
        }
        before = Some((options, got));
    }
}

#[track_caller]
fn check(model: &wire::Model<'_>, x: &Tensor, want: &[f32]) {
    check_graph(&load(model), x, want);
}

/// Kinds of the steps of the plan for these extents.
fn kinds(graph: &Graph, x: &[usize]) -> Vec<&'static str> {
    let options = Options { threads: 1, fusion: Fusion::Off, ..Options::default() };
    let model = Model::from_graph(graph.clone(), options).unwrap();
    let plan = model.plan(&[depthwise_engine::Shape::new(x).unwrap()]).unwrap();
    plan.steps().iter().map(|step| step.kind).collect()
}
