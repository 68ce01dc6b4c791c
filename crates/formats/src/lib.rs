//! Model and weight files: ONNX, TensorFlow Lite, safetensors and PyTorch checkpoints.
//!
//! Files are data from strangers. Reading one executes nothing, allocates no more than a small
//! multiple of the file's size, and ends in a value or a typed error.
//!
//! | module | file | gives |
//! |---|---|---|
//! | [`onnx`] | `.onnx` | [`Graph`] |
//! | [`tflite`] | `.tflite` | [`Graph`] |
//! | [`safetensors`] | `.safetensors` | [`Weights`], read and written |
//! | [`torch`] | `.pth`, `.pt` state dicts | [`Weights`] |
//!
//! [`open`] takes any file that holds a network, [`open_weights`] any that holds weights.
#![forbid(unsafe_code)]

mod detect;
mod file;
pub mod onnx;
pub mod safetensors;
pub mod tflite;
pub mod torch;
mod weights;

pub use depthwise_layers::ir::Graph;
pub use detect::{FormatError, open, open_weights};
pub use weights::Weights;
