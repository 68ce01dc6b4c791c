//! Mobile networks as functions that build a [`Graph`](depthwise_layers::ir::Graph), and the
//! weights that ship with the project.
//!
//! | network | builder |
//! |---|---|
//! | MobileNet V1, any width and resolution | [`MobileNetV1`] |
//! | MobileNet V2, any width | [`MobileNetV2`] |
//! | MobileNet V3 Large and Small | [`MobileNetV3`] |
//! | EfficientNet-Lite0 to Lite4 | [`EfficientNetLite`] |
//! | a small network for text | [`TextCnn`] |
//!
//! Weights come from a [`WeightSource`]: a [`Checkpoint`] of torchvision, timm or the EfficientNet
//! ports, or [`Random`] ones for benches. [`cut`] ends a network at any layer.
//!
//! The feature `embedded-weights` (on by default) puts a trained EfficientNet-Lite0 into the
//! program (9.4 MB): `default_model`. [`imagenet_labels`] names its classes. `face_detector` and
//! `selfie_segmenter` are two small networks of MediaPipe (0.5 MB).
#![forbid(unsafe_code)]

mod architecture;
mod build;
mod efficientnet_lite;
mod embedded;
mod error;
mod mobilenet_v1;
mod mobilenet_v2;
mod mobilenet_v3;
mod naming;
mod network;
mod permute;
mod settings;
mod source;
mod text_cnn;

pub use build::cut;
pub use efficientnet_lite::EfficientNetLite;
pub use embedded::imagenet_labels;
#[cfg(feature = "embedded-weights")]
pub use embedded::{default_model, default_weights, face_detector, selfie_segmenter};
pub use error::{WeightFault, ZooError};
pub use mobilenet_v1::MobileNetV1;
pub use mobilenet_v2::MobileNetV2;
pub use mobilenet_v3::{MobileNetV3, V3Size};
pub use naming::Naming;
pub use network::Network;
pub use settings::{BatchNormForm, PaddingStyle, Settings};
pub use source::{Checkpoint, LAYOUT_KEY, LAYOUT_NHWC, Param, Random, Role, WeightSource};
pub use text_cnn::TextCnn;
