//! What ships with the project: the weights of a classifier, a face detector, a segmenter of people,
//! and names of classes.

use std::collections::BTreeMap;
use std::sync::OnceLock;

#[cfg(feature = "embedded-weights")]
use crate::{Checkpoint, EfficientNetLite, Network, ZooError};
#[cfg(feature = "embedded-weights")]
use depthwise_formats::Weights;
#[cfg(feature = "embedded-weights")]
use depthwise_formats::tflite::TfliteError;
#[cfg(feature = "embedded-weights")]
use depthwise_layers::ir::Graph;

/// Bytes on a cache line, so that tensors can be read where they are.
#[cfg(feature = "embedded-weights")]
#[repr(C, align(64))]
struct Aligned<B: ?Sized>(B);

#[cfg(feature = "embedded-weights")]
static WEIGHTS: &Aligned<[u8]> =
    &Aligned(*include_bytes!("../weights/efficientnet_lite0.safetensors"));

#[cfg(feature = "embedded-weights")]
static FACES: &Aligned<[u8]> =
    &Aligned(*include_bytes!("../weights/mediapipe_face_detection_short_range.tflite"));

#[cfg(feature = "embedded-weights")]
static PEOPLE: &Aligned<[u8]> =
    &Aligned(*include_bytes!("../weights/mediapipe_selfie_segmentation.tflite"));

/// MediaPipe's short-range face detector (BlazeFace): input `1,128,128,3` in -1 to 1, letterboxed
/// with black; outputs `regressors` `1,896,16` and `classificators` `1,896,1`, offsets from the anchors of
/// `SsdAnchorsCalculator` and logits.
///
/// # Errors
/// [`TfliteError`] where the file in the program cannot be read, which a test excludes.
#[cfg(feature = "embedded-weights")]
pub fn face_detector() -> Result<Graph, TfliteError> {
    depthwise_formats::tflite::read(bytes::Bytes::from_static(&FACES.0))
}

/// MediaPipe's selfie segmenter: input `1,256,256,3` in 0 to 1, stretched; output `1,256,256,1`,
/// how much each pixel belongs to a person, between 0 and 1.
///
/// # Errors
/// [`TfliteError`] where the file in the program cannot be read, which a test excludes.
#[cfg(feature = "embedded-weights")]
pub fn selfie_segmenter() -> Result<Graph, TfliteError> {
    depthwise_formats::tflite::read(bytes::Bytes::from_static(&PEOPLE.0))
}

/// The weights of the network that ships with the project: EfficientNet-Lite0 trained on ImageNet,
/// filters in `f16`, in the layout of the graph. Shares the bytes of the program.
///
/// NOTICE names their origin and licence; the metadata says how pictures are prepared.
#[cfg(feature = "embedded-weights")]
pub fn default_weights() -> Weights {
    let bytes = bytes::Bytes::from_static(&WEIGHTS.0);
    depthwise_formats::safetensors::read(bytes).expect("made and checked by `cargo xtask weights`")
}

/// The network of [`default_weights`], with their metadata: input `N,224,224,3`, output 1000
/// logits.
///
/// # Errors
/// [`ZooError`] where weights and network do not fit, which a test excludes.
#[cfg(feature = "embedded-weights")]
pub fn default_model() -> Result<Graph, ZooError> {
    let weights = default_weights();
    let mut graph = EfficientNetLite::lite0().build(&Checkpoint::new(&weights))?;
    graph.metadata.extend(weights.metadata);
    Ok(graph)
}

/// The names of the 1000 classes of ImageNet (ILSVRC 2012), by class number.
pub fn imagenet_labels() -> &'static [String] {
    static LABELS: OnceLock<Vec<String>> = OnceLock::new();
    LABELS.get_or_init(|| {
        let text = include_str!("../weights/imagenet1k_label_to_names.json");
        let names: BTreeMap<usize, String> =
            serde_json::from_str(text).expect("a JSON object of numbers and names");
        names.into_values().collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_a_name() {
        let labels = imagenet_labels();
        assert_eq!(labels.len(), 1000);
        assert_eq!(
            (labels[0].as_str(), labels[285].as_str()),
            ("tench, Tinca tinca", "Egyptian cat")
        );
    }

    #[cfg(feature = "embedded-weights")]
    #[test]
    fn embedded_weights_build_and_are_not_copied() {
        let range = WEIGHTS.0.as_ptr_range();
        let graph = default_model().unwrap();
        assert!(graph.metadata.contains_key("preprocess.mean"));
        let filters = graph.value_ids().filter_map(|id| graph.constant(id));
        let filters: Vec<_> = filters.filter(|t| t.shape().rank() > 1).collect();
        assert_eq!(filters.len(), 50, "49 convolutions and a dense layer");
        assert!(filters.iter().all(|t| range.contains(&t.bytes().as_ptr())));
    }

    #[cfg(feature = "embedded-weights")]
    #[test]
    fn embedded_networks_of_others_can_be_read() {
        let outputs = |graph: &Graph| -> Vec<String> {
            graph.outputs().iter().map(|&id| graph.value(id).name.clone()).collect()
        };
        assert_eq!(outputs(&face_detector().unwrap()), ["regressors", "classificators"]);
        assert_eq!(outputs(&selfie_segmenter().unwrap()), ["activation_10"]);
    }
}
