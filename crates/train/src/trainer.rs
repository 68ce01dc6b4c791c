//! One step after the other.

use crate::form::{TrainingGraph, trainable_constants};
use crate::optimizer::Update;
use crate::runner::{How, Runner};
use crate::slots::{Average, Running, Slot, running_statistics, square_sum};
use crate::streams::{Use, rng, unit};
use crate::{BatchNormMode, FormOptions, Loss, Optimizer, Pattern, Schedule, Target, TrainError};
use depthwise_engine::passes::{PassOptions, prepare};
use depthwise_engine::{EngineError, Par, Session};
use depthwise_layers::TensorType;
use depthwise_layers::ir::{Dim, Graph, GraphEdit, ValueId};
use depthwise_tensor::{Shape, Tensor};

/// How a [`Trainer`] trains.
#[derive(Clone, Debug)]
pub struct TrainOptions {
    /// What is minimised.
    pub loss: Loss,
    /// How parameters move.
    pub optimizer: Optimizer,
    /// The learning rate of every step.
    pub schedule: Schedule,
    /// Parameters that stay as they are, to the bit.
    pub freeze: Vec<Pattern>,
    /// Factors of the learning rate; the first pattern that fits counts.
    pub rates: Vec<(Pattern, f32)>,
    /// Parameters without L1, L2 and weight decay.
    pub no_decay: Vec<Pattern>,
    /// Statistics of batch normalization. A layer whose scale and offset are frozen always takes
    /// the stored ones.
    pub batch_norm: BatchNormMode,
    /// Part of the batch's statistics that goes into the running ones; PyTorch's default 0.1 is
    /// Keras' 0.9 of the other part.
    pub momentum: f32,
    /// Longest that the gradients of all parameters together may be; `None` for no limit.
    pub clip_norm: Option<f32>,
    /// Decay of an average of parameters and running statistics (see [`Trainer::averaged_graph`]);
    /// `None` for none.
    pub average: Option<f32>,
    /// Stochastic depth (Huang et al. 2016): the share of samples that skip the last residual
    /// branch in training; branches before it are skipped less often, in proportion to their place.
    pub drop_path: f32,
    /// Compute activations twice instead of keeping all of them from the way forward to the way
    /// back: less memory for about a third more work. Changes no bit of what is learnt.
    pub recompute: bool,
    /// Whether [`Trainer::input_gradient`] can be asked.
    pub input_gradients: bool,
    /// Of dropout masks.
    pub seed: u64,
    /// Threads, 0 for one per physical core. Results do not depend on them.
    pub threads: usize,
    /// Compute with the references instead of kernels: thousands of times slower, to check kernels
    /// against.
    pub reference: bool,
}

impl Default for TrainOptions {
    /// Cross-entropy, SGD with momentum 0.9, rate 0.01.
    fn default() -> TrainOptions {
        TrainOptions {
            loss: Loss::cross_entropy(),
            optimizer: Optimizer::sgd(0.9),
            schedule: Schedule::constant(0.01),
            freeze: Vec::new(),
            rates: Vec::new(),
            no_decay: Vec::new(),
            batch_norm: BatchNormMode::Train,
            momentum: 0.1,
            clip_norm: None,
            average: None,
            drop_path: 0.0,
            recompute: false,
            input_gradients: false,
            seed: 0,
            threads: 0,
            reference: false,
        }
    }
}

/// What a step found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// The loss before the step.
    pub loss: f32,
    /// The learning rate of the step.
    pub rate: f32,
    /// Length of all gradients together, before clipping.
    pub gradient_norm: f32,
}

/// A training graph for one batch shape.
#[derive(Debug)]
struct Prepared {
    shapes: Vec<Shape>,
    graph: TrainingGraph,
    predictions: TensorType,
    runner: Runner,
}

/// Batch shapes whose graphs are kept: the whole one and that of the last batch.
const KEPT: usize = 2;

/// Trains a network step by step.
///
/// The same seed, batches and options give the same bits, on any number of threads.
#[derive(Debug)]
pub struct Trainer {
    network: Graph,
    options: TrainOptions,
    pub(crate) par: Par,
    pub(crate) parameters: Vec<Slot>,
    pub(crate) running: Vec<Running>,
    pub(crate) steps: u64,
    pub(crate) rate_factor: f32,
    prepared: Vec<Prepared>,
    /// The network with the parameters as they are, without what only training needs.
    pub(crate) evaluation: Option<Session>,
    predictions: Vec<f32>,
    predictions_shape: Shape,
}

impl Trainer {
    /// A trainer for a network: one of the zoo, or any float model that was loaded.
    ///
    /// # Errors
    /// [`TrainError::NothingToTrain`] where all parameters are frozen, [`TrainError::Setting`] for
    /// options out of range.
    pub fn new(network: Graph, options: TrainOptions) -> Result<Trainer, TrainError> {
        check(&options)?;
        let network = trainable_form(network)?;
        let par = Par::new(options.threads)
            .map_err(|error| TrainError::Engine(EngineError::from(error)))?;
        let all = trainable_constants(&network);
        let mut parameters = Vec::new();
        for (name, source) in &all {
            if options.freeze.iter().any(|pattern| pattern.matches(name)) {
                continue;
            }
            let Some(tensor) = network.constant(*source) else { continue };
            parameters.push(Slot::new(name, *source, tensor, &options));
        }
        if parameters.is_empty() {
            let reason = format!("{} parameters, all frozen", all.len());
            return Err(TrainError::NothingToTrain(reason));
        }
        let running = running_statistics(&network, &parameters, &options);
        Ok(Trainer {
            network,
            options,
            par,
            parameters,
            running,
            steps: 0,
            rate_factor: 1.0,
            prepared: Vec::new(),
            evaluation: None,
            predictions: Vec::new(),
            predictions_shape: Shape::SCALAR,
        })
    }

    /// Names of all parameters of a network, in order: what patterns are matched with.
    ///
    /// # Errors
    /// [`TrainError::Engine`] where the graph breaks its own rules.
    pub fn parameter_names(network: &Graph) -> Result<Vec<String>, TrainError> {
        let network = trainable_form(network.clone())?;
        Ok(trainable_constants(&network).into_iter().map(|(name, _)| name).collect())
    }

    /// Patterns that freeze all layers with parameters but the last `layers`.
    ///
    /// # Errors
    /// As [`Trainer::parameter_names`].
    pub fn freeze_all_but_last(network: &Graph, layers: usize) -> Result<Vec<Pattern>, TrainError> {
        let network = trainable_form(network.clone())?;
        let names = trainable_constants(&network);
        let weighted: Vec<Vec<&str>> = network
            .nodes()
            .iter()
            .map(|node| {
                let reads = |id: &ValueId| node.inputs.contains(&Some(*id));
                names.iter().filter(|(_, id)| reads(id)).map(|(name, _)| name.as_str()).collect()
            })
            .filter(|names: &Vec<&str>| !names.is_empty())
            .collect();
        let frozen = weighted.len().saturating_sub(layers);
        let kept: Vec<&str> = weighted[frozen..].iter().flatten().copied().collect();
        let frozen = weighted[..frozen].iter().flatten().filter(|name| !kept.contains(name));
        Ok(frozen.map(|name| Pattern::from(*name)).collect())
    }

    /// Takes one step on a batch: the inputs of the network in order, all with the batch as their
    /// first dimension.
    ///
    /// # Errors
    /// [`TrainError::NotFinite`] where the loss or the gradients are NaN or infinite (the
    /// parameters are then as before), [`TrainError::Target`] where the targets do not fit, and
    /// what [`TrainingGraph::build`] says of a batch of a new shape.
    pub fn step(
        &mut self,
        inputs: &[Tensor],
        target: Target<'_>,
    ) -> Result<StepReport, TrainError> {
        let rate = self.options.schedule.rate(self.steps) * self.rate_factor;
        self.step_at(inputs, target, rate)
    }

    /// As [`Trainer::step`], at this learning rate instead of that of the schedule.
    ///
    /// # Errors
    /// As [`Trainer::step`].
    pub fn step_at(
        &mut self,
        inputs: &[Tensor],
        target: Target<'_>,
        rate: f32,
    ) -> Result<StepReport, TrainError> {
        let mut prepared = self.prepared(inputs)?;
        let result = self.step_on(&mut prepared, inputs, target, rate);
        self.prepared.push(prepared);
        result
    }

    fn step_on(
        &mut self,
        prepared: &mut Prepared,
        inputs: &[Tensor],
        target: Target<'_>,
        rate: f32,
    ) -> Result<StepReport, TrainError> {
        self.fill(prepared, inputs, target)?;
        prepared.runner.run()?;
        let Prepared { graph, runner, .. } = prepared;
        let loss = runner.output(0)?[0];
        self.finite("loss", loss)?;
        let output = |id: ValueId| graph.output(id).expect("gradients are outputs");
        let mut squares = 0f64;
        for gradient in graph.parameters.iter().filter_map(|p| p.gradient) {
            squares += square_sum(runner.output(output(gradient))?);
        }
        let norm = squares.sqrt() as f32;
        self.finite("norm of the gradients", norm)?;
        let scale = self.options.clip_norm.map_or(1.0, |most| (most / norm.max(most)).min(1.0));
        let update = Update { lr: rate, count: self.steps + 1, scale };
        for (slot, parameter) in self.parameters.iter_mut().zip(&graph.parameters) {
            if let Some(gradient) = parameter.gradient {
                slot.update(update, runner.output(output(gradient))?);
            }
        }
        self.update_running(graph, runner)?;
        self.predictions.clear();
        let predictions = output(graph.predictions);
        self.predictions.extend_from_slice(runner.output(predictions)?);
        self.predictions_shape = prepared.predictions.shape;
        self.steps += 1;
        self.evaluation = None;
        Ok(StepReport { loss, rate, gradient_norm: norm })
    }

    /// The gradient of the loss with respect to the first input, for the parameters as they are and
    /// the dropout of the step to come. Nothing is learnt.
    ///
    /// # Errors
    /// As [`Trainer::step`]; [`TrainError::NothingToTrain`] without
    /// [`TrainOptions::input_gradients`], or where the input has no gradient (tokens have none).
    pub fn input_gradient(
        &mut self,
        inputs: &[Tensor],
        target: Target<'_>,
    ) -> Result<Tensor, TrainError> {
        let mut prepared = self.prepared(inputs)?;
        let result = self.fill(&mut prepared, inputs, target).and_then(|()| {
            prepared.runner.run()?;
            let gradient = prepared.graph.input_gradients.first().copied().flatten();
            let output = gradient.and_then(|id| prepared.graph.output(id));
            let missing = || TrainError::NothingToTrain("the input has no gradient".into());
            let gradient = prepared.runner.output(output.ok_or_else(missing)?)?;
            Ok(Tensor::from_slice(inputs[0].shape().dims(), gradient)?)
        });
        self.prepared.push(prepared);
        result
    }

    /// Bytes of memory that a step on the last batch works in, parameters and activations.
    pub fn arena_bytes(&self) -> usize {
        self.prepared.last().map_or(0, |prepared| prepared.runner.arena_bytes())
    }

    fn finite(&self, what: &'static str, value: f32) -> Result<(), TrainError> {
        match value.is_finite() {
            true => Ok(()),
            false => Err(TrainError::NotFinite { step: self.steps, what, value }),
        }
    }

    /// A step may go too far for the loss to tell before the next one.
    fn all_finite(&self, what: &'static str, values: &[f32]) -> Result<(), TrainError> {
        let lost = values.iter().find(|value| !value.is_finite());
        lost.map_or(Ok(()), |&value| self.finite(what, value))
    }

    /// The first output of the network for the batch of the last step, as it was before the step.
    pub fn predictions(&self) -> (&[f32], Shape) {
        (&self.predictions, self.predictions_shape)
    }

    /// Steps taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Multiplies the learning rate of all steps to come; see [`Plateau`](crate::Plateau).
    pub fn scale_rate(&mut self, factor: f32) {
        self.rate_factor *= factor;
    }

    /// Name and elements of a trained parameter, in order.
    pub fn parameters(&self) -> impl ExactSizeIterator<Item = (&str, &[f32])> {
        self.parameters.iter().map(|slot| (slot.name.as_str(), &slot.values[..]))
    }

    /// The network with the parameters as they are, batch normalization as layers of its own (an
    /// engine folds it as it loads the graph).
    ///
    /// # Errors
    /// [`TrainError::NotFinite`] where a parameter or a running statistic is NaN or infinite,
    /// [`TrainError::Tensor`] where there is no memory.
    pub fn graph(&self) -> Result<Graph, TrainError> {
        self.graph_of(false)
    }

    /// As [`Trainer::graph`], with the averages of [`TrainOptions::average`].
    ///
    /// # Errors
    /// As [`Trainer::graph`].
    pub fn averaged_graph(&self) -> Result<Graph, TrainError> {
        self.graph_of(true)
    }

    /// As [`Trainer::graph`], batch normalization folded into the convolutions.
    ///
    /// # Errors
    /// As [`Trainer::graph`].
    pub fn folded_graph(&self) -> Result<Graph, TrainError> {
        let mut graph = self.graph()?;
        prepare(&mut graph, &PassOptions::default());
        Ok(graph)
    }

    /// The trained network.
    ///
    /// # Errors
    /// As [`Trainer::graph`].
    pub fn into_graph(self) -> Result<Graph, TrainError> {
        self.graph()
    }

    fn graph_of(&self, averaged: bool) -> Result<Graph, TrainError> {
        let mut graph = self.network.clone();
        let mut edit = GraphEdit::new(&mut graph);
        for slot in &self.parameters {
            let values = Average::choose(&slot.values, slot.average.as_ref(), averaged);
            self.all_finite("parameters", values)?;
            let tensor = Tensor::from_slice(slot.shape.dims(), values)?;
            edit.replace_with_const(slot.source, tensor);
        }
        for running in &self.running {
            let values = Average::choose(&running.values, running.average.as_ref(), averaged);
            self.all_finite("running statistics", values)?;
            let tensor = Tensor::from_slice(&[values.len()], values)?;
            edit.replace_with_const(running.source, tensor);
        }
        edit.finish();
        Ok(graph)
    }

    /// The graph for inputs of these shapes: one made before, or a new one.
    fn prepared(&mut self, inputs: &[Tensor]) -> Result<Prepared, TrainError> {
        let shapes: Vec<Shape> = inputs.iter().map(|t| *t.shape()).collect();
        if let Some(at) = self.prepared.iter().position(|p| p.shapes == shapes) {
            return Ok(self.prepared.remove(at));
        }
        let freeze = &self.options.freeze;
        let options = FormOptions {
            shapes: &shapes,
            trainable: &|name| !freeze.iter().any(|pattern| pattern.matches(name)),
            batch_norm: self.options.batch_norm,
            dropout: true,
            drop_path: self.options.drop_path,
            recompute: self.options.recompute,
            input_gradients: self.options.input_gradients,
            loss: &self.options.loss,
        };
        let network = with_free_batch(&self.network);
        let graph = TrainingGraph::build(&network, &options)?;
        let how = match (self.options.reference, self.options.recompute) {
            (true, _) => How::Reference,
            (false, true) => How::Twice,
            (false, false) => How::Once,
        };
        let runner = Runner::new(&graph.graph, &self.par, how)?;
        let predictions = {
            let inputs = graph.graph.inputs().iter();
            let fixed = inputs.filter_map(|&id| graph.graph.input_type(id)?.shape());
            let fixed: Vec<Shape> = fixed.collect();
            depthwise_layers::ir::infer_types(&graph.graph, &fixed)?.of(graph.predictions)
        };
        if self.prepared.len() >= KEPT {
            self.prepared.remove(0);
        }
        Ok(Prepared { shapes, graph, predictions, runner })
    }

    fn fill(
        &self,
        prepared: &mut Prepared,
        inputs: &[Tensor],
        target: Target<'_>,
    ) -> Result<(), TrainError> {
        let targets = self.options.loss.targets(target, prepared.predictions)?;
        let Prepared { graph, runner, .. } = prepared;
        let position = |id: ValueId| graph.input(id).expect("its inputs are inputs");
        for (index, tensor) in inputs.iter().enumerate() {
            runner.set(index, tensor)?;
        }
        for (&id, tensor) in graph.targets.iter().zip(&targets) {
            runner.set(position(id), tensor)?;
        }
        for (number, mask) in graph.masks.iter().enumerate() {
            let mut random = rng(self.options.seed, Use::Dropout, self.steps, number);
            let (rate, kept) = (mask.rate, 1.0 / (1.0 - mask.rate));
            let draw = |m: &mut f32| *m = if unit(&mut random) < rate { 0.0 } else { kept };
            runner.fill(position(mask.input), |m| m.iter_mut().for_each(draw))?;
        }
        for (slot, parameter) in self.parameters.iter().zip(&graph.parameters) {
            runner.fill(position(parameter.input), |p| p.copy_from_slice(&slot.values))?;
        }
        Ok(())
    }

    /// Running averages, of the unbiased variance (PyTorch).
    fn update_running(&mut self, graph: &TrainingGraph, runner: &Runner) -> Result<(), TrainError> {
        let momentum = self.options.momentum;
        for statistics in &graph.statistics {
            let count = statistics.count as f32;
            let unbiased = if count > 1.0 { count / (count - 1.0) } else { 1.0 };
            let (source, batch) = (statistics.source, statistics.batch);
            let both = [(source.0, batch.0, 1.0), (source.1, batch.1, unbiased)];
            for (source, batch, factor) in both {
                let output = graph.output(batch).expect("statistics are outputs");
                let batch = runner.output(output)?;
                let Some(running) = self.running.iter_mut().find(|r| r.source == source) else {
                    continue;
                };
                for (r, &b) in running.values.iter_mut().zip(batch) {
                    *r = (1.0 - momentum) * *r + momentum * factor * b;
                }
                if let Some(average) = &mut running.average {
                    average.update(&running.values, self.steps + 1);
                }
            }
        }
        Ok(())
    }

    /// The options.
    pub fn options(&self) -> &TrainOptions {
        &self.options
    }
}

fn check(options: &TrainOptions) -> Result<(), TrainError> {
    options.optimizer.check()?;
    options.schedule.check()?;
    if !(0.0..=1.0).contains(&options.momentum) {
        return Err(TrainError::setting("momentum", options.momentum, "from 0 to 1"));
    }
    if !(0.0..1.0).contains(&options.drop_path) {
        return Err(TrainError::setting("drop path", options.drop_path, "in 0..1"));
    }
    if let Some(most) = options.clip_norm.filter(|most| most.is_nan() || *most <= 0.0) {
        return Err(TrainError::setting("clip norm", most, "above 0"));
    }
    match options.average.filter(|decay| !(0.0..1.0).contains(decay)) {
        Some(decay) => Err(TrainError::setting("average", decay, "in 0..1")),
        None => Ok(()),
    }
}

/// The passes that leave parameters as they are: layouts and kinds of layers, no folding, and no
/// sharing of constants: fresh parameters are equal, but not the same.
pub(crate) fn trainable_form(mut graph: Graph) -> Result<Graph, TrainError> {
    graph.verify().map_err(EngineError::from)?;
    let mut passes = PassOptions::default();
    passes
        .apply(
            "-fold-batch-norm,-fold-channel-affine,-fold-input-affine,-fuse-activation,\
             -fuse-residual,-share-subexpressions",
        )
        .expect("passes of these names exist");
    prepare(&mut graph, &passes);
    Ok(graph)
}

/// The network with a free batch.
pub(crate) fn with_free_batch(network: &Graph) -> Graph {
    let mut graph = network.clone();
    for &id in network.inputs() {
        let Some(ty) = network.input_type(id) else { continue };
        let mut dims = ty.dims.clone();
        if let Some(batch @ Dim::Fixed(_)) = dims.first_mut() {
            *batch = Dim::Free(String::new());
            graph.set_input_dims(id, dims);
        }
    }
    graph
}
