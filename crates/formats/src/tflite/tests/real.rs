//! The models under `../shared/models/tflite`. Their values are checked against LiteRT's through the
//! engine; here it is what the files hold.

use crate::{safetensors, tflite};
use bytes::Bytes;
use depthwise_layers::ir::{Graph, infer_types};
use depthwise_layers::{Op, PadMode};
use depthwise_tensor::Shape;
use std::path::PathBuf;

fn path(name: &str) -> Option<PathBuf> {
    Some(depthwise_testkit::shared_dir()?.join(format!("models/tflite/{name}.tflite")))
}

const FLOAT: [&str; 6] = [
    "mediapipe_face_detection_short_range",
    "mediapipe_face_landmark",
    "mediapipe_hand_landmark_lite",
    "mediapipe_pose_detection_sparse",
    "mediapipe_selfie_segmentation",
    "vww_96_float",
];

const QUANTIZED: [&str; 7] = [
    "deeplabv3_mnv2_dm05_uint8",
    "kws_dscnn_int8",
    "mobilenet_v1_0.25_128_uint8_qat",
    "mobilenet_v1_0.75_192_uint8_qat",
    "mobilenet_v2_1.0_224_int8_ptq",
    "mobilenet_v2_1.0_224_uint8_qat",
    "vww_96_int8",
];

fn graph(name: &str) -> Option<Graph> {
    Some(tflite::open(path(name)?).unwrap())
}

#[test]
fn shapes_of_every_float_model_equal_the_golden() {
    for name in FLOAT {
        let (Some(graph), Some(path)) = (graph(name), path(name)) else { return };
        let models = path.parent().unwrap().parent().unwrap();
        let golden = models.join(format!("golden/{name}.safetensors"));
        let golden = safetensors::open(golden).unwrap();
        let shape = |list: &str, id| {
            *golden.get(&format!("{list}/{}", graph.value(id).name)).unwrap().shape()
        };
        let shapes: Vec<Shape> = graph.inputs().iter().map(|&id| shape("in", id)).collect();
        let types = infer_types(&graph, &shapes).unwrap();
        for &id in graph.outputs() {
            assert_eq!(types.of(id).shape, shape("out", id), "{name}");
        }
    }
}

#[test]
fn no_float_model_has_a_transpose() {
    for name in FLOAT {
        let Some(graph) = graph(name) else { return };
        assert!(!graph.nodes().iter().any(|node| matches!(node.op, Op::Transpose(_))), "{name}");
    }
}

#[test]
fn channels_are_padded_where_the_detector_doubles_them() {
    let Some(graph) = graph(FLOAT[0]) else { return };
    let is_pad = |op: &Op| matches!(op, Op::Pad(pad) if pad.mode == PadMode::Constant);
    assert_eq!(graph.nodes().iter().filter(|node| is_pad(&node.op)).count(), 11);
}

#[test]
fn quantized_models_are_real_networks_between_integers() {
    for name in QUANTIZED {
        let Some(graph) = graph(name) else { return };
        let count = |is: fn(&Op) -> bool| graph.nodes().iter().filter(|n| is(&n.op)).count();
        let convolutions = count(|op| matches!(op, Op::Conv2d(_) | Op::DepthwiseConv2d(_)));
        // A Quantize behind each, one Dequantize for weights, bias and operand of each.
        let quantize = count(|op| matches!(op, Op::Quantize(_)));
        let dequantize = count(|op| matches!(op, Op::Dequantize(_)));
        assert!(convolutions > 8 && quantize >= convolutions, "{name}: {quantize}");
        assert!(dequantize >= 3 * convolutions, "{name}: {dequantize} of {convolutions}");
    }
}

#[test]
fn variables_are_understood() {
    let Some(path) = path("okay_nabu_streaming_int8") else { return };
    let bytes = std::fs::read(path).unwrap();
    assert_eq!(tflite::wire::Model::decode(&bytes).unwrap().subgraphs.len(), 2);
    let graph = tflite::read(Bytes::from(bytes)).unwrap();
    // What lasts from run to run are the integers themselves.
    assert_eq!(graph.states().len(), 6);
}

#[test]
fn labels_and_normalization_are_found() {
    let metadata = |name| {
        let file = std::fs::read(path(name)?).unwrap();
        Some(tflite::metadata(&file).unwrap())
    };
    let Some(mobilenet) = metadata("mobilenet_v2_1.0_224_uint8_qat") else { return };
    let labels: Vec<&str> = mobilenet["labels"].lines().collect();
    assert_eq!((labels.len(), labels[0], labels[286]), (1001, "background", "Egyptian cat"));
    assert_eq!(mobilenet["name"], "ImageClassifier");
    assert_eq!((&*mobilenet["input.mean"], &*mobilenet["input.std"]), ("127.5", "127.5"));
    let hand = metadata("mediapipe_hand_landmark_lite").unwrap();
    assert_eq!((&*hand["labels"], &*hand["input.std"]), ("Left\nRight", "255,255,255"));
    assert!(metadata("vww_96_float").unwrap().is_empty());
}
