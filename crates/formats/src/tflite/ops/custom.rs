//! Custom operators of common files.

use super::super::custom::CustomNode;
use super::super::flexbuffer::{self, Scalar};
use super::convolution::{Transposed, transposed};
use depthwise_layers::ir::ValueId;
use depthwise_layers::{Activation, Detections};
use depthwise_tensor::Hw;

/// A converter of a custom operator that is known from the start.
type BuiltIn = fn(&mut CustomNode<'_, '_, '_>) -> Result<Vec<ValueId>, String>;

pub(in super::super) const BUILT_IN: &[(&str, BuiltIn)] = &[
    ("Convolution2DTransposeBias", convolution_2d_transpose_bias),
    ("TFLite_Detection_PostProcess", detection_post_process),
];

/// MediaPipe's transposed convolution with a bias. Inputs: x, weights, bias. Options: padding rule
/// (1 is SAME, 2 is VALID), column step, row step, 32 bits each. SAME gives as many rows as the
/// input times the step.
fn convolution_2d_transpose_bias(
    node: &mut CustomNode<'_, '_, '_>,
) -> Result<Vec<ValueId>, String> {
    let options: Vec<u32> = node
        .options()
        .chunks_exact(4)
        .map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect();
    let (same, stride) = match options[..] {
        [rule @ (1 | 2), w, h, ..] if w > 0 && h > 0 => {
            (rule == 1, Hw { h: h as usize, w: w as usize })
        }
        _ => return Err(format!("its options {options:?} are no rule and steps")),
    };
    let op = Transposed { x: 0, weights: 1, bias: 2, output: None, same, stride };
    let context = &mut *node.context;
    let result = transposed(context, &op, Activation::Identity);
    node.note(result)
}

/// The end of TensorFlow's single-shot detectors. Inputs: boxes, scores, anchors. Options: the
/// attributes of [`Detections`], as a FlexBuffer.
fn detection_post_process(node: &mut CustomNode<'_, '_, '_>) -> Result<Vec<ValueId>, String> {
    let options = DetectionOptions::read(node.options())?;
    let op = Detections {
        y_scale: options.real("y_scale")?,
        x_scale: options.real("x_scale")?,
        h_scale: options.real("h_scale")?,
        w_scale: options.real("w_scale")?,
        classes: options.count("num_classes")?,
        max_detections: options.count("max_detections")?,
        max_classes_per_detection: options.count("max_classes_per_detection")?,
        detections_per_class: match options.get("detections_per_class") {
            None => 100,
            Some(_) => options.count("detections_per_class")?,
        },
        by_class: match options.get("use_regular_nms") {
            None => false,
            Some(Scalar::Bool(by_class)) => by_class,
            Some(Scalar::Int(by_class)) => by_class != 0,
            Some(_) => return Err("its option use_regular_nms is no truth value".into()),
        },
        score_threshold: options.real("nms_score_threshold")?,
        iou_threshold: options.real("nms_iou_threshold")?,
    };
    let inputs = [node.input(0)?, node.input(1)?, node.input(2)?].map(Some);
    node.add_many(op, &inputs)
}

/// The options of `TFLite_Detection_PostProcess`.
struct DetectionOptions<'a>(Vec<(&'a str, Scalar)>);

impl DetectionOptions<'_> {
    const NAMES: [&'static str; 11] = [
        "detections_per_class",
        "h_scale",
        "max_classes_per_detection",
        "max_detections",
        "nms_iou_threshold",
        "nms_score_threshold",
        "num_classes",
        "use_regular_nms",
        "w_scale",
        "x_scale",
        "y_scale",
    ];

    fn read(bytes: &[u8]) -> Result<DetectionOptions<'_>, String> {
        let map = flexbuffer::map(bytes).map_err(|why| format!("its options: {why}"))?;
        // Names that begin with an underscore are notes of the converter on types.
        let known = |name: &str| name.starts_with('_') || DetectionOptions::NAMES.contains(&name);
        match map.iter().find(|(name, _)| !known(name)) {
            Some((name, _)) => Err(format!("its option {name:?} is not supported")),
            None => Ok(DetectionOptions(map)),
        }
    }

    fn get(&self, name: &str) -> Option<Scalar> {
        self.0.iter().find(|(key, _)| *key == name).map(|&(_, value)| value)
    }

    fn real(&self, name: &str) -> Result<f32, String> {
        match self.get(name) {
            Some(Scalar::Float(x)) => Ok(x as f32),
            Some(Scalar::Int(x)) => Ok(x as f32),
            _ => Err(format!("its option {name} is missing or no number")),
        }
    }

    fn count(&self, name: &str) -> Result<usize, String> {
        match self.get(name) {
            Some(Scalar::Int(n)) => usize::try_from(n).ok(),
            _ => None,
        }
        .ok_or_else(|| format!("its option {name} is missing or no number from 0 on"))
    }
}
