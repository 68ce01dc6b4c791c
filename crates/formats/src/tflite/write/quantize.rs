//! Which operators compute in integers.
//!
//! The graph has `Dequantize -> layer -> Quantize`; the format has one operator on tensors of `i8` that
//! bear scales. What LiteRT's integer kernels demand beyond that is checked here; a layer that does not
//! meet it computes in `f32`, with DEQUANTIZE and QUANTIZE operators at its ends.

use super::activation::fused;
use super::kinds::{DEQUANTIZE, QUANTIZE};
use super::picture::plain_rule;
use super::values::{Target, Writer, operand};
use super::{Refused, refuse};
use crate::export::Known;
use crate::tflite::wire::{Field, Record};
use depthwise_layers::ir::{Graph, Node, NodeId, ValueId};
use depthwise_layers::{
    Activation, BinaryFn, Op, PadMode, Quantize, ReduceFn, Requantize, ResizeMode,
};
use depthwise_tensor::DType;
use std::collections::{HashMap, HashSet};

/// Scales and zero points of a tensor of integers: one, or one for each slice of an axis.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scales {
    pub(super) scale: Vec<f32>,
    pub(super) zero: Vec<i64>,
    pub(super) axis: usize,
}

impl Scales {
    pub(super) fn one(scale: f32, zero: i64) -> Scales {
        Scales { scale: vec![scale], zero: vec![zero], axis: 0 }
    }

    /// Those of a Quantize or Dequantize over a value of so many dimensions.
    fn of(graph: &Graph, node: &Node, axis: i64, rank: usize) -> Option<Scales> {
        let constant = |at: usize| graph.constant(node.inputs.get(at).copied().flatten()?);
        let scale = constant(1)?.to_f32().into_owned();
        let zero = match node.inputs.get(2).copied().flatten() {
            None => vec![0; scale.len()],
            Some(id) => graph.constant(id)?.to_i64().into_owned(),
        };
        let from_end = axis.checked_add(rank as i64)?;
        let axis = usize::try_from(if axis < 0 { from_end } else { axis }).ok()?;
        let fits = zero.len() == scale.len() && !scale.is_empty();
        fits.then_some(Scales { scale, zero, axis })
    }

    /// The table of the format.
    pub(super) fn record(&self) -> Record {
        Record::new()
            .with(2, Field::F32s(self.scale.clone()))
            .with(3, Field::I64s(self.zero.clone()))
            .with(6, Field::I32(self.axis as i32))
    }

    fn single(&self) -> Option<(f32, i64)> {
        match (&self.scale[..], &self.zero[..]) {
            (&[scale], &[zero]) => Some((scale, zero)),
            _ => None,
        }
    }
}

/// Integers that a real number of the graph is made of.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) id: ValueId,
    pub(super) scales: Scales,
}

/// What is integers in the file.
#[derive(Default)]
pub(super) struct Integers {
    /// By the result of a Dequantize, what it reads.
    pub(super) real: HashMap<ValueId, Stored>,
    /// By the result of an integer layer, what the Quantize behind it gives.
    pub(super) results: HashMap<ValueId, Stored>,
    /// Scales of what Quantize nodes give, and of inputs.
    pub(super) scales: HashMap<ValueId, Scales>,
    layers: HashSet<NodeId>,
}

impl Integers {
    pub(super) fn find(graph: &Graph, known: &Known) -> Integers {
        let mut found = Integers::default();
        for node in graph.nodes() {
            let Some(x) = node.inputs.first().copied().flatten() else { continue };
            let rank = known.rank(x);
            match &node.op {
                Op::Quantize(op) => {
                    if let Some(scales) = Scales::of(graph, node, op.axis, rank) {
                        found.scales.insert(node.outputs[0], scales);
                    }
                }
                Op::Dequantize(op) => {
                    let Some(scales) = Scales::of(graph, node, op.axis, rank) else { continue };
                    if graph.constant(x).is_none() {
                        let own = found.scales.entry(x).or_insert_with(|| scales.clone());
                        if *own != scales {
                            continue;
                        }
                    }
                    found.real.insert(node.outputs[0], Stored { id: x, scales });
                }
                _ => {}
            }
        }
        let readers = graph.consumers();
        for id in graph.node_ids() {
            let node = graph.node(id);
            if let Some(results) = found.results_of(graph, known, node, &readers)
                && found.takes(graph, known, node, &results)
            {
                found.layers.insert(id);
                found.results.extend(results);
            }
        }
        found
    }

    /// Whether a node computes in integers.
    pub(super) fn is_layer(&self, id: NodeId) -> bool {
        self.layers.contains(&id)
    }

    /// The integers that the results of a node become, where they become nothing else.
    fn results_of(
        &self,
        graph: &Graph,
        known: &Known,
        node: &Node,
        readers: &[Vec<NodeId>],
    ) -> Option<Vec<(ValueId, Stored)>> {
        if matches!(node.op, Op::Quantize(_) | Op::Dequantize(_)) {
            return None;
        }
        if matches!(node.op, Op::ArgExtreme(_)) {
            return Some(Vec::new());
        }
        let result = |&id: &ValueId| {
            let &[reader] = readers[id.index()].as_slice() else { return None };
            let quantize = graph.node(reader);
            let is_i8 = matches!(quantize.op, Op::Quantize(Quantize { dtype: DType::I8, .. }));
            if !is_i8 || graph.outputs().contains(&id) || known.ty(id).dtype != DType::F32 {
                return None;
            }
            let scales = self.scales.get(&quantize.outputs[0])?.clone();
            scales.single()?;
            Some((id, Stored { id: quantize.outputs[0], scales }))
        };
        node.outputs.iter().map(result).collect()
    }

    /// The scale of an operand that flows through the network as `i8`.
    fn operand(&self, graph: &Graph, known: &Known, node: &Node, at: usize) -> Option<(f32, i64)> {
        let stored = self.real.get(&node.inputs.get(at).copied().flatten()?)?;
        let flows = graph.constant(stored.id).is_none() && known.ty(stored.id).dtype == DType::I8;
        stored.scales.single().filter(|_| flows)
    }

    /// Whether there is an integer kernel for a node with these results.
    fn takes(
        &self,
        graph: &Graph,
        known: &Known,
        node: &Node,
        results: &[(ValueId, Stored)],
    ) -> bool {
        let operand = |at: usize| self.operand(graph, known, node, at);
        let Some(x) = operand(0).or_else(|| self.constant(graph, node, 0)) else { return false };
        let output = results.first().and_then(|(_, stored)| stored.scales.single());
        let ends = |activation: Activation| output.is_some_and(|y| ends_with(activation, y));
        let keeps = results.iter().all(|(_, stored)| stored.scales.single() == Some(x));
        let yields = |scale: f32, zero: i64| output == Some((scale, zero));
        let rank = |at: usize| {
            let id = node.inputs.get(at).copied().flatten();
            id.map_or(0, |id| known.rank(id))
        };
        match &node.op {
            Op::ArgExtreme(_) => operand(0).is_some(),
            Op::Conv2d(op) => self.weighted(graph, node, 0) && ends(op.activation),
            Op::DepthwiseConv2d(op) => self.weighted(graph, node, 2) && ends(op.activation),
            Op::Dense(op) => rank(0) >= 2 && self.weighted(graph, node, 0) && ends(op.activation),
            Op::Binary(op) => {
                let other = operand(1).or_else(|| self.constant(graph, node, 1));
                let sums = matches!(op.function, BinaryFn::Add | BinaryFn::Sub | BinaryFn::Mul);
                let small = rank(0) <= 4 && rank(1) <= 4;
                sums && small && other.is_some() && ends(op.activation)
            }
            Op::Activate(op) => match op.activation {
                Activation::Identity => keeps,
                Activation::Sigmoid => yields(1.0 / 256.0, -128),
                Activation::Tanh => yields(1.0 / 128.0, 0),
                Activation::HardSwish | Activation::RELU | Activation::RELU6 | Activation::Silu => {
                    true
                }
                Activation::HardSigmoid { alpha, .. } => {
                    // The result's own range does the clamping.
                    let whole = Activation::Clip { min: 0.0, max: 1.0 };
                    alpha > 0.0 && output.is_some_and(|y| covers(whole, y))
                }
                _ => false,
            },
            Op::Pool2d(op) => keeps && plain_rule(&known.ty(operand_id(node)).shape, op).is_some(),
            Op::Reduce(op) => op.function == ReduceFn::Mean,
            Op::Softmax(op) => {
                let last =
                    known.ty(operand_id(node)).shape.axis(op.axis) == Some(rank(0).max(1) - 1);
                !op.log && last && yields(1.0 / 256.0, -128)
            }
            Op::Resize(op) => {
                keeps && matches!(op.mode, ResizeMode::Nearest(_) | ResizeMode::Linear)
            }
            Op::Pad(op) => {
                let value = node.inputs.get(2).copied().flatten();
                let is_zero = value.is_none_or(|id| {
                    graph.constant(id).is_some_and(|value| value.to_f64()[..] == [0.0])
                });
                keeps && (op.mode != PadMode::Constant || is_zero)
            }
            Op::Concat(_) => keeps && (0..node.inputs.len()).all(|at| operand(at) == Some(x)),
            Op::DepthToSpace(_)
            | Op::Flatten(_)
            | Op::Gather(_)
            | Op::Reshape(_)
            | Op::Slice(_)
            | Op::SpaceToDepth(_)
            | Op::Split(_)
            | Op::Squeeze(_)
            | Op::Transpose(_)
            | Op::Unsqueeze(_) => keeps && operand(0).is_some(),
            _ => false,
        }
    }

    /// The scale of an operand that is constant `i8`.
    fn constant(&self, graph: &Graph, node: &Node, at: usize) -> Option<(f32, i64)> {
        let stored = self.real.get(&node.inputs.get(at).copied().flatten()?)?;
        let tensor = graph.constant(stored.id)?;
        stored.scales.single().filter(|_| tensor.dtype() == DType::I8)
    }

    /// Whether weights are constant `i8` around zero, one scale or one per output channel, and the bias
    /// is constant `i32`.
    fn weighted(&self, graph: &Graph, node: &Node, axis: usize) -> bool {
        let stored = |at: usize| {
            let stored = self.real.get(&node.inputs.get(at).copied().flatten()?)?;
            Some((graph.constant(stored.id)?.dtype(), &stored.scales))
        };
        let along = |scales: &Scales, axis: usize| {
            let around_zero = scales.zero.iter().all(|&zero| zero == 0);
            around_zero && (scales.scale.len() == 1 || scales.axis == axis)
        };
        let weights = stored(1).is_some_and(|(ty, s)| ty == DType::I8 && along(s, axis));
        let has_bias = node.inputs.get(2).copied().flatten().is_some();
        let bias = !has_bias || stored(2).is_some_and(|(ty, s)| ty == DType::I32 && along(s, 0));
        weights && bias && node.inputs.get(3).copied().flatten().is_none()
    }
}

/// The first operand; the caller has looked at it.
fn operand_id(node: &Node) -> ValueId {
    node.inputs.first().copied().flatten().expect("an operand with a scale")
}

/// Whether the results of a scale lie within an activation that clamps, so that it need not be said.
pub(super) fn covers(activation: Activation, (scale, zero): (f32, i64)) -> bool {
    let whole = Requantize::new(DType::I8, zero as i32);
    whole.clamped(activation, scale) == Some(whole)
}

/// Whether an operator can end with an activation.
fn ends_with(activation: Activation, y: (f32, i64)) -> bool {
    fused(activation).is_some() || covers(activation, y)
}

/// Writes a Quantize, unless the layer before it gives integers already.
pub(super) fn quantize(w: &mut Writer<'_>, node: &Node, op: &Quantize) -> Result<(), Refused> {
    let (x, y) = (operand(node, 0)?, node.outputs[0]);
    if w.integers.results.contains_key(&x) {
        return Ok(());
    }
    if op.dtype != DType::I8 {
        let reason =
            format!("activations of {}; operators of TFLite that are written take i8", op.dtype);
        return refuse(reason);
    }
    if w.integers.scales.get(&y).is_none_or(|scales| scales.single().is_none()) {
        return refuse("its scale is not one constant");
    }
    // From one scale to another without real numbers between.
    let x = match w.integers.real.get(&x).filter(|s| w.graph.constant(s.id).is_none()).cloned() {
        Some(stored) => w.value(stored.id)?,
        None => w.value(x)?,
    };
    w.run(QUANTIZE, Record::new(), &[x], Target::Value(y));
    Ok(())
}

/// Writes a Dequantize where something asks for real numbers: an output, or a layer that computes in
/// them.
pub(super) fn dequantize(w: &mut Writer<'_>, id: ValueId, stored: &Stored) -> Result<i32, Refused> {
    let x = w.value(stored.id)?;
    // Version 2 takes i8.
    Ok(w.run(DEQUANTIZE.version(2), Record::new(), &[x], Target::Value(id)))
}
