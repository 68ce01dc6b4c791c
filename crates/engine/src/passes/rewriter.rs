//! What a pass sees of a graph, and the changes it may make.

use depthwise_layers::ir::{Def, Graph, GraphEdit, Node, NodeId, Types, ValueId};
use depthwise_layers::{Op, TensorType};
use depthwise_tensor::{DType, Tensor};

/// What is known besides the graph itself.
pub(super) struct Context<'g> {
    /// Types of all values, where the shapes of the inputs are known.
    pub(super) types: Option<&'g Types>,
    /// Rewrites that may still be made.
    pub(super) left: &'g mut usize,
}

/// How far back the length of a list is looked for.
const MAX_LIST_DEPTH: usize = 6;

/// A graph under change by one pass.
pub struct Rewriter<'g> {
    edit: GraphEdit<'g>,
    context: Context<'g>,
    types: Vec<Option<TensorType>>,
    ranks: Vec<Option<usize>>,
    rewrites: usize,
}

impl<'g> Rewriter<'g> {
    pub(super) fn new(graph: &'g mut Graph, context: Context<'g>) -> Rewriter<'g> {
        let types: Vec<_> =
            graph.value_ids().map(|id| context.types.and_then(|types| types.get(id))).collect();
        let ranks = vec![None; types.len()];
        let mut rewriter =
            Rewriter { edit: GraphEdit::new(graph), context, types, ranks, rewrites: 0 };
        for id in rewriter.graph().value_ids() {
            rewriter.ranks[id.index()] = match &rewriter.graph().value(id).def {
                Def::Input(ty) => Some(ty.dims.len()),
                Def::Const(tensor) => Some(tensor.shape().rank()),
                Def::Released(ty) => Some(ty.shape.rank()),
                Def::Node { .. } => None,
            };
        }
        for id in rewriter.graph().node_ids() {
            rewriter.find_ranks(id);
        }
        rewriter
    }

    /// Ends the batch; the number of rewrites made.
    pub(super) fn finish(self) -> usize {
        self.edit.finish();
        self.rewrites
    }

    /// Asks leave for one rewrite, and counts it. To be called once the rewrite is certain.
    pub fn allow(&mut self) -> bool {
        let allowed = *self.context.left > 0;
        if allowed {
            *self.context.left -= 1;
            self.rewrites += 1;
        }
        allowed
    }

    /// The graph in its present state; nodes added since the start stand at the end.
    pub fn graph(&self) -> &Graph {
        self.edit.graph()
    }

    /// Nodes that an output depends on, in order.
    pub fn live_nodes(&self) -> Vec<NodeId> {
        self.graph().node_ids().filter(|&id| self.edit.is_live(id)).collect()
    }

    /// Whether an output of the graph depends on a node.
    pub fn is_live(&self, id: NodeId) -> bool {
        self.edit.is_live(id)
    }

    /// The node of this id.
    pub fn node(&self, id: NodeId) -> &Node {
        self.graph().node(id)
    }

    /// The operation that computes a value.
    pub fn producer(&self, id: ValueId) -> Option<(NodeId, &Node)> {
        self.graph().producer(id).map(|node| (node, self.node(node)))
    }

    /// The first, second, .. input of a node, unless it is left out.
    pub fn input(&self, id: NodeId, position: usize) -> Option<ValueId> {
        self.node(id).inputs.get(position).copied().flatten()
    }

    /// The nodes that read a value; a node that reads it twice stands twice.
    pub fn readers(&self, id: ValueId) -> &[NodeId] {
        self.edit.readers(id)
    }

    /// Whether a value is an output of the graph.
    pub fn is_output(&self, id: ValueId) -> bool {
        self.edit.is_output(id)
    }

    /// Whether a value is read once, and only within the graph.
    pub fn is_read_once(&self, id: ValueId) -> bool {
        self.readers(id).len() == 1 && !self.is_output(id)
    }

    /// Elements of a value that does not depend on the inputs' elements.
    pub fn constant(&self, id: ValueId) -> Option<&Tensor> {
        let derived = || self.context.types.and_then(|types| types.derived_constant(id));
        self.graph().constant(id).or_else(derived)
    }

    /// Whether a value is a constant, its elements present or not.
    pub fn is_constant(&self, id: ValueId) -> bool {
        matches!(self.graph().value(id).def, Def::Const(_) | Def::Released(_))
    }

    /// Elements of a constant `f32` tensor of one element.
    pub fn scalar(&self, id: ValueId) -> Option<f64> {
        let tensor = self.constant(id)?;
        match tensor.data::<f32>() {
            Ok(&[value]) => Some(value.into()),
            _ => None,
        }
    }

    /// A constant `f32` of one element that leaves the shape of `other` as it is when broadcast
    /// with it.
    pub fn scalar_beside(&self, id: ValueId, other: ValueId) -> Option<f64> {
        let value = self.scalar(id)?;
        let rank = self.rank(id)?;
        (rank == 0 || rank <= self.rank(other)?).then_some(value)
    }

    /// A constant list of integers.
    pub fn integers(&self, id: ValueId) -> Option<Vec<i64>> {
        let tensor = self.constant(id)?;
        (tensor.dtype() == DType::I64 || tensor.dtype() == DType::I32)
            .then(|| tensor.to_i64().into_owned())
    }

    /// Type of a value, where the shapes of the inputs are known.
    pub fn ty(&self, id: ValueId) -> Option<TensorType> {
        self.types.get(id.index()).copied().flatten()
    }

    /// Extents of a value: of a constant always, else where the shapes of the inputs are known.
    pub fn dims(&self, id: ValueId) -> Option<Vec<usize>> {
        match &self.graph().value(id).def {
            Def::Const(tensor) => Some(tensor.shape().dims().to_vec()),
            Def::Released(ty) => Some(ty.shape.dims().to_vec()),
            _ => self.ty(id).map(|ty| ty.shape.dims().to_vec()),
        }
    }

    /// Number of dimensions of a value, where the graph tells.
    pub fn rank(&self, id: ValueId) -> Option<usize> {
        self.ranks.get(id.index()).copied().flatten()
    }

    /// Adds a constant.
    pub fn add_const(&mut self, name: impl Into<String>, tensor: Tensor) -> ValueId {
        let rank = tensor.shape().rank();
        let ty = TensorType::of(&tensor);
        let id = self.edit.add_const(name, tensor);
        self.types.resize(id.index() + 1, None);
        self.ranks.resize(id.index() + 1, None);
        self.types[id.index()] = Some(ty);
        self.ranks[id.index()] = Some(rank);
        id
    }

    /// Adds a constant list of integers.
    pub fn add_integers(&mut self, name: &str, list: &[i64]) -> ValueId {
        let tensor = Tensor::from_slice(&[list.len()], list).expect("one extent, one element each");
        self.add_const(name, tensor)
    }

    /// Adds a node with one output.
    pub fn add(&mut self, name: &str, op: impl Into<Op>, inputs: &[ValueId]) -> ValueId {
        let inputs: Vec<_> = inputs.iter().copied().map(Some).collect();
        self.add_with_outputs(name, op, &inputs, &[name])[0]
    }

    /// Adds a node with one output per name, and inputs that may be left out.
    pub fn add_with_outputs(
        &mut self,
        name: &str,
        op: impl Into<Op>,
        inputs: &[Option<ValueId>],
        outputs: &[&str],
    ) -> Vec<ValueId> {
        let outputs = self.edit.add_node_with_outputs(name, op, inputs, outputs);
        let values = self.graph().values().len();
        self.types.resize(values, None);
        self.ranks.resize(values, None);
        if let Some(node) = outputs.first().and_then(|&id| self.graph().producer(id)) {
            self.find_ranks(node);
        }
        outputs
    }

    /// States the type of a value that this pass has made.
    pub fn set_type(&mut self, id: ValueId, ty: Option<TensorType>) {
        self.types[id.index()] = ty;
        if let Some(ty) = ty {
            self.ranks[id.index()] = Some(ty.shape.rank());
        }
    }

    /// Gives a node another operation and other inputs, for the same results.
    pub fn replace_node(&mut self, id: NodeId, op: impl Into<Op>, inputs: Vec<Option<ValueId>>) {
        self.edit.replace_node(id, op, inputs);
    }

    /// Whether readers of `old` may read `new` instead. An output of the graph cannot be an input
    /// or another output under a second name, nor can it be renamed to a constant that is read
    /// elsewhere under its own.
    pub fn can_redirect(&self, old: ValueId, new: ValueId) -> bool {
        let node = matches!(self.graph().value(new).def, Def::Node { .. });
        !self.is_output(old) || (node && !self.is_output(new))
    }

    /// Lets everything that reads `old` read `new` instead. To be called where
    /// [`Rewriter::can_redirect`].
    pub fn redirect(&mut self, old: ValueId, new: ValueId) {
        if self.types[new.index()].is_none() {
            self.set_type(new, self.ty(old));
        }
        self.edit.replace_uses(old, new);
    }

    /// Puts a constant in place of a value.
    pub fn redirect_to_const(&mut self, old: ValueId, tensor: Tensor) {
        let name = self.graph().value(old).name.clone();
        let constant = self.add_const(name, tensor);
        self.edit.replace_uses(old, constant);
    }

    /// Finds the ranks of what a node computes from those of its inputs.
    fn find_ranks(&mut self, id: NodeId) {
        for position in 0..self.node(id).outputs.len() {
            let output = self.node(id).outputs[position];
            let known = self.ty(output).map(|ty| ty.shape.rank());
            self.ranks[output.index()] = known.or_else(|| self.output_rank(id, position));
        }
    }

    /// Number of elements of a list, as those that hold shapes are put together.
    fn length(&self, id: ValueId, depth: usize) -> Option<usize> {
        if let Some(dims) = self.dims(id) {
            return Some(dims.iter().product());
        }
        let depth = depth.checked_sub(1)?;
        let (node_id, node) = self.producer(id)?;
        let of = |position: usize| self.length(self.input(node_id, position)?, depth);
        match &node.op {
            Op::ShapeOf(shape_of) if (shape_of.start, shape_of.end) == (0, None) => {
                self.rank(self.input(node_id, 0)?)
            }
            Op::Concat(_) => (0..node.inputs.len()).map(of).sum(),
            Op::Cast(_) | Op::Unsqueeze(_) | Op::Squeeze(_) | Op::Unary(_) => of(0),
            Op::Gather(_) if self.rank(self.input(node_id, 0)?) == Some(1) => of(1),
            Op::Binary(_) => match (of(0)?, of(1)?) {
                (1, n) | (n, 1) => Some(n),
                (a, b) => (a == b).then_some(a),
            },
            _ if self.rank(id) == Some(0) => Some(1),
            _ => None,
        }
    }

    fn output_rank(&self, id: NodeId, position: usize) -> Option<usize> {
        let node = self.node(id);
        let of = |position: usize| {
            node.inputs.get(position).copied().flatten().and_then(|id| self.rank(id))
        };
        let list = |position: usize| {
            self.length(node.inputs.get(position).copied().flatten()?, MAX_LIST_DEPTH)
        };
        let widest =
            || node.inputs.iter().flatten().try_fold(0, |n, &v| Some(n.max(self.rank(v)?)));
        match &node.op {
            Op::Conv2d(_)
            | Op::ConvTranspose2d(_)
            | Op::DepthwiseConv2d(_)
            | Op::MaxPositions(_)
            | Op::Pool2d(_)
            | Op::QConv2d(_)
            | Op::QDepthwiseConv2d(_)
            | Op::QPool2d(_) => Some(4),
            Op::Transpose(transpose) => Some(transpose.perm.len()),
            Op::Flatten(_) => Some(2),
            Op::ShapeOf(_) | Op::Range(_) => Some(1),
            Op::Activate(_)
            | Op::BatchNorm(_)
            | Op::Cast(_)
            | Op::Concat(_)
            | Op::Dense(_)
            | Op::Dequantize(_)
            | Op::GridSample(_)
            | Op::PRelu(_)
            | Op::Pad(_)
            | Op::QDense(_)
            | Op::QLookup(_)
            | Op::QResize(_)
            | Op::QSoftmax(_)
            | Op::Quantize(_)
            | Op::Resize(_)
            | Op::ScatterElements(_)
            | Op::ScatterNd(_)
            | Op::Slice(_)
            | Op::Softmax(_)
            | Op::Tile(_)
            | Op::Unary(_) => of(0).filter(|_| position == 0),
            Op::Split(_) | Op::TopK(_) => of(0),
            Op::GatherElements(_) => of(1),
            Op::Binary(_) | Op::QBinary(_) | Op::Select(_) => widest(),
            Op::Expand(_) => Some(of(0)?.max(list(1)?)),
            Op::Reshape(_) | Op::ConstantOfShape(_) => {
                list(if matches!(node.op, Op::Reshape(_)) { 1 } else { 0 })
            }
            Op::Gather(_) => (of(0)? + of(1)?).checked_sub(1),
            Op::QMean(mean) if mean.keep_dims => of(0),
            Op::Reduce(reduce) if reduce.keep_dims => of(0),
            Op::Reduce(reduce) if reduce.axes.is_empty() => Some(0),
            Op::Reduce(reduce) => of(0)?.checked_sub(reduce.axes.len()),
            Op::ArgExtreme(extreme) if extreme.keep_dims => of(0),
            Op::ArgExtreme(_) => of(0)?.checked_sub(1),
            Op::Squeeze(squeeze) if squeeze.axes.is_empty() => None,
            Op::Squeeze(squeeze) => of(0)?.checked_sub(squeeze.axes.len()),
            Op::Unsqueeze(unsqueeze) => Some(of(0)? + unsqueeze.axes.len()),
            _ => None,
        }
    }
}
