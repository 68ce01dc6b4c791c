use super::*;
use depthwise_engine::formats::tflite;
use depthwise_testkit::shared_dir;

#[test]
fn c29_a_model_that_was_born_in_nhwc_has_no_transpose_left() {
    // Weights in the order of TensorFlow, turned by nodes.
    let to_nchw = || vec![("perm", list(&[0, 3, 1, 2]))];
    let to_oihw = || vec![("perm", list(&[3, 2, 0, 1]))];
    let (c, oc) = (3, 5);
    let nodes = vec![
        node("Transpose", &["x"], "nchw", to_nchw()),
        node("Transpose", &["w1"], "w1t", to_oihw()),
        node("Conv", &["nchw", "w1t"], "c1", vec![("pads", list(&[1, 1, 1, 1]))]),
        node("Clip", &["c1", "low", "high"], "a1", vec![]),
        node("Transpose", &["w2"], "w2t", to_oihw()),
        node(
            "Conv",
            &["a1", "w2t"],
            "c2",
            vec![("group", int(oc as i64)), ("pads", list(&[1, 1, 1, 1]))],
        ),
        node("ReduceMean", &["c2"], "mean", vec![("axes", list(&[2, 3])), ("keepdims", int(1))]),
        node("Reshape", &["mean", "flat"], "rows", vec![]),
        node("Gemm", &["rows", "w3"], "y", vec![]),
    ];
    let numbers = |count: usize| -> Vec<f32> {
        (0..count).map(|i| ((i * 37 % 23) as f32 - 11.0) / 16.0).collect()
    };
    let constants = vec![
        floats("w1", &[3, 3, c, oc], &numbers(9 * c * oc)),
        floats("w2", &[3, 3, 1, oc], &numbers(9 * oc)),
        floats("w3", &[oc, 4], &numbers(4 * oc)),
        floats("low", &[], &[0.0]),
        floats("high", &[], &[6.0]),
        integers("flat", &[-1, oc as i64]),
    ];
    let dims = [1, 6, 7, c];
    let graph = load(&model(13, &dims, nodes, constants));
    let x = tensor(&dims, &numbers(6 * 7 * c));
    let want = interpret(&graph, std::slice::from_ref(&x)).unwrap()[0].to_f32().into_owned();
    check_graph(&graph, &x, &want);
    let steps = kinds(&graph, &dims);
    assert!(!steps.contains(&"Transpose"), "{steps:?}");
}

/// Transposes in the plans of real files: one at the NCHW input of three channels, and eight in the two
/// attention blocks of the recognizer, where queries, keys and values go from a line per position to
/// a matrix per head, and the result back.
#[test]
fn real_files_keep_only_the_transposes_that_they_mean() {
    let Some(shared) = shared_dir() else { return };
    let cases: [(&str, &[usize], usize); 4] = [
        ("ppocr_mobile_v2_cls.onnx", &[1, 3, 48, 192], 1),
        ("ppocr_v4_rec.onnx", &[1, 3, 48, 320], 9),
        ("ultralight_face_rfb_320.onnx", &[1, 3, 240, 320], 1),
        ("ultralight_face_rfb_320_simplified.onnx", &[1, 3, 240, 320], 1),
    ];
    for (file, dims, count) in cases {
        let graph = onnx::open(shared.join("models/onnx").join(file)).unwrap();
        let steps = kinds(&graph, dims);
        let transposes = steps.iter().filter(|&&kind| kind == "Transpose").count();
        assert_eq!(transposes, count, "{file}: {steps:?}");
    }
}

/// TFLite files are NHWC from end to end.
#[test]
fn real_tflite_files_have_no_transposes() {
    let Some(shared) = shared_dir() else { return };
    let cases: [(&str, &[usize]); 6] = [
        ("mediapipe_face_detection_short_range", &[1, 128, 128, 3]),
        ("mediapipe_face_landmark", &[1, 192, 192, 3]),
        ("mediapipe_hand_landmark_lite", &[1, 224, 224, 3]),
        ("mediapipe_pose_detection_sparse", &[1, 224, 224, 3]),
        ("mediapipe_selfie_segmentation", &[1, 256, 256, 3]),
        ("vww_96_float", &[1, 96, 96, 3]),
    ];
    for (file, dims) in cases {
        let file = shared.join("models/tflite").join(file).with_extension("tflite");
        let graph = tflite::open(&file).unwrap();
        let steps = kinds(&graph, dims);
        assert!(steps.len() > 10 && !steps.contains(&"Transpose"), "{}: {steps:?}", file.display());
    }
}
