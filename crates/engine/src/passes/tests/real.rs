//! The ONNX models under `../shared/models/onnx`.

use super::*;
use depthwise_formats::{Weights, onnx, safetensors};

/// Graph and golden of a model, where the reference material is at hand.
fn load(name: &str) -> Option<(Graph, Weights)> {
    let models = depthwise_testkit::shared_dir()?.join("models");
    let graph = onnx::open(models.join(format!("onnx/{name}.onnx"))).unwrap();
    let golden = safetensors::open(models.join(format!("golden/{name}.safetensors"))).unwrap();
    Some((graph, golden))
}

fn golden_inputs(graph: &Graph, golden: &Weights) -> Vec<Tensor> {
    let name = |&id| format!("in/{}", graph.value(id).name);
    graph.inputs().iter().map(|id| golden.get(&name(id)).unwrap().clone()).collect()
}

/// Both phases of a model, for the shapes of its golden.
fn optimized(graph: &Graph, inputs: &[Tensor]) -> (Graph, Graph) {
    let mut prepared = graph.clone();
    let options = PassOptions::default();
    let mut report = prepare(&mut prepared, &options);
    assert_eq!(prepare(&mut prepared.clone(), &options).total(), 0);
    let shapes: Vec<Shape> = inputs.iter().map(|t| *t.shape()).collect();
    let mut special = prepared.clone();
    specialize_reporting(&mut special, &shapes, &options, &mut report).unwrap();
    let mut again = PassReport::default();
    specialize_reporting(&mut special.clone(), &shapes, &options, &mut again).unwrap();
    assert_eq!(again.total(), 0, "{again}");
    let kinds = |graph: &Graph| (graph.nodes().len(), count(graph, "Transpose"));
    println!(
        "nodes, transposes: {:?} in the file, {:?} prepared, {:?} planned\n{report}",
        kinds(graph),
        kinds(&prepared),
        kinds(&special)
    );
    (prepared, special)
}

/// Counts what is left of a model's layers.
fn expect_counts(name: &str, want: &[(&str, usize)]) {
    let Some((graph, golden)) = load(name) else { return };
    let (_, special) = optimized(&graph, &golden_inputs(&graph, &golden));
    let got: Vec<_> = want.iter().map(|&(kind, _)| (kind, count(&special, kind))).collect();
    assert_eq!(got, want, "{name}: {special}");
}

#[test]
fn direction_classifier_keeps_one_transpose_and_no_spelled_out_activation() {
    expect_counts(
        "ppocr_mobile_v2_cls",
        &[
            ("Transpose", 1),
            ("BatchNorm", 0),
            ("Activate", 0),
            // The gates of squeeze and excitation.
            ("Binary", 9),
            ("DepthwiseConv2d", 11),
            ("MatMul", 0),
        ],
    );
}

/// The input; then per attention block q, k, v and the way back.
#[test]
fn text_recogniser_keeps_the_transposes_of_its_attention() {
    expect_counts(
        "ppocr_v4_rec",
        &[("Transpose", 1 + 2 * 4), ("BatchNorm", 0), ("DepthwiseConv2d", 14), ("MatMul", 4)],
    );
}

#[test]
fn face_detector_keeps_one_transpose() {
    for name in ["ultralight_face_rfb_320", "ultralight_face_rfb_320_simplified"] {
        expect_counts(
            name,
            &[("Transpose", 1), ("BatchNorm", 0), ("Activate", 0), ("DepthwiseConv2d", 18)],
        );
    }
}

/// ONNX Runtime sums in f32, the references in f64: 1e-4 of the largest element.
fn expect_golden(name: &str) {
    let Some((graph, golden)) = load(name) else { return };
    let inputs = golden_inputs(&graph, &golden);
    let (_, special) = optimized(&graph, &inputs);
    let results = interpret(&special, &inputs).unwrap();
    for (&id, got) in special.outputs().iter().zip(&results) {
        let name = &special.value(id).name;
        let want = golden.get(&format!("out/{name}")).unwrap();
        assert_eq!(want.shape(), got.shape());
        let (want, got) = (want.to_f32(), got.to_f32());
        let largest = want.iter().fold(0f32, |m, v| m.max(v.abs()));
        for (want, got) in want.iter().zip(got.iter()) {
            assert!((want - got).abs() <= 1e-4 * largest, "{name}: {got} instead of {want}");
        }
    }
}

#[test]
fn direction_classifier_still_equals_the_golden() {
    expect_golden("ppocr_mobile_v2_cls");
}

#[test]
fn face_detector_still_equals_the_golden() {
    expect_golden("ultralight_face_rfb_320");
}

/// Other extents than the golden's, odd ones among them.
#[test]
fn direction_classifier_keeps_its_meaning_at_other_sizes() {
    let Some((graph, _)) = load("ppocr_mobile_v2_cls") else { return };
    for dims in [[2, 3, 48, 40], [1, 3, 64, 33]] {
        optimize_with(&graph, &[noise(&dims, 5)], &PassOptions::default());
    }
}

#[test]
fn text_recogniser_keeps_its_meaning_on_a_narrow_picture() {
    let Some((graph, _)) = load("ppocr_v4_rec") else { return };
    optimize_with(&graph, &[noise(&[1, 3, 48, 16], 5)], &PassOptions::default());
}
