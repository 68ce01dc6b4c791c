//! A network with Quantize and Dequantize around what is to be computed in integers.

use crate::channels::channels;
use crate::observe::Statistics;
use crate::scale::{QuantizedWeights, Range, Scale};
use crate::scheme::{Kind, Scheme, operands};
use crate::{CompressError, Ports};
use depthwise_layers::ir::{Graph, InputType, Node, NodeId, Types, ValueId};
use depthwise_layers::{BinaryFn, Dequantize, Op, Quantize};
use depthwise_tensor::{DType, Tensor};
use std::collections::HashMap;

/// What goes into a quantized network besides the network.
pub(crate) struct Settings<'a> {
    pub(crate) types: &'a Types,
    pub(crate) scheme: &'a Scheme,
    pub(crate) dtype: DType,
    pub(crate) ports: Ports,
    /// Means of the activations, where biases are to make up for the rounding of weights.
    pub(crate) means: Option<&'a HashMap<ValueId, Statistics>>,
}

/// The network in which each value of the scheme is integers between a Quantize and a Dequantize.
pub(crate) fn insert(graph: &Graph, settings: &Settings<'_>) -> Result<Graph, CompressError> {
    let mut copy = Copy {
        from: graph,
        settings,
        to: Graph::new(graph.name.clone()),
        real: vec![None; graph.values().len()],
        stored: vec![None; graph.values().len()],
    };
    copy.to.metadata = graph.metadata.clone();
    for &id in graph.inputs() {
        copy.input(id)?;
    }
    for id in graph.node_ids() {
        copy.node(id)?;
    }
    for &id in graph.outputs() {
        let stored = copy.stored[id.index()].filter(|_| settings.ports == Ports::Integers);
        if let Some(value) = stored.or(copy.real(id)) {
            copy.to.add_output(value);
        }
    }
    copy.to.sort();
    copy.to.verify()?;
    Ok(copy.to)
}

struct Copy<'a> {
    from: &'a Graph,
    settings: &'a Settings<'a>,
    to: Graph,
    /// What each value is in the copy, as real numbers.
    real: Vec<Option<ValueId>>,
    /// As integers.
    stored: Vec<Option<ValueId>>,
}

impl Copy<'_> {
    fn name(&self, id: ValueId) -> &str {
        &self.from.value(id).name
    }

    /// A value of the network as real numbers; constants are copied when something asks for them.
    fn real(&mut self, id: ValueId) -> Option<ValueId> {
        if let (None, Some(tensor)) = (self.real[id.index()], self.from.constant(id)) {
            let name = self.name(id).to_owned();
            self.real[id.index()] = Some(self.to.add_const(name, tensor.clone()));
        }
        self.real[id.index()]
    }

    fn input(&mut self, id: ValueId) -> Result<(), CompressError> {
        let Some(ty) = self.from.input_type(id).cloned() else { return Ok(()) };
        let name = self.name(id).to_owned();
        let Some(scale) = self.settings.scheme.scale(id) else {
            self.real[id.index()] = Some(self.to.add_input(name, ty));
            return Ok(());
        };
        if self.settings.ports == Ports::Integers {
            let ty = InputType { dtype: scale.dtype, dims: ty.dims };
            let stored = self.to.add_input(name.clone(), ty);
            let constants = self.scale(&name, scale);
            self.dequantize(id, stored, constants, format!("{name}.dequantized"));
            return Ok(());
        }
        let real = self.to.add_input(name.clone(), ty);
        self.quantize(id, real, scale, &name, format!("{name}.quantized"));
        Ok(())
    }

    /// Scale and zero point as constants.
    fn scale(&mut self, name: &str, scale: Scale) -> [ValueId; 2] {
        let factor = self.to.add_const(format!("{name}.scale"), Tensor::scalar(scale.scale));
        let zero = self.to.add_const(format!("{name}.zero_point"), scale.zero_tensor());
        [factor, zero]
    }

    fn dequantize(
        &mut self,
        id: ValueId,
        stored: ValueId,
        [scale, zero]: [ValueId; 2],
        name: String,
    ) {
        self.stored[id.index()] = Some(stored);
        let real = self.to.add(&name, Dequantize { axis: 0 }, &[stored, scale, zero]);
        self.real[id.index()] = Some(real);
    }

    /// Integers of a real number of the copy, and the real numbers that they stand for, in the place
    /// of a value. An output of the network keeps its name.
    fn quantize(&mut self, id: ValueId, real: ValueId, scale: Scale, node: &str, stored: String) {
        let name = self.name(id).to_owned();
        let is_output = self.from.outputs().contains(&id);
        let integers = is_output && self.settings.ports == Ports::Integers;
        let (stored, dequantized) = match (is_output, integers) {
            (true, true) => (name.clone(), format!("{name}.dequantized")),
            (true, false) => (format!("{name}.quantized"), name.clone()),
            _ => (stored, format!("{name}.dequantized")),
        };
        let [factor, zero] = self.scale(&name, scale);
        let op = Quantize { dtype: scale.dtype, axis: 0 };
        let inputs = [Some(real), Some(factor), Some(zero)];
        let stored = self.to.add_node(node, op, &inputs, &[&stored])[0];
        self.dequantize(id, stored, [factor, zero], dequantized);
    }

    fn node(&mut self, id: NodeId) -> Result<(), CompressError> {
        let node = self.from.node(id);
        let kind = self.settings.scheme.kind(id);
        let mut inputs = Vec::with_capacity(node.inputs.len());
        for &input in &node.inputs {
            inputs.push(input.and_then(|input| self.real(input)));
        }
        match kind {
            Kind::Weighted { axis } => self.weights(node, axis, &mut inputs)?,
            Kind::Own => self.constants(node, &mut inputs)?,
            Kind::Keeps => self.bring(node, &mut inputs),
            Kind::Fixed(_) | Kind::Reads | Kind::Real => {}
        }
        let scale = |id: &ValueId| self.settings.scheme.scale(*id);
        let names = node.outputs.iter().map(|id| match scale(id) {
            Some(_) => format!("{}.real", self.name(*id)),
            None => self.name(*id).to_owned(),
        });
        let names: Vec<String> = names.collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let outputs = self.to.add_node(node.name.clone(), node.op.clone(), &inputs, &names);
        for (&old, new) in node.outputs.iter().zip(outputs) {
            match self.settings.scheme.scale(old) {
                Some(scale) => {
                    // The node that remains when the pass folds them bears the layer's name.
                    let stored = self.name(old).to_owned();
                    self.quantize(old, new, scale, &node.name, stored);
                }
                None => self.real[old.index()] = Some(new),
            }
        }
        Ok(())
    }

    /// Integer weights and bias in the place of real ones.
    fn weights(
        &mut self,
        node: &Node,
        axis: usize,
        inputs: &mut Vec<Option<ValueId>>,
    ) -> Result<(), CompressError> {
        let operand = |at: usize| node.inputs.get(at).copied().flatten();
        let (Some(x), Some(w)) = (operand(0), operand(1)) else { return Ok(()) };
        let (Some(x_scale), Some(weights)) = (self.settings.scheme.scale(x), self.from.constant(w))
        else {
            return Ok(());
        };
        let mut bias =
            operand(2).and_then(|b| self.from.constant(b)).map(|b| b.to_f64().into_owned());
        let of = |bias: &Option<Vec<f64>>| {
            QuantizedWeights::new(&node.name, weights, axis, bias.as_deref(), x_scale.scale)
        };
        let mut quantized = of(&bias)?;
        if let Some(seen) = self.settings.means.and_then(|means| means.get(&x)) {
            let moved = moved(node, weights, &quantized, &seen.means());
            let bias = bias.get_or_insert_with(|| vec![0.0; moved.len()]);
            bias.iter_mut().zip(moved).for_each(|(b, moved)| *b -= moved);
            quantized = of(&Some(bias.clone()))?;
        }
        let name = self.name(w).to_owned();
        let scales = Tensor::from_slice(&[quantized.scales.len()], &quantized.scales)?;
        let integers = quantized.integers.clone();
        inputs[1] = Some(self.dequantized_constant(&name, integers, scales, axis as i64));
        if let Some(bias) = bias {
            let name =
                operand(2).map_or_else(|| format!("{}.bias", node.name), |b| self.name(b).into());
            let (integers, scales) = quantized.bias(&bias, x_scale.scale)?;
            inputs.resize(inputs.len().max(3), None);
            inputs[2] = Some(self.dequantized_constant(&name, integers, scales, 0));
        }
        Ok(())
    }

    fn dequantized_constant(
        &mut self,
        name: &str,
        integers: Tensor,
        scales: Tensor,
        axis: i64,
    ) -> ValueId {
        let integers = self.to.add_const(format!("{name}.quantized"), integers);
        let scales = self.to.add_const(format!("{name}.scale"), scales);
        self.to.add(name, Dequantize { axis }, &[integers, scales])
    }

    /// Constants beside activations in sums and products, with a scale of their own.
    fn constants(
        &mut self,
        node: &Node,
        inputs: &mut [Option<ValueId>],
    ) -> Result<(), CompressError> {
        let Op::Binary(op) = &node.op else { return Ok(()) };
        if !matches!(op.function, BinaryFn::Add | BinaryFn::Sub | BinaryFn::Mul) {
            return Ok(());
        }
        for (at, &id) in node.inputs.iter().enumerate() {
            let Some((id, tensor)) = id.and_then(|id| Some((id, self.from.constant(id)?))) else {
                continue;
            };
            let values = tensor.to_f64();
            if let Some(&value) = values.iter().find(|x| !x.is_finite()) {
                return Err(CompressError::Weight { node: node.name.clone(), value });
            }
            let ends = values.iter().fold((0f64, 0f64), |(a, b), &x| (a.min(x), b.max(x)));
            let range = Range::new(ends.0 as f32, ends.1 as f32);
            let scale = Scale::of_range(self.settings.dtype, range);
            let steps = |&x: &f64| scale.integer(x);
            let dims = tensor.shape().dims();
            let integers = match scale.dtype {
                DType::I8 => {
                    Tensor::from_vec(dims, values.iter().map(|x| steps(x) as i8).collect())?
                }
                _ => Tensor::from_vec(dims, values.iter().map(|x| steps(x) as u8).collect())?,
            };
            let name = self.name(id).to_owned();
            let integers = self.to.add_const(format!("{name}.quantized"), integers);
            let [factor, zero] = self.scale(&name, scale);
            inputs[at] =
                Some(self.to.add(&name, Dequantize { axis: 0 }, &[integers, factor, zero]));
        }
        Ok(())
    }

    /// Operands of another scale than the result's, brought to that.
    fn bring(&mut self, node: &Node, inputs: &mut [Option<ValueId>]) {
        let Some(wanted) = self.settings.scheme.scale(node.outputs[0]) else { return };
        let flowing: Vec<(usize, ValueId)> =
            operands(self.from, self.settings.types, node).collect();
        for (at, id) in flowing {
            let own = self.settings.scheme.scale(id);
            let Some(real) = inputs[at].filter(|_| own.is_some_and(|own| own != wanted)) else {
                continue;
            };
            let name = format!("{}.part{at}", node.name);
            let [factor, zero] = self.scale(&name, wanted);
            let op = Quantize { dtype: wanted.dtype, axis: 0 };
            let stored = self.to.add(&name, op, &[real, factor, zero]);
            let back = format!("{name}.dequantized");
            inputs[at] = Some(self.to.add(&back, Dequantize { axis: 0 }, &[stored, factor, zero]));
        }
    }
}

/// By how much the rounding of the weights moves the mean of each output channel, for inputs of these
/// means by channel. Padding, which has another mean, is left out of account.
fn moved(node: &Node, weights: &Tensor, quantized: &QuantizedWeights, means: &[f64]) -> Vec<f64> {
    let shape = weights.shape();
    let mut moved = vec![0.0; shape[quantized.axis]];
    let mean = |channel: usize| means.get(channel).copied().unwrap_or(0.0);
    for (i, error) in quantized.errors(weights).into_iter().enumerate() {
        let (oc, ic) = channels(&node.op, shape, means.len(), i);
        moved[oc] += error * mean(ic);
    }
    moved
}
