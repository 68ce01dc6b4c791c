//! Model and weight files: ONNX, TensorFlow Lite, Keras, safetensors and PyTorch checkpoints.
//!
//! Files are data from strangers. Reading one executes nothing, allocates no more than a small
//! multiple of the file's size, and ends in a value or a typed error.
//!
//! | module | file | gives |
//! |---|---|---|
//! | [`onnx`] | `.onnx` | [`Graph`], read and written |
//! | [`tflite`] | `.tflite` | [`Graph`], read and written |
//! | [`keras`] | `.keras`, `.h5` | [`Graph`] |
//! | [`safetensors`] | `.safetensors` | [`Weights`] or [`Graph`], read and written |
//! | [`torch`] | `.pth`, `.pt` state dicts | [`Weights`] |
//!
//! [`open`] takes any file that holds a network, [`open_weights`] any that holds weights; [`save`]
//! writes a network in the format that the file's name tells.
#![forbid(unsafe_code)]

mod detect;
mod export;
mod file;
pub mod keras;
pub mod onnx;
pub mod safetensors;
mod support;
pub mod tflite;
pub mod torch;
mod weights;

pub use depthwise_layers::ir::Graph;
pub use detect::{FormatError, open, open_weights};
pub use export::{SaveError, SaveFormat, SaveOptions, Saved, UnsupportedLayer, save, to_bytes};
pub use support::{Support, support};
pub use weights::Weights;
