//! Bytes that no converter writes.

use super::build::*;
use crate::tflite::wire::{Field, Record, tensor_type};
use crate::tflite::{TfliteError, metadata, read};
use bytes::Bytes;
use depthwise_layers::ir::infer_types;
use proptest::prelude::*;

/// One network with an operator of most kinds that look at their operands while they are imported.
fn sample() -> Net {
    let mut net = Net::new(&[1, 6, 6, 1]);
    net.record(0).set(7, Field::I32s(vec![-1, 6, 6, 1]));
    let half = net.f16s("w", &[2, 2, 2, 1], &[0.5; 8]);
    let w = net.op(6, &[half], Record::new());
    let b = net.f32s("b", &[2], &[0.0, 1.0]);
    let a = net.op(3, &[0, w, b], window(false, 2));
    let filters = net.f32s("filters", &[1, 2, 2, 2], &[1.0; 8]);
    let a = net.op(4, &[a, filters], window(true, 1).with(3, Field::I32(1)));
    let pads = net.i32s(&[4, 2], &[0, 0, 1, 1, 1, 1, 0, 0]);
    let a = net.op(34, &[a, pads], Record::new());
    let size = net.ints(&[3, 3]);
    let a = net.op(23, &[a, size], Record::new().with(3, Field::U8(1)));
    let options = window(true, 1).with(3, Field::I32(3)).with(4, Field::I32(3));
    let a = net.op(1, &[a], options);
    let extents = net.tensor("extents", &[4], tensor_type::INT32);
    net.push(77, &[a], &[extents], Record::new());
    let [begin, end, step] = [[0], [1], [1]].map(|v| net.ints(&v));
    let batch = net.tensor("batch", &[], tensor_type::INT32);
    net.push(45, &[extents, begin, end, step], &[batch], Record::new().with(4, Field::I32(1)));
    let rest = net.i32s(&[], &[-1]);
    let target = net.tensor("target", &[2], tensor_type::INT32);
    net.push(83, &[batch, rest], &[target], Record::new().with(0, Field::I32(2)));
    let a = net.op(22, &[a, target], Record::new());
    let dense = net.f32s("dense", &[2, 2], &[1.0, 2.0, 3.0, 4.0]);
    let a = net.op(9, &[a, dense], Record::new());
    let y = net.op(25, &[a], Record::new().with(0, Field::F32(1.0)));
    net.output(y);
    net
}

/// Reads, and infers types where extents allow.
fn try_all(bytes: Vec<u8>) {
    let bytes = Bytes::from(bytes);
    let _ = metadata(&bytes);
    if let Ok(graph) = read(bytes) {
        assert_eq!(graph.verify(), Ok(()));
        let shapes: Option<Vec<_>> =
            graph.inputs().iter().map(|&id| graph.input_type(id)?.shape()).collect();
        if let Some(shapes) = shapes {
            let _ = infer_types(&graph, &shapes);
        }
    }
}

#[test]
fn the_sample_is_sound() {
    let net = sample();
    let y = net.values(&ramp(&[3, 6, 6, 1], 0.0), &[3, 2]);
    assert!(y.iter().all(|y| (0.0..=1.0).contains(y)), "{y:?}");
}

#[test]
fn every_truncation_gives_a_graph_or_an_error() {
    let bytes = sample().encode();
    for len in 0..bytes.len() {
        try_all(bytes[..len].to_vec());
    }
}

#[test]
fn every_truncation_of_a_real_file_gives_an_error() {
    let Some(shared) = depthwise_testkit::shared_dir() else { return };
    let path = shared.join("models/tflite/mediapipe_face_detection_short_range.tflite");
    let file = Bytes::from(std::fs::read(path).unwrap());
    // The archive at the end is no part of the network.
    let whole = file.len() - 22;
    let end = (0..whole).rev().find(|&len| read(file.slice(..len)).is_err()).unwrap();
    for len in (0..end).step_by(97).chain(end.saturating_sub(500)..end) {
        assert!(read(file.slice(..len)).is_err(), "{len} bytes");
    }
}

#[test]
fn mutations_of_a_real_file_give_a_graph_or_an_error() {
    let Some(shared) = depthwise_testkit::shared_dir() else { return };
    let path = shared.join("models/tflite/mediapipe_face_detection_short_range.tflite");
    let file = std::fs::read(path).unwrap();
    // A multiplicative generator: the same positions and bits in every run.
    let mut state = 0x2545_f491_4f6c_dd1du64;
    for _ in 0..10_000 {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        let at = (state >> 33) as usize % file.len();
        let mut bytes = file.clone();
        bytes[at] ^= 1 << (state >> 29 & 7);
        try_all(bytes);
    }
}

#[test]
fn records_that_are_listed_many_times_are_refused() {
    // A model whose first list (operator codes) is this one offset over and over.
    let count = 10_000u32;
    let mut bytes = vec![12, 0, 0, 0];
    bytes.extend(b"TFL3");
    // The root: no fields but number 1, behind a list of fields of 8 bytes, at byte 16.
    bytes.extend([8u8, 0, 8, 0, 0, 0, 4, 0]);
    bytes[0] = 16;
    bytes.extend(8i32.to_le_bytes());
    bytes.extend(4u32.to_le_bytes());
    bytes.extend(count.to_le_bytes());
    let end = bytes.len() as u32 + 4 * count;
    for i in 0..count {
        // To the list of fields of an empty table behind the offsets, and from it to the table.
        let here = bytes.len() as u32;
        assert_eq!(here, end - 4 * (count - i));
        bytes.extend((end + 4 - here).to_le_bytes());
    }
    bytes.extend([4u8, 0, 4, 0]);
    bytes.extend(4i32.to_le_bytes());
    let error = crate::tflite::wire::Model::decode(&bytes).unwrap_err();
    assert!(error.reason.contains("more records"), "{error}");
}

#[test]
fn constants_that_are_copied_many_times_are_refused() {
    let mut net = Net::new(&[2]);
    let half = net.f16s("half", &[1 << 16], &vec![1.0; 1 << 16]);
    let copies: Vec<i32> = (0..200).map(|_| net.op(6, &[half], Record::new())).collect();
    for copy in copies {
        net.output(copy);
    }
    assert!(matches!(net.error(), TfliteError::TooLarge { .. }), "{}", net.error());
}

proptest! {
    #[test]
    fn flipped_bytes_give_a_graph_or_an_error(
        flips in prop::collection::vec((any::<prop::sample::Index>(), 1u8..), 1..6),
    ) {
        let mut bytes = sample().encode();
        for (at, mask) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= mask;
        }
        try_all(bytes);
    }

    #[test]
    fn any_operator_on_any_operands_gives_a_graph_or_an_error(
        code in 0i32..210,
        operands in prop::collection::vec(-1i32..9, 0..5),
        results in 0usize..4,
        fields in prop::collection::vec(
            prop::sample::select(vec![i32::MIN, -2, -1, 0, 1, 2, 3, 7, i32::MAX]), 0..6),
        numbers in prop::collection::vec(
            prop::sample::select(vec![i32::MIN, -2, -1, 0, 1, 2, 3, i32::MAX]), 1..5),
    ) {
        let mut net = Net::new(&[1, 2, 2, 4]);
        net.ints(&numbers);
        let count = numbers.len() as i32;
        net.i32s(&[count, 1], &numbers);
        net.i32s(&[], &numbers[..1]);
        net.f32s("w", &[1, 2, 2, 4], &[1.0; 16]);
        net.f32s("v", &[4], &[1.0; 4]);
        net.i32s(&[4, 2], &[0, 0, 1, 1, 1, 1, 0, 0]);
        net.op(59, &[0], Record::new());
        net.bytes("b", &[1, 2, 2, 4], tensor_type::BOOL, vec![1; 16]);
        let results: Vec<i32> =
            (0..results).map(|i| net.tensor(&format!("r{i}"), &[], tensor_type::FLOAT32)).collect();
        let options = fields.iter().enumerate().fold(Record::new(), |record, (i, &value)| {
            record.with(i as u16, Field::I32(value))
        });
        net.push(code, &operands, &results, options);
        net.outputs = results;
        try_all(net.encode());
    }
}
