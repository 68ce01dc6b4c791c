//! Tensors, constants, inputs and outputs.

use super::build::*;
use crate::tflite::wire::{Field, Record, tensor_type};
use crate::tflite::{TfliteError, read};
use bytes::Bytes;
use depthwise_layers::Op;
use depthwise_layers::ir::{Def, infer_types};
use depthwise_tensor::{DType, Shape, Tensor};

const ADD: i32 = 0;
const CONV_2D: i32 = 3;
const DEQUANTIZE: i32 = 6;
const NEG: i32 = 59;
const DENSIFY: i32 = 124;

#[test]
fn weights_in_half_precision_stay_so_and_other_constants_are_written_out() {
    let mut net = Net::new(&[1, 1, 1, 2]);
    let half = net.f16s("half", &[1, 1, 1, 2], &[0.5, -2.0]);
    let bias = net.f16s("bias", &[1], &[0.25]);
    let w = net.op(DEQUANTIZE, &[half], Record::new());
    let b = net.op(DEQUANTIZE, &[bias], Record::new());
    let y = net.op(CONV_2D, &[0, w, b], window(false, 1));
    let z = net.op(ADD, &[y, b], Record::new());
    net.output(z);
    assert_eq!(net.values(&t(&[1, 1, 1, 2], &[4.0, 1.0]), &[1, 1, 1, 1]), [0.5]);
    let graph = read(Bytes::from(net.encode())).unwrap();
    assert_eq!(graph.nodes().len(), 2, "{graph}");
    let Some(Op::Conv2d(_)) = graph.nodes().first().map(|n| &n.op) else { panic!("{graph}") };
    let w = graph.nodes()[0].inputs[1].unwrap();
    assert_eq!(graph.constant(w).unwrap().dtype(), DType::F16);
}

#[test]
fn scaled_integers_are_written_out() {
    let mut net = Net::new(&[2, 2]);
    let stored = net.bytes("stored", &[2, 2], tensor_type::INT8, vec![1, 2, 0xfd, 4]);
    let quantization = Record::new()
        .with(2, Field::F32s(vec![0.5, 10.0]))
        .with(3, Field::I64s(vec![1, 0]))
        .with(6, Field::I32(1));
    net.record(stored).set(4, Field::Table(quantization));
    let real = net.op(DEQUANTIZE, &[stored], Record::new());
    let y = net.op(ADD, &[0, real], Record::new());
    net.output(y);
    assert_eq!(net.values(&t(&[2, 2], &[0.0; 4]), &[2, 2]), [0.0, 20.0, -2.0, 40.0]);
}

#[test]
fn sparse_weights_are_filled_in() {
    let mut net = Net::new(&[2, 2]);
    let stored = net.f32s("stored", &[2, 2], &[3.0]);
    let vector = |v: &[i32]| Field::Table(Record::new().with(0, Field::I32s(v.to_vec())));
    let bytes = |v: &[u8]| Field::Table(Record::new().with(0, Field::Bytes(v.to_vec())));
    let levels = vec![
        Record::new().with(1, Field::I32(2)),
        Record::new()
            .with(0, Field::U8(1))
            .with(2, Field::U8(1))
            .with(3, vector(&[0, 0, 1]))
            .with(4, Field::U8(3))
            .with(5, bytes(&[1])),
    ];
    let sparsity = Record::new().with(0, Field::I32s(vec![0, 1])).with(2, Field::Tables(levels));
    net.record(stored).set(6, Field::Table(sparsity));
    let dense = net.op(DENSIFY, &[stored], Record::new());
    let y = net.op(ADD, &[0, dense], Record::new());
    net.output(y);
    assert_eq!(net.values(&t(&[2, 2], &[0.0; 4]), &[2, 2]), [0.0, 0.0, 0.0, 3.0]);
}

#[test]
fn free_extents_are_those_of_the_signature() {
    let mut net = Net::new(&[1, 2]);
    net.record(0).set(7, Field::I32s(vec![-1, 2]));
    let y = net.op(NEG, &[0], Record::new());
    let graph = read(Bytes::from(net.output(y).encode())).unwrap();
    assert_eq!(graph.input_type(graph.inputs()[0]).unwrap().to_string(), "f32[?x2]");
    let types = infer_types(&graph, &[Shape::new(&[5, 2]).unwrap()]).unwrap();
    assert_eq!(types.of(graph.outputs()[0]).shape.dims(), [5, 2]);
}

#[test]
fn outputs_that_no_operator_computes_are_copied() {
    let mut net = Net::new(&[2]);
    let c = net.f32s("c", &[2], &[5.0, 6.0]);
    let y = net.op(NEG, &[0], Record::new());
    net.output(0).output(c).output(y).output(y);
    let got = net.run(&[t(&[2], &[1.0, 2.0])]);
    let got: Vec<_> = got.iter().map(|t| t.to_f32().into_owned()).collect();
    assert_eq!(got, [[1.0, 2.0], [5.0, 6.0], [-1.0, -2.0], [-1.0, -2.0]]);
    let graph = read(Bytes::from(net.encode())).unwrap();
    let defined = |&id| matches!(graph.value(id).def, Def::Node { .. });
    assert!(graph.outputs().iter().all(defined));
}

#[test]
fn tensors_that_nothing_defines_are_refused() {
    let mut net = Net::new(&[2]);
    let nothing = net.tensor("nothing", &[2], tensor_type::FLOAT32);
    let y = net.op(ADD, &[0, nothing], Record::new());
    let error = net.output(y).error();
    assert!(matches!(error, TfliteError::Undefined { .. }), "{error}");
    assert!(error.to_string().contains("\"nothing\""), "{error}");
    for wrong in [77, -5] {
        let mut net = Net::new(&[2]);
        let y = net.op(ADD, &[0, wrong], Record::new());
        assert!(matches!(net.output(y).error(), TfliteError::Undefined { .. }));
        let mut net = Net::new(&[2]);
        assert!(matches!(net.output(wrong).error(), TfliteError::Undefined { .. }));
    }
}

#[test]
fn tensors_that_are_defined_twice_are_refused() {
    let mut net = Net::new(&[2]);
    let y = net.op(NEG, &[0], Record::new());
    net.push(NEG, &[0], &[y], Record::new());
    assert!(net.output(y).error().to_string().contains("twice"));
    let mut net = Net::new(&[2]);
    net.inputs.push(0);
    assert!(net.error().to_string().contains("twice"));
}

#[test]
fn elements_that_do_not_fit_their_extents_are_refused() {
    let mut net = Net::new(&[2]);
    let c = net.f32s("c", &[3], &[5.0, 6.0]);
    let y = net.op(ADD, &[0, c], Record::new());
    let error = net.output(y).error().to_string();
    assert!(
        error.contains("\"c\"") && error.contains("12 bytes") && error.contains("8"),
        "{error}"
    );
    let mut net = Net::new(&[2]);
    let c = net.f32s("c", &[-2], &[5.0, 6.0]);
    let y = net.op(ADD, &[0, c], Record::new());
    assert!(net.output(y).error().to_string().contains("-2 is no extent"));
}

#[test]
fn every_unsupported_operator_is_listed() {
    let mut net = Net::new(&[2]);
    let a = net.op(24, &[0], Record::new());
    let b = net.op(999, &[a], Record::new());
    let c = net.op(ADD, &[b, 0], Record::new().with(0, Field::U8(5)));
    let d = net.op(ADD, &[0, 0], Record::new().with(0, Field::U8(5)));
    let found = net.output(c).output(d).unsupported();
    let ops: Vec<(usize, &str)> = found.iter().map(|o| (o.index, o.op.as_str())).collect();
    assert_eq!(ops, [(0, "RNN"), (1, "operator 999"), (3, "ADD")]);
    assert!(found[2].reason.contains("activation number 5"));
}

#[test]
fn integers_stand_for_real_numbers_between_their_scales() {
    let mut net = Net::new(&[3]);
    let scaled = |scale, zero| {
        let record = Record::new().with(2, Field::F32s(vec![scale]));
        Field::Table(record.with(3, Field::I64s(vec![zero])))
    };
    let q = net.tensor("q", &[3], tensor_type::UINT8);
    net.record(q).set(4, scaled(0.5, 128));
    net.inputs = vec![q];
    let y = net.tensor("y", &[3], tensor_type::INT8);
    net.record(y).set(4, scaled(0.25, 1));
    net.push(NEG, &[q], &[y], Record::new());
    net.output(y);
    let graph = read(Bytes::from(net.encode())).unwrap();
    let kinds: Vec<_> = graph.nodes().iter().map(|node| node.op.layer().kind()).collect();
    assert_eq!(kinds, ["Dequantize", "Unary", "Quantize"]);
    let x = Tensor::from_slice(&[3], &[126u8, 129, 255]).unwrap();
    let y = depthwise_layers::ir::interpret(&graph, &[x]).unwrap().remove(0);
    assert_eq!((y.dtype(), &y.to_i64()[..]), (DType::I8, &[5, -1, -128][..]));
}
