//! What a converter works with: the operator, its operands, and the graph that grows.

use super::super::error::TfliteError;
use super::super::import::Importer;
use super::super::tensor;
use super::super::wire::{Numbers, Operator, Table, WireError};
use super::fold::Fold;
use depthwise_layers::ir::ValueId;
use depthwise_layers::{
    Activate, Activation, Binary, BinaryFn, Cast, Gather, Op, Reshape, ShapeOf,
};
use depthwise_layers::{Concat, TensorType, Transpose};
use depthwise_tensor::{DType, MAX_RANK, Tensor};

/// Why an operator was not converted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fail {
    /// Something that is not supported, or makes no sense: the reason.
    #[error("{0}")]
    Unsupported(String),
    /// It depends on an operator that was not converted.
    #[error("it depends on an operator that is not supported")]
    Poisoned,
    /// The file is broken.
    #[error(transparent)]
    Error(#[from] TfliteError),
}

impl From<WireError> for Fail {
    fn from(error: WireError) -> Fail {
        Fail::Error(error.into())
    }
}

/// An error with this reason.
pub(super) fn unsupported<T>(reason: impl Into<String>) -> Result<T, Fail> {
    Err(Fail::Unsupported(reason.into()))
}

/// Constant weights as they are stored.
pub(super) struct Weights {
    pub(super) stored: Tensor,
    /// The tensor of the file that says what integers stand for.
    scaled: Option<usize>,
}

/// An operator during its conversion.
pub(crate) struct Context<'c, 'm> {
    importer: &'c mut Importer<'m>,
    operator: &'m Operator<'m>,
    index: usize,
    name: &'c str,
    /// The part that it plays in a dilated convolution that is written as several operators.
    pub(super) fold: Option<Fold>,
}

impl<'c, 'm> Context<'c, 'm> {
    pub(crate) fn new(
        importer: &'c mut Importer<'m>,
        operator: &'m Operator<'m>,
        index: usize,
        name: &'c str,
        fold: Option<Fold>,
    ) -> Context<'c, 'm> {
        Context { importer, operator, index, name, fold }
    }

    // Operands.

    /// Number of operands, those left out included.
    pub(crate) fn inputs(&self) -> usize {
        self.operator.inputs.len()
    }

    /// Number of results.
    pub(crate) fn outputs(&self) -> usize {
        self.operator.outputs.len()
    }

    /// The state between operators.
    pub(super) fn importer(&mut self) -> &mut Importer<'m> {
        self.importer
    }

    /// The operator, as messages name it.
    pub(super) fn reader(&self) -> String {
        format!("operator {} ({})", self.index, self.name)
    }

    /// Position of an operand that is not left out among the tensors.
    pub(super) fn present(&self, i: usize) -> Result<usize, Fail> {
        let missing = || Fail::Unsupported(format!("its input number {i} is missing"));
        self.operand(i)?.ok_or_else(missing)
    }

    /// Position of a result among the tensors.
    pub(super) fn result(&self, i: usize) -> Result<usize, Fail> {
        let index = self.operator.outputs.get(i).and_then(|tensor| usize::try_from(tensor).ok());
        index.ok_or_else(|| Fail::Unsupported(format!("it has no result number {i}")))
    }

    /// Position of an operand among the tensors, `None` where it is left out.
    fn operand(&self, i: usize) -> Result<Option<usize>, Fail> {
        match self.operator.inputs.get(i) {
            None | Some(-1) => Ok(None),
            Some(tensor) => {
                let index = usize::try_from(tensor).ok();
                let known = index.filter(|&at| at < self.importer.tensors());
                known.map(Some).ok_or_else(|| {
                    let reader = self.reader();
                    TfliteError::Undefined { reader, tensor: format!("number {tensor}") }.into()
                })
            }
        }
    }

    /// An operand that may be left out.
    pub(super) fn optional(&mut self, i: usize) -> Result<Option<ValueId>, Fail> {
        let Some(index) = self.operand(i)? else { return Ok(None) };
        let reader = self.reader();
        self.importer.value(index, &reader).map(Some)
    }

    /// An operand; real numbers are `f32`.
    pub(crate) fn input(&mut self, i: usize) -> Result<ValueId, Fail> {
        let missing = || Fail::Unsupported(format!("its input number {i} is missing"));
        self.optional(i)?.ok_or_else(missing)
    }

    /// The name of the tensor of an operand, for messages.
    pub(super) fn operand_name(&self, i: usize) -> &'m str {
        let index = self.operand(i).ok().flatten();
        index.map_or("", |index| &*self.importer.tensor(index).name)
    }

    /// The element type that the file gives a result.
    pub(super) fn result_dtype(&self, i: usize) -> Option<DType> {
        let index = usize::try_from(self.operator.outputs.get(i)?).ok()?;
        tensor::dtype(self.importer.tensor(index).dtype)
    }

    /// Most dimensions of a value.
    pub(super) fn max_rank(&self) -> usize {
        MAX_RANK
    }

    /// All operands.
    pub(super) fn all_inputs(&mut self) -> Result<Vec<ValueId>, Fail> {
        (0..self.inputs()).map(|i| self.input(i)).collect()
    }

    /// The value of an operand as the file has it: integers that stand for real numbers stay so.
    pub(super) fn raw(&mut self, i: usize) -> Result<ValueId, Fail> {
        let Some(index) = self.operand(i)? else {
            return unsupported(format!("its input number {i} is missing"));
        };
        let reader = format!("operator {} ({})", self.index, self.name);
        self.importer.raw(index, &reader)
    }

    /// A constant operand as it is stored; `None` where it is not constant.
    pub(super) fn weight(&mut self, i: usize) -> Result<Option<Weights>, Fail> {
        let Some(index) = self.operand(i)? else {
            return unsupported(format!("its input number {i} is missing"));
        };
        let Some(stored) = self.importer.stored(index)? else { return Ok(None) };
        let source = self.importer.scale_source(index);
        let scaled = stored.dtype().is_int().then_some(source);
        Ok(Some(Weights { stored, scaled }))
    }

    /// Adds weights; integers with what makes real numbers of them.
    pub(super) fn add_weights(&mut self, role: &str, w: Weights) -> Result<ValueId, Fail> {
        let stored = self.constant(role, w.stored);
        match w.scaled {
            Some(tensor) => self.importer.dequantize(tensor, stored),
            None => Ok(stored),
        }
    }

    /// A bias: constant, in whatever precision it is stored.
    pub(super) fn bias(&mut self, i: usize) -> Result<Option<ValueId>, Fail> {
        if self.operand(i)?.is_none() {
            return Ok(None);
        }
        match self.weight(i)? {
            Some(bias) => self.add_weights("bias", bias).map(Some),
            None => self.input(i).map(Some),
        }
    }

    /// The result of an operator that changes how a constant is stored; `None` where that is done.
    pub(super) fn restored(&mut self) -> Result<Option<ValueId>, Fail> {
        let Some(index) = self.operand(0)? else { return unsupported("it has no operand") };
        let output = self.operator.outputs.get(0).and_then(|i| usize::try_from(i).ok());
        let Some(output) = output else { return unsupported("it has no result") };
        match self.importer.stored(index)? {
            Some(tensor) => {
                self.importer.bind_narrow(output, tensor, index);
                Ok(None)
            }
            None => {
                let x = self.input(0)?;
                if !self.ty(x).dtype.is_float() {
                    return unsupported(format!("of {} that are not constant", self.ty(x)));
                }
                self.as_dtype("", x, DType::F32).map(Some)
            }
        }
    }

    /// The type of a value, where free extents are as the file has them.
    pub(crate) fn ty(&self, value: ValueId) -> TensorType {
        self.importer.ty(value)
    }

    /// The number of dimensions of a value.
    pub(super) fn rank(&self, value: ValueId) -> usize {
        self.ty(value).shape.rank()
    }

    /// Whether some extent of an input is free.
    pub(super) fn has_free(&self) -> bool {
        self.importer.has_free
    }

    /// The elements of a value that is known before the network runs.
    pub(crate) fn known(&self, value: ValueId) -> Option<&Tensor> {
        self.importer.known(value)
    }

    /// The integers of an operand, which must be constant.
    pub(super) fn ints(&mut self, i: usize, what: &str) -> Result<Vec<i64>, Fail> {
        let value = self.input(i)?;
        match self.known(value) {
            Some(tensor) if tensor.dtype().is_int() => Ok(tensor.to_i64().into_owned()),
            Some(tensor) => unsupported(format!("its {what} are {}", tensor.dtype())),
            None => unsupported(format!("its {what} are not constant")),
        }
    }

    /// The axes that an operand names.
    pub(super) fn axis(&mut self, i: usize) -> Result<i64, Fail> {
        match self.ints(i, "axes")?[..] {
            [axis] => Ok(axis),
            ref axes => unsupported(format!("{} axes where one is asked for", axes.len())),
        }
    }

    // Options.

    /// The options of a built-in operator.
    fn options(&self) -> Option<Table<'m>> {
        self.operator.options
    }

    /// The options of a custom operator.
    pub(crate) fn custom_options(&self) -> &'m [u8] {
        self.operator.custom_options
    }

    /// A number of 32 bits.
    pub(super) fn i32(&self, field: usize, default: i32) -> Result<i32, Fail> {
        Ok(self.options().map_or(Ok(default), |t| t.number(field, default))?)
    }

    /// A number of 32 bits that counts something, such as a step.
    pub(super) fn positive(&self, field: usize, default: i32, what: &str) -> Result<usize, Fail> {
        let number = self.i32(field, default)?;
        match usize::try_from(number) {
            Ok(n) if n > 0 => Ok(n),
            _ => unsupported(format!("{what} {number} is not positive")),
        }
    }

    /// A number of 8 bits.
    pub(super) fn i8(&self, field: usize) -> Result<i8, Fail> {
        Ok(self.options().map_or(Ok(0), |t| t.number(field, 0))?)
    }

    /// A floating-point number.
    pub(super) fn f32(&self, field: usize, default: f32) -> Result<f32, Fail> {
        Ok(self.options().map_or(Ok(default), |t| t.number(field, default))?)
    }

    /// A text.
    pub(super) fn text(&self, field: usize) -> Result<String, Fail> {
        let text = self.options().map_or(Ok(Default::default()), |t| t.text(field))?;
        Ok(text.into_owned())
    }

    /// A truth value.
    pub(super) fn flag(&self, field: usize) -> Result<bool, Fail> {
        Ok(self.options().map_or(Ok(false), |t| t.flag(field))?)
    }

    /// A list of numbers.
    pub(super) fn i32s(&self, field: usize) -> Result<Numbers<'m, i32>, Fail> {
        Ok(self.options().map_or(Ok(Numbers::default()), |t| t.numbers(field))?)
    }

    /// The activation that follows.
    pub(super) fn activation(&self, field: usize) -> Result<Activation, Fail> {
        match self.i8(field)? {
            0 => Ok(Activation::Identity),
            1 => Ok(Activation::RELU),
            2 => Ok(Activation::Clip { min: -1.0, max: 1.0 }),
            3 => Ok(Activation::RELU6),
            4 => Ok(Activation::Tanh),
            other => unsupported(format!("the fused activation number {other}")),
        }
    }

    // The graph.

    /// Adds an operation. The one with an empty role bears the operator's name, helpers bear it
    /// with their role.
    pub(super) fn add(
        &mut self,
        role: &str,
        op: impl Into<Op>,
        inputs: &[ValueId],
    ) -> Result<ValueId, Fail> {
        let inputs: Vec<_> = inputs.iter().copied().map(Some).collect();
        Ok(self.add_many(role, op, &inputs)?[0])
    }

    /// Adds an operation with operands that may be left out, and several results.
    pub(crate) fn add_many(
        &mut self,
        role: &str,
        op: impl Into<Op>,
        inputs: &[Option<ValueId>],
    ) -> Result<Vec<ValueId>, Fail> {
        let name = self.role_name(role);
        self.importer.add_node(&name, op.into(), inputs)
    }

    fn role_name(&self, role: &str) -> String {
        if role.is_empty() { self.name.to_owned() } else { format!("{}.{role}", self.name) }
    }

    /// Adds a constant.
    pub(crate) fn constant(&mut self, role: &str, tensor: Tensor) -> ValueId {
        let name = self.role_name(role);
        self.importer.add_const(&name, tensor)
    }

    /// Adds a list of integers.
    pub(super) fn list(&mut self, role: &str, list: &[i64]) -> ValueId {
        let tensor = Tensor::from_slice(&[list.len()], list).expect("one extent fits its list");
        self.constant(role, tensor)
    }

    /// Adds a function of two operands.
    pub(super) fn binary(
        &mut self,
        role: &str,
        function: BinaryFn,
        a: ValueId,
        b: ValueId,
    ) -> Result<ValueId, Fail> {
        self.add(role, Binary { function, activation: Activation::Identity }, &[a, b])
    }

    /// Adds an activation, if it is one.
    pub(super) fn activate(&mut self, x: ValueId, activation: Activation) -> Result<ValueId, Fail> {
        match activation {
            Activation::Identity => Ok(x),
            activation => self.add("activation", Activate { activation }, &[x]),
        }
    }

    /// Adds a change of the order of axes.
    pub(super) fn transpose(
        &mut self,
        role: &str,
        x: ValueId,
        perm: &[usize],
    ) -> Result<ValueId, Fail> {
        self.add(role, Transpose { perm: perm.to_vec() }, &[x])
    }

    /// Adds other extents for the same elements; -1 takes what is left.
    pub(super) fn reshape(
        &mut self,
        role: &str,
        x: ValueId,
        dims: &[i64],
    ) -> Result<ValueId, Fail> {
        let dims = self.list("extents", dims);
        self.add(role, Reshape { allow_zero: true }, &[x, dims])
    }

    /// The value in another element type; the value itself where it is of that type.
    pub(super) fn as_dtype(
        &mut self,
        role: &str,
        value: ValueId,
        to: DType,
    ) -> Result<ValueId, Fail> {
        if self.ty(value).dtype == to {
            return Ok(value);
        }
        self.add(role, Cast { to }, &[value])
    }

    /// The extents of `x` with these in place of its own along the middle axes of a picture.
    pub(super) fn picture_extents(&mut self, x: ValueId, hw: [i64; 2]) -> Result<ValueId, Fail> {
        let shape = self.ty(x).shape;
        if shape.rank() != 4 {
            return unsupported(format!("{shape} is no picture"));
        }
        if !self.has_free() {
            return Ok(self.list("sizes", &[shape[0] as i64, hw[0], hw[1], shape[3] as i64]));
        }
        let all = self.add("extents", ShapeOf { start: 0, end: None }, &[x])?;
        let mut part = |role: &str, axis: i64| {
            let which = self.list(role, &[axis]);
            self.add(role, Gather { axis: 0 }, &[all, which])
        };
        let (n, c) = (part("pictures", 0)?, part("channels", 3)?);
        let hw = self.list("height.width", &hw);
        self.add("sizes", Concat { axis: 0 }, &[n, hw, c])
    }
}
