//! Model and weight files: ONNX, safetensors and PyTorch checkpoints.
//!
//! Files are data from strangers. Reading one executes nothing, allocates no more than a small
//! multiple of the file's size, and ends in a value or a typed error.
//!
//! | module | file | gives |
//! |---|---|---|
//! | [`safetensors`] | `.safetensors` | [`Weights`], read and written |
//! | [`torch`] | `.pth`, `.pt` state dicts | [`Weights`] |
#![forbid(unsafe_code)]

mod file;
pub mod safetensors;
pub mod torch;
mod weights;

pub use weights::Weights;
