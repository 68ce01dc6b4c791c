//! From the file's network to ours: tensors, order, inputs and outputs. What an operator means is
//! said in `ops/`.

use super::custom::CustomOps;
use super::error::{TfliteError, UnsupportedOperator};
use super::ops::{self, Context, Fail};
use super::tensor::{self, Constants};
use super::variable::Variables;
use super::wire;
use bytes::Bytes;
use depthwise_layers::ir::{Dim, Graph, InputType, ValueId};
use depthwise_layers::{Activate, Activation, Arg, Cast, Dequantize, Op, Quantize, TensorType};
use depthwise_tensor::{DType, Tensor};
use std::collections::{HashMap, HashSet};

/// Largest result that is computed while a graph is built: shapes and positions, not weights.
const MAX_DERIVED_ELEMENTS: usize = 4096;

/// Builds the graph of a model's first network.
pub(super) fn import(
    model: &wire::Model<'_>,
    file: Bytes,
    custom: &CustomOps,
) -> Result<Graph, TfliteError> {
    let Some(network) = model.subgraphs.first() else {
        return Err(TfliteError::Feature("a file without a network".into()));
    };
    let mut importer = Importer::new(model, network, Constants::new(file, &model.buffers), custom)?;
    let mut unsupported = Vec::new();
    let folds = ops::Folds::find(model, network);
    for (index, operator) in network.operators.iter().enumerate() {
        importer.operator(index, operator, &folds, &mut unsupported)?;
    }
    if !unsupported.is_empty() {
        return Err(TfliteError::Unsupported(unsupported));
    }
    importer.finish()
}

/// What a tensor of the file is here.
#[derive(Clone, Debug)]
enum Slot {
    /// Nothing defines it yet.
    Undefined,
    /// A value of the graph.
    Value(ValueId),
    /// Integers that stand for real numbers, and these once something has asked for them.
    Quantized { stored: ValueId, real: Option<ValueId> },
    /// Constant elements that stand for real numbers in a narrower form, of this tensor.
    Narrow(Tensor, usize),
    /// It depends on an operator that was not imported.
    Poisoned,
}

/// A result that is known before the network runs.
#[derive(Clone, Debug)]
struct Derived {
    value: Tensor,
    /// Whatever the free extents of the inputs are.
    exact: bool,
}

/// The state between operators.
pub(super) struct Importer<'m> {
    pub(super) graph: Graph,
    pub(super) custom: &'m CustomOps,
    pub(super) model: &'m wire::Model<'m>,
    network: &'m wire::Subgraph<'m>,
    pub(super) constants: Constants<'m>,
    slots: Vec<Slot>,
    /// Types of the values of `graph`, where free extents are as the file has them.
    pub(super) types: Vec<TensorType>,
    pub(super) variables: Variables,
    derived: HashMap<ValueId, Derived>,
    /// Some extent of an input is free.
    pub(super) has_free: bool,
}

impl<'m> Importer<'m> {
    pub(super) fn new(
        model: &'m wire::Model<'m>,
        network: &'m wire::Subgraph<'m>,
        constants: Constants<'m>,
        custom: &'m CustomOps,
    ) -> Result<Importer<'m>, TfliteError> {
        let mut importer = Importer {
            graph: Graph::new(network.name.clone()),
            custom,
            model,
            network,
            constants,
            slots: vec![Slot::Undefined; network.tensors.len()],
            types: Vec::new(),
            variables: Variables::default(),
            derived: HashMap::new(),
            has_free: false,
        };
        let mut names = HashSet::new();
        for input in network.inputs.iter() {
            let index = importer.index(input, || "the list of inputs".into())?;
            if !matches!(importer.slots[index], Slot::Undefined) {
                return Err(importer.tensor_error(index, "it is an input twice".into()));
            }
            let mut name = network.tensors[index].name.clone().into_owned();
            while !names.insert(name.clone()) {
                name += &format!("_{index}");
            }
            importer.input(index, name)?;
        }
        Ok(importer)
    }

    /// The position of a tensor, checked.
    fn index(&self, tensor: i32, reader: impl Fn() -> String) -> Result<usize, TfliteError> {
        let index = usize::try_from(tensor).ok().filter(|&index| index < self.slots.len());
        index.ok_or_else(|| TfliteError::Undefined {
            reader: reader(),
            tensor: format!("number {tensor}"),
        })
    }

    fn tensor_error(&self, index: usize, reason: String) -> TfliteError {
        let tensor = self.network.tensors[index].name.clone().into_owned();
        TfliteError::Tensor { index, tensor, reason }
    }

    /// The type that the file gives a tensor.
    fn declared(&self, index: usize) -> Result<Result<TensorType, TfliteError>, String> {
        let tensor = &self.network.tensors[index];
        let Some(dtype) = tensor::dtype(tensor.dtype) else {
            return Err(tensor::dtype_name(tensor.dtype));
        };
        let shape = tensor::shape(tensor).map_err(|reason| self.tensor_error(index, reason));
        Ok(shape.map(|shape| TensorType { dtype, shape }))
    }

    fn input(&mut self, index: usize, name: String) -> Result<(), TfliteError> {
        let ty = self.declared(index).map_err(|dtype| {
            self.tensor_error(index, format!("inputs of type {dtype} are not supported"))
        })??;
        let signature = &self.network.tensors[index].signature;
        let free = |axis: usize| signature.get(axis).is_some_and(|d| d < 0);
        let dims = ty.shape.iter().enumerate().map(|(axis, &extent)| match free(axis) {
            true => Dim::Free(String::new()),
            false => Dim::Fixed(extent),
        });
        let declared = InputType { dtype: ty.dtype, dims: dims.collect() };
        self.has_free |= declared.shape().is_none();
        let id = self.add_input(name, declared, ty);
        self.slots[index] = match is_quantized(&self.network.tensors[index]) {
            true => Slot::Quantized { stored: id, real: None },
            false => Slot::Value(id),
        };
        Ok(())
    }

    /// Adds an input of the graph.
    pub(super) fn add_input(
        &mut self,
        name: String,
        declared: InputType,
        ty: TensorType,
    ) -> ValueId {
        self.types.push(ty);
        self.graph.add_input(name, declared)
    }

    /// Imports an operator, or reports it.
    pub(super) fn operator(
        &mut self,
        index: usize,
        operator: &'m wire::Operator<'m>,
        folds: &ops::Folds,
        unsupported: &mut Vec<UnsupportedOperator>,
    ) -> Result<(), TfliteError> {
        let reader = || format!("operator {index} ({})", ops::kind(self.model, operator));
        let results: Vec<usize> = operator
            .outputs
            .iter()
            .map(|tensor| self.index(tensor, reader))
            .collect::<Result<_, _>>()?;
        for &tensor in &results {
            if !matches!(self.slots[tensor], Slot::Undefined) {
                return Err(self.tensor_error(tensor, "it is defined twice".into()));
            }
        }
        let name = self.operator_name(index, operator);
        let first_new = self.graph.values().len();
        let converted = self.convert(index, operator, &name, folds).and_then(|values| {
            let mut all = results.iter().zip(values);
            all.try_for_each(|(&tensor, value)| self.bind(tensor, value, first_new))
        });
        match converted {
            Ok(()) => return Ok(()),
            Err(Fail::Error(error)) => return Err(error),
            Err(Fail::Poisoned) => {}
            Err(Fail::Unsupported(reason)) => unsupported.push(UnsupportedOperator {
                index,
                op: ops::kind(self.model, operator),
                output: name,
                reason,
            }),
        }
        for tensor in results {
            self.slots[tensor] = Slot::Poisoned;
        }
        Ok(())
    }

    /// Operators have no names in the file: the name of the first tensor that it computes.
    fn operator_name(&self, index: usize, operator: &wire::Operator<'_>) -> String {
        let first = operator.outputs.get(0).and_then(|tensor| usize::try_from(tensor).ok());
        let name = first.and_then(|i| self.network.tensors.get(i)).map(|tensor| &*tensor.name);
        match name {
            Some(name) if !name.is_empty() => name.to_owned(),
            _ => format!("{}_{index}", ops::kind(self.model, operator)),
        }
    }

    fn convert(
        &mut self,
        index: usize,
        operator: &'m wire::Operator<'m>,
        name: &str,
        folds: &ops::Folds,
    ) -> Result<Vec<Option<ValueId>>, Fail> {
        let convert = ops::find(self.model, operator, self.custom)?;
        let fold = folds.of(index);
        let mut context = Context::new(self, operator, index, name, fold);
        convert.run(&mut context)
    }

    /// Gives a tensor of the file its value. One that was there before keeps its own name.
    fn bind(
        &mut self,
        tensor: usize,
        value: Option<ValueId>,
        first_new: usize,
    ) -> Result<(), Fail> {
        // `None`: the converter has filled the slot.
        let Some(value) = value else { return Ok(()) };
        let source = &self.network.tensors[tensor];
        if is_quantized(source) && self.ty(value).dtype == DType::F32 {
            let stored = self.quantize(tensor, value)?;
            self.slots[tensor] = Slot::Quantized { stored, real: None };
            return Ok(());
        }
        if value.index() >= first_new && self.graph.producer(value).is_some() {
            self.graph.rename_value(value, source.name.clone());
        }
        // What a variable keeps are the integers themselves.
        self.slots[tensor] = match is_quantized(source) {
            true => Slot::Quantized { stored: value, real: None },
            false => Slot::Value(value),
        };
        Ok(())
    }

    /// Adds the integers of a quantized result, under its name.
    fn quantize(&mut self, tensor: usize, real: ValueId) -> Result<ValueId, Fail> {
        let source = &self.network.tensors[tensor];
        let ty = self.ty(real);
        let (Some(dtype), Some(quantization)) = (tensor::dtype(source.dtype), source.quantization)
        else {
            return Err(Fail::Unsupported("its result has no scale".into()));
        };
        let (scale, zero, axis) = match tensor::scales(&ty.shape, &quantization) {
            Ok(scales) => scales,
            Err(reason) => return Err(self.tensor_error(tensor, reason).into()),
        };
        let name = source.name.clone();
        let inputs = [
            Some(real),
            Some(self.add_const(&format!("{name}.scale"), scale)),
            zero.map(|zero| self.add_const(&format!("{name}.zero_point"), zero)),
        ];
        Ok(self.add_node(&name, Quantize { dtype, axis }.into(), &inputs)?[0])
    }

    /// Adds the real numbers that integers of a tensor, perhaps under other extents, stand for.
    pub(super) fn dequantize(&mut self, tensor: usize, stored: ValueId) -> Result<ValueId, Fail> {
        let source = &self.network.tensors[tensor];
        let (stored_ty, quantization) = (self.ty(stored), source.quantization.unwrap_or_default());
        if quantization.scale.is_empty() {
            let reason = format!("{} without a scale", stored_ty.dtype);
            return Err(self.tensor_error(tensor, reason).into());
        }
        let own = match tensor::shape(source) {
            Ok(shape) => shape,
            Err(reason) => return Err(self.tensor_error(tensor, reason).into()),
        };
        // Axes count from the end, so that a leading 1 may be gone.
        let (scale, zero, axis) = match tensor::scales(&own, &quantization) {
            Ok(scales) => scales,
            Err(reason) => return Err(self.tensor_error(tensor, reason).into()),
        };
        let name = source.name.clone();
        let inputs = [
            Some(stored),
            Some(self.add_const(&format!("{name}.scale"), scale)),
            zero.map(|zero| self.add_const(&format!("{name}.zero_point"), zero)),
        ];
        Ok(self.add_node(&format!("{name}.real"), Dequantize { axis }.into(), &inputs)?[0])
    }

    /// Lets a tensor stand for constant elements in a narrower form, those of `source`.
    pub(super) fn bind_narrow(&mut self, tensor: usize, elements: Tensor, source: usize) {
        self.slots[tensor] = Slot::Narrow(elements, source);
    }

    /// The constant elements of a tensor as they are stored, if it is a constant.
    pub(super) fn stored(&mut self, index: usize) -> Result<Option<Tensor>, Fail> {
        match &self.slots[index] {
            Slot::Narrow(tensor, _) => return Ok(Some(tensor.clone())),
            Slot::Value(value) | Slot::Quantized { stored: value, .. } => {
                return Ok(self.graph.constant(*value).cloned());
            }
            Slot::Poisoned => return Err(Fail::Poisoned),
            Slot::Undefined => {}
        }
        let source = &self.network.tensors[index];
        let ty = self.declared(index).map_err(|dtype| {
            Fail::Unsupported(format!("its operand \"{}\" is of type {dtype}", source.name))
        })??;
        if !self.constants.has(source) && (ty.bytes() > 0 || source.is_variable) {
            return Ok(None);
        }
        match self.constants.read(source, ty)? {
            Ok(tensor) => Ok(Some(tensor)),
            Err(reason) => Err(self.tensor_error(index, reason).into()),
        }
    }

    /// The tensor whose scales those of another are.
    pub(super) fn scale_source(&self, index: usize) -> usize {
        match self.slots[index] {
            Slot::Narrow(_, source) => source,
            _ => index,
        }
    }

    /// The value of a tensor as the file has it: integers that stand for real numbers stay so.
    pub(super) fn raw(&mut self, index: usize, reader: &str) -> Result<ValueId, Fail> {
        if let Slot::Value(value) | Slot::Quantized { stored: value, .. } = self.slots[index] {
            return Ok(value);
        }
        let Some(stored) = self.stored(index)? else {
            let source = &self.network.tensors[index];
            if source.is_variable {
                return Err(Fail::Unsupported(format!(
                    "\"{}\" keeps its value from run to run, which is not supported yet",
                    source.name
                )));
            }
            return Err(Fail::Error(TfliteError::Undefined {
                reader: reader.into(),
                tensor: format!("{index} \"{}\"", source.name),
            }));
        };
        let narrow = matches!(self.slots[index], Slot::Narrow(..));
        let source = self.scale_source(index);
        let quantized = narrow || is_quantized(&self.network.tensors[source]);
        let name = self.network.tensors[index].name.clone();
        if stored.dtype().is_int() && quantized {
            let stored = self.add_const(&name, stored);
            self.slots[index] = Slot::Quantized { stored, real: None };
            // The scales may be those of another tensor, of which nothing remembers later.
            let real = Some(self.dequantize(source, stored)?);
            self.slots[index] = Slot::Quantized { stored, real };
            return Ok(stored);
        }
        let tensor = if narrow && stored.dtype() != DType::F32 {
            match self.constants.real(&stored)? {
                Ok(tensor) => tensor,
                Err(reason) => return Err(self.tensor_error(index, reason).into()),
            }
        } else {
            stored
        };
        let id = self.add_const(&name, tensor);
        self.slots[index] = Slot::Value(id);
        Ok(id)
    }

    /// The value of a tensor, real numbers as `f32`.
    pub(super) fn value(&mut self, index: usize, reader: &str) -> Result<ValueId, Fail> {
        let stored = self.raw(index, reader)?;
        match self.slots[index] {
            Slot::Quantized { real: Some(real), .. } => Ok(real),
            Slot::Quantized { real: None, .. } => {
                let real = self.dequantize(index, stored)?;
                self.slots[index] = Slot::Quantized { stored, real: Some(real) };
                Ok(real)
            }
            _ => Ok(stored),
        }
    }

    /// Number of tensors.
    pub(super) fn tensors(&self) -> usize {
        self.slots.len()
    }

    /// The file's own record of a tensor.
    pub(super) fn tensor(&self, index: usize) -> &'m wire::Tensor<'m> {
        &self.network.tensors[index]
    }

    pub(super) fn ty(&self, id: ValueId) -> TensorType {
        self.types[id.index()]
    }

    /// The elements of a value that is the same whatever the free extents are.
    pub(super) fn known(&self, id: ValueId) -> Option<&Tensor> {
        let derived = || self.derived.get(&id).filter(|derived| derived.exact);
        self.graph.constant(id).or_else(|| derived().map(|derived| &derived.value))
    }

    pub(super) fn add_const(&mut self, name: &str, tensor: Tensor) -> ValueId {
        self.types.push(TensorType::of(&tensor));
        self.graph.add_const(name, tensor)
    }

    /// Adds a node, its operands checked by the layer.
    pub(super) fn add_node(
        &mut self,
        name: &str,
        op: Op,
        inputs: &[Option<ValueId>],
    ) -> Result<Vec<ValueId>, Fail> {
        let value = |id: ValueId| {
            let derived = || self.derived.get(&id).map(|derived| &derived.value);
            self.graph.constant(id).or_else(derived)
        };
        let args: Vec<Option<Arg<'_>>> = inputs
            .iter()
            .map(|input| input.map(|id| Arg { ty: self.ty(id), value: value(id) }))
            .collect();
        let types =
            op.layer().infer(&args).map_err(|error| Fail::Unsupported(error.to_string()))?;
        let derived = self.derive(&op, &args, &types);
        let exact = !(matches!(op, Op::ShapeOf(_)) && self.has_free)
            && inputs.iter().flatten().all(|id| self.derived.get(id).is_none_or(|d| d.exact));
        // A long name in each of many results could outgrow the file; they get the file's names.
        let name_of_result = if types.len() == 1 { name } else { "" };
        self.types.extend(&types);
        let results = self.graph.add_node(name, op, inputs, &vec![name_of_result; types.len()]);
        let derived = results.iter().zip(derived);
        self.derived.extend(derived.map(|(&id, value)| (id, Derived { value, exact })));
        Ok(results)
    }

    /// The results of an operation on small known operands.
    fn derive(&self, op: &Op, args: &[Option<Arg<'_>>], types: &[TensorType]) -> Vec<Tensor> {
        if types.iter().any(|ty| ty.shape.elements() > MAX_DERIVED_ELEMENTS) {
            return Vec::new();
        }
        if let (Op::ShapeOf(shape_of), Some(Some(arg))) = (op, args.first()) {
            return vec![shape_of.extents(&arg.ty.shape)];
        }
        let values: Option<Vec<Option<&Tensor>>> =
            args.iter().map(|arg| arg.map_or(Some(None), |arg| arg.value.map(Some))).collect();
        let small = |values: &Vec<Option<&Tensor>>| {
            values.iter().flatten().all(|value| value.elements() <= MAX_DERIVED_ELEMENTS)
        };
        let results = values.filter(small).map(|values| op.layer().reference(&values));
        results.and_then(Result::ok).unwrap_or_default()
    }

    /// Declares the outputs, drops what none of them needs, and checks the whole.
    fn finish(mut self) -> Result<Graph, TfliteError> {
        let mut names = HashSet::new();
        for output in self.network.outputs.iter() {
            let index = self.index(output, || "the list of outputs".into())?;
            let value = match self.raw(index, "the list of outputs") {
                Ok(value) => value,
                Err(Fail::Error(error)) => return Err(error),
                Err(_) => return Err(self.tensor_error(index, "it cannot be an output".into())),
            };
            let own = self.network.tensors[index].name.clone().into_owned();
            let mut name = own.clone();
            while !names.insert(name.clone()) {
                name += &format!("_{index}");
            }
            let value = if name == own { value } else { self.copy(&name, value) };
            self.add_output(value, name);
        }
        self.declare_states();
        self.graph.sort();
        self.graph.verify()?;
        Ok(self.graph)
    }

    /// Declares an output under this name.
    pub(super) fn add_output(&mut self, mut value: ValueId, name: String) {
        if self.graph.producer(value).is_none() || self.graph.outputs().contains(&value) {
            value = self.copy(&name, value);
        }
        self.graph.rename_value(value, name);
        self.graph.add_output(value);
    }

    /// A value of its own for an output that is an input, a constant, or another output.
    fn copy(&mut self, name: &str, value: ValueId) -> ValueId {
        let copy: Op = match self.ty(value).dtype {
            DType::F32 => Activate { activation: Activation::Identity }.into(),
            to => Cast { to }.into(),
        };
        self.types.push(self.ty(value));
        self.graph.add_node(name, copy, &[Some(value)], &[name])[0]
    }
}

/// Whether integers of a tensor stand for real numbers.
pub(super) fn is_quantized(tensor: &wire::Tensor<'_>) -> bool {
    let integers = tensor::dtype(tensor.dtype).is_some_and(DType::is_int);
    integers && tensor.quantization.is_some_and(|q| !q.scale.is_empty())
}
