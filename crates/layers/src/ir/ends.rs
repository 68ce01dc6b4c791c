//! Inputs and outputs whose axes stand in another order than the network has them.

use super::{Def, Graph, ValueId};
use crate::{Activation, Binary, BinaryFn, Cast, Transpose};
use depthwise_tensor::{DType, Tensor};

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
        self.put_behind(id, |graph, name| graph.add(name, Transpose { perm }, &[id]));
    }

    /// Lets the caller give an `f32` input as bytes: of channel `c`, a position along `axis`, byte `x`
    /// is `scale[c] * x + shift[c]` for whatever reads the input, which keeps its name. Does nothing
    /// for a value that is no `f32` input or lacks that axis.
    ///
    /// # Panics
    /// Where the two lists differ in length.
    pub fn read_bytes(&mut self, id: ValueId, axis: usize, scale: &[f32], shift: &[f32]) {
        assert_eq!(scale.len(), shift.len(), "factors and offsets");
        let Def::Input(ty) = &mut self.values[id.index()].def else { return };
        if ty.dtype != DType::F32 || axis >= ty.dims.len() {
            return;
        }
        ty.dtype = DType::U8;
        let mut dims = vec![1; ty.dims.len() - axis];
        dims[0] = scale.len();
        let along = |list: &[f32]| Tensor::from_vec(&dims, list.to_vec()).expect("one extent fits");
        let (scale, shift) = (along(scale), along(shift));
        self.put_behind(id, |graph, name| {
            let numbers = graph.add(&format!("{name}/numbers"), Cast { to: DType::F32 }, &[id]);
            let activation = Activation::Identity;
            let scale = graph.add_const(format!("{name}/scale"), scale);
            let product = Binary { function: BinaryFn::Mul, activation };
            let scaled = graph.add(&format!("{name}/scaled"), product, &[numbers, scale]);
            let shift = graph.add_const(format!("{name}/shift"), shift);
            let sum = Binary { function: BinaryFn::Add, activation };
            graph.add(name, sum, &[scaled, shift])
        });
    }

    /// Lets whatever reads an input read what `make` makes of it, given a name for that.
    fn put_behind(&mut self, id: ValueId, make: impl FnOnce(&mut Graph, &str) -> ValueId) {
        let name = format!("{}/as-declared", self.values[id.index()].name);
        let readers = self.nodes.len();
        let made = make(self, &name);
        let inputs = self.nodes[..readers].iter_mut().flat_map(|node| &mut node.inputs);
        for place in inputs.flatten().chain(&mut self.outputs) {
            if *place == id {
                *place = made;
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
