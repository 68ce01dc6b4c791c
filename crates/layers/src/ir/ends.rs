//! Inputs and outputs whose axes stand in another order than the network has them.

use super::{Def, Graph, ValueId};
use crate::Transpose;

impl Graph {
    /// Lets the caller give an input with its axes in another order: axis `i` of the new declaration
    /// is axis `order[i]` of the old. A transpose brings them back for whatever reads the input,
    /// and the input keeps its name. Does nothing for a value that is no input, or of another number
    /// of dimensions.
    pub fn permute_input(&mut self, id: ValueId, order: &[usize]) {
        let Def::Input(ty) = &mut self.values[id.index()].def else { return };
        if ty.dims.len() != order.len() {
            return;
        }
        ty.dims = order.iter().map(|&axis| ty.dims[axis].clone()).collect();
        let mut perm = vec![0; order.len()];
        order.iter().enumerate().for_each(|(at, &axis)| perm[axis] = at);
        let name = format!("{}/as-declared", self.values[id.index()].name);
        let readers = self.nodes.len();
        let turned = self.add(&name, Transpose { perm }, &[id]);
        let inputs = self.nodes[..readers].iter_mut().flat_map(|node| &mut node.inputs);
        for place in inputs.flatten().chain(&mut self.outputs) {
            if *place == id {
                *place = turned;
            }
        }
        self.sort();
    }

    /// Gives the caller an output with its axes in another order: axis `i` of what it gets is axis
    /// `order[i]` of what the network computes. The output keeps its name.
    ///
    /// # Panics
    /// Where there is no output at this position.
    pub fn permute_output(&mut self, position: usize, order: &[usize]) {
        let id = self.outputs[position];
        let name = self.values[id.index()].name.clone();
        let turned = self.add(&name, Transpose { perm: order.to_vec() }, &[id]);
        self.outputs[position] = turned;
        if !self.outputs.contains(&id) && !self.inputs.contains(&id) {
            self.rename_value(id, format!("{name}/as-declared"));
        }
    }
}
