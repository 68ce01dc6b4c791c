//! Graphs built node by node, the type of every value known at once.

use crate::TrainError;
use depthwise_layers::ir::{Graph, InputType, ValueId};
use depthwise_layers::{
    Activate, Activation, Arg, Binary, BinaryFn, Op, Reduce, ReduceFn, Reshape, TensorType,
    Transpose, Unary, UnaryFn,
};
use depthwise_tensor::{DType, Shape, Tensor};

/// A graph that grows, with the types of its values.
#[derive(Debug)]
pub(crate) struct Builder {
    pub(crate) graph: Graph,
    types: Vec<Option<TensorType>>,
    /// Put before the names of new nodes.
    prefix: String,
}

impl Builder {
    pub(crate) fn new(name: &str) -> Builder {
        Builder { graph: Graph::new(name), types: Vec::new(), prefix: String::new() }
    }

    /// Takes over a graph whose inputs have these shapes.
    pub(crate) fn of_graph(graph: Graph, shapes: &[Shape]) -> Result<Builder, TrainError> {
        let found = depthwise_layers::ir::infer_types(&graph, shapes)?;
        let types = graph.value_ids().map(|id| found.get(id)).collect();
        Ok(Builder { graph, types, prefix: String::new() })
    }

    /// Nodes from here on are named after this.
    pub(crate) fn set_prefix(&mut self, prefix: impl Into<String>) {
        self.prefix = prefix.into();
    }

    pub(crate) fn ty(&self, id: ValueId) -> TensorType {
        self.types[id.index()].expect("every value of a builder has a type")
    }

    pub(crate) fn shape(&self, id: ValueId) -> Shape {
        self.ty(id).shape
    }

    fn set_type(&mut self, id: ValueId, ty: TensorType) {
        if self.types.len() <= id.index() {
            self.types.resize(id.index() + 1, None);
        }
        self.types[id.index()] = Some(ty);
    }

    pub(crate) fn input(&mut self, name: &str, ty: TensorType) -> ValueId {
        let id = self.graph.add_input(name, InputType::fixed(ty.dtype, &ty.shape));
        self.set_type(id, ty);
        id
    }

    pub(crate) fn constant(&mut self, name: &str, tensor: Tensor) -> ValueId {
        let ty = TensorType::of(&tensor);
        let id = self.graph.add_const(name, tensor);
        self.set_type(id, ty);
        id
    }

    /// A list of integers.
    pub(crate) fn ints(&mut self, values: &[i64]) -> Result<ValueId, TrainError> {
        Ok(self.constant("", Tensor::from_slice(&[values.len()], values)?))
    }

    /// A number of the type of the elements of `like`.
    pub(crate) fn number(&mut self, value: f64, like: ValueId) -> ValueId {
        let tensor = match self.ty(like).dtype {
            DType::F64 => Tensor::scalar(value),
            _ => Tensor::scalar(value as f32),
        };
        self.constant("", tensor)
    }

    /// A node with all its outputs, named `names`.
    pub(crate) fn node(
        &mut self,
        name: &str,
        op: Op,
        inputs: &[Option<ValueId>],
        names: &[&str],
    ) -> Result<Vec<ValueId>, TrainError> {
        let args: Vec<Option<Arg<'_>>> = inputs
            .iter()
            .map(|input| input.map(|id| Arg { ty: self.ty(id), value: self.graph.constant(id) }))
            .collect();
        let types = op
            .layer()
            .infer(&args)
            .map_err(|source| TrainError::Layer { node: name.into(), source })?;
        let outputs = self.graph.add_node(name, op, inputs, names);
        for (&id, ty) in outputs.iter().zip(types) {
            self.set_type(id, ty);
        }
        Ok(outputs)
    }

    /// A node with `outputs` results, named by kind and number.
    pub(crate) fn emit_all(
        &mut self,
        op: impl Into<Op>,
        inputs: &[Option<ValueId>],
        outputs: usize,
    ) -> Result<Vec<ValueId>, TrainError> {
        let op = op.into();
        let number = self.graph.nodes().len();
        let name = format!("{}{}.{number}", self.prefix, op.layer().kind());
        let names: Vec<String> = (0..outputs).map(|i| format!("{name}.{i}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        self.node(&name, op, inputs, &names)
    }

    /// A node with one result.
    pub(crate) fn emit(
        &mut self,
        op: impl Into<Op>,
        inputs: &[ValueId],
    ) -> Result<ValueId, TrainError> {
        let inputs: Vec<_> = inputs.iter().copied().map(Some).collect();
        Ok(self.emit_all(op, &inputs, 1)?[0])
    }

    pub(crate) fn binary(
        &mut self,
        function: BinaryFn,
        a: ValueId,
        b: ValueId,
    ) -> Result<ValueId, TrainError> {
        self.emit(Binary { function, activation: Activation::Identity }, &[a, b])
    }

    pub(crate) fn add(&mut self, a: ValueId, b: ValueId) -> Result<ValueId, TrainError> {
        self.binary(BinaryFn::Add, a, b)
    }

    pub(crate) fn sub(&mut self, a: ValueId, b: ValueId) -> Result<ValueId, TrainError> {
        self.binary(BinaryFn::Sub, a, b)
    }

    pub(crate) fn mul(&mut self, a: ValueId, b: ValueId) -> Result<ValueId, TrainError> {
        self.binary(BinaryFn::Mul, a, b)
    }

    /// `x * factor`
    pub(crate) fn scale(&mut self, x: ValueId, factor: f64) -> Result<ValueId, TrainError> {
        let factor = self.number(factor, x);
        self.mul(x, factor)
    }

    pub(crate) fn unary(&mut self, function: UnaryFn, x: ValueId) -> Result<ValueId, TrainError> {
        self.emit(Unary { function }, &[x])
    }

    pub(crate) fn activate(&mut self, f: Activation, x: ValueId) -> Result<ValueId, TrainError> {
        self.emit(Activate { activation: f }, &[x])
    }

    /// Over these axes, which stay with extent 1.
    pub(crate) fn reduce(
        &mut self,
        function: ReduceFn,
        x: ValueId,
        axes: &[usize],
    ) -> Result<ValueId, TrainError> {
        let axes = axes.iter().map(|&a| a as i64).collect();
        self.emit(Reduce { function, axes, keep_dims: true }, &[x])
    }

    /// The sum of all elements, without dimensions.
    pub(crate) fn total(&mut self, x: ValueId) -> Result<ValueId, TrainError> {
        self.emit(Reduce { function: ReduceFn::Sum, axes: vec![], keep_dims: false }, &[x])
    }

    pub(crate) fn transpose(&mut self, x: ValueId, perm: &[usize]) -> Result<ValueId, TrainError> {
        self.emit(Transpose { perm: perm.to_vec() }, &[x])
    }

    pub(crate) fn reshape(&mut self, x: ValueId, dims: &[usize]) -> Result<ValueId, TrainError> {
        if self.shape(x).dims() == dims {
            return Ok(x);
        }
        let dims: Vec<i64> = dims.iter().map(|&d| d as i64).collect();
        let dims = self.ints(&dims)?;
        self.emit(Reshape { allow_zero: true }, &[x, dims])
    }

    /// `x` summed to a shape that broadcasts to its own.
    pub(crate) fn sum_to(&mut self, x: ValueId, shape: &Shape) -> Result<ValueId, TrainError> {
        let from = self.shape(x);
        let lead = from.rank() - shape.rank();
        let axes: Vec<usize> = (0..from.rank())
            .filter(|&axis| axis < lead || (shape[axis - lead] == 1 && from[axis] != 1))
            .collect();
        let summed = if axes.is_empty() { x } else { self.reduce(ReduceFn::Sum, x, &axes)? };
        self.reshape(summed, shape.dims())
    }

    /// `x` repeated to a shape that it broadcasts to.
    pub(crate) fn expand(&mut self, x: ValueId, shape: &Shape) -> Result<ValueId, TrainError> {
        if self.shape(x) == *shape {
            return Ok(x);
        }
        let dims: Vec<i64> = shape.iter().map(|&d| d as i64).collect();
        let dims = self.ints(&dims)?;
        self.emit(depthwise_layers::Expand, &[x, dims])
    }

    /// Elements `start .. start + len` of an axis.
    pub(crate) fn part(
        &mut self,
        x: ValueId,
        axis: usize,
        start: usize,
        len: usize,
    ) -> Result<ValueId, TrainError> {
        if self.shape(x)[axis] == len {
            return Ok(x);
        }
        let starts = self.ints(&[start as i64])?;
        let ends = self.ints(&[(start + len) as i64])?;
        let axes = self.ints(&[axis as i64])?;
        self.emit(depthwise_layers::Slice, &[x, starts, ends, axes])
    }
}
