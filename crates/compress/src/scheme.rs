//! Which values become integers, and of which scale.

use crate::scale::{Range, Scale};
use depthwise_layers::ir::{Graph, Node, NodeId, Types, ValueId};
use depthwise_layers::{Activation, BinaryFn, Op, PadMode, PoolKind, ReduceFn, ResizeMode};
use depthwise_tensor::DType;
use std::collections::HashMap;

/// What a layer is to integers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    /// Sums of products with constant weights, whose output channels lie along this axis.
    Weighted { axis: usize },
    /// Its result has a range of its own.
    Own,
    /// Its result lies in a range that is known, and for which runtimes demand this scale.
    Fixed(Scale),
    /// Its result has the scale of its operands: it moves, compares or mixes their elements.
    Keeps,
    /// It reads integers as well as real numbers, and gives neither.
    Reads,
    /// It has no integer form.
    Real,
}

/// The axis of the output channels in the weights of a layer that multiplies with weights.
fn channel_axis(op: &Op) -> Option<usize> {
    match op {
        Op::Conv2d(_) | Op::Dense(_) => Some(0),
        Op::MatMul(_) => Some(1),
        Op::DepthwiseConv2d(_) => Some(2),
        _ => None,
    }
}

/// Whether a value is what the network computes in `f32`, or is given.
pub(crate) fn is_activation(graph: &Graph, types: &Types, id: ValueId) -> bool {
    let is_f32 = types.get(id).is_some_and(|ty| ty.dtype == DType::F32);
    is_f32 && graph.constant(id).is_none() && types.derived_constant(id).is_none()
}

/// The operands of a node that flow through the network, with their positions.
pub(crate) fn operands<'g>(
    graph: &'g Graph,
    types: &'g Types,
    node: &'g Node,
) -> impl Iterator<Item = (usize, ValueId)> + 'g {
    let present = node.inputs.iter().enumerate().filter_map(|(at, id)| Some((at, (*id)?)));
    present.filter(|&(_, id)| is_activation(graph, types, id))
}

/// What a node is to integers of this type.
pub(crate) fn kind(graph: &Graph, types: &Types, node: &Node, dtype: DType) -> Kind {
    let flows = |at: usize| {
        let id = node.inputs.get(at).copied().flatten();
        id.is_some_and(|id| is_activation(graph, types, id))
    };
    let constant =
        |at: usize| node.inputs.get(at).copied().flatten().and_then(|id| graph.constant(id));
    let any = (0..node.inputs.len()).any(flows);
    let gives_floats = node.outputs.iter().all(|&id| is_activation(graph, types, id));
    if let Op::ArgExtreme(_) = node.op {
        return if flows(0) { Kind::Reads } else { Kind::Real };
    }
    if !any || !gives_floats {
        return Kind::Real;
    }
    if let Some(axis) = channel_axis(&node.op) {
        return if is_weighted(graph, node, axis) { Kind::Weighted { axis } } else { Kind::Real };
    }
    match &node.op {
        Op::Activate(op) => match op.activation {
            Activation::Identity => Kind::Keeps,
            // What TensorFlow Lite demands of the two.
            Activation::Sigmoid => Kind::Fixed(Scale::from_zero(dtype, 1.0 / 256.0)),
            Activation::Tanh => Kind::Fixed(Scale::around_zero(dtype, 1.0 / 128.0)),
            // So that 1 is one of the numbers.
            Activation::HardSigmoid { .. } => Kind::Fixed(Scale::from_zero(dtype, 1.0 / 255.0)),
            _ => Kind::Own,
        },
        Op::Softmax(op) if !op.log => Kind::Fixed(Scale::from_zero(dtype, 1.0 / 256.0)),
        Op::Unary(_) => Kind::Own,
        Op::Binary(op) => {
            let number = |at: usize| constant(at).is_some_and(|c| c.elements() == 1);
            let operand = |at: usize| flows(at) || constant(at).is_some();
            match op.function {
                BinaryFn::Add | BinaryFn::Sub | BinaryFn::Mul if operand(0) && operand(1) => {
                    Kind::Own
                }
                _ if number(0) || number(1) => Kind::Own,
                _ => Kind::Real,
            }
        }
        Op::Reduce(op) if op.function == ReduceFn::Mean => Kind::Own,
        Op::Pool2d(op) => match op.kind {
            PoolKind::Max | PoolKind::Average { .. } => Kind::Keeps,
        },
        Op::Resize(op) => match op.mode {
            ResizeMode::Nearest(_) => Kind::Keeps,
            ResizeMode::Linear if types.of(node.outputs[0]).shape.rank() == 4 => Kind::Keeps,
            _ => Kind::Real,
        },
        Op::Pad(op) => match (op.mode, node.inputs.get(2).copied().flatten()) {
            (PadMode::Constant, Some(_)) if constant(2).is_none_or(|c| c.to_f64()[..] != [0.0]) => {
                Kind::Real
            }
            _ => Kind::Keeps,
        },
        Op::Concat(_) if (0..node.inputs.len()).all(flows) => Kind::Keeps,
        Op::DepthToSpace(_)
        | Op::Expand(_)
        | Op::Flatten(_)
        | Op::Gather(_)
        | Op::Reshape(_)
        | Op::Slice(_)
        | Op::SpaceToDepth(_)
        | Op::Split(_)
        | Op::Squeeze(_)
        | Op::Tile(_)
        | Op::Transpose(_)
        | Op::Unsqueeze(_)
            if flows(0) =>
        {
            Kind::Keeps
        }
        _ => Kind::Real,
    }
}

/// Whether weights and bias are constant, and stand where an integer layer wants them.
fn is_weighted(graph: &Graph, node: &Node, axis: usize) -> bool {
    let operand = |at: usize| node.inputs.get(at).copied().flatten();
    let constant = |at: usize| operand(at).and_then(|id| graph.constant(id));
    let Some(weights) = constant(1).filter(|w| w.dtype().is_float()) else { return false };
    let rank = match node.op {
        Op::Conv2d(_) => 4,
        Op::DepthwiseConv2d(_) => 3,
        _ => 2,
    };
    if weights.shape().rank() != rank || weights.elements() == 0 || operand(3).is_some() {
        return false;
    }
    let fits =
        constant(2).is_some_and(|b| b.elements() == weights.shape()[axis] && b.dtype().is_float());
    operand(2).is_none() || fits
}

/// Scales of the values, and which nodes are to compute in integers.
#[derive(Debug)]
pub(crate) struct Scheme {
    scales: Vec<Option<Scale>>,
    kinds: Vec<Kind>,
}

impl Scheme {
    /// Values that are integers: what integer layers read and give. `keep` names the nodes that stay
    /// real.
    fn mark(
        graph: &Graph,
        types: &Types,
        dtype: DType,
        keep: &dyn Fn(NodeId) -> bool,
    ) -> (Vec<bool>, Vec<Kind>) {
        let mut marked = vec![false; graph.values().len()];
        let of = |id: NodeId| match keep(id) {
            true => Kind::Real,
            false => kind(graph, types, graph.node(id), dtype),
        };
        let kinds: Vec<Kind> = graph.node_ids().map(of).collect();
        let ends = |node: &Node| -> Vec<ValueId> {
            let inputs = operands(graph, types, node).map(|(_, id)| id);
            inputs.chain(node.outputs.iter().copied()).collect()
        };
        for (node, kind) in graph.nodes().iter().zip(&kinds) {
            if matches!(kind, Kind::Weighted { .. } | Kind::Own | Kind::Fixed(_)) {
                ends(node).iter().for_each(|id| marked[id.index()] = true);
            }
        }
        // What moves integers at one end moves integers at the other.
        loop {
            let mut changed = false;
            for (node, _) in graph.nodes().iter().zip(&kinds).filter(|(_, k)| **k == Kind::Keeps) {
                let ends = ends(node);
                if ends.iter().any(|id| marked[id.index()]) {
                    for id in ends {
                        changed |= !std::mem::replace(&mut marked[id.index()], true);
                    }
                }
            }
            if !changed {
                return (marked, kinds);
            }
        }
    }

    /// Values whose ranges a scheme may ask for.
    pub(crate) fn observed(graph: &Graph, types: &Types, dtype: DType) -> Vec<ValueId> {
        let (marked, _) = Scheme::mark(graph, types, dtype, &|_| false);
        graph.value_ids().filter(|id| marked[id.index()]).collect()
    }

    /// The scheme in which all layers but those of `keep` are integer layers.
    pub(crate) fn new(
        graph: &Graph,
        types: &Types,
        dtype: DType,
        ranges: &HashMap<ValueId, Range>,
        keep: &dyn Fn(NodeId) -> bool,
    ) -> Scheme {
        let (marked, kinds) = Scheme::mark(graph, types, dtype, keep);
        let mut groups = Groups::new(graph.values().len());
        for (node, kind) in graph.nodes().iter().zip(&kinds) {
            match kind {
                Kind::Fixed(scale) => groups.fixed[node.outputs[0].index()] = Some(*scale),
                Kind::Keeps if marked[node.outputs[0].index()] => {
                    groups.join_all(graph, types, node);
                }
                _ => {}
            }
        }
        let mut of_group: HashMap<usize, Range> = HashMap::new();
        for id in graph.value_ids().filter(|id| marked[id.index()]) {
            if let Some(&range) = ranges.get(&id) {
                let group = of_group.entry(groups.root(id.index())).or_insert(range);
                *group = group.union(range);
            }
        }
        let mut scale = |id: ValueId| {
            let root = groups.root(id.index());
            let own = || of_group.get(&root).map(|&range| Scale::of_range(dtype, range));
            groups.fixed[root].or_else(own)
        };
        let scales = graph.value_ids().map(|id| if marked[id.index()] { scale(id) } else { None });
        Scheme { scales: scales.collect(), kinds }
    }

    /// The scale of a value that is integers.
    pub(crate) fn scale(&self, id: ValueId) -> Option<Scale> {
        self.scales[id.index()]
    }

    /// What a node is.
    pub(crate) fn kind(&self, id: NodeId) -> Kind {
        self.kinds[id.index()]
    }

    /// Whether any layer multiplies in integers, or computes in them otherwise.
    pub(crate) fn is_empty(&self) -> bool {
        self.scales.iter().all(Option::is_none)
    }
}

/// Values of one scale.
struct Groups {
    parents: Vec<usize>,
    /// Of roots: the scale that the group has to have.
    fixed: Vec<Option<Scale>>,
}

impl Groups {
    fn new(values: usize) -> Groups {
        Groups { parents: (0..values).collect(), fixed: vec![None; values] }
    }

    fn root(&mut self, value: usize) -> usize {
        let mut root = value;
        while self.parents[root] != root {
            root = self.parents[root];
        }
        self.parents[value] = root;
        root
    }

    /// Lets the operands and results of a node have one scale. An operand whose scale is fixed joins
    /// only where all operands have that; else it is brought to the scale of the others at this node.
    fn join_all(&mut self, graph: &Graph, types: &Types, node: &Node) {
        let inputs: Vec<usize> =
            operands(graph, types, node).map(|(_, id)| self.root(id.index())).collect();
        let first = inputs.first().and_then(|&root| self.fixed[root]);
        let alike = inputs.iter().all(|&root| self.fixed[root] == first);
        let result = node.outputs[0].index();
        for root in inputs {
            if alike || self.fixed[root].is_none() {
                self.join(root, result);
            }
        }
        for other in &node.outputs[1..] {
            self.join(other.index(), result);
        }
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        if a != b {
            self.fixed[a] = self.fixed[a].or(self.fixed[b]);
            self.parents[b] = a;
        }
    }
}
