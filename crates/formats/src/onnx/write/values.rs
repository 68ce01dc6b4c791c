//! Values in the file: names, orders of axes, constants.

use super::quantize::Scaled;
use super::{Attr, NodeOut, Refused, refuse};
use crate::export::Known;
use depthwise_layers::ir::{Def, Graph, Node, ValueId};
use depthwise_layers::{Layer, Transpose};
use depthwise_tensor::{DType, Tensor};
use std::collections::{HashMap, HashSet};

/// The order of the axes of a value in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in super::super) enum Form {
    /// As in the graph.
    Plain,
    /// A value of four dimensions, its last axis put after the first: NCHW of NHWC, OIHW of OHWI.
    Nchw,
}

/// From a plain value of four dimensions to its NCHW form, and back.
pub(super) const TO_NCHW: [usize; 4] = [0, 3, 1, 2];
pub(super) const TO_NHWC: [usize; 4] = [0, 2, 3, 1];

impl Form {
    fn other(self) -> Form {
        match self {
            Form::Plain => Form::Nchw,
            Form::Nchw => Form::Plain,
        }
    }

    /// Where an axis of a plain value stands in this form.
    pub(super) fn axis(self, axis: usize) -> usize {
        match self {
            Form::Plain => axis,
            Form::Nchw => TO_NHWC[axis],
        }
    }
}

/// The file while it grows.
pub(in super::super) struct Writer<'g> {
    pub(super) graph: &'g Graph,
    pub(super) known: &'g Known,
    pub(super) nodes: Vec<NodeOut>,
    /// Constants by name.
    pub(super) initializers: Vec<(String, Tensor)>,
    /// The name of each form that a value has in the file.
    forms: HashMap<(ValueId, Form), String>,
    /// The form that a value had first.
    native: HashMap<ValueId, Form>,
    /// Constants that are stored as integers.
    pub(super) scaled: HashMap<ValueId, Scaled>,
    names: HashSet<String>,
    node_names: HashSet<String>,
    /// Name of the node that is being written.
    node: String,
}

impl<'g> Writer<'g> {
    pub(super) fn new(graph: &'g Graph, known: &'g Known) -> Writer<'g> {
        let mut writer = Writer {
            graph,
            known,
            nodes: Vec::new(),
            initializers: Vec::new(),
            forms: HashMap::new(),
            native: HashMap::new(),
            scaled: HashMap::new(),
            names: HashSet::new(),
            node_names: HashSet::new(),
            node: String::new(),
        };
        // Names of inputs and outputs are part of what the file promises.
        for id in graph.inputs().iter().chain(graph.outputs()) {
            writer.names.insert(graph.value(*id).name.clone());
        }
        for &id in graph.inputs() {
            writer.set(id, Form::Plain, graph.value(id).name.clone());
        }
        writer
    }

    /// Names the node to be written, for its parts and for messages.
    pub(super) fn begin(&mut self, name: &str) {
        self.node = name.to_owned();
    }

    /// A name that nothing has yet, like the one asked for.
    pub(super) fn fresh(&mut self, wanted: &str) -> String {
        let base = if wanted.is_empty() { "value" } else { wanted };
        let mut name = base.to_owned();
        let mut n = 1;
        while !self.names.insert(name.clone()) {
            name = format!("{base}.{n}");
            n += 1;
        }
        name
    }

    fn set(&mut self, id: ValueId, form: Form, name: String) {
        self.native.entry(id).or_insert(form);
        self.forms.insert((id, form), name);
    }

    /// The form that a value had first; constants have both.
    pub(super) fn native(&self, id: ValueId) -> Option<Form> {
        if self.tensor(id).is_some() || self.scaled.contains_key(&id) {
            return None;
        }
        self.native.get(&id).copied()
    }

    /// The form for a layer that works in either: NCHW where an operand came as such.
    pub(super) fn common(&self, operands: &[ValueId]) -> Form {
        let nchw = |&id: &ValueId| self.native(id) == Some(Form::Nchw);
        if operands.iter().any(nchw) { Form::Nchw } else { Form::Plain }
    }

    /// The elements of a value that is known before the network runs. What is stored as integers stays
    /// so, and is no such value.
    pub(super) fn tensor(&self, id: ValueId) -> Option<&'g Tensor> {
        if self.scaled.contains_key(&id) {
            return None;
        }
        self.known.constant(self.graph, id)
    }

    /// The integers of a value that is known before the network runs.
    pub(super) fn ints(&self, id: ValueId) -> Option<Vec<i64>> {
        self.tensor(id).map(|tensor| tensor.to_i64().into_owned())
    }

    pub(super) fn dtype(&self, id: ValueId) -> DType {
        self.known.ty(id).dtype
    }

    pub(super) fn rank(&self, id: ValueId) -> usize {
        self.known.rank(id)
    }

    /// The name of a value in a form, which is made where the file does not have it yet.
    pub(super) fn get(&mut self, id: ValueId, form: Form) -> Result<String, Refused> {
        if let Some(name) = self.forms.get(&(id, form)) {
            return Ok(name.clone());
        }
        if form == Form::Nchw && self.rank(id) != 4 {
            return refuse(format!("its operand has {} dimensions, not 4", self.rank(id)));
        }
        // The other form of a computed value needs one transpose; a constant is written as it is
        // needed.
        let Some(from) = self
            .forms
            .get(&(id, form.other()))
            .cloned()
            .filter(|_| !matches!(self.graph.value(id).def, Def::Const(_)))
            .filter(|_| !self.scaled.contains_key(&id))
        else {
            return self.constant_form(id, form);
        };
        let (perm, suffix) = match form {
            Form::Plain => (TO_NHWC, "nhwc"),
            Form::Nchw => (TO_NCHW, "nchw"),
        };
        let own = &self.graph.value(id).name;
        let name = match form {
            // The name that an output has to have, if it is one.
            Form::Plain if self.graph.outputs().contains(&id) => own.clone(),
            _ => self.fresh(&format!("{own}.{suffix}")),
        };
        self.transpose(from, &perm, name.clone());
        self.set(id, form, name.clone());
        Ok(name)
    }

    fn constant_form(&mut self, id: ValueId, form: Form) -> Result<String, Refused> {
        let Some(tensor) = self.stored(id) else {
            let name = &self.graph.value(id).name;
            return refuse(format!("its operand \"{name}\" could not be written"));
        };
        let tensor = match form {
            Form::Plain => tensor.clone(),
            Form::Nchw => transposed(tensor, &TO_NCHW)?,
        };
        let name = self.rearranged(id, tensor, |axis| Some(form.axis(axis)))?;
        self.set(id, form, name.clone());
        Ok(name)
    }

    /// The name of a value as it is in the graph.
    pub(super) fn plain(&mut self, id: ValueId) -> Result<String, Refused> {
        self.get(id, Form::Plain)
    }

    /// A constant that the graph does not have.
    pub(super) fn constant(&mut self, role: &str, tensor: Tensor) -> String {
        let name = self.fresh(&format!("{}.{role}", self.node));
        self.initializers.push((name.clone(), tensor));
        name
    }

    /// A list of integers as a constant.
    pub(super) fn list(&mut self, role: &str, list: &[i64]) -> String {
        let tensor = Tensor::from_slice(&[list.len()], list).expect("one extent fits its list");
        self.constant(role, tensor)
    }

    /// A number of a float type as a constant without dimensions.
    pub(super) fn scalar(&mut self, role: &str, dtype: DType, x: f64) -> Result<String, Refused> {
        let tensor = match dtype {
            DType::F32 => Tensor::scalar(x as f32),
            DType::F64 => Tensor::scalar(x),
            DType::F16 => Tensor::scalar(half::f16::from_f64(x)),
            DType::Bf16 => Tensor::scalar(half::bf16::from_f64(x)),
            other => return refuse(format!("a number beside {other}")),
        };
        Ok(self.constant(role, tensor))
    }

    /// The name of a weight in the element type of the activations: a narrower one is stored as it
    /// is, and widened by a Cast.
    pub(super) fn as_dtype(&mut self, name: String, from: DType, to: DType) -> String {
        if from == to {
            return name;
        }
        let attributes = vec![("to", Attr::Int(super::number(to).into()))];
        self.part("widened", "Cast", vec![name], attributes)
    }

    /// Writes a node that computes a part of a layer; gives the name of its result.
    pub(super) fn part(
        &mut self,
        role: &str,
        op_type: &'static str,
        inputs: Vec<String>,
        attributes: Vec<(&'static str, Attr)>,
    ) -> String {
        let output = self.fresh(&format!("{}.{role}", self.node));
        self.push(op_type, inputs, vec![output.clone()], attributes);
        output
    }

    /// Writes a node that computes a value.
    pub(super) fn result(
        &mut self,
        id: ValueId,
        form: Form,
        op_type: &'static str,
        inputs: Vec<String>,
        attributes: Vec<(&'static str, Attr)>,
    ) {
        let name = self.name_of_result(id, form);
        self.push(op_type, inputs, vec![name.clone()], attributes);
        self.set(id, form, name);
    }

    /// The name for a value in the form in which it is computed: its own, except for an output whose
    /// axes are still to be put in order.
    pub(super) fn name_of_result(&mut self, id: ValueId, form: Form) -> String {
        let own = &self.graph.value(id).name;
        match (self.graph.outputs().contains(&id), form) {
            (true, Form::Plain) => own.clone(),
            (true, Form::Nchw) => self.fresh(&format!("{own}.nchw")),
            (false, _) => self.fresh(own),
        }
    }

    /// Lets a value be what already stands in the file under a name.
    pub(super) fn alias(&mut self, id: ValueId, form: Form, name: String) {
        self.set(id, form, name);
    }

    /// Gives what a node computes another name, everywhere.
    pub(super) fn rename(&mut self, from: &str, to: &str) {
        let nodes = self.nodes.iter_mut();
        let names = nodes.flat_map(|node| node.inputs.iter_mut().chain(&mut node.outputs));
        let all = names.chain(self.forms.values_mut());
        all.filter(|name| *name == from).for_each(|name| *name = to.to_owned());
    }

    pub(super) fn transpose(&mut self, from: String, perm: &[usize], to: String) {
        let perm = perm.iter().map(|&axis| axis as i64).collect();
        self.push("Transpose", vec![from], vec![to], vec![("perm", Attr::Ints(perm))]);
    }

    /// Writes a node with any number of results.
    pub(super) fn push(
        &mut self,
        op_type: &'static str,
        inputs: Vec<String>,
        outputs: Vec<String>,
        attributes: Vec<(&'static str, Attr)>,
    ) {
        // The last node of a layer bears its name.
        let mut name = if self.node.is_empty() { op_type } else { &self.node }.to_owned();
        let mut n = 1;
        while !self.node_names.insert(name.clone()) {
            name = format!("{}.{n}", self.node);
            n += 1;
        }
        self.nodes.push(NodeOut { name, op_type, inputs, outputs, attributes });
    }
}

/// An operand that must be there.
pub(super) fn operand(node: &Node, at: usize) -> Result<ValueId, Refused> {
    let missing = || Refused(format!("its operand number {at} is missing"));
    optional(node, at).ok_or_else(missing)
}

/// An operand that may be left out.
pub(super) fn optional(node: &Node, at: usize) -> Option<ValueId> {
    node.inputs.get(at).copied().flatten()
}

/// A constant with its axes in another order.
pub(super) fn transposed(tensor: &Tensor, perm: &[usize]) -> Result<Tensor, Refused> {
    let op = Transpose { perm: perm.to_vec() };
    let result = op.reference(&[Some(tensor)]).map_err(|error| Refused(error.to_string()))?;
    Ok(result.into_iter().next().expect("a transpose has one result"))
}
