//! The messages of an ONNX file, as protobuf lays them out.
//!
//! Decoding borrows: names, raw bytes and packed floats stay in the file's memory. A message is
//! refused as soon as something it cannot do without is missing, so that a file cannot make many
//! large records out of few bytes. Attributes that hold graphs are not looked into, so messages
//! nest no deeper than node, attribute, tensor. Field numbers are those of `onnx.proto`.

mod decode;
mod encode;
mod reader;
mod skeleton;

pub use reader::WireError;
pub use skeleton::Skeleton;

use std::borrow::Cow;

/// A whole file (`ModelProto`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model<'a> {
    /// Version of the file format.
    pub ir_version: i64,
    /// Versions of the operator sets that the nodes use.
    pub opsets: Vec<Opset<'a>>,
    /// Program that wrote the file.
    pub producer: &'a str,
    /// The network.
    pub graph: Graph<'a>,
    /// Free text by key.
    pub metadata: Vec<(&'a str, &'a str)>,
    /// Names (domain, name) of the functions that the model defines for itself.
    pub functions: Vec<(&'a str, &'a str)>,
}

/// A set of operators and its version (`OperatorSetIdProto`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Opset<'a> {
    /// Empty for the standard operators.
    pub domain: &'a str,
    /// Version.
    pub version: i64,
}

/// A network (`GraphProto`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Graph<'a> {
    /// Name.
    pub name: &'a str,
    /// Nodes, in any order.
    pub nodes: Vec<Node<'a>>,
    /// Constants.
    pub initializers: Vec<Tensor<'a>>,
    /// Number of sparse constants, which are not read.
    pub sparse_initializers: usize,
    /// Inputs; in older files the constants are listed too.
    pub inputs: Vec<ValueInfo<'a>>,
    /// Outputs.
    pub outputs: Vec<ValueInfo<'a>>,
    /// Types of values between nodes, where the file tells them.
    pub value_info: Vec<ValueInfo<'a>>,
}

/// One operation (`NodeProto`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Node<'a> {
    /// Name, may be empty.
    pub name: &'a str,
    /// Operator.
    pub op_type: &'a str,
    /// Operator set; empty for the standard one.
    pub domain: &'a str,
    /// Names of the operands; empty where one is left out.
    pub inputs: Vec<&'a str>,
    /// Names of the results; empty where one is not wanted.
    pub outputs: Vec<&'a str>,
    /// Attributes.
    pub attributes: Vec<Attribute<'a>>,
}

/// A named constant of a node (`AttributeProto`).
#[derive(Clone, Debug, PartialEq)]
pub struct Attribute<'a> {
    /// Name.
    pub name: &'a str,
    /// Value.
    pub value: AttributeValue<'a>,
}

/// The value of an [`Attribute`].
#[derive(Clone, Debug, PartialEq)]
pub enum AttributeValue<'a> {
    /// A number.
    Float(f32),
    /// An integer.
    Int(i64),
    /// Text, in any encoding.
    String(&'a [u8]),
    /// A tensor.
    Tensor(Box<Tensor<'a>>),
    /// Numbers.
    Floats(Vec<f32>),
    /// Integers.
    Ints(Vec<i64>),
    /// Texts.
    Strings(Vec<&'a [u8]>),
    /// Something that is not read: a graph, a sparse tensor, a type, a reference to an attribute
    /// of the function around.
    Other(&'static str),
}

/// A tensor (`TensorProto`). Only one of the data fields is in use.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tensor<'a> {
    /// Name.
    pub name: &'a str,
    /// Extents.
    pub dims: Vec<i64>,
    /// Element type, one of [`data_type`].
    pub data_type: i32,
    /// Elements, little-endian.
    pub raw_data: Option<&'a [u8]>,
    /// Where the elements lie in the file (position, bytes), where they were left there. Takes no
    /// part in encoding.
    pub raw_in_file: Option<(u64, usize)>,
    /// `f32` elements, little-endian.
    pub float_data: Cow<'a, [u8]>,
    /// `f64` elements, little-endian.
    pub double_data: Cow<'a, [u8]>,
    /// Elements of up to 32 bits; those of 16-bit floats as their bits.
    pub int32_data: Vec<i32>,
    /// `i64` elements.
    pub int64_data: Vec<i64>,
    /// Where the elements lie outside the file, by key: `location`, `offset`, `length`.
    pub external_data: Vec<(&'a str, &'a str)>,
    /// Whether the elements lie outside the file.
    pub is_external: bool,
}

/// Numbers of element types (`TensorProto.DataType`).
pub mod data_type {
    /// `f32`
    pub const FLOAT: i32 = 1;
    /// `u8`
    pub const UINT8: i32 = 2;
    /// `i8`
    pub const INT8: i32 = 3;
    /// `i16`
    pub const INT16: i32 = 5;
    /// `i32`
    pub const INT32: i32 = 6;
    /// `i64`
    pub const INT64: i32 = 7;
    /// Truth values.
    pub const BOOL: i32 = 9;
    /// IEEE 754 binary16.
    pub const FLOAT16: i32 = 10;
    /// `f64`
    pub const DOUBLE: i32 = 11;
    /// bfloat16
    pub const BFLOAT16: i32 = 16;
}

/// A named value with its type (`ValueInfoProto` of a tensor).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ValueInfo<'a> {
    /// Name.
    pub name: &'a str,
    /// Element type, one of [`data_type`]; 0 where the value is no tensor or has no type.
    pub elem_type: i32,
    /// Extents, where the file tells them.
    pub shape: Option<Vec<Dimension<'a>>>,
}

/// One extent of a [`ValueInfo`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dimension<'a> {
    /// A number; negative where it is not known.
    Value(i64),
    /// A name.
    Param(&'a str),
    /// Neither.
    Unknown,
}

#[cfg(test)]
mod tests;
