//! Which operators of which format are read.

use crate::{keras, onnx, tflite};

/// An operator, or a class of layers, of a format whose networks are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Support {
    /// The format, as documents name it.
    pub format: &'static str,
    /// The operator, as files name it.
    pub operator: &'static str,
    /// Whether it is read at all.
    pub is_read: bool,
    /// What of it is not read; empty where all is, but for element types.
    pub limits: &'static str,
}

const ONNX: &str = "ONNX";
const TFLITE: &str = "TensorFlow Lite";
const KERAS: &str = "Keras";

/// What operators that are read are refused for.
const LIMITS: &[(&str, &str, &str)] = &[
    (ONNX, "BatchNormalization", "spatial = 0"),
    (ONNX, "Cast", "texts, unsigned numbers of more than 8 bits, floats of 8 bits and fewer"),
    (ONNX, "Conv", "windows over three axes"),
    (ONNX, "ConvTranspose", "windows over three axes, filters that are not constant"),
    (ONNX, "ConvInteger", "sums beyond 2^24 are rounded"),
    (ONNX, "CumSum", "an axis that is not constant"),
    (ONNX, "Dropout", "training_mode"),
    (ONNX, "Einsum", "an axis twice in one input"),
    (ONNX, "GridSample", "volumes"),
    (ONNX, "IsInf", "neither infinity"),
    (ONNX, "LpPool", "ceil_mode, p above 16"),
    (ONNX, "MatMulInteger", "sums beyond 2^24 are rounded"),
    (ONNX, "MaxPool", "positions of maxima over three axes"),
    (
        ONNX,
        "Resize",
        "tf_crop_and_resize with antialias, exclude_outside when linear without antialias; \
         tf_crop_and_resize and keep_aspect_ratio_policy for extents that are free",
    ),
    (ONNX, "Split", "sizes that do not follow from constants"),
    (ONNX, "Squeeze", "axes that do not follow from constants"),
    (ONNX, "Unsqueeze", "axes that do not follow from constants"),
    (ONNX, "Upsample", "nearest samples when it grows along one axis and shrinks along another"),
    (TFLITE, "GATHER", "batches of indices"),
    (TFLITE, "MIRROR_PAD", "symmetric pads of more than 1"),
    (KERAS, "Embedding", "mask_zero"),
    (KERAS, "LayerNormalization", "axes other than the last"),
    (KERAS, "Normalization", "axes other than the last"),
    (KERAS, "ReLU", "threshold"),
    (KERAS, "Resizing", "interpolation other than bilinear"),
];

/// Every operator that a reader knows, format by format in the order of the alphabet, with what of
/// it is refused.
pub fn support() -> Vec<Support> {
    let mut all = Vec::new();
    let mut add = |format, is_read, names: Vec<&'static str>| {
        let limits = |operator| {
            let mut limits = LIMITS.iter();
            limits.find(|limit| (limit.0, limit.1) == (format, operator)).map_or("", |l| l.2)
        };
        all.extend(names.into_iter().map(|operator| {
            let limits = limits(operator);
            Support { format, operator, is_read, limits }
        }));
    };
    add(ONNX, true, onnx::ops::names().collect());
    add(TFLITE, true, tflite::ops::names().chain(tflite::ops::custom_names()).collect());
    add(TFLITE, false, tflite::ops::others().collect());
    add(KERAS, true, keras::ops::classes().collect());
    all.sort_by_key(|support| (support.format, support.operator.to_lowercase()));
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_those_of_operators_that_are_read() {
        let all = support();
        for &(format, operator, limits) in LIMITS {
            let found = all.iter().find(|s| (s.format, s.operator) == (format, operator)).unwrap();
            assert!(found.is_read, "{operator}");
            assert_eq!(found.limits, limits);
        }
        let names: std::collections::HashSet<_> =
            all.iter().map(|s| (s.format, s.operator)).collect();
        assert_eq!(names.len(), all.len(), "an operator stands twice");
    }
}
