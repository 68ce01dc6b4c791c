//! Whole networks against the answers of ONNX Runtime and LiteRT, at every ISA level and thread count.

use depthwise_engine::{Cpu, Model, Options, Precision, Session, Shape, Tensor};
use depthwise_formats::{Weights, safetensors, torch};
use depthwise_testkit::shared_dir;
use depthwise_vision::{Normalize, Picture, Preprocess};
use depthwise_zoo::{Checkpoint, EfficientNetLite, MobileNetV2, Network};
use std::collections::BTreeMap;
use std::path::Path;

#[derive(serde::Deserialize)]
struct Prediction {
    class: usize,
    probability: f32,
}

/// All levels of this CPU (or up to `DEPTHWISE_ISA`), with one thread and with two.
fn settings() -> impl Iterator<Item = Options> {
    let levels = Cpu::from_env().unwrap().levels();
    levels.flat_map(|cpu| {
        [1, 2].map(|threads| Options { threads, isa: Some(cpu.isa()), ..Options::default() })
    })
}

fn label(options: &Options) -> String {
    format!("{} with {} threads", options.isa.unwrap(), options.threads)
}

fn checkpoint(shared: &Path, file: &str, network: &dyn Network) -> depthwise_engine::Graph {
    let weights = torch::open(shared.join("models/weights").join(file)).unwrap();
    network.build(&Checkpoint::new(&weights)).unwrap()
}

fn golden(shared: &Path, file: &str) -> Weights {
    safetensors::open(shared.join("models/golden").join(file)).unwrap()
}

/// Largest absolute difference, and that over the largest magnitude of `want`.
fn errors(got: &Tensor, want: &Tensor) -> (f32, f32) {
    assert_eq!(got.shape(), want.shape());
    let (got, want) = (got.to_f32(), want.to_f32());
    assert!(got.iter().all(|x| x.is_finite()));
    let scale = want.iter().fold(f32::MIN_POSITIVE, |m, x| m.max(x.abs()));
    let worst = got.iter().zip(&*want).fold(0f32, |m, (g, w)| m.max((g - w).abs()));
    (worst, worst / scale)
}

fn softmax(logits: &[f32]) -> Vec<f32> {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exps: Vec<f32> = logits.iter().map(|x| (x - max).exp()).collect();
    let sum: f32 = exps.iter().sum();
    exps.iter().map(|e| e / sum).collect()
}

/// Top-1 equal and each golden top-5 probability within 0.01, on all photos.
fn check_photos(shared: &Path, session: &mut Session, key: &str, normalize: Normalize) {
    let text = std::fs::read_to_string(shared.join("models/golden/imagenet_photos.json")).unwrap();
    let all: BTreeMap<String, BTreeMap<String, Vec<Prediction>>> =
        serde_json::from_str(&text).unwrap();
    assert_eq!(all[key].len(), 13);
    let prepare = Preprocess::classifier(224, normalize);
    for (photo, want) in &all[key] {
        let picture = Picture::open(shared.join("models/photos").join(photo)).unwrap();
        prepare.write(&picture, session.input_mut(0).unwrap()).unwrap();
        session.run();
        let got = softmax(session.output(0).unwrap());
        let best = (0..got.len()).max_by(|&a, &b| got[a].total_cmp(&got[b])).unwrap();
        assert_eq!(best, want[0].class, "{key}: {photo}");
        for p in want {
            let difference = (got[p.class] - p.probability).abs();
            assert!(difference < 0.01, "{key}: {photo}: class {} by {difference}", p.class);
        }
    }
}

fn check_logits(shared: &Path, graph: &depthwise_engine::Graph, file: &str) {
    let golden = golden(shared, file);
    for options in settings() {
        let label = label(&options);
        let model = Model::from_graph(graph.clone(), options).unwrap();
        let input = golden.get("in/input_nhwc").unwrap().clone();
        let got = model.session().unwrap().run_tensors(&[input]).unwrap();
        let (_, relative) = errors(&got[0], golden.get("out/logits").unwrap());
        assert!(relative < 1e-3, "{file} on {label}: {relative}");
    }
}

#[test]
fn mobilenet_v2_of_torchvision_names_all_photos() {
    let Some(shared) = shared_dir() else { return };
    let graph = checkpoint(&shared, "mobilenet_v2-b0353104.pth", &MobileNetV2::new(1.0));
    check_logits(&shared, &graph, "mobilenet_v2_imagenet.safetensors");
    let mut session = Model::from_graph(graph, Options::default()).unwrap().session().unwrap();
    check_photos(&shared, &mut session, "mobilenet_v2", Normalize::IMAGENET);
}

#[test]
fn efficientnet_lite0_of_the_checkpoint_names_all_photos() {
    let Some(shared) = shared_dir() else { return };
    let graph = checkpoint(&shared, "efficientnet-lite0-57934424.pth", &EfficientNetLite::lite0());
    check_logits(&shared, &graph, "efficientnet_lite0_imagenet.safetensors");
    let mut session = Model::from_graph(graph, Options::default()).unwrap().session().unwrap();
    check_photos(&shared, &mut session, "efficientnet_lite0", Normalize::CENTRED_127);
}

#[test]
fn mobilenet_v2_in_bfloat16_gives_the_class_of_its_golden() {
    let Some(shared) = shared_dir() else { return };
    let graph = checkpoint(&shared, "mobilenet_v2-b0353104.pth", &MobileNetV2::new(1.0));
    let golden = golden(&shared, "mobilenet_v2_imagenet.safetensors");
    let input = golden.get("in/input_nhwc").unwrap().clone();
    let options = Options { precision: Precision::Bf16Emulated, ..Options::default() };
    let model = Model::from_graph(graph, options).unwrap();
    let mut session = model.session_for(&[*input.shape()]).unwrap();
    let got = session.run_tensors(&[input]).unwrap();
    let want = golden.get("out/logits").unwrap();
    let best = |logits: &[f32]| (0..1000).max_by(|&a, &b| logits[a].total_cmp(&logits[b]));
    for (got, want) in got[0].to_f32().chunks(1000).zip(want.to_f32().chunks(1000)) {
        assert_eq!(best(got), best(want));
    }
    let (_, relative) = errors(&got[0], want);
    // 0.007 here, 0.006 to 0.021 on photos: 35 layers, whose factors are off by up to 2^-9 each.
    assert!(relative < 0.02, "{relative}");
}

#[cfg(feature = "embedded-weights")]
#[test]
fn embedded_weights_name_all_photos_in_spite_of_half_precision() {
    let Some(shared) = shared_dir() else { return };
    let graph = depthwise_zoo::default_model().unwrap();
    let mut session = Model::from_graph(graph, Options::default()).unwrap().session().unwrap();
    check_photos(&shared, &mut session, "efficientnet_lite0", Normalize::CENTRED_127);
}

/// An ONNX file meets its golden: 1e-4 absolute where outputs are probabilities, else 1e-3 of the
/// largest magnitude.
fn check_onnx(name: &str, probabilities: bool) {
    let Some(shared) = shared_dir() else { return };
    let golden = golden(&shared, &format!("{name}.safetensors"));
    for options in settings() {
        let label = label(&options);
        let path = shared.join("models/onnx").join(format!("{name}.onnx"));
        let model = Model::open_with(path, options).unwrap();
        let inputs: Vec<Tensor> = model
            .inputs()
            .map(|(input, _)| golden.get(&format!("in/{input}")).unwrap().clone())
            .collect();
        let shapes: Vec<Shape> = inputs.iter().map(|t| *t.shape()).collect();
        let got = model.session_for(&shapes).unwrap().run_tensors(&inputs).unwrap();
        for (output, got) in model.outputs().zip(&got) {
            let (absolute, relative) = errors(got, golden.get(&format!("out/{output}")).unwrap());
            let fits = if probabilities { absolute < 1e-4 } else { relative < 1e-3 };
            assert!(fits, "{name} {output} on {label}: {absolute}, relative {relative}");
        }
    }
}

#[test]
fn text_direction_classifier_meets_its_golden() {
    check_onnx("ppocr_mobile_v2_cls", true);
}

#[test]
fn text_recogniser_meets_its_golden() {
    check_onnx("ppocr_v4_rec", true);
}

#[test]
fn face_detector_meets_its_golden() {
    check_onnx("ultralight_face_rfb_320", false);
}

#[test]
fn simplified_face_detector_meets_its_golden() {
    check_onnx("ultralight_face_rfb_320_simplified", false);
}

/// A TFLite file meets its golden: all outputs within this share of their largest magnitude.
fn check_tflite(name: &str, bound: f32) {
    let Some(shared) = shared_dir() else { return };
    let golden = golden(&shared, &format!("{name}.safetensors"));
    for options in settings() {
        let label = label(&options);
        let path = shared.join("models/tflite").join(format!("{name}.tflite"));
        let model = Model::open_with(path, options).unwrap();
        let inputs: Vec<Tensor> = model
            .inputs()
            .map(|(input, _)| golden.get(&format!("in/{input}")).unwrap().clone())
            .collect();
        let shapes: Vec<Shape> = inputs.iter().map(|t| *t.shape()).collect();
        let got = model.session_for(&shapes).unwrap().run_tensors(&inputs).unwrap();
        for (output, got) in model.outputs().zip(&got) {
            let (_, relative) = errors(got, golden.get(&format!("out/{output}")).unwrap());
            assert!(relative < bound, "{name} {output} on {label}: {relative}");
        }
    }
}

#[test]
fn face_detector_of_mediapipe_meets_its_golden() {
    check_tflite("mediapipe_face_detection_short_range", 1e-3);
}

#[test]
fn face_landmarks_meet_their_golden() {
    check_tflite("mediapipe_face_landmark", 1e-3);
}

#[test]
fn hand_landmarks_meet_their_golden() {
    check_tflite("mediapipe_hand_landmark_lite", 1e-3);
}

#[test]
fn pose_detector_of_sparse_weights_meets_its_golden() {
    check_tflite("mediapipe_pose_detection_sparse", 1e-3);
}

#[test]
fn selfie_segmenter_meets_its_golden() {
    check_tflite("mediapipe_selfie_segmentation", 1e-3);
}

#[test]
fn person_detector_meets_its_golden() {
    check_tflite("vww_96_float", 1e-4);
}
