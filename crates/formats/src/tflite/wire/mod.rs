//! The records of a TFLite file, as FlatBuffers lay them out.
//!
//! Decoding borrows: texts, numbers and weights stay in the file's memory, and options of
//! operators are read when a converter asks for them. Offsets of a hostile file may lead to one
//! record many times, so records are counted, and there can be no more of them than the file has
//! room for. Field numbers are those of TensorFlow's `schema.fbs`, version 3.

mod decode;
mod encode;
mod reader;

pub use encode::{Field, Record, encode};
pub use reader::{Number, Numbers, Table, WireError};

use std::borrow::Cow;

/// The mark of the format, at byte 4.
pub const IDENTIFIER: &[u8; 4] = b"TFL3";

/// A whole file (`Model`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model<'a> {
    /// Version of the schema.
    pub version: u32,
    /// Free text, often the name of the program that wrote the file.
    pub description: Cow<'a, str>,
    /// The operators that nodes refer to.
    pub operator_codes: Vec<OperatorCode<'a>>,
    /// Networks; the first is the one to run.
    pub subgraphs: Vec<Subgraph<'a>>,
    /// Elements of constants; the first is empty by convention.
    pub buffers: Vec<&'a [u8]>,
    /// Further data by name: the position of its buffer.
    pub metadata: Vec<(Cow<'a, str>, u32)>,
}

/// A kind of operator (`OperatorCode`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OperatorCode<'a> {
    /// Number in the list of built-in operators.
    pub builtin: i32,
    /// Name, of a custom operator.
    pub custom: Cow<'a, str>,
    /// Version of the operator.
    pub version: i32,
}

/// A network (`SubGraph`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Subgraph<'a> {
    /// Name.
    pub name: Cow<'a, str>,
    /// All values: inputs, constants, results.
    pub tensors: Vec<Tensor<'a>>,
    /// Positions of the inputs in `tensors`.
    pub inputs: Numbers<'a, i32>,
    /// Positions of the outputs.
    pub outputs: Numbers<'a, i32>,
    /// Nodes in the order in which they run.
    pub operators: Vec<Operator<'a>>,
}

/// A value (`Tensor`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tensor<'a> {
    /// Name.
    pub name: Cow<'a, str>,
    /// Extents; 1 where one is free.
    pub shape: Numbers<'a, i32>,
    /// Extents with -1 for each that is free; empty where none is.
    pub signature: Numbers<'a, i32>,
    /// Element type, one of [`tensor_type`].
    pub dtype: i8,
    /// Position of its elements in the buffers, where it is constant.
    pub buffer: u32,
    /// It keeps its value from run to run.
    pub is_variable: bool,
    /// What integers stand for.
    pub quantization: Option<Quantization<'a>>,
    /// How the elements are stored, where only some are.
    pub sparsity: Option<Sparsity<'a>>,
}

/// `real = scale * (stored - zero_point)` (`QuantizationParameters`).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Quantization<'a> {
    /// One scale, or one per slice along `axis`.
    pub scale: Numbers<'a, f32>,
    /// One zero point, or one per slice.
    pub zero_point: Numbers<'a, i64>,
    /// The axis of the slices.
    pub axis: i32,
}

/// Storage of the elements that are not zero (`SparsityParameters`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sparsity<'a> {
    /// Order in which the axes, and those inside blocks, are stored.
    pub traversal_order: Numbers<'a, i32>,
    /// The axis that each axis inside blocks divides.
    pub block_map: Numbers<'a, i32>,
    /// One level per entry of `traversal_order`.
    pub levels: Vec<Level<'a>>,
}

/// One level of a sparse tensor (`DimensionMetadata`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Level<'a> {
    /// All of so many.
    Dense(i32),
    /// For each path from above, those indices that lie between two segment ends.
    Sparse {
        /// Ends of the segments, a 0 first.
        segments: Indices<'a>,
        /// Positions along the axis.
        indices: Indices<'a>,
    },
}

/// Positions of any width (`SparseIndexVector`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Indices<'a> {
    /// Of 32 bits.
    I32(Numbers<'a, i32>),
    /// Of 16 bits.
    U16(Numbers<'a, u16>),
    /// Of 8 bits.
    U8(Numbers<'a, u8>),
}

impl Indices<'_> {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Indices::I32(n) => n.len(),
            Indices::U16(n) => n.len(),
            Indices::U8(n) => n.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The one at a position; `None` past the end and where it is negative.
    pub fn get(&self, i: usize) -> Option<usize> {
        match self {
            Indices::I32(n) => usize::try_from(n.get(i)?).ok(),
            Indices::U16(n) => n.get(i).map(usize::from),
            Indices::U8(n) => n.get(i).map(usize::from),
        }
    }
}

/// A node (`Operator`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Operator<'a> {
    /// Position in [`Model::operator_codes`].
    pub code: u32,
    /// Positions of the operands in the tensors; -1 where one is left out.
    pub inputs: Numbers<'a, i32>,
    /// Positions of the results.
    pub outputs: Numbers<'a, i32>,
    /// Which table of options follows.
    pub options_type: u8,
    /// Options of a built-in operator.
    pub options: Option<Table<'a>>,
    /// Options of a custom operator, in a format of its own.
    pub custom_options: &'a [u8],
}

/// Numbers of the element types (`TensorType`).
#[expect(missing_docs, reason = "the names say it")]
pub mod tensor_type {
    pub const FLOAT32: i8 = 0;
    pub const FLOAT16: i8 = 1;
    pub const INT32: i8 = 2;
    pub const UINT8: i8 = 3;
    pub const INT64: i8 = 4;
    pub const STRING: i8 = 5;
    pub const BOOL: i8 = 6;
    pub const INT16: i8 = 7;
    pub const INT8: i8 = 9;
    pub const FLOAT64: i8 = 10;
    pub const RESOURCE: i8 = 13;
    pub const BFLOAT16: i8 = 18;
}
