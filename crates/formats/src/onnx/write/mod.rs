//! From our graph to a file, operator set 20.
//!
//! The format's pictures are NCHW, ours NHWC. Every value can stand in the file in either order of
//! axes ([`Form`]); a layer asks for its operands in the order that it needs, and where a value does
//! not have that yet, a Transpose is written, once. A Transpose of the graph between the two orders
//! takes no node at all. Layers that work in any order take the one that their operands have. So
//! transposes remain where a network enters or leaves as NHWC, and where the graph itself has them.

mod activation;
mod arithmetic;
mod convolution;
mod file;
mod moving;
mod picture;
mod places;
mod quantize;
mod reduce;
mod shape;
mod values;

pub(crate) use file::encode;

use super::wire::{AttributeValue, data_type};
use depthwise_tensor::DType;

/// Why a layer was not written.
pub(super) struct Refused(String);

/// A refusal with this reason.
pub(super) fn refuse<T>(reason: impl Into<String>) -> Result<T, Refused> {
    Err(Refused(reason.into()))
}

impl From<depthwise_tensor::TensorError> for Refused {
    fn from(error: depthwise_tensor::TensorError) -> Refused {
        Refused(error.to_string())
    }
}

/// An attribute before it is written.
#[derive(Clone, Debug)]
pub(super) enum Attr {
    Int(i64),
    Ints(Vec<i64>),
    Float(f32),
    Text(&'static str),
}

impl Attr {
    fn value(&self) -> AttributeValue<'_> {
        match self {
            Attr::Int(n) => AttributeValue::Int(*n),
            Attr::Ints(list) => AttributeValue::Ints(list.clone()),
            Attr::Float(x) => AttributeValue::Float(*x),
            Attr::Text(text) => AttributeValue::String(text.as_bytes()),
        }
    }
}

/// A node before it is written.
#[derive(Clone, Debug)]
pub(super) struct NodeOut {
    pub(super) name: String,
    pub(super) op_type: &'static str,
    pub(super) inputs: Vec<String>,
    pub(super) outputs: Vec<String>,
    pub(super) attributes: Vec<(&'static str, Attr)>,
}

/// The format's number of an element type.
pub(super) fn number(dtype: DType) -> i32 {
    match dtype {
        DType::F64 => data_type::DOUBLE,
        DType::F32 => data_type::FLOAT,
        DType::F16 => data_type::FLOAT16,
        DType::Bf16 => data_type::BFLOAT16,
        DType::I64 => data_type::INT64,
        DType::I32 => data_type::INT32,
        DType::I16 => data_type::INT16,
        DType::I8 => data_type::INT8,
        DType::U8 => data_type::UINT8,
        DType::Bool => data_type::BOOL,
        other => unreachable!("no ONNX type for {other}"),
    }
}
