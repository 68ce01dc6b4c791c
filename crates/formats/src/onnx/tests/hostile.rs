//! Bytes that no exporter writes.

use super::build::*;
use crate::onnx::read;
use crate::onnx::wire::Model;
use bytes::Bytes;
use depthwise_layers::ir::infer_types;
use proptest::prelude::*;

/// One model with a node of most kinds that look at their operands while they are imported.
fn sample() -> Model<'static> {
    let nodes = vec![
        node("Conv", &["x", "w", "b"], &["a"], vec![("strides", ints(&[2, 2]))]),
        node("Clip", &["a", "", "six"], &["c"], vec![]),
        node("GlobalAveragePool", &["c"], &["d"], vec![]),
        node("Shape", &["d"], &["shape"], vec![]),
        node("Slice", &["shape", "zero", "one"], &["batch"], vec![]),
        node("Concat", &["batch", "rest"], &["target"], vec![("axis", int(0))]),
        node("Reshape", &["d", "target"], &["e"], vec![]),
        node("Gemm", &["e", "fc"], &["f"], vec![("alpha", float(0.5)), ("transB", int(1))]),
        node("Split", &["f"], &["g", "h"], vec![("axis", int(1)), ("split", ints(&[1, 1]))]),
        node("Softmax", &["h"], &["i"], vec![("axis", int(0))]),
        node("ReduceMean", &["a"], &["j"], vec![("axes", ints(&[1, -1]))]),
        node("Resize", &["j", "", "s"], &["k"], vec![("mode", text("linear"))]),
        node("Add", &["i", "g"], &["y"], vec![]),
    ];
    let initializers = vec![
        f32s("w", &[2, 1, 2, 2], &[0.5; 8]),
        f32s("b", &[2], &[0.0, 1.0]),
        f32s("six", &[], &[6.0]),
        i64s("zero", &[0]),
        i64s("one", &[1]),
        i64s("rest", &[-1]),
        f32s("fc", &[2, 2], &[1.0, 2.0, 3.0, 4.0]),
        f32s("s", &[4], &[1.0, 1.0, 2.0, 1.0]),
    ];
    model(12, &[1, 1, 6, 6], nodes, initializers)
}

#[test]
fn the_sample_is_sound() {
    assert_eq!(run(&sample(), &ramp(&[1, 1, 6, 6], 0.0))[0].shape().dims(), [1, 1]);
}

#[test]
fn every_truncation_gives_a_graph_or_an_error() {
    let bytes = Bytes::from(sample().encode());
    for len in 0..bytes.len() {
        let _ = read(bytes.slice(..len), None);
    }
}

#[test]
fn many_empty_records_are_refused_at_the_first() {
    // A field of two bytes each that would be a record of over a hundred.
    for tag in [0x0a, 0x2a, 0x5a, 0x62, 0x6a] {
        let graph = [tag, 0].repeat(100_000);
        let mut file = vec![0x3a, 0xc0, 0x9a, 0x0c];
        file.extend(graph);
        assert!(matches!(
            read(Bytes::from(file), None),
            Err(crate::onnx::OnnxError::Wire(error)) if error.offset < 10
        ));
    }
}

#[test]
fn extreme_axes_are_refused() {
    let of = |op, inputs: &[&'static str], attribute, n| {
        let node = node(op, inputs, &["y"], vec![(attribute, int(n))]);
        model(20, &[1, 1, 2, 2], vec![node], vec![f32s("s", &[2], &[1.0, 1.0])])
    };
    for axis in [i64::MIN, i64::MAX, -9, 4] {
        assert_eq!(refused(&of("LayerNormalization", &["x", "s"], "axis", axis)).len(), 1);
    }
    for axis in [i64::MIN, i64::MAX] {
        for op in ["Softmax", "Flatten", "Gather", "Concat", "ArgMax", "Split"] {
            let mut model = of(op, &["x", "x"], "axis", axis);
            model.opsets[0].version = 12;
            let _ = read(Bytes::from(model.encode()), None);
        }
    }
    assert_eq!(refused(&of("DepthToSpace", &["x"], "blocksize", i64::MAX)).len(), 1);
}

#[test]
fn ranks_beyond_the_limit_are_refused_where_they_would_be_written_out() {
    let nodes = vec![
        node("Unsqueeze", &["x"], &["t"], vec![("axes", ints(&(0..1000).collect::<Vec<_>>()))]),
        node("Transpose", &["t"], &["y"], vec![]),
    ];
    let nodes = refused(&model(11, &[1], nodes, vec![]));
    assert!(nodes[0].reason.contains("1001 dimensions"), "{}", nodes[0]);
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
        if let Ok(graph) = read(Bytes::from(bytes), None) {
            prop_assert_eq!(graph.verify(), Ok(()));
            let shapes: Option<Vec<_>> =
                graph.inputs().iter().map(|&id| graph.input_type(id)?.shape()).collect();
            if let Some(shapes) = shapes {
                let _ = infer_types(&graph, &shapes);
            }
        }
    }

    #[test]
    fn operands_and_attributes_of_any_kind_give_a_graph_or_an_error(
        op in 0usize..13,
        position in 0usize..3,
        operand in prop::sample::select(vec!["", "x", "shape", "six", "rest", "fc", "a"]),
        numbers in prop::collection::vec(
            prop::sample::select(vec![i64::MIN, -3, -1, 0, 1, 2, 7, i64::MAX]), 0..5),
    ) {
        let mut model = sample();
        let node = &mut model.graph.nodes[op];
        if let Some(input) = node.inputs.get_mut(position) {
            *input = operand;
        }
        for attribute in &mut node.attributes {
            attribute.value = match numbers[..] {
                [n] => int(n),
                _ => ints(&numbers),
            };
        }
        let _ = read(Bytes::from(model.encode()), None);
    }
}
