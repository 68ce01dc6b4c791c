//! Operators that the format does not know.

use super::build::*;
use crate::tflite::flexbuffer::{Scalar, of_map};
use crate::tflite::{CustomOps, read, read_with};
use bytes::Bytes;
use depthwise_layers::ir::interpret;
use depthwise_layers::{Activation, Binary, BinaryFn};
use depthwise_tensor::Tensor;

#[test]
fn unknown_operators_are_named() {
    let mut net = Net::new(&[2]);
    let y = net.custom("Frobnicate", &[0], &[]);
    let z = net.op(59, &[y], Default::default());
    let found = net.output(z).unsupported();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].op, "Frobnicate");
    assert!(found[0].to_string().contains("no custom operator of this name"));
}

#[test]
fn a_registered_operator_is_converted() {
    let mut net = Net::new(&[2]);
    let y = net.custom("Plus", &[0], &[3]);
    let bytes = Bytes::from(net.output(y).encode());
    let mut custom = CustomOps::none();
    custom.insert("Plus", |node| {
        let x = node.input(0)?;
        assert_eq!(node.ty(x).shape.dims(), [2]);
        let n = node.options().first().copied().ok_or("no options")?;
        let n = node.add_constant(Tensor::scalar(f32::from(n)));
        let add = Binary { function: BinaryFn::Add, activation: Activation::Identity };
        Ok(vec![node.add(add, &[x, n])?])
    });
    let graph = read_with(bytes.clone(), &custom).unwrap();
    let y = interpret(&graph, &[t(&[2], &[1.0, 2.0])]).unwrap();
    assert_eq!(y[0].to_f32()[..], [4.0, 5.0]);

    custom.insert("Plus", |_| Err("not today".into()));
    let error = read_with(bytes.clone(), &custom).unwrap_err().to_string();
    assert!(error.contains("Plus") && error.contains("not today"), "{error}");
    custom.insert("Plus", |_| Ok(Vec::new()));
    let error = read_with(bytes.clone(), &custom).unwrap_err().to_string();
    assert!(error.contains("0 results for 1 outputs"), "{error}");
    custom.insert("Plus", |node| node.input(7).map(|x| vec![x]));
    let error = read_with(bytes, &custom).unwrap_err().to_string();
    assert!(error.contains("input number 7 is missing"), "{error}");
}

#[test]
fn transposed_convolution_of_mediapipe_doubles_a_picture() {
    let mut net = Net::new(&[1, 1, 2, 1]);
    let w = net.f32s("w", &[1, 2, 2, 1], &[1.0, 2.0, 3.0, 4.0]);
    let b = net.f32s("b", &[1], &[0.5]);
    let options = |rule: u8| [rule, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0];
    let y = net.custom("Convolution2DTransposeBias", &[0, w, b], &options(1));
    let x = t(&[1, 1, 2, 1], &[1.0, 10.0]);
    let want = [1.5, 2.5, 10.5, 20.5, 3.5, 4.5, 30.5, 40.5];
    assert_eq!(net.output(y).values(&x, &[1, 2, 4, 1]), want);

    let mut net = Net::new(&[1, 1, 2, 1]);
    let w = net.f32s("w", &[1, 2, 2, 1], &[1.0; 4]);
    let y = net.custom("Convolution2DTransposeBias", &[0, w], &options(9));
    assert!(net.output(y).unsupported()[0].reason.contains("options"));
    assert!(read(Bytes::from(net.encode())).is_err());
}

fn detection_options() -> Vec<(&'static str, Scalar)> {
    vec![
        ("_output_quantized", Scalar::Bool(true)),
        ("h_scale", Scalar::Float(5.0)),
        ("max_classes_per_detection", Scalar::Int(1)),
        ("max_detections", Scalar::Int(2)),
        ("nms_iou_threshold", Scalar::Float(0.5)),
        ("nms_score_threshold", Scalar::Float(0.0)),
        ("num_classes", Scalar::Int(2)),
        ("w_scale", Scalar::Float(5.0)),
        ("x_scale", Scalar::Float(10.0)),
        ("y_scale", Scalar::Float(10.0)),
    ]
}

/// Three boxes; the second overlaps the first by 0.9 / 1.1.
fn detector(options: &[u8]) -> Net {
    let mut net = Net::new(&[1, 3, 4]);
    let scores = net.f32s("scores", &[1, 3, 3], &[0.0, 0.9, 0.8, 0.0, 0.95, 0.7, 0.0, 0.3, 0.4]);
    let anchors = [[0.5, 0.5, 1.0, 1.0], [0.5, 0.5, 1.0, 1.0], [9.5, 0.5, 1.0, 1.0]];
    let anchors = net.f32s("anchors", &[3, 4], anchors.as_flattened());
    for result in net.custom_many("TFLite_Detection_PostProcess", &[0, scores, anchors], options, 4)
    {
        net.output(result);
    }
    net
}

#[test]
fn detections_are_boxes_classes_scores_and_their_number() {
    let mut boxes = [0.0; 12];
    boxes[4] = 1.0;
    let boxes = t(&[1, 3, 4], &boxes);
    let of = |options: &[(&str, Scalar)]| {
        let bytes = Bytes::from(detector(&of_map(options)).encode());
        let results = interpret(&read(bytes).unwrap(), std::slice::from_ref(&boxes)).unwrap();
        results.iter().map(|y| y.to_f32().into_owned()).collect::<Vec<_>>()
    };
    let by_box = of(&detection_options());
    assert_eq!(by_box[0][4..], [9.0, 0.0, 10.0, 1.0]);
    assert!((by_box[0][0] - 0.1).abs() < 1e-6);
    assert_eq!(by_box[1..], [vec![0.0, 1.0], vec![0.95, 0.4], vec![2.0]]);
    let mut options = detection_options();
    options.insert(7, ("use_regular_nms", Scalar::Bool(true)));
    let by_class = of(&options);
    assert_eq!(by_class[1..], [vec![0.0, 1.0], vec![0.95, 0.8], vec![2.0]]);
    options.insert(1, ("detections_per_class", Scalar::Int(1)));
    options.iter_mut().filter(|(name, _)| *name == "max_detections").for_each(|option| {
        option.1 = Scalar::Int(3);
    });
    assert_eq!(of(&options)[1..], [vec![0.0, 1.0, 0.0], vec![0.95, 0.8, 0.0], vec![2.0]]);
}

#[test]
fn options_of_detections_that_make_no_sense_are_refused() {
    let reason = |options: &[u8]| detector(options).unsupported()[0].reason.clone();
    assert!(reason(&[]).contains("its options: they are empty"));
    let mut options = detection_options();
    options.remove(3);
    assert!(reason(&of_map(&options)).contains("max_detections is missing"));
    options.insert(3, ("max_detections", Scalar::Int(-1)));
    assert!(reason(&of_map(&options)).contains("max_detections is missing or no number"));
    options[3].1 = Scalar::Int(1 << 30);
    assert!(reason(&of_map(&options)).contains("slots"));
    options.insert(3, ("future", Scalar::Other));
    assert!(reason(&of_map(&options)).contains("\"future\" is not supported"));
}
