//! From a network to the graph of a training step.

use crate::backward::differentiate;
use crate::builder::Builder;
use crate::drop_path::{Branch, branches};
use crate::{Loss, TrainError};
use depthwise_layers::ir::{Def, Graph, Node, ValueId, infer_types};
use depthwise_layers::{
    Activate, Activation, BatchNorm, BatchNormTrain, Concat, Conv2d, Conv2dInputGrad, Dense,
    DepthwiseConv2d, Gather, Op, Padding, TensorType,
};
use depthwise_tensor::{DType, Hw, Shape, Tensor};
use std::collections::{HashMap, HashSet};

/// Which statistics batch normalization takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BatchNormMode {
    /// Those of the batch, where its scale or offset is trained; else the stored ones.
    #[default]
    Train,
    /// The stored ones, always.
    Frozen,
}

/// How a network becomes a training step.
pub struct FormOptions<'a> {
    /// Shapes of the inputs, the batch included.
    pub shapes: &'a [Shape],
    /// Whether the parameter of a name is trained.
    pub trainable: &'a dyn Fn(&str) -> bool,
    /// Statistics of batch normalization.
    pub batch_norm: BatchNormMode,
    /// Whether dropout drops anything.
    pub dropout: bool,
    /// Share of samples that skip the last residual branch; see
    /// [`TrainOptions::drop_path`](crate::TrainOptions::drop_path).
    pub drop_path: f32,
    /// Whether activations are computed a second time on the way back instead of being kept.
    pub recompute: bool,
    /// Whether the gradients of the inputs are wanted.
    pub input_gradients: bool,
    /// What is minimised.
    pub loss: &'a Loss,
}

/// A parameter of a training graph.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// Unique name: that of the constant, or of the layer with the position.
    pub name: String,
    /// The constant of the network that it stands for.
    pub source: ValueId,
    /// The input of the training graph that takes it.
    pub input: ValueId,
    /// Its gradient; `None` where the loss does not depend on it.
    pub gradient: Option<ValueId>,
}

/// Batch statistics of a layer, for the running averages.
#[derive(Clone, Debug)]
pub struct Statistics {
    /// Name of the layer.
    pub name: String,
    /// The constants of the network that hold the running mean and variance.
    pub source: (ValueId, ValueId),
    /// Mean and biased variance of the batch.
    pub batch: (ValueId, ValueId),
    /// Elements per channel.
    pub count: usize,
}

/// An input that holds a mask of dropout or of skipped branches: 0 or `1 / (1 - rate)`.
#[derive(Clone, Debug)]
pub struct Mask {
    /// The input.
    pub input: ValueId,
    /// Probability of 0.
    pub rate: f32,
    /// Extents.
    pub shape: Shape,
}

/// A network with its loss and gradients. The inputs are those of the network, then targets, masks
/// and parameters; the outputs are the loss, the predictions, and all gradients and statistics that
/// there are, in the order of the lists, each value once: see [`TrainingGraph::output`].
#[derive(Clone, Debug)]
pub struct TrainingGraph {
    /// The graph.
    pub graph: Graph,
    /// What is minimised: one number.
    pub loss: ValueId,
    /// The first output of the network.
    pub predictions: ValueId,
    /// What the loss compares with; see [`Loss::targets`].
    pub targets: Vec<ValueId>,
    /// Masks of dropout and of skipped branches.
    pub masks: Vec<Mask>,
    /// What is trained.
    pub parameters: Vec<Parameter>,
    /// Of the layers that take batch statistics.
    pub statistics: Vec<Statistics>,
    /// Gradients of the inputs of the network, where they were asked for.
    pub input_gradients: Vec<Option<ValueId>>,
}

impl TrainingGraph {
    /// Rewrites a network for training and adds loss and gradients. Layers that gradients pass
    /// through lose their bias, residual and activation to nodes of their own; batch normalization
    /// takes the statistics of the batch, or becomes arithmetic; dropout multiplies with a mask.
    ///
    /// # Errors
    /// [`TrainError::NoGradient`] for layers that cannot be trained through, [`TrainError::Infer`]
    /// where shapes do not fit, [`TrainError::Target`] where the loss does not fit the output.
    pub fn build(network: &Graph, options: &FormOptions<'_>) -> Result<TrainingGraph, TrainError> {
        let mut form = Form::new(network, options)?;
        let types = infer_types(network, options.shapes)?;
        for id in network.value_ids() {
            if let Some(tensor) = network.constant(id).or_else(|| types.derived_constant(id)) {
                let name = &network.value(id).name;
                let new = form.b.constant(name, widened(tensor)?);
                form.new.insert(id, new);
            }
        }
        for &id in network.inputs() {
            let new = form.b.input(&network.value(id).name, types.of(id));
            form.new.insert(id, new);
        }
        form.add_parameters();
        let derived = |node: &Node| node.outputs.iter().all(|&y| form_derived(&types, y));
        for node in network.nodes().iter().filter(|node| !derived(node)) {
            form.b.set_prefix(format!("{}.", node.name));
            form.rewrite(node)?;
        }
        form.finish()
    }

    /// Position of a value among the outputs of the graph.
    pub fn output(&self, id: ValueId) -> Option<usize> {
        self.graph.outputs().iter().position(|&output| output == id)
    }

    /// Position of a value among the inputs of the graph.
    pub fn input(&self, id: ValueId) -> Option<usize> {
        self.graph.inputs().iter().position(|&input| input == id)
    }
}

/// Half precision as the type that arithmetic takes.
fn widened(tensor: &Tensor) -> Result<Tensor, TrainError> {
    match tensor.dtype() {
        DType::F16 | DType::Bf16 => {
            Ok(Tensor::from_slice(tensor.shape().dims(), &tensor.to_f32())?)
        }
        _ => Ok(tensor.clone()),
    }
}

fn form_derived(types: &depthwise_layers::ir::Types, id: ValueId) -> bool {
    types.derived_constant(id).is_some()
}

/// Constants that training changes, with unique names, in order of first use.
pub(crate) fn trainable_constants(network: &Graph) -> Vec<(String, ValueId)> {
    let mut seen = HashSet::new();
    let mut names = HashSet::new();
    let mut found = Vec::new();
    for node in network.nodes() {
        for position in node.op.layer().weights() {
            let Some(id) = node.inputs.get(position).copied().flatten() else { continue };
            let Some(tensor) = network.constant(id) else { continue };
            if !tensor.dtype().is_float() || !seen.insert(id) {
                continue;
            }
            let own = &network.value(id).name;
            let mut name =
                if own.is_empty() { format!("{}.{position}", node.name) } else { own.clone() };
            while !names.insert(name.clone()) {
                name.push('\'');
            }
            found.push((name, id));
        }
    }
    found
}

struct Form<'a> {
    network: &'a Graph,
    options: &'a FormOptions<'a>,
    b: Builder,
    /// From values of the network to those of the training graph.
    new: HashMap<ValueId, ValueId>,
    /// Values of the network that depend on a parameter.
    active: HashSet<ValueId>,
    parameters: Vec<Parameter>,
    masks: Vec<Mask>,
    statistics: Vec<Statistics>,
    /// Of the outputs of residual sums: the branch, and how often it is skipped.
    branches: HashMap<ValueId, Branch>,
}

impl<'a> Form<'a> {
    fn new(network: &'a Graph, options: &'a FormOptions<'a>) -> Result<Form<'a>, TrainError> {
        if network.outputs().is_empty() {
            return Err(TrainError::Target("the network has no output".into()));
        }
        let active = match options.input_gradients {
            true => network.inputs().iter().copied().collect(),
            false => HashSet::new(),
        };
        Ok(Form {
            network,
            options,
            b: Builder::new(&network.name),
            new: HashMap::new(),
            active,
            parameters: Vec::new(),
            masks: Vec::new(),
            statistics: Vec::new(),
            branches: branches(network, options.drop_path),
        })
    }

    /// Turns the constants that are trained into inputs.
    fn add_parameters(&mut self) {
        for (name, source) in trainable_constants(self.network) {
            if !(self.options.trainable)(&name) {
                continue;
            }
            let Some(tensor) = self.network.constant(source) else { continue };
            let dtype = if tensor.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
            let ty = TensorType { dtype, shape: *tensor.shape() };
            let input = self.b.input(&name, ty);
            self.new.insert(source, input);
            self.active.insert(source);
            self.parameters.push(Parameter { name, source, input, gradient: None });
        }
    }

    fn map(&self, node: &Node, i: usize) -> Result<ValueId, TrainError> {
        self.map_opt(node, i).ok_or_else(|| TrainError::NoGradient {
            node: node.name.clone(),
            kind: node.op.layer().kind(),
            reason: format!("its input {i} has no elements; packed weights cannot be trained"),
        })
    }

    fn map_opt(&self, node: &Node, i: usize) -> Option<ValueId> {
        node.inputs.get(i).copied().flatten().and_then(|id| self.new.get(&id).copied())
    }

    fn is_active(&self, node: &Node) -> bool {
        node.inputs.iter().flatten().any(|id| self.active.contains(id))
    }

    fn rewrite(&mut self, node: &Node) -> Result<(), TrainError> {
        if let Op::Dropout(layer) = &node.op
            && self.options.dropout
            && layer.rate > 0.0
        {
            let y = self.drop_out(node, layer.rate)?;
            return self.define(node, y);
        }
        if !self.is_active(node) {
            return self.copy(node);
        }
        let y = match &node.op {
            Op::Conv2d(conv) => {
                let plain = Conv2d { activation: Activation::Identity, ..conv.clone() };
                let y = match conv.groups {
                    1 => self.linear(node, plain)?,
                    _ => self.grouped(node, &plain)?,
                };
                self.tail(node, y, Some(2), Some(3), conv.activation)?
            }
            Op::DepthwiseConv2d(conv) => {
                let plain = DepthwiseConv2d { activation: Activation::Identity, ..conv.clone() };
                let y = self.depthwise(node, plain)?;
                self.tail(node, y, Some(2), None, conv.activation)?
            }
            Op::Dense(dense) => {
                let y = self.linear(node, Dense { activation: Activation::Identity })?;
                self.tail(node, y, Some(2), None, dense.activation)?
            }
            Op::ConvTranspose2d(_) => self.conv_transpose(node)?,
            Op::Binary(binary)
                if binary.activation != Activation::Identity
                    || self.branches.contains_key(&node.outputs[0]) =>
            {
                let (mut x, mut y) = (self.map(node, 0)?, self.map(node, 1)?);
                match self.branches.get(&node.outputs[0]) {
                    Some(&Branch { operand: 0, rate }) => x = self.drop_branch(node, x, rate)?,
                    Some(&Branch { rate, .. }) => y = self.drop_branch(node, y, rate)?,
                    None => {}
                }
                let y = self.b.binary(binary.function, x, y)?;
                self.tail(node, y, None, None, binary.activation)?
            }
            Op::BatchNorm(layer) => self.batch_norm(node, layer)?,
            _ => return self.copy(node),
        };
        self.define(node, y)
    }

    /// Lets `y` stand for the only output of a node.
    fn define(&mut self, node: &Node, y: ValueId) -> Result<(), TrainError> {
        let old = node.outputs[0];
        self.b.graph.rename_value(y, self.network.value(old).name.clone());
        self.new.insert(old, y);
        self.active.insert(old);
        Ok(())
    }

    fn copy(&mut self, node: &Node) -> Result<(), TrainError> {
        let active = self.is_active(node);
        let inputs = (0..node.inputs.len())
            .map(|i| match node.inputs[i] {
                None => Ok(None),
                Some(_) => self.map(node, i).map(Some),
            })
            .collect::<Result<Vec<_>, TrainError>>()?;
        let names: Vec<&str> =
            node.outputs.iter().map(|&y| self.network.value(y).name.as_str()).collect();
        let new = self.b.node(&node.name, node.op.clone(), &inputs, &names)?;
        for (&old, new) in node.outputs.iter().zip(new) {
            self.new.insert(old, new);
            if active {
                self.active.insert(old);
            }
        }
        Ok(())
    }

    /// A layer with two operands and nothing else.
    fn linear(&mut self, node: &Node, op: impl Into<Op>) -> Result<ValueId, TrainError> {
        let inputs = [Some(self.map(node, 0)?), Some(self.map(node, 1)?)];
        Ok(self.b.node(&node.name, op.into(), &inputs, &[""])?[0])
    }

    /// A convolution in groups as one convolution per group.
    fn grouped(&mut self, node: &Node, conv: &Conv2d) -> Result<ValueId, TrainError> {
        let (x, w) = (self.map(node, 0)?, self.map(node, 1)?);
        let (depth, per_group) = {
            let w = self.b.shape(w);
            (w[3], w[0] / conv.groups.max(1))
        };
        let single = Conv2d { groups: 1, ..conv.clone() };
        let mut parts = Vec::new();
        for group in 0..conv.groups {
            let x = self.b.part(x, 3, group * depth, depth)?;
            let w = self.b.part(w, 0, group * per_group, per_group)?;
            parts.push(self.b.emit(single.clone(), &[x, w])?);
        }
        self.b.emit(Concat { axis: 3 }, &parts)
    }

    /// A depthwise convolution; with a depth multiplier, of a picture whose channels are repeated.
    fn depthwise(&mut self, node: &Node, conv: DepthwiseConv2d) -> Result<ValueId, TrainError> {
        let (x, w) = (self.map(node, 0)?, self.map(node, 1)?);
        let (channels, outputs) = (self.b.shape(x)[3], self.b.shape(w)[2]);
        if channels == outputs || channels == 0 {
            return self.linear(node, conv);
        }
        let multiplier = outputs / channels;
        let indices: Vec<i64> = (0..outputs).map(|oc| (oc / multiplier) as i64).collect();
        let indices = self.b.ints(&indices)?;
        let repeated = self.b.emit(Gather { axis: 3 }, &[x, indices])?;
        self.b.emit(conv, &[repeated, w])
    }

    /// Bias, residual and activation, each where there is one.
    fn tail(
        &mut self,
        node: &Node,
        mut y: ValueId,
        bias: Option<usize>,
        residual: Option<usize>,
        activation: Activation,
    ) -> Result<ValueId, TrainError> {
        for position in [bias, residual].into_iter().flatten() {
            if let Some(other) = self.map_opt(node, position) {
                if let Some(&Branch { rate, .. }) =
                    self.branches.get(&node.outputs[0]).filter(|_| Some(position) == residual)
                {
                    y = self.drop_branch(node, y, rate)?;
                }
                y = self.b.add(y, other)?;
            }
        }
        if activation != Activation::Identity {
            y = self.b.emit(Activate { activation }, &[y])?;
        }
        Ok(y)
    }

    fn drop_out(&mut self, node: &Node, rate: f32) -> Result<ValueId, TrainError> {
        let x = self.map(node, 0)?;
        let ty = self.b.ty(x);
        self.masked(node, x, ty, rate)
    }

    /// Zero for whole samples.
    fn drop_branch(&mut self, node: &Node, x: ValueId, rate: f32) -> Result<ValueId, TrainError> {
        let TensorType { dtype, shape } = self.b.ty(x);
        let dims: Vec<usize> =
            shape.iter().enumerate().map(|(axis, &n)| if axis == 0 { n } else { 1 }).collect();
        let ty = TensorType::new(dtype, &dims).map_err(depthwise_tensor::TensorError::from)?;
        self.masked(node, x, ty, rate)
    }

    /// `x` times a mask that broadcasts to it.
    fn masked(
        &mut self,
        node: &Node,
        x: ValueId,
        ty: TensorType,
        rate: f32,
    ) -> Result<ValueId, TrainError> {
        let input = self.b.input(&format!("{}.mask", node.name), ty);
        self.masks.push(Mask { input, rate, shape: ty.shape });
        self.b.mul(x, input)
    }

    /// A transposed convolution is the input gradient of a convolution whose weights have their
    /// channels swapped.
    fn conv_transpose(&mut self, node: &Node) -> Result<ValueId, TrainError> {
        let Op::ConvTranspose2d(layer) = &node.op else { return self.map(node, 0) };
        let refuse = |reason: &str| TrainError::NoGradient {
            node: node.name.clone(),
            kind: "ConvTranspose2d",
            reason: reason.into(),
        };
        if layer.groups != 1 {
            return Err(refuse("it has groups"));
        }
        let (over, stride) = (layer.output_padding, layer.stride);
        if over.h >= stride.h || over.w >= stride.w {
            return Err(refuse("its output padding is not below its stride"));
        }
        let (x, w) = (self.map(node, 0)?, self.map(node, 1)?);
        let (picture, kernel) = (self.b.shape(x), self.b.shape(w));
        let pad = layer.padding;
        let side = |input: usize, stride: usize, kernel: usize, dilation: usize, over: usize| {
            (input - 1) * stride + dilation * (kernel - 1) + 1 + over
        };
        let (k, d) = ((kernel[1], kernel[2]), layer.dilation);
        let rows = side(picture[1].max(1), stride.h, k.0, d.h, over.h);
        let cols = side(picture[2].max(1), stride.w, k.1, d.w, over.w);
        let input = Hw {
            h: rows.saturating_sub(pad.top + pad.bottom),
            w: cols.saturating_sub(pad.left + pad.right),
        };
        let conv = Conv2d {
            stride,
            dilation: layer.dilation,
            padding: Padding::Explicit(pad),
            groups: 1,
            activation: Activation::Identity,
        };
        let swapped = self.b.transpose(w, &[3, 1, 2, 0])?;
        let y = self.b.emit(Conv2dInputGrad { conv, input }, &[x, swapped])?;
        self.tail(node, y, Some(2), None, layer.activation)
    }

    fn batch_norm(&mut self, node: &Node, layer: &BatchNorm) -> Result<ValueId, TrainError> {
        let trained = [1, 2].iter().any(|&i| {
            node.inputs.get(i).copied().flatten().is_some_and(|id| self.active.contains(&id))
        });
        if self.options.batch_norm == BatchNormMode::Frozen || !trained {
            return self.frozen_batch_norm(node, layer);
        }
        let x = self.map(node, 0)?;
        let (Some(mean), Some(var)) = (node.inputs[3], node.inputs[4]) else {
            return self.frozen_batch_norm(node, layer);
        };
        let op = BatchNormTrain { epsilon: layer.epsilon, axis: layer.axis };
        let mut inputs = vec![Some(x)];
        for i in [1, 2] {
            inputs.push(self.map_opt(node, i));
        }
        let all = self.b.node(&node.name, op.into(), &inputs, &["", "", ""])?;
        let channels = self.b.shape(all[1]).elements();
        let count = self.b.shape(x).elements() / channels.max(1);
        self.statistics.push(Statistics {
            name: node.name.clone(),
            source: (mean, var),
            batch: (all[1], all[2]),
            count,
        });
        Ok(all[0])
    }

    /// `x * s + (beta - mean * s)` with `s = gamma / sqrt(var + epsilon)`.
    fn frozen_batch_norm(&mut self, node: &Node, layer: &BatchNorm) -> Result<ValueId, TrainError> {
        let x = self.map(node, 0)?;
        let shape = self.b.shape(x);
        let axis = shape.axis(layer.axis).unwrap_or(0);
        let along: Vec<usize> =
            (0..shape.rank()).map(|a| if a == axis { shape[a] } else { 1 }).collect();
        let dims: &[usize] = if axis + 1 == shape.rank() { &along[axis..] } else { &along };
        let (mean, var) = (self.map(node, 3)?, self.map(node, 4)?);
        let epsilon = self.b.number(layer.epsilon.into(), var);
        let wide = self.b.add(var, epsilon)?;
        let mut scale = self.b.unary(depthwise_layers::UnaryFn::Rsqrt, wide)?;
        if let Some(gamma) = self.map_opt(node, 1) {
            scale = self.b.mul(scale, gamma)?;
        }
        let centre = self.b.mul(mean, scale)?;
        let offset = match self.map_opt(node, 2) {
            Some(beta) => self.b.sub(beta, centre)?,
            None => self.b.unary(depthwise_layers::UnaryFn::Neg, centre)?,
        };
        let (scale, offset) = (self.b.reshape(scale, dims)?, self.b.reshape(offset, dims)?);
        let y = self.b.mul(x, scale)?;
        self.b.add(y, offset)
    }

    fn finish(mut self) -> Result<TrainingGraph, TrainError> {
        self.b.set_prefix("loss.");
        let output = self.network.outputs()[0];
        let predictions =
            self.new.get(&output).copied().ok_or_else(|| TrainError::NoSuchValue {
                name: self.network.value(output).name.clone(),
                hint: "it is computed by no node".into(),
            })?;
        let (loss, targets) = self.options.loss.build(&mut self.b, predictions)?;
        let inputs: Vec<ValueId> = match self.options.input_gradients {
            true => self.network.inputs().iter().map(|id| self.new[id]).collect(),
            false => Vec::new(),
        };
        let wanted: Vec<ValueId> =
            self.parameters.iter().map(|p| p.input).chain(inputs.iter().copied()).collect();
        let mut gradients = differentiate(&mut self.b, loss, &wanted, self.options.recompute)?;
        let input_gradients = gradients.split_off(self.parameters.len());
        for (parameter, gradient) in self.parameters.iter_mut().zip(gradients) {
            parameter.gradient = gradient;
        }
        let mut outputs = vec![loss, predictions];
        outputs.extend(self.parameters.iter().filter_map(|p| p.gradient));
        outputs.extend(input_gradients.iter().flatten());
        outputs.extend(self.statistics.iter().flat_map(|s| [s.batch.0, s.batch.1]));
        // The gradients of both operands of a sum are one value.
        let mut seen = HashSet::new();
        outputs.retain(|&id| seen.insert(id));
        let mut graph = self.b.graph;
        name_outputs(&mut graph, &outputs);
        graph.set_outputs(&outputs);
        Ok(TrainingGraph {
            graph,
            loss,
            predictions,
            targets,
            masks: self.masks,
            parameters: self.parameters,
            statistics: self.statistics,
            input_gradients,
        })
    }
}

/// Outputs have names of their own.
fn name_outputs(graph: &mut Graph, outputs: &[ValueId]) {
    for (i, &id) in outputs.iter().enumerate() {
        if !matches!(graph.value(id).def, Def::Input(_)) {
            let name = graph.value(id).name.clone();
            graph.rename_value(id, format!("{name}#{i}"));
        }
    }
}
