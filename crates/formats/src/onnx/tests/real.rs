//! The models under `../shared/models/onnx`, against what ONNX Runtime gave for them.

use crate::{Weights, onnx, safetensors};
use depthwise_layers::ir::{Graph, infer_types, interpret};
use depthwise_tensor::{Shape, Tensor};

/// Graph and golden of a model, where the reference material is at hand.
fn load(name: &str) -> Option<(Graph, Weights)> {
    let models = depthwise_testkit::shared_dir()?.join("models");
    let graph = onnx::open(models.join(format!("onnx/{name}.onnx"))).unwrap();
    let golden = safetensors::open(models.join(format!("golden/{name}.safetensors"))).unwrap();
    Some((graph, golden))
}

fn inputs(graph: &Graph, golden: &Weights) -> Vec<Tensor> {
    let name = |&id| format!("in/{}", graph.value(id).name);
    graph.inputs().iter().map(|id| golden.get(&name(id)).unwrap().clone()).collect()
}

fn outputs<'g>(graph: &Graph, golden: &'g Weights) -> Vec<&'g Tensor> {
    let name = |&id| format!("out/{}", graph.value(id).name);
    graph.outputs().iter().map(|id| golden.get(&name(id)).unwrap()).collect()
}

fn check_shapes(name: &str) {
    let Some((graph, golden)) = load(name) else { return };
    let shapes: Vec<Shape> = inputs(&graph, &golden).iter().map(|t| *t.shape()).collect();
    let types = infer_types(&graph, &shapes).unwrap();
    for (&id, want) in graph.outputs().iter().zip(outputs(&graph, &golden)) {
        assert_eq!(types.of(id).shape, *want.shape(), "{name}: {}", graph.value(id).name);
    }
}

/// The references sum in f64, ONNX Runtime in f32: 1e-4 of the largest element is what is left
/// of 24 bits after some fifty layers.
fn check_values(name: &str) {
    let Some((graph, golden)) = load(name) else { return };
    let results = interpret(&graph, &inputs(&graph, &golden)).unwrap();
    for (got, want) in results.iter().zip(outputs(&graph, &golden)) {
        let (got, want) = (got.to_f32(), want.to_f32());
        let largest = want.iter().fold(0f32, |m, x| m.max(x.abs()));
        for (g, w) in got.iter().zip(want.iter()) {
            assert!((g - w).abs() <= 1e-4 * largest, "{name}: {g} instead of {w}");
        }
    }
}

#[test]
fn shapes_of_every_model_equal_the_golden() {
    for name in [
        "ppocr_mobile_v2_cls",
        "ppocr_v4_rec",
        "ultralight_face_rfb_320",
        "ultralight_face_rfb_320_simplified",
    ] {
        check_shapes(name);
    }
}

#[test]
fn direction_classifier_equals_the_golden() {
    check_values("ppocr_mobile_v2_cls");
}

#[test]
fn face_detector_equals_the_golden() {
    check_values("ultralight_face_rfb_320");
}

#[test]
fn labels_in_the_file_are_kept() {
    let Some((graph, _)) = load("ppocr_v4_rec") else { return };
    assert_eq!(graph.metadata["character"].lines().count(), 6623);
}

#[test]
fn extents_called_question_mark_are_independent() {
    let Some((graph, _)) = load("ppocr_mobile_v2_cls") else { return };
    assert_eq!(graph.input_type(graph.inputs()[0]).unwrap().to_string(), "f32[?x3x?x?]");
    let shape = Shape::new(&[2, 3, 48, 192]).unwrap();
    let types = infer_types(&graph, &[shape]).unwrap();
    assert_eq!(types.of(graph.outputs()[0]).shape.dims(), [2, 2]);
}
