//! From a table of blocks to a graph.

use crate::architecture::{Architecture, BlockSpec};
use crate::naming::{Block, BlockPart, Ends, Layer, Part};
use crate::{BatchNormForm, Param, Role, Settings, WeightFault, WeightSource, ZooError};
use depthwise_layers::ir::{Dim, Graph, InputType, ValueId};
use depthwise_layers::{
    Activate, Activation, BatchNorm, Binary, BinaryFn, Conv2d, Dense, DepthwiseConv2d, Op, Reduce,
    ReduceFn,
};
use depthwise_tensor::{DType, Hw, Shape, Tensor};
use std::collections::HashSet;

/// Builds the graph of `net`, or lists everything that is wrong with the weights.
pub(crate) fn build(
    net: &Architecture,
    settings: &Settings,
    source: &dyn WeightSource,
) -> Result<Graph, ZooError> {
    settings.check()?;
    let mut graph = Graph::new(net.name.clone());
    let side = Dim::Fixed(settings.resolution);
    let dims = vec![settings.batch.clone(), side.clone(), side, Dim::Fixed(3)];
    let x = graph.add_input("input", InputType { dtype: DType::F32, dims });
    let mut b = Builder {
        net,
        settings,
        source,
        graph,
        x,
        channels: 3,
        faults: Vec::new(),
        known: HashSet::new(),
    };
    b.body()?;
    if settings.include_top {
        b.top()?;
    } else {
        for (layer, features) in b.top_layers() {
            for param in b.dense_params(&layer, features)? {
                b.known.insert(source.name_of(&param));
            }
        }
    }
    b.finish()
}

/// A dense layer of the top.
struct TopLayer {
    part: Part,
    features: usize,
    activation: Option<(Part, Activation)>,
}

struct Builder<'b> {
    net: &'b Architecture,
    settings: &'b Settings,
    source: &'b dyn WeightSource,
    graph: Graph,
    /// Where the network has got to, and its channels there.
    x: ValueId,
    channels: usize,
    faults: Vec<WeightFault>,
    /// Names, in the source, of all weights that the network has or could have.
    known: HashSet<String>,
}

impl Builder<'_> {
    fn body(&mut self) -> Result<(), ZooError> {
        let (channels, activation) = self.net.stem;
        self.convolution(Part::Stem, channels, 3, 2, activation)?;
        let mut flat = 0;
        for (stage, blocks) in self.net.stages.iter().enumerate() {
            for (index, spec) in blocks.iter().enumerate() {
                let (expands, squeezes) = (spec.expands, spec.squeeze.is_some());
                self.block(Block { stage, index, flat, expands, squeezes }, spec)?;
                flat += 1;
            }
        }
        if let Some((channels, activation)) = self.net.head {
            let hidden = self.net.hidden.is_some();
            let ends = Ends { stages: self.net.stages.len(), blocks: flat, hidden };
            self.convolution(|layer| Part::Head(layer, ends), channels, 1, 1, activation)?;
        }
        Ok(())
    }

    fn block(&mut self, block: Block, spec: &BlockSpec) -> Result<(), ZooError> {
        let input = self.x;
        let part = |p| Part::Block(block, p);
        if spec.expands {
            let place = |layer| part(BlockPart::Expand(layer));
            self.convolution(place, spec.expanded, 1, 1, spec.activation)?;
        }
        let place = |layer| part(BlockPart::Depthwise(layer));
        self.depthwise(place, spec.kernel, spec.stride, spec.activation)?;
        if let Some(hidden) = spec.squeeze {
            self.squeeze_and_excite(block, hidden)?;
        }
        let place = |layer| part(BlockPart::Project(layer));
        self.convolution(place, spec.out, 1, 1, spec.project_activation)?;
        if spec.residual {
            let add = Binary { function: BinaryFn::Add, activation: Activation::Identity };
            self.x = self.add(part(BlockPart::Add), add, &[input, self.x]);
        }
        Ok(())
    }

    /// Hu et al. (2018), with the hard sigmoid of MobileNetV3.
    fn squeeze_and_excite(&mut self, block: Block, hidden: usize) -> Result<(), ZooError> {
        let (input, channels) = (self.x, self.channels);
        let part = |p| Part::Block(block, p);
        self.x = self.add(part(BlockPart::SqueezePool), global_mean(true), &[input]);
        self.pointwise(part(BlockPart::SqueezeReduce), hidden)?;
        self.activate(part(BlockPart::SqueezeReduceAct), Activation::RELU);
        self.pointwise(part(BlockPart::SqueezeExpand), channels)?;
        let gate = Activation::HardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 };
        self.activate(part(BlockPart::SqueezeExpandAct), gate);
        let scale = Binary { function: BinaryFn::Mul, activation: Activation::Identity };
        self.x = self.add(part(BlockPart::SqueezeScale), scale, &[input, self.x]);
        Ok(())
    }

    fn top(&mut self) -> Result<(), ZooError> {
        self.x = self.add(Part::Pool, global_mean(false), &[self.x]);
        for (layer, features) in self.top_layers() {
            let mut inputs = vec![self.x];
            for param in self.dense_params(&layer, features)? {
                inputs.push(self.weight(&param));
            }
            let dense = Dense { activation: Activation::Identity };
            self.x = self.add(layer.part, dense, &inputs);
            if let Some((part, activation)) = layer.activation {
                self.activate(part, activation);
            }
        }
        Ok(())
    }

    /// The dense layers, each with the number of features it takes.
    fn top_layers(&self) -> Vec<(TopLayer, usize)> {
        let mut taken = self.channels;
        let mut layers = Vec::new();
        if let Some((features, activation)) = self.net.hidden {
            let activation = Some((Part::HiddenActivation, activation));
            layers.push((TopLayer { part: Part::Hidden, features, activation }, taken));
            taken = features;
        }
        let features = self.settings.classes;
        layers.push((TopLayer { part: Part::Classifier, features, activation: None }, taken));
        layers
    }

    fn dense_params(&self, layer: &TopLayer, taken: usize) -> Result<[Param; 2], ZooError> {
        let weight = self.param(layer.part, Role::Dense, &[layer.features, taken])?;
        Ok([weight, self.param(layer.part, Role::Bias, &[layer.features])?])
    }

    /// A standard convolution with its norm and activation.
    fn convolution(
        &mut self,
        place: impl Fn(Layer) -> Part,
        channels: usize,
        kernel: usize,
        stride: usize,
        activation: Activation,
    ) -> Result<(), ZooError> {
        let shape = [channels, kernel, kernel, self.channels];
        let filter = self.param(place(Layer::Conv), Role::Conv, &shape)?;
        let conv = Conv2d {
            stride: Hw::square(stride),
            padding: self.settings.padding.of_kernel(kernel),
            ..Conv2d::default()
        };
        self.channels = channels;
        self.filtered(place, conv.into(), &filter, activation)
    }

    /// A depthwise convolution with its norm and activation.
    fn depthwise(
        &mut self,
        place: impl Fn(Layer) -> Part,
        kernel: usize,
        stride: usize,
        activation: Activation,
    ) -> Result<(), ZooError> {
        let shape = [kernel, kernel, self.channels];
        let filter = self.param(place(Layer::Conv), Role::Depthwise, &shape)?;
        let conv = DepthwiseConv2d {
            stride: Hw::square(stride),
            padding: self.settings.padding.of_kernel(kernel),
            ..DepthwiseConv2d::default()
        };
        self.filtered(place, conv.into(), &filter, activation)
    }

    /// A 1x1 convolution with a bias and nothing else.
    fn pointwise(&mut self, part: Part, channels: usize) -> Result<(), ZooError> {
        let filter = self.param(part, Role::Conv, &[channels, 1, 1, self.channels])?;
        let bias = self.param(part, Role::Bias, &[channels])?;
        let inputs = [self.x, self.weight(&filter), self.weight(&bias)];
        self.x = self.add(part, Conv2d::default(), &inputs);
        self.channels = channels;
        Ok(())
    }

    fn filtered(
        &mut self,
        place: impl Fn(Layer) -> Part,
        op: Op,
        filter: &Param,
        activation: Activation,
    ) -> Result<(), ZooError> {
        let mut inputs = vec![self.x, self.weight(filter)];
        let vector = [self.channels];
        match self.settings.batch_norm {
            BatchNormForm::Folded => {
                let bias = self.param(place(Layer::Conv), Role::Bias, &vector)?;
                inputs.push(self.weight(&bias));
                self.x = self.add(place(Layer::Conv), op, &inputs);
            }
            BatchNormForm::Separate => {
                let mut inputs = vec![self.add(place(Layer::Conv), op, &inputs)];
                for role in [Role::Gamma, Role::Beta, Role::Mean, Role::Variance] {
                    let param = self.param(place(Layer::Norm), role, &vector)?;
                    inputs.push(self.weight(&param));
                }
                let norm = BatchNorm { epsilon: self.settings.epsilon, axis: -1 };
                self.x = self.add(place(Layer::Norm), norm, &inputs);
            }
        }
        if activation != Activation::Identity {
            self.activate(place(Layer::Act), activation);
        }
        Ok(())
    }

    fn activate(&mut self, part: Part, activation: Activation) {
        self.x = self.add(part, Activate { activation }, &[self.x]);
    }

    fn add(&mut self, part: Part, op: impl Into<Op>, inputs: &[ValueId]) -> ValueId {
        let name = self.name(part);
        self.graph.add(&name, op, inputs)
    }

    fn name(&self, part: Part) -> String {
        let name = part.name(self.net.naming, self.net.modules);
        name.expect("a network's own convention names all its parts")
    }

    fn param(&self, part: Part, role: Role, dims: &[usize]) -> Result<Param, ZooError> {
        let node = self.name(part);
        Ok(Param::new(&node, part, self.net.modules, role, Shape::new(dims)?))
    }

    /// The weight as a constant; after a fault a stand-in, in a graph that nobody gets to see.
    fn weight(&mut self, param: &Param) -> ValueId {
        let name = self.source.name_of(param);
        let found = self.source.weight(param).and_then(|tensor| {
            if *tensor.shape() == param.shape {
                return Ok(tensor);
            }
            let (want, got) = (Box::new(param.shape), Box::new(*tensor.shape()));
            Err(WeightFault::Shape { name: name.clone(), want, got })
        });
        self.known.insert(name);
        let tensor = found.unwrap_or_else(|fault| {
            self.faults.push(fault);
            Tensor::scalar(0f32)
        });
        self.graph.add_const(&param.name, tensor)
    }

    fn finish(mut self) -> Result<Graph, ZooError> {
        let left = self.source.contents().into_iter();
        let left = left.filter(|(name, _)| !self.known.contains(name));
        self.faults.extend(left.map(|(name, shape)| WeightFault::Extra { name, shape }));
        if !self.faults.is_empty() {
            let network = self.net.name.clone();
            return Err(ZooError::Weights { network, faults: self.faults });
        }
        let name = if self.settings.include_top { "logits" } else { "features" };
        self.graph.rename_value(self.x, name);
        self.graph.add_output(self.x);
        Ok(self.graph)
    }
}

/// The mean over rows and columns.
fn global_mean(keep_dims: bool) -> Reduce {
    Reduce { function: ReduceFn::Mean, axes: vec![1, 2], keep_dims }
}

/// Lets a network end at these layers instead, in this order, and drops what they do not need.
///
/// A layer is the name of a node (`features.14.conv.0.2`) or the start of one: `features.13` is
/// the last node of that block.
///
/// # Errors
/// [`ZooError::NoLayer`] with the first name that no node has.
pub fn cut(graph: &mut Graph, layers: &[&str]) -> Result<(), ZooError> {
    let last_of = |layer: &&str| {
        let belongs = |name: &str| {
            name.strip_prefix(layer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        let node = graph.nodes().iter().rev().find(|node| belongs(&node.name));
        let output = node.and_then(|node| node.outputs.first().copied());
        output.ok_or_else(|| ZooError::NoLayer((*layer).to_string()))
    };
    let outputs = layers.iter().map(last_of).collect::<Result<Vec<_>, _>>()?;
    graph.set_outputs(&outputs);
    Ok(())
}
