//! Tensors and operators of the file.

use super::kinds::{DEQUANTIZE, Kind};
use super::quantize::{self, Integers, Scales, Stored};
use super::{Refused, refuse};
use crate::export::Known;
use crate::tflite::wire::{Field, Record, tensor_type};
use depthwise_layers::TensorType;
use depthwise_layers::ir::{Graph, Node, ValueId};
use depthwise_tensor::{DType, Shape, Tensor};
use std::collections::{BTreeMap, HashMap, HashSet};

/// What an operator computes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target<'a> {
    /// A value of the graph.
    Value(ValueId),
    /// A part of a layer, of this role and type.
    Part(&'a str, TensorType),
}

/// The file while it grows.
pub(super) struct Writer<'g> {
    pub(super) graph: &'g Graph,
    pub(super) known: &'g Known,
    pub(super) integers: Integers,
    /// Whether the node that is being written computes in integers.
    pub(super) integer: bool,
    tensors: Vec<Record>,
    types: Vec<TensorType>,
    /// What integers of each tensor stand for.
    scales: Vec<Option<Scales>>,
    buffers: Vec<Record>,
    codes: Vec<Kind>,
    operators: Vec<Record>,
    values: HashMap<ValueId, i32>,
    /// Weights of another float type as `f32`.
    widened: HashMap<ValueId, i32>,
    names: HashSet<String>,
    /// Name of the node that is being written.
    node: String,
    /// How often each operator was written.
    pub(super) counts: BTreeMap<String, usize>,
    /// Bytes of constants, and their number.
    pub(super) constants: (u64, usize),
}

impl<'g> Writer<'g> {
    pub(super) fn new(graph: &'g Graph, known: &'g Known) -> Writer<'g> {
        let mut writer = Writer {
            graph,
            known,
            integers: Integers::find(graph, known),
            integer: false,
            tensors: Vec::new(),
            types: Vec::new(),
            scales: Vec::new(),
            // The first buffer stands for none.
            buffers: vec![Record::new()],
            codes: Vec::new(),
            operators: Vec::new(),
            values: HashMap::new(),
            widened: HashMap::new(),
            names: HashSet::new(),
            node: String::new(),
            counts: BTreeMap::new(),
            constants: (0, 0),
        };
        for id in graph.inputs().iter().chain(graph.outputs()) {
            writer.names.insert(graph.value(*id).name.clone());
        }
        for &id in graph.inputs() {
            let tensor = writer.add(graph.value(id).name.clone(), known.ty(id));
            if let Some(scales) = writer.integers.scales.get(&id).cloned() {
                writer.set_scales(tensor, scales);
            }
            writer.values.insert(id, tensor);
        }
        writer
    }

    /// Names the node to be written, for its parts.
    pub(super) fn begin(&mut self, name: &str, integer: bool) {
        self.node = name.to_owned();
        self.integer = integer;
    }

    /// Says what integers of a tensor stand for.
    pub(super) fn set_scales(&mut self, tensor: i32, scales: Scales) {
        self.tensors[tensor as usize].set(4, Field::Table(scales.record()));
        self.scales[tensor as usize] = Some(scales);
    }

    /// What integers of a tensor stand for.
    pub(super) fn scales_of(&self, tensor: i32) -> Option<&Scales> {
        self.scales[tensor as usize].as_ref()
    }

    /// The integers that a value is for a layer that computes in integers.
    pub(super) fn stored(&self, id: ValueId) -> Option<&Stored> {
        let integers = &self.integers;
        let stored = integers.real.get(&id).or_else(|| integers.results.get(&id));
        stored.filter(|_| self.integer)
    }

    fn fresh(&mut self, wanted: &str) -> String {
        let base = if wanted.is_empty() { "value" } else { wanted };
        let mut name = base.to_owned();
        let mut n = 1;
        while !self.names.insert(name.clone()) {
            name = format!("{base}.{n}");
            n += 1;
        }
        name
    }

    fn add(&mut self, name: String, ty: TensorType) -> i32 {
        let dims = ty.shape.iter().map(|&n| n as i32).collect();
        let record = Record::new()
            .with(0, Field::I32s(dims))
            .with(1, Field::U8(number(ty.dtype).cast_unsigned()))
            .with(2, Field::I32(0))
            .with(3, Field::Text(name));
        self.tensors.push(record);
        self.types.push(ty);
        self.scales.push(None);
        self.tensors.len() as i32 - 1
    }

    pub(super) fn add_constant(&mut self, name: &str, tensor: &Tensor) -> i32 {
        let name = self.fresh(name);
        let index = self.add(name, TensorType::of(tensor));
        self.tensors[index as usize].set(2, Field::I32(self.buffers.len() as i32));
        self.buffers.push(Record::new().with(0, Field::Bytes(tensor.bytes().to_vec())));
        self.constants.0 += tensor.bytes().len() as u64;
        self.constants.1 += 1;
        index
    }

    /// A constant that the graph does not have.
    pub(super) fn constant(&mut self, role: &str, tensor: &Tensor) -> i32 {
        self.add_constant(&format!("{}.{role}", self.node), tensor)
    }

    /// A list of integers as a constant.
    pub(super) fn list(&mut self, role: &str, list: &[i64]) -> Result<i32, Refused> {
        self.ints(role, &[list.len()], list)
    }

    /// Integers as a constant.
    pub(super) fn ints(
        &mut self,
        role: &str,
        dims: &[usize],
        list: &[i64],
    ) -> Result<i32, Refused> {
        let narrow = |&n: &i64| {
            // What stands for "to the end" is larger than any extent.
            i32::try_from(n.clamp(i32::MIN.into(), i32::MAX.into())).unwrap_or_default()
        };
        let list: Vec<i32> = list.iter().map(narrow).collect();
        Ok(self.constant(role, &Tensor::from_vec(dims, list)?))
    }

    /// A number as a constant without dimensions.
    pub(super) fn scalar(&mut self, role: &str, x: f32) -> i32 {
        self.constant(role, &Tensor::scalar(x))
    }

    /// The value that stands in the file for one: itself, or the integers that it is.
    pub(super) fn in_file(&self, id: ValueId) -> ValueId {
        self.stored(id).map_or(id, |stored| stored.id)
    }

    /// The elements of a value that is known before the network runs: for a layer that computes in
    /// integers, those.
    pub(super) fn tensor(&self, id: ValueId) -> Option<&'g Tensor> {
        if let Some(stored) = self.stored(id) {
            return self.graph.constant(stored.id);
        }
        self.known.constant(self.graph, id)
    }

    /// The integers of an operand, which must be known.
    pub(super) fn known_ints(&self, id: ValueId, what: &str) -> Result<Vec<i64>, Refused> {
        match self.tensor(id) {
            Some(tensor) => Ok(tensor.to_i64().into_owned()),
            None => refuse(format!("its {what} are not known before the network runs")),
        }
    }

    /// The type of a value in the file.
    pub(super) fn ty(&self, id: ValueId) -> TensorType {
        match self.stored(id) {
            Some(stored) => self.known.ty(stored.id),
            None => self.known.ty(id),
        }
    }

    pub(super) fn shape(&self, id: ValueId) -> Shape {
        self.known.ty(id).shape
    }

    /// The type of a tensor of the file.
    pub(super) fn type_of(&self, tensor: i32) -> TensorType {
        self.types[tensor as usize]
    }

    /// The tensor of a value.
    pub(super) fn value(&mut self, id: ValueId) -> Result<i32, Refused> {
        if let Some(Stored { id: stored, scales }) = self.stored(id).cloned() {
            let tensor = self.value(stored)?;
            if self.scales_of(tensor).is_none() {
                self.set_scales(tensor, scales);
            }
            return Ok(tensor);
        }
        if let Some(&tensor) = self.values.get(&id) {
            return Ok(tensor);
        }
        if let Some(stored) = self.integers.real.get(&id).cloned() {
            return match self.graph.constant(stored.id) {
                None => quantize::dequantize(self, id, &stored),
                Some(_) => self.real_constant(id),
            };
        }
        let Some(tensor) = self.tensor(id) else {
            let name = &self.graph.value(id).name;
            return refuse(format!("its operand \"{name}\" could not be written"));
        };
        let name = self.graph.value(id).name.clone();
        let index = match self.graph.outputs().contains(&id) {
            // An output keeps its name.
            true => {
                self.names.remove(&name);
                self.add_constant(&name, tensor)
            }
            false => self.add_constant(&name, tensor),
        };
        self.values.insert(id, index);
        Ok(index)
    }

    /// Constant integers, as the real numbers that they stand for.
    fn real_constant(&mut self, id: ValueId) -> Result<i32, Refused> {
        let node = self.graph.producer(id).map(|node| self.graph.node(node));
        let operands = node.map(|node| node.inputs.iter().map(|id| self.graph.constant((*id)?)));
        let operands: Vec<Option<&Tensor>> = operands.into_iter().flatten().collect();
        let results = node.map(|node| node.op.layer().reference(&operands)).transpose()?;
        let Some(tensor) = results.and_then(|results| results.into_iter().next()) else {
            return refuse("integers without a scale");
        };
        let name = self.graph.value(id).name.clone();
        let index = self.add_constant(&name, &tensor);
        self.values.insert(id, index);
        Ok(index)
    }

    /// A weight as `f32`: `f16` is stored as it is and widened when the network is loaded, other
    /// types are stored as `f32`.
    pub(super) fn weight(&mut self, id: ValueId) -> Result<i32, Refused> {
        if self.ty(id).dtype == DType::F32 || self.integer {
            return self.value(id);
        }
        if let Some(&tensor) = self.widened.get(&id) {
            return Ok(tensor);
        }
        let Some(tensor) = self.tensor(id) else {
            return refuse(format!("weights of {} that are not constant", self.ty(id).dtype));
        };
        let name = self.graph.value(id).name.clone();
        let widened = self.widen(&name, tensor)?;
        self.widened.insert(id, widened);
        Ok(widened)
    }

    /// Float elements as an `f32` tensor.
    pub(super) fn widen(&mut self, name: &str, tensor: &Tensor) -> Result<i32, Refused> {
        match tensor.dtype() {
            DType::F32 => Ok(self.add_constant(name, tensor)),
            DType::F16 => {
                let stored = self.add_constant(name, tensor);
                let ty = TensorType { dtype: DType::F32, shape: *tensor.shape() };
                // Version 3 takes f16.
                let kind = DEQUANTIZE.version(3);
                let widened = self.fresh(&format!("{name}.widened"));
                let result = self.add(widened, ty);
                self.push(kind, Record::new(), &[stored], &[result]);
                Ok(result)
            }
            _ => {
                let wide = Tensor::from_slice(tensor.shape().dims(), &tensor.to_f32())?;
                Ok(self.add_constant(name, &wide))
            }
        }
    }

    /// Lets a value be a tensor that stands in the file already.
    pub(super) fn alias(&mut self, id: ValueId, tensor: i32) {
        let id = self.in_file(id);
        self.values.insert(id, tensor);
    }

    /// Writes an operator with one result; gives the tensor of that.
    pub(super) fn run(
        &mut self,
        kind: Kind,
        options: Record,
        inputs: &[i32],
        target: Target<'_>,
    ) -> i32 {
        let result = self.result(target);
        // Parts of a layer of integers only move elements, unless their own scales are set behind.
        if self.type_of(result).dtype == DType::I8 && self.scales_of(result).is_none() {
            let scales = inputs.first().and_then(|&x| self.scales_of(x)).cloned();
            scales.into_iter().for_each(|scales| self.set_scales(result, scales));
        }
        self.push(kind, options, inputs, &[result]);
        result
    }

    /// The tensor of what is going to be computed.
    pub(super) fn result(&mut self, target: Target<'_>) -> i32 {
        match target {
            Target::Value(id) => {
                let id = self.in_file(id);
                let own = self.graph.value(id).name.clone();
                let is_output = self.graph.outputs().contains(&id);
                let name = if is_output { own } else { self.fresh(&own) };
                let tensor = self.add(name, self.known.ty(id));
                if let Some(scales) = self.integers.scales.get(&id).cloned() {
                    self.set_scales(tensor, scales);
                }
                self.values.insert(id, tensor);
                tensor
            }
            Target::Part(role, ty) => {
                let name = self.fresh(&format!("{}.{role}", self.node));
                self.add(name, ty)
            }
        }
    }

    /// Writes an operator.
    pub(super) fn push(&mut self, kind: Kind, options: Record, inputs: &[i32], outputs: &[i32]) {
        let kind = if self.integer { kind.for_integers() } else { kind };
        let code = match self.codes.iter().position(|&code| code == kind) {
            Some(code) => code,
            None => {
                self.codes.push(kind);
                self.codes.len() - 1
            }
        };
        let mut operator = Record::new()
            .with(0, Field::I32(code as i32))
            .with(1, Field::I32s(inputs.to_vec()))
            .with(2, Field::I32s(outputs.to_vec()));
        if kind.options != 0 {
            operator.set(3, Field::U8(kind.options));
            operator.set(4, Field::Table(options));
        }
        self.operators.push(operator);
        *self.counts.entry(kind.name.to_owned()).or_default() += 1;
    }

    /// The file's records: tensors, operators, operator codes, buffers.
    pub(super) fn into_records(self) -> [Vec<Record>; 4] {
        let code = |kind: &Kind| {
            // Readers from before there were more than 127 operators look at the byte.
            let byte = kind.code.min(127) as u8;
            Record::new()
                .with(0, Field::U8(byte))
                .with(2, Field::I32(kind.version))
                .with(3, Field::I32(kind.code))
        };
        let codes = self.codes.iter().map(code).collect();
        [self.tensors, self.operators, codes, self.buffers]
    }
}

/// An operand that must be there.
pub(super) fn operand(node: &Node, at: usize) -> Result<ValueId, Refused> {
    optional(node, at).ok_or_else(|| Refused(format!("its operand number {at} is missing")))
}

/// An operand that may be left out.
pub(super) fn optional(node: &Node, at: usize) -> Option<ValueId> {
    node.inputs.get(at).copied().flatten()
}

/// The format's number of an element type.
pub(super) fn number(dtype: DType) -> i8 {
    match dtype {
        DType::F64 => tensor_type::FLOAT64,
        DType::F32 => tensor_type::FLOAT32,
        DType::F16 => tensor_type::FLOAT16,
        DType::Bf16 => tensor_type::BFLOAT16,
        DType::I64 => tensor_type::INT64,
        DType::I32 => tensor_type::INT32,
        DType::I16 => tensor_type::INT16,
        DType::I8 => tensor_type::INT8,
        DType::U8 => tensor_type::UINT8,
        DType::Bool => tensor_type::BOOL,
        other => unreachable!("no TFLite type for {other}"),
    }
}
