//! Quantized files: what the passes make of them computes in integers, and gives what LiteRT gives.

use depthwise_engine::formats::{Weights, safetensors, tflite};
use depthwise_engine::layers::Op;
use depthwise_engine::layers::ir::{ValueId, interpret};
use depthwise_engine::passes::{self, PassOptions};
use depthwise_engine::{Cpu, Fusion, Graph, Model, Options, Tensor};
use std::path::PathBuf;

fn shared() -> Option<PathBuf> {
    let shared = depthwise_testkit::shared_dir();
    if shared.is_none() {
        println!("skipped: no ../shared");
    }
    shared
}

/// A graph of the shared models as the file has it, its golden inputs and outputs.
struct Subject {
    graph: Graph,
    inputs: Vec<Tensor>,
    outputs: Vec<Tensor>,
}

fn subject(name: &str) -> Option<Subject> {
    let models = shared()?.join("models");
    let graph = tflite::open(models.join(format!("tflite/{name}.tflite"))).unwrap();
    let golden = safetensors::open(models.join(format!("golden/{name}.safetensors"))).unwrap();
    let all = |list: &str, ids: &[ValueId], is_state: &dyn Fn(usize) -> bool| {
        let callers = ids.iter().enumerate().filter(|&(at, _)| !is_state(at));
        let named = |(_, &id)| tensor(&golden, &format!("{list}/{}", graph.value(id).name));
        callers.map(named).collect()
    };
    let states = graph.states();
    let inputs = all("in", graph.inputs(), &|at| states.iter().any(|s| s.input == at));
    let outputs = all("out", graph.outputs(), &|at| states.iter().any(|s| s.output == at));
    Some(Subject { graph, inputs, outputs })
}

fn tensor(golden: &Weights, name: &str) -> Tensor {
    golden.get(name).unwrap_or_else(|| panic!("no {name} in the golden file")).clone()
}

fn prepared(graph: &Graph) -> Graph {
    let mut graph = graph.clone();
    passes::prepare(&mut graph, &PassOptions::default());
    graph
}

/// How many elements differ, and by how much at most.
fn difference(got: &Tensor, want: &Tensor) -> (usize, i64) {
    assert_eq!((got.dtype(), got.shape()), (want.dtype(), want.shape()));
    let (got, want) = (got.to_i64(), want.to_i64());
    let steps = || got.iter().zip(want.iter()).map(|(a, b)| (a - b).abs());
    (steps().filter(|&d| d != 0).count(), steps().max().unwrap_or(0))
}

/// What the engine answers, which must be the same at every level, with one thread and layer by layer as
/// with two and fused wherever possible.
fn answers(name: &str, subject: &Subject) -> Vec<Tensor> {
    let shapes: Vec<_> = subject.inputs.iter().map(|input| *input.shape()).collect();
    let mut first: Option<Vec<Tensor>> = None;
    for cpu in Cpu::from_env().unwrap().levels() {
        for (threads, fusion) in [(1, Fusion::Off), (2, Fusion::Always)] {
            let options = Options { threads, fusion, isa: Some(cpu.isa()), ..Options::default() };
            let model = Model::from_graph(subject.graph.clone(), options).unwrap();
            let mut session = model.session_for(&shapes).unwrap();
            let got = session.run_tensors(&subject.inputs).unwrap();
            let first = first.get_or_insert_with(|| got.clone());
            assert_eq!(&got, first, "{name}, {}, {threads} threads", cpu.isa());
        }
    }
    first.unwrap()
}

/// Small enough for the references.
const SMALL: [&str; 3] = ["kws_dscnn_int8", "vww_96_int8", "mobilenet_v1_0.25_128_uint8_qat"];

#[test]
fn integer_layers_give_what_litert_gives_at_every_level() {
    for name in SMALL {
        let Some(subject) = subject(name) else { return };
        let truth = interpret(&prepared(&subject.graph), &subject.inputs).unwrap();
        for (got, want) in truth.iter().zip(&subject.outputs) {
            let (differ, most) = difference(got, want);
            println!("{name}: {differ} of {} differ, by {most} at most", got.elements());
            assert!(most <= 1, "{name}: {got:?} {want:?}");
        }
        assert_eq!(answers(name, &subject), truth, "{name}");
    }
}

#[test]
fn nothing_between_input_and_output_is_real() {
    for name in SMALL {
        let Some(subject) = subject(name) else { return };
        let graph = prepared(&subject.graph);
        let real = |op: &Op| matches!(op, Op::Quantize(_) | Op::Dequantize(_) | Op::Conv2d(_));
        let left: Vec<_> = graph.nodes().iter().filter(|node| real(&node.op)).collect();
        assert!(left.is_empty(), "{name}: {left:?}");
    }
}

/// Every quantized file, the share of elements that may differ from LiteRT's, and by how much.
const FILES: [(&str, f64, i64); 8] = [
    ("kws_dscnn_int8", 0.0, 0),
    ("vww_96_int8", 0.0, 0),
    ("mobilenet_v1_0.25_128_uint8_qat", 0.0, 0),
    ("mobilenet_v1_0.75_192_uint8_qat", 0.002, 2),
    ("mobilenet_v2_1.0_224_int8_ptq", 0.003, 3),
    ("mobilenet_v2_1.0_224_uint8_qat", 0.0, 0),
    ("deeplabv3_mnv2_dm05_uint8", 0.002, 20),
    ("okay_nabu_streaming_int8", 0.0, 0),
];

#[test]
fn every_quantized_file_gives_what_litert_gives() {
    let mut faults = Vec::new();
    for (name, share, step) in FILES {
        let Some(subject) = subject(name) else { return };
        for (got, want) in answers(name, &subject).iter().zip(&subject.outputs) {
            let (differ, most) = difference(got, want);
            println!("{name}: {differ} of {} differ, by {most} at most", got.elements());
            let all = got.elements() as f64;
            if differ as f64 > share * all || most > step {
                faults.push(name);
            }
        }
    }
    assert!(faults.is_empty(), "{faults:?}");
}
