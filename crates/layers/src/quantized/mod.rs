//! Layers that compute in integers, as a pass makes them of the same layers between a
//! [`Dequantize`](crate::Dequantize) and a [`Quantize`](crate::Quantize).
//!
//! Activations are `i8` or `u8` with one scale, weights `i8` or `u8` with a scale per output channel,
//! sums `i32`. All bring a sum back to eight bits by the one rule of [`Requantize`].

mod binary;
mod convolution;
mod lookup;
mod mean;
mod requantize;
mod resize;
mod softmax;

pub use binary::{QBinary, QBinaryFn};
pub use convolution::{QConv2d, QDense, QDepthwiseConv2d};
pub use lookup::QLookup;
pub use mean::{QMean, QPool2d};
pub use requantize::Requantize;
pub use resize::QResize;
pub use softmax::QSoftmax;

use crate::check::Inputs;
use crate::{Arg, LayerError};
use depthwise_tensor::DType;

/// A required input of `i8` or `u8`.
fn bytes<'a>(inputs: &Inputs<'a>, i: usize) -> Result<Arg<'a>, LayerError> {
    inputs.typed(i, "i8 or u8", |d| matches!(d, DType::I8 | DType::U8))
}
