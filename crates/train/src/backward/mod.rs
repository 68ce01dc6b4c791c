//! Gradients of a graph, as nodes of the graph itself.
//!
//! The walk goes from the loss back to the inputs (reverse mode). A node whose output has a
//! gradient adds the nodes that give the gradients of its inputs; a value that several nodes read
//! gets their sum. What no wanted value depends on is left out.

mod layers;
mod math;
mod moving;
mod recompute;

use crate::TrainError;
use crate::builder::Builder;
use depthwise_layers::Op;
use depthwise_layers::ir::{Graph, Node, ValueId};
use depthwise_tensor::Shape;
use recompute::Recompute;

/// A graph with gradients.
#[derive(Clone, Debug)]
pub struct Backward {
    /// The graph given, and behind its nodes those of the gradients. Its outputs are what they
    /// were; see [`Graph::set_outputs`].
    pub graph: Graph,
    /// For each value asked for, its gradient; `None` where the loss does not depend on it.
    pub gradients: Vec<Option<ValueId>>,
}

/// Adds the gradients of `loss` (one element) with respect to `wanted` (inputs of the graph, or
/// anything it computes), for inputs of these shapes, one per input in order.
///
/// Weights that are to be trained have to be inputs: [`TrainingGraph`](crate::TrainingGraph) turns
/// them into such, and splits layers with a bias, a residual or an activation of their own, which
/// are refused here.
///
/// # Errors
/// [`TrainError::NoGradient`] for a layer that has none, [`TrainError::Infer`] where the shapes do
/// not fit.
pub fn backward(
    graph: &Graph,
    loss: ValueId,
    wanted: &[ValueId],
    shapes: &[Shape],
) -> Result<Backward, TrainError> {
    let mut builder = Builder::of_graph(graph.clone(), shapes)?;
    let gradients = differentiate(&mut builder, loss, wanted, false)?;
    Ok(Backward { graph: builder.graph, gradients })
}

/// As [`backward`], in place. With `recompute`, the way back reads activations that it computes a
/// second time, piece by piece.
pub(crate) fn differentiate(
    b: &mut Builder,
    loss: ValueId,
    wanted: &[ValueId],
    recompute: bool,
) -> Result<Vec<Option<ValueId>>, TrainError> {
    if b.shape(loss).elements() != 1 {
        let name = b.graph.value(loss).name.clone();
        let reason = format!("the loss \"{name}\" is {}, not one number", b.shape(loss));
        return Err(TrainError::Target(reason));
    }
    let nodes = b.graph.nodes().to_vec();
    let mut depends = vec![false; b.graph.values().len()];
    wanted.iter().for_each(|id| depends[id.index()] = true);
    for node in &nodes {
        if node.inputs.iter().flatten().any(|id| depends[id.index()]) {
            node.outputs.iter().for_each(|id| depends[id.index()] = true);
        }
    }
    let mut gradients: Vec<Option<ValueId>> = vec![None; depends.len()];
    let one = b.number(1.0, loss);
    let shape = b.shape(loss);
    gradients[loss.index()] = Some(b.expand(one, &shape)?);
    let mut again = recompute.then(|| Recompute::new(b, &nodes, loss));
    for (at, node) in nodes.iter().enumerate().rev() {
        let dys: Vec<Option<ValueId>> = node.outputs.iter().map(|y| gradients[y.index()]).collect();
        let wants: Vec<bool> =
            node.inputs.iter().map(|x| x.is_some_and(|x| depends[x.index()])).collect();
        if dys.iter().all(Option::is_none) || !wants.contains(&true) {
            continue;
        }
        let second = match &mut again {
            Some(again) => again.node(b, &nodes, at)?,
            None => node.clone(),
        };
        b.set_prefix(format!("{}.grad.", node.name));
        let rule = Rule { node: &second, dys: &dys, wants: &wants };
        for (input, dx) in node.inputs.iter().zip(rule.apply(b)?) {
            let (Some(input), Some(dx)) = (input, dx) else { continue };
            let sum = match gradients[input.index()] {
                Some(other) => b.add(other, dx)?,
                None => dx,
            };
            gradients[input.index()] = Some(sum);
        }
    }
    Ok(wanted.iter().map(|id| gradients[id.index()]).collect())
}

/// A node on the way back.
struct Rule<'a> {
    node: &'a Node,
    /// The gradients of its outputs.
    dys: &'a [Option<ValueId>],
    /// Per input, whether its gradient is of use.
    wants: &'a [bool],
}

/// Gradients of the inputs, in order; what is missing at the end has none.
type Gradients = Result<Vec<Option<ValueId>>, TrainError>;

impl Rule<'_> {
    fn apply(&self, b: &mut Builder) -> Gradients {
        match &self.node.op {
            Op::Activate(layer) => self.activate(b, layer.activation),
            Op::BatchNormTrain(layer) => self.batch_norm(b, layer),
            Op::Binary(layer) => self.binary(b, layer),
            Op::Cast(_) => self.cast(b),
            Op::Concat(layer) => self.concat(b, layer),
            Op::Conv2d(layer) => self.conv2d(b, layer),
            Op::Conv2dInputGrad(layer) => self.conv2d_transposed(b, layer),
            Op::Dense(layer) => self.dense(b, layer),
            Op::DepthToSpace(layer) => self.depth_to_space(b, layer),
            Op::DepthwiseConv2d(layer) => self.depthwise(b, layer),
            Op::Dropout(_) => Ok(vec![self.dys[0]]),
            Op::Expand(_) => self.expand(b),
            Op::Flatten(_) | Op::Reshape(_) | Op::Squeeze(_) | Op::Unsqueeze(_) => self.reshape(b),
            Op::Gather(layer) => self.gather(b, layer),
            Op::MatMul(_) => self.matmul(b),
            Op::PRelu(_) => self.prelu(b),
            Op::Pad(layer) => self.pad(b, layer),
            Op::Pool2d(layer) => self.pool(b, layer),
            Op::Reduce(layer) => self.reduce(b, layer),
            Op::Resize(layer) => self.resize(b, layer),
            Op::Select(_) => self.select(b),
            Op::Slice(layer) => self.slice(b, layer),
            Op::Softmax(layer) => self.softmax(b, layer),
            Op::SpaceToDepth(layer) => self.space_to_depth(b, layer),
            Op::Split(layer) => self.split(b, layer),
            Op::Tile(_) => self.tile(b),
            Op::Transpose(layer) => self.transpose(b, &layer.perm),
            Op::Unary(layer) => self.unary(b, layer.function),
            Op::ShapeOf(_) | Op::ArgExtreme(_) => Ok(vec![]),
            _ => Err(self.none("its gradient is not defined")),
        }
    }

    /// The gradient of the only output.
    fn dy(&self) -> ValueId {
        self.dys[0].expect("a node with one output is visited with its gradient")
    }

    /// The only output.
    fn y(&self) -> ValueId {
        self.node.outputs[0]
    }

    /// Operand `i`, which the layer requires.
    fn x(&self, i: usize) -> ValueId {
        self.opt(i).expect("inference has accepted the operands")
    }

    fn opt(&self, i: usize) -> Option<ValueId> {
        self.node.inputs.get(i).copied().flatten()
    }

    fn wants(&self, i: usize) -> bool {
        self.wants.get(i).copied().unwrap_or(false)
    }

    /// The integers of a constant operand.
    fn integers(&self, b: &Builder, i: usize) -> Result<Option<Vec<i64>>, TrainError> {
        let Some(id) = self.opt(i) else { return Ok(None) };
        match b.graph.constant(id) {
            Some(tensor) => Ok(Some(tensor.to_i64().into_owned())),
            None => Err(self.none(format!("input {i} is not constant"))),
        }
    }

    fn none(&self, reason: impl Into<String>) -> TrainError {
        TrainError::NoGradient {
            node: self.node.name.clone(),
            kind: self.node.op.layer().kind(),
            reason: reason.into(),
        }
    }
}
