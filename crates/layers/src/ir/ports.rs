//! Quantized inputs and outputs as real numbers.

use super::{Def, Graph, InputType, NodeId, ValueId};
use crate::{Dequantize, Op, Quantize};
use depthwise_tensor::DType;

impl Graph {
    /// The same network with real numbers, `f32`, in place of inputs and outputs of integers that
    /// stand for them: an input that is dequantized by one scale is quantized first, an output that
    /// was quantized is dequantized. Names stay; other inputs and outputs stay as they are.
    pub fn with_real_ports(&self) -> Graph {
        let mut copy = Copy { from: self, to: Graph::new(self.name.clone()), ids: Vec::new() };
        copy.to.metadata = self.metadata.clone();
        copy.ids = vec![None; self.values().len()];
        for id in self.value_ids() {
            if let Def::Const(tensor) = &self.value(id).def {
                let name = self.value(id).name.clone();
                copy.ids[id.index()] = Some(copy.to.add_const(name, tensor.clone()));
            }
        }
        let consumers = self.consumers();
        for &id in self.inputs() {
            copy.input(id, &consumers[id.index()]);
        }
        for id in self.node_ids() {
            copy.node(id);
        }
        for &id in self.outputs() {
            copy.output(id);
        }
        copy.to
    }
}

struct Copy<'g> {
    from: &'g Graph,
    to: Graph,
    /// What each value of `from` is in `to`.
    ids: Vec<Option<ValueId>>,
}

impl Copy<'_> {
    /// Scale and zero point of a node, one each, as values of the copy.
    fn scale(&self, node: NodeId) -> Option<[Option<ValueId>; 2]> {
        let node = self.from.node(node);
        let input = |i: usize| node.inputs.get(i).copied().flatten();
        let scale = input(1)?;
        (self.from.constant(scale)?.elements() == 1)
            .then(|| [Some(scale), input(2)].map(|id| id.and_then(|id| self.ids[id.index()])))
    }

    fn input(&mut self, id: ValueId, readers: &[NodeId]) {
        let name = self.from.value(id).name.clone();
        let Some(ty) = self.from.input_type(id).cloned() else { return };
        let scaled = |&node: &NodeId| {
            let first = self.from.node(node).inputs.first() == Some(&Some(id));
            (first && matches!(self.from.node(node).op, Op::Dequantize(_))).then_some(node)
        };
        let scale = readers.iter().find_map(scaled).and_then(|node| self.scale(node));
        self.ids[id.index()] = Some(match scale {
            None => self.to.add_input(name, ty),
            Some([scale, zero]) => {
                let (dtype, dims) = (ty.dtype, ty.dims);
                let real = self.to.add_input(name.clone(), InputType { dtype: DType::F32, dims });
                let name = format!("{name}.integers");
                let inputs = [Some(real), scale, zero];
                self.to.add_node(&name, Quantize { dtype, axis: 0 }, &inputs, &[&name])[0]
            }
        });
    }

    fn node(&mut self, id: NodeId) {
        let node = self.from.node(id);
        let inputs: Vec<_> =
            node.inputs.iter().map(|input| input.and_then(|id| self.ids[id.index()])).collect();
        let names: Vec<&str> =
            node.outputs.iter().map(|&id| self.from.value(id).name.as_str()).collect();
        let outputs = self.to.add_node(&node.name, node.op.clone(), &inputs, &names);
        for (&old, new) in node.outputs.iter().zip(outputs) {
            self.ids[old.index()] = Some(new);
        }
    }

    fn output(&mut self, id: ValueId) {
        let Some(mut value) = self.ids[id.index()] else { return };
        let quantized = self
            .from
            .producer(id)
            .filter(|&node| matches!(self.from.node(node).op, Op::Quantize(_)));
        if let Some([scale, zero]) = quantized.and_then(|node| self.scale(node)) {
            let name = self.from.value(id).name.clone();
            self.to.rename_value(value, format!("{name}.integers"));
            let inputs = [Some(value), scale, zero];
            value = self.to.add_node(&name, Dequantize { axis: 0 }, &inputs, &[&name])[0];
        }
        self.to.add_output(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::interpret;
    use crate::{Unary, UnaryFn};
    use depthwise_tensor::Tensor;

    #[test]
    fn integers_at_the_ends_become_real_numbers() {
        let mut graph = Graph::new("negate");
        let x = graph.add_input("x", InputType::fixed(DType::U8, &[3]));
        let scale = graph.add_const("scale", Tensor::scalar(0.5f32));
        let zero = graph.add_const("zero", Tensor::scalar(128i32));
        let real = graph.add("real", Dequantize { axis: 0 }, &[x, scale, zero]);
        let y = graph.add("minus", Unary { function: UnaryFn::Neg }, &[real]);
        let y = graph.add("y", Quantize { dtype: DType::I8, axis: 0 }, &[y, scale]);
        graph.add_output(y);
        let graph = graph.with_real_ports();
        graph.verify().unwrap();
        let ty = graph.input_type(graph.inputs()[0]).unwrap();
        assert_eq!((ty.dtype, ty.shape().unwrap().dims()), (DType::F32, &[3][..]));
        assert_eq!(graph.value(graph.outputs()[0]).name, "y");
        let x = Tensor::from_slice(&[3], &[1.6f32, -100.0, 0.0]).unwrap();
        // Rounded to halves, and cut to -64 at the input: 64 is more than an i8 holds.
        assert_eq!(interpret(&graph, &[x]).unwrap()[0].to_f32()[..], [-1.5, 63.5, 0.0]);
    }
}
