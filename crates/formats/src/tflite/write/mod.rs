//! From our graph to a file: built-in operators on `f32` and `i8`, all extents fixed.
//!
//! Axes stay as they are, the format being NHWC like the graph. Padding that is neither of the
//! format's rules becomes a PAD before the operator; what is known before the network runs becomes
//! a constant. Numbers of operators, options and fields are those of TensorFlow's `schema.fbs`;
//! versions are the lowest that LiteRT takes for what is written.

mod activation;
mod arithmetic;
mod convolution;
mod file;
mod kinds;
mod moving;
mod picture;
mod quantize;
mod reduce;
mod values;

pub(crate) use file::METADATA;
pub(crate) use file::encode;

/// Why a layer was not written.
pub(super) struct Refused(String);

/// A refusal with this reason.
fn refuse<T>(reason: impl Into<String>) -> Result<T, Refused> {
    Err(Refused(reason.into()))
}

impl From<depthwise_layers::LayerError> for Refused {
    fn from(error: depthwise_layers::LayerError) -> Refused {
        Refused(error.to_string())
    }
}

impl From<depthwise_tensor::TensorError> for Refused {
    fn from(error: depthwise_tensor::TensorError) -> Refused {
        Refused(error.to_string())
    }
}

impl From<depthwise_tensor::ShapeError> for Refused {
    fn from(error: depthwise_tensor::ShapeError) -> Refused {
        Refused(error.to_string())
    }
}
