//! What a converter works with: the node, its operands, and the graph that grows.

use super::super::error::OnnxError;
use super::super::facts::Facts;
use super::super::import::Importer;
use super::super::tensor;
use super::super::wire::{self, AttributeValue};
use depthwise_layers::ir::ValueId;
use depthwise_layers::{Activation, Transpose};
use depthwise_layers::{Binary, BinaryFn, Cast, Op};
use depthwise_tensor::{DType, MAX_RANK, Shape, Tensor};
use half::{bf16, f16};

/// Why a node was not converted.
#[derive(Debug)]
pub(crate) enum Fail {
    /// Something that is not supported, or makes no sense: the reason.
    Unsupported(String),
    /// Something is not known because another node was not converted.
    Poisoned,
    /// The file is broken.
    Error(OnnxError),
}

impl From<OnnxError> for Fail {
    fn from(error: OnnxError) -> Fail {
        Fail::Error(error)
    }
}

/// An error with this reason.
pub(super) fn unsupported<T>(reason: impl Into<String>) -> Result<T, Fail> {
    Err(Fail::Unsupported(reason.into()))
}

/// A node during its conversion.
pub(crate) struct Context<'c, 'm> {
    importer: &'c mut Importer<'m>,
    node: &'m wire::Node<'m>,
    name: &'c str,
    operands: Vec<Option<ValueId>>,
    /// Version of the operator set.
    pub(super) version: i64,
    /// Which attributes have been asked for.
    read: Vec<bool>,
}

impl<'c, 'm> Context<'c, 'm> {
    pub(crate) fn new(
        importer: &'c mut Importer<'m>,
        node: &'m wire::Node<'m>,
        name: &'c str,
        operands: Vec<Option<ValueId>>,
        version: i64,
    ) -> Context<'c, 'm> {
        let read = vec![false; node.attributes.len()];
        Context { importer, node, name, operands, version, read }
    }

    /// An attribute that no converter has asked for would change the result unseen.
    pub(crate) fn check_all_read(&self) -> Result<(), Fail> {
        match self.read.iter().position(|&read| !read) {
            None => Ok(()),
            Some(at) => {
                let name = self.node.attributes[at].name;
                unsupported(format!("its attribute \"{name}\" is not supported"))
            }
        }
    }

    // Operands.

    /// All operands, none of which may be left out.
    pub(super) fn operands(&self) -> Result<Vec<ValueId>, Fail> {
        (0..self.operands.len()).map(|index| self.input(index)).collect()
    }

    /// An operand that must be there.
    pub(super) fn input(&self, index: usize) -> Result<ValueId, Fail> {
        let missing = || Fail::Unsupported(format!("its input number {index} is missing"));
        self.optional(index).ok_or_else(missing)
    }

    /// An operand that may be left out.
    pub(super) fn optional(&self, index: usize) -> Option<ValueId> {
        self.operands.get(index).copied().flatten()
    }

    /// Number of results that the node declares.
    pub(super) fn outputs(&self) -> usize {
        self.node.outputs.len()
    }

    /// Whether the node's result of this number has a name.
    pub(super) fn wants_output(&self, index: usize) -> bool {
        self.node.outputs.get(index).is_some_and(|name| !name.is_empty())
    }

    /// What is known of a value.
    pub(super) fn facts(&self, value: ValueId) -> &Facts {
        self.importer.facts(value)
    }

    /// The elements of a value that is constant.
    pub(super) fn tensor(&self, value: ValueId) -> Option<&Tensor> {
        self.importer.graph.constant(value)
    }

    /// The extents of a value that is constant, or made of a constant of another type.
    pub(super) fn weight_shape(&self, value: ValueId) -> Option<Shape> {
        let graph = &self.importer.graph;
        let stored = || {
            let node = graph.node(graph.producer(value)?);
            let is_typed = matches!(node.op, Op::Dequantize(_) | Op::Cast(_));
            is_typed.then(|| graph.constant(node.inputs[0]?)).flatten()
        };
        self.tensor(value).or_else(stored).map(|tensor| *tensor.shape())
    }

    /// The integers of an operand, which must be constant, or follow from constants, where it is
    /// there.
    pub(super) fn constant_ints(&self, index: usize, what: &str) -> Result<Option<Vec<i64>>, Fail> {
        let Some(value) = self.optional(index) else { return Ok(None) };
        match self.importer.known(value) {
            Some(tensor) => Ok(Some(tensor.to_i64().into_owned())),
            None if self.facts(value).poisoned => Err(Fail::Poisoned),
            None => unsupported(format!("its {what} are not constant")),
        }
    }

    /// The number of dimensions of a value.
    pub(super) fn rank(&self, value: ValueId) -> Result<usize, Fail> {
        match self.facts(value) {
            Facts { rank: Some(rank), .. } if *rank > MAX_RANK => {
                unsupported(format!("its input has {rank} dimensions; at most {MAX_RANK}"))
            }
            Facts { rank: Some(rank), .. } => Ok(*rank),
            Facts { poisoned: true, .. } => Err(Fail::Poisoned),
            _ => unsupported("the number of dimensions of its input is not known"),
        }
    }

    /// The extents of a value that is a constant, or an input of the network, where all are fixed.
    pub(super) fn input_extents(&self, value: ValueId) -> Option<Vec<usize>> {
        if let Some(tensor) = self.tensor(value) {
            return Some(tensor.shape().to_vec());
        }
        let declared = self.importer.graph.input_type(value)?;
        declared.shape().map(|shape| shape.to_vec()).filter(|_| !self.facts(value).poisoned)
    }

    /// The element type of a value.
    pub(super) fn dtype(&self, value: ValueId) -> Result<DType, Fail> {
        match self.facts(value) {
            Facts { dtype: Some(dtype), .. } => Ok(*dtype),
            Facts { poisoned: true, .. } => Err(Fail::Poisoned),
            _ => unsupported("the element type of its input is not known"),
        }
    }

    // Attributes.

    fn attribute(&mut self, name: &str) -> Option<&'m AttributeValue<'m>> {
        let at = self.node.attributes.iter().position(|attribute| attribute.name == name)?;
        self.read[at] = true;
        Some(&self.node.attributes[at].value)
    }

    /// Marks attributes as known to make no difference.
    pub(super) fn ignore(&mut self, names: &[&str]) {
        for name in names {
            let _ = self.attribute(name);
        }
    }

    /// An integer attribute, if it is there.
    pub(super) fn int_attr(&mut self, name: &str) -> Result<Option<i64>, Fail> {
        match self.attribute(name) {
            None => Ok(None),
            Some(AttributeValue::Int(n)) => Ok(Some(*n)),
            Some(_) => unsupported(format!("its attribute \"{name}\" is not an integer")),
        }
    }

    /// An integer attribute, or its default.
    pub(super) fn int_or(&mut self, name: &str, default: i64) -> Result<i64, Fail> {
        Ok(self.int_attr(name)?.unwrap_or(default))
    }

    /// A truth-value attribute, or its default.
    pub(super) fn flag(&mut self, name: &str, default: bool) -> Result<bool, Fail> {
        Ok(self.int_or(name, default.into())? != 0)
    }

    /// Refuses an integer attribute of any value but this one, which is the default.
    pub(super) fn only(&mut self, name: &str, value: i64) -> Result<(), Fail> {
        match self.int_or(name, value)? {
            got if got == value => Ok(()),
            got => unsupported(format!("{name} = {got} is not supported")),
        }
    }

    /// A list of integers, if it is there.
    pub(super) fn ints_attr(&mut self, name: &str) -> Result<Option<Vec<i64>>, Fail> {
        match self.attribute(name) {
            None => Ok(None),
            Some(AttributeValue::Ints(list)) => Ok(Some(list.clone())),
            Some(_) => unsupported(format!("its attribute \"{name}\" is not a list of integers")),
        }
    }

    /// A number, or its default.
    pub(super) fn float_or(&mut self, name: &str, default: f32) -> Result<f32, Fail> {
        Ok(self.float_attr(name)?.unwrap_or(default))
    }

    /// A number, if it is there.
    pub(super) fn float_attr(&mut self, name: &str) -> Result<Option<f32>, Fail> {
        match self.attribute(name) {
            None => Ok(None),
            Some(AttributeValue::Float(x)) => Ok(Some(*x)),
            Some(_) => unsupported(format!("its attribute \"{name}\" is not a number")),
        }
    }

    /// A list of numbers, if it is there.
    pub(super) fn floats_attr(&mut self, name: &str) -> Result<Option<Vec<f32>>, Fail> {
        match self.attribute(name) {
            None => Ok(None),
            Some(AttributeValue::Floats(list)) => Ok(Some(list.clone())),
            Some(_) => unsupported(format!("its attribute \"{name}\" is not a list of numbers")),
        }
    }

    /// A text, or its default.
    pub(super) fn text_or(&mut self, name: &str, default: &str) -> Result<String, Fail> {
        match self.attribute(name) {
            None => Ok(default.to_owned()),
            Some(AttributeValue::String(text)) => Ok(String::from_utf8_lossy(text).into_owned()),
            Some(_) => unsupported(format!("its attribute \"{name}\" is not a text")),
        }
    }

    /// A tensor, if it is there.
    pub(super) fn tensor_attr(&mut self, name: &str) -> Result<Option<Tensor>, Fail> {
        let tensor = match self.attribute(name) {
            None => return Ok(None),
            Some(AttributeValue::Tensor(tensor)) => tensor,
            Some(AttributeValue::Other(what)) => {
                return unsupported(format!("its attribute \"{name}\" is {what}"));
            }
            Some(_) => return unsupported(format!("its attribute \"{name}\" is not a tensor")),
        };
        match tensor::dtype(tensor.data_type) {
            Some(dtype) => Ok(Some(self.importer.tensors.read(tensor, dtype, self.name)?)),
            None => {
                let dtype = tensor::dtype_name(tensor.data_type.into());
                unsupported(format!("its attribute \"{name}\" is a tensor of {dtype}"))
            }
        }
    }

    /// An element type.
    pub(super) fn dtype_attr(&mut self, name: &str) -> Result<DType, Fail> {
        let Some(number) = self.int_attr(name)? else {
            return unsupported(format!("its attribute \"{name}\" is missing"));
        };
        let known = i32::try_from(number).ok().and_then(tensor::dtype);
        let unknown = || format!("the element type {}", tensor::dtype_name(number));
        known.ok_or_else(|| Fail::Unsupported(unknown() + " is not supported"))
    }

    // The graph.

    /// Adds an operation. The one with an empty role bears the node's name, helpers bear it with
    /// their role.
    pub(super) fn add(&mut self, role: &str, op: impl Into<Op>, inputs: &[ValueId]) -> ValueId {
        let inputs: Vec<_> = inputs.iter().copied().map(Some).collect();
        self.add_many(role, op, &inputs, 1)[0]
    }

    /// Adds an operation with operands that may be left out, and several results.
    pub(super) fn add_many(
        &mut self,
        role: &str,
        op: impl Into<Op>,
        inputs: &[Option<ValueId>],
        outputs: usize,
    ) -> Vec<ValueId> {
        let name = self.role_name(role);
        self.importer.add_node(&name, op.into(), inputs, outputs)
    }

    /// Adds a constant.
    pub(super) fn constant(&mut self, role: &str, tensor: Tensor) -> ValueId {
        let name = self.role_name(role);
        self.importer.add_const(&name, tensor)
    }

    /// Adds a list of integers.
    pub(super) fn ints(&mut self, role: &str, list: &[i64]) -> ValueId {
        let tensor = Tensor::from_slice(&[list.len()], list).expect("one extent fits its list");
        self.constant(role, tensor)
    }

    /// Adds one number of the given element type.
    pub(super) fn scalar(&mut self, role: &str, dtype: DType, value: f64) -> ValueId {
        let tensor = match dtype {
            DType::F64 => Tensor::scalar(value),
            DType::F16 => Tensor::scalar(f16::from_f64(value)),
            DType::Bf16 => Tensor::scalar(bf16::from_f64(value)),
            DType::I64 => Tensor::scalar(value as i64),
            DType::I32 => Tensor::scalar(value as i32),
            DType::I16 => Tensor::scalar(value as i16),
            DType::I8 => Tensor::scalar(value as i8),
            DType::U8 => Tensor::scalar(value as u8),
            _ => Tensor::scalar(value as f32),
        };
        self.constant(role, tensor)
    }

    /// Adds a function of two operands.
    pub(super) fn binary(
        &mut self,
        role: &str,
        function: BinaryFn,
        a: ValueId,
        b: ValueId,
    ) -> ValueId {
        self.add(role, Binary { function, activation: Activation::Identity }, &[a, b])
    }

    /// Adds a change of the order of axes.
    pub(super) fn transpose(&mut self, role: &str, x: ValueId, perm: &[usize]) -> ValueId {
        self.add(role, Transpose { perm: perm.to_vec() }, &[x])
    }

    /// The value as `i64`, which extents, positions and axes are here.
    pub(super) fn as_i64(&mut self, role: &str, value: ValueId) -> ValueId {
        self.as_dtype(role, value, DType::I64)
    }

    /// The value in another element type; the value itself where it is of that type.
    pub(super) fn as_dtype(&mut self, role: &str, value: ValueId, to: DType) -> ValueId {
        if self.facts(value).dtype == Some(to) {
            return value;
        }
        self.add(&format!("{role}.cast"), Cast { to }, &[value])
    }

    fn role_name(&self, role: &str) -> String {
        match role {
            "" => self.name.to_owned(),
            role => format!("{}/{role}", self.name),
        }
    }
}
