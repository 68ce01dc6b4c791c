//! Random graphs written in every format and read back.

use super::random::{build, steps};
use super::*;
use depthwise_formats::{SaveError, SaveFormat, SaveOptions, onnx, safetensors, tflite, to_bytes};
use proptest::prelude::*;

/// Writes a graph, reads it back, and compares what the interpreter makes of both. A picture that
/// ends as NCHW is turned for the comparison.
fn check(graph: &Graph, inputs: &[Tensor], format: SaveFormat, options: &SaveOptions) {
    let want = interpret(graph, inputs).unwrap();
    let bytes = match to_bytes(graph, format, options) {
        Ok(bytes) => bytes,
        // Channels are free too, and no stand-in meets the weights.
        Err(SaveError::FreeShape { .. }) if options.input_shapes.is_empty() => return,
        Err(error) => panic!("{error}\n{graph}"),
    };
    let back = match format {
        SaveFormat::Onnx => onnx::read(bytes.into(), None).unwrap(),
        SaveFormat::Tflite => tflite::read(bytes.into()).unwrap_or_else(|e| panic!("{e}\n{graph}")),
        SaveFormat::Safetensors => safetensors::read_graph(bytes.into()).unwrap().unwrap(),
    };
    let names = |graph: &Graph| -> Vec<String> {
        let ends = graph.inputs().iter().chain(graph.outputs());
        ends.map(|&id| graph.value(id).name.clone()).collect()
    };
    assert_eq!(names(&back), names(graph));
    let got = interpret(&back, inputs).unwrap_or_else(|e| panic!("{e}\n{graph}{back}"));
    expect_equal(&want, &got, &back);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn random_graphs_survive_every_format(
        steps in steps(),
        dims in (1..3usize, 1..5usize, 1..8usize, 1..8usize),
        free in any::<bool>(),
    ) {
        let dims = [dims.0, dims.1, dims.2, dims.3];
        let graph = build(dims, &steps, free);
        let inputs = inputs(&graph, &[&dims]);
        let shapes: Vec<Shape> = inputs.iter().map(|t| *t.shape()).collect();
        let mut prepared = graph.clone();
        prepare(&mut prepared, &PassOptions::default());
        let as_is = SaveOptions::default();
        let shaped = SaveOptions { input_shapes: shapes, ..SaveOptions::default() };
        for graph in [&graph, &prepared] {
            check(graph, &inputs, SaveFormat::Safetensors, &as_is);
            check(graph, &inputs, SaveFormat::Onnx, &as_is);
            check(graph, &inputs, SaveFormat::Onnx, &shaped);
            check(graph, &inputs, SaveFormat::Tflite, &shaped);
        }
    }
}
