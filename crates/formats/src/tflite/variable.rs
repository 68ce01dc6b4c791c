//! Variables: what a network keeps from run to run.
//!
//! In the file an operator makes a handle of a name, others read and assign what the handle stands
//! for, and one runs a second network once, which assigns the first elements. Here a variable is a
//! state of the graph: an input where the first reading stands, and an output of the last value
//! assigned. What is read after an assignment is the value assigned, so the order of the file is that
//! of the data, and no pass can break it.

use super::import::{Importer, is_quantized};
use super::ops::{self, Fail};
use depthwise_layers::TensorType;
use depthwise_layers::ir::{InputType, State, ValueId};
use depthwise_tensor::Tensor;
use std::collections::{HashMap, HashSet};

/// The variables of one network.
#[derive(Debug, Default)]
pub(super) struct Variables {
    /// Positions in `all` of tensors that are handles.
    handles: HashMap<usize, usize>,
    all: Vec<Variable>,
    /// The network that has given the first elements.
    initialized_by: Option<usize>,
    /// This is such a network.
    initializes: bool,
}

#[derive(Debug)]
struct Variable {
    /// Container and name.
    key: (String, String),
    /// Its elements before the first run.
    initial: Option<Tensor>,
    /// Position among the graph's inputs of what the first reading gives.
    input: Option<usize>,
    /// What it is after the operators so far.
    current: Option<ValueId>,
}

impl Variables {
    fn find(&mut self, key: (String, String)) -> usize {
        let known = self.all.iter().position(|variable| variable.key == key);
        known.unwrap_or_else(|| {
            self.all.push(Variable { key, initial: None, input: None, current: None });
            self.all.len() - 1
        })
    }
}

fn unsupported<T>(reason: impl Into<String>) -> Result<T, Fail> {
    Err(Fail::Unsupported(reason.into()))
}

impl Importer<'_> {
    /// `VAR_HANDLE`: lets a tensor stand for a variable.
    pub(super) fn variable_handle(&mut self, tensor: usize, container: String, name: String) {
        let variable = self.variables.find((container, name));
        self.variables.handles.insert(tensor, variable);
    }

    fn variable(&self, handle: usize) -> Result<usize, Fail> {
        match self.variables.handles.get(&handle) {
            Some(&variable) => Ok(variable),
            None => unsupported("its operand is no handle of a variable"),
        }
    }

    /// `READ_VARIABLE`: what the variable is now.
    pub(super) fn read_variable(&mut self, handle: usize) -> Result<ValueId, Fail> {
        let position = self.variable(handle)?;
        let variable = &self.variables.all[position];
        if let Some(current) = variable.current {
            return Ok(current);
        }
        let name = variable.key.1.clone();
        let Some(initial) = &variable.initial else {
            return unsupported(format!("nothing gives variable \"{name}\" its first elements"));
        };
        let ty = TensorType::of(initial);
        let taken = |name: &str| {
            let mut inputs = self.graph.inputs().iter();
            name.is_empty() || inputs.any(|&id| self.graph.value(id).name == name)
        };
        let name = unique(name, position, taken);
        let id = self.add_input(name, InputType::fixed(ty.dtype, ty.shape.dims()), ty);
        let variable = &mut self.variables.all[position];
        variable.input = Some(self.graph.inputs().len() - 1);
        variable.current = Some(id);
        Ok(id)
    }

    /// `ASSIGN_VARIABLE`: what it is from here on.
    pub(super) fn assign_variable(
        &mut self,
        handle: usize,
        tensor: usize,
        reader: &str,
    ) -> Result<(), Fail> {
        let position = self.variable(handle)?;
        if self.variables.initializes {
            let initial = self.elements(tensor, reader)?;
            self.variables.all[position].initial = Some(initial);
            return Ok(());
        }
        let value = self.raw(tensor, reader)?;
        let variable = &mut self.variables.all[position];
        let (ty, name) = (self.types[value.index()], &variable.key.1);
        if let Some(before) = variable.initial.as_ref().map(TensorType::of).filter(|t| *t != ty) {
            return unsupported(format!("variable \"{name}\" is {before}, and would become {ty}"));
        }
        variable.current = Some(value);
        Ok(())
    }

    /// The elements of a tensor that is known before the network runs, as they are stored.
    fn elements(&mut self, tensor: usize, reader: &str) -> Result<Tensor, Fail> {
        if is_quantized(self.tensor(tensor))
            && let Some(stored) = self.stored(tensor)?
        {
            return Ok(stored);
        }
        let value = self.value(tensor, reader)?;
        match self.known(value) {
            Some(tensor) => Ok(tensor.clone()),
            None => unsupported("the first elements of a variable are not constant"),
        }
    }

    /// `CALL_ONCE`: the first elements of variables, which another network assigns.
    pub(super) fn initialize_variables(&mut self, network: i32) -> Result<(), Fail> {
        let found = usize::try_from(network).ok();
        let found = found.and_then(|i| Some((i, self.model.subgraphs.get(i)?)));
        let Some((index, network)) = found else {
            return unsupported(format!("the file has no network {network}"));
        };
        // One, so that the work is bounded by the size of the file.
        let other = self.variables.initialized_by.replace(index).is_some_and(|i| i != index);
        if index == 0 || self.variables.initializes || other || !network.inputs.is_empty() {
            return unsupported(format!(
                "network {index} \"{}\" is not the only one that gives variables their first \
                 elements, or needs more than constants for it",
                network.name
            ));
        }
        let constants = self.constants.again();
        let mut inner = Importer::new(self.model, network, constants, self.custom)?;
        inner.variables.initializes = true;
        let (folds, mut failed) = (ops::Folds::find(self.model, network), Vec::new());
        for (index, operator) in network.operators.iter().enumerate() {
            inner.operator(index, operator, &folds, &mut failed)?;
        }
        if let Some(first) = failed.first() {
            return unsupported(format!("of network \"{}\", {first}", network.name));
        }
        for Variable { key, initial, .. } in inner.variables.all {
            let variable = self.variables.find(key);
            self.variables.all[variable].initial = initial;
        }
        Ok(())
    }

    /// Declares the states, after the outputs.
    pub(super) fn declare_states(&mut self) {
        let mut names: HashSet<String> =
            self.graph.outputs().iter().map(|&id| self.graph.value(id).name.clone()).collect();
        for (position, variable) in std::mem::take(&mut self.variables.all).into_iter().enumerate()
        {
            // One that is not read before it is assigned keeps nothing.
            let (Some(input), Some(initial), Some(value)) =
                (variable.input, variable.initial, variable.current)
            else {
                continue;
            };
            let name = unique(format!("{}.next", variable.key.1), position, |n| names.contains(n));
            names.insert(name.clone());
            self.add_output(value, name);
            let output = self.graph.outputs().len() - 1;
            self.graph.add_state(State { input, output, initial });
        }
    }
}

/// The name, or one made from it and a number that is not taken.
fn unique(mut name: String, number: usize, taken: impl Fn(&str) -> bool) -> String {
    while taken(&name) {
        name = format!("{name}_{number}");
    }
    name
}
