//! From a network and samples to a quantized network.

use crate::compare::{Runner, against};
use crate::equalize::equalize;
use crate::insert::{Settings, insert};
use crate::observe::{Statistics, observe};
use crate::prepare::prepared;
use crate::range::Observer;
use crate::scale::Range;
use crate::scheme::{Kind, Scheme};
use crate::{CompressError, Progress, Samples, samples};
use depthwise_layers::ir::{Graph, NodeId, Types, ValueId, infer_types};
use depthwise_tensor::{DType, Tensor};
use glob::Pattern;
use std::collections::HashMap;

/// Samples on which each layer is tried by itself.
const TRIED: usize = 8;
/// Names of layers that an error gives as examples.
const EXAMPLES: usize = 6;

/// What inputs and outputs of a quantized network are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ports {
    /// Real numbers, as those of the network before.
    #[default]
    Real,
    /// The integers that stand for them, where what reads or gives them is integers.
    Integers,
}

/// How a network is quantized.
#[derive(Clone, Debug)]
pub struct Options {
    /// Type of the activations: `i8` (which TensorFlow Lite wants) or `u8`.
    pub activations: DType,
    /// How their ranges follow from the samples.
    pub observer: Observer,
    /// Layers that stay real: patterns of their names, in which `*` stands for anything.
    pub keep_real: Vec<String>,
    /// Equalize channels across layers first. It helps where ranges of channels differ much, and does
    /// nothing through ReLU6.
    pub equalize: bool,
    /// Let biases make up for what the rounding of weights adds to the mean of each channel.
    pub correct_bias: bool,
    /// What inputs and outputs are.
    pub ports: Ports,
    /// How the network runs over the samples.
    pub engine: depthwise_engine::Options,
}

impl Default for Options {
    /// `i8`, the whole range seen, all layers, nothing else.
    fn default() -> Options {
        Options {
            activations: DType::I8,
            observer: Observer::MinMax,
            keep_real: Vec::new(),
            equalize: false,
            correct_bias: false,
            ports: Ports::Real,
            engine: depthwise_engine::Options::default(),
        }
    }
}

/// What quantizing a layer alone does to the network.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LayerSensitivity {
    /// Name of the layer.
    pub layer: String,
    /// Its kind.
    pub kind: &'static str,
    /// Signal to noise of the network's first output in decibels, with this layer alone in integers,
    /// its input, weights and result. Small is sensitive.
    pub sqnr_db: f64,
}

/// A network whose activations have been seen.
#[derive(Debug)]
pub struct Calibrated {
    graph: Graph,
    types: Types,
    statistics: HashMap<ValueId, Statistics>,
    ranges: HashMap<ValueId, Range>,
    options: Options,
    kept: Vec<bool>,
}

impl Calibrated {
    /// Runs a network over samples and records what its values look like. Batch normalization is
    /// folded first; inputs that are integers standing for real numbers are not taken.
    ///
    /// # Errors
    /// [`CompressError::Empty`], [`CompressError::Constant`], [`CompressError::NotFinite`],
    /// [`CompressError::Shape`], [`CompressError::Count`] and [`CompressError::Read`] for samples that
    /// nothing can be learnt from, each with the name of the sample; [`CompressError::Quantized`] and
    /// [`CompressError::State`] for networks that cannot be quantized; [`CompressError::NoLayer`],
    /// [`CompressError::Pattern`] and [`CompressError::Setting`] for options without a meaning.
    pub fn new(
        graph: Graph,
        samples: &dyn Samples,
        options: Options,
        progress: &mut Progress<'_>,
    ) -> Result<Calibrated, CompressError> {
        options.observer.check()?;
        if !matches!(options.activations, DType::I8 | DType::U8) {
            return Err(CompressError::Setting {
                what: "activations",
                value: options.activations.to_string(),
                range: "in i8 or u8",
            });
        }
        if samples.is_empty() {
            return Err(CompressError::Empty);
        }
        let mut graph = prepared(graph)?;
        let first = samples::read(&graph, samples, 0)?;
        let shapes = samples::shapes(&first.inputs);
        if options.equalize {
            let types = infer_types(&graph, &shapes)?;
            equalize(&mut graph, &types)?;
        }
        let types = infer_types(&graph, &shapes)?;
        let kept = kept(&graph, &options.keep_real)?;
        let values = Scheme::observed(&graph, &types, options.activations);
        if values.is_empty() {
            return Err(CompressError::Nothing);
        }
        let histograms = options.observer.needs_histogram();
        let statistics = observe(&graph, &values, samples, &options.engine, histograms, progress)?;
        let range = |(&id, seen): (&ValueId, &Statistics)| {
            (id, options.observer.range(seen, options.activations))
        };
        let ranges = statistics.iter().map(range).collect();
        Ok(Calibrated { graph, types, statistics, ranges, options, kept })
    }

    /// The network before it is quantized, in the form that is: the layers that
    /// [`Options::keep_real`] names.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The quantized network.
    ///
    /// # Errors
    /// [`CompressError::Nothing`] where no layer is left, [`CompressError::Weight`] where a weight is
    /// no number.
    pub fn quantized(&self) -> Result<Graph, CompressError> {
        self.with(&|id| self.kept[id.index()], self.options.ports)
    }

    fn with(&self, keep: &dyn Fn(NodeId) -> bool, ports: Ports) -> Result<Graph, CompressError> {
        let dtype = self.options.activations;
        let scheme = Scheme::new(&self.graph, &self.types, dtype, &self.ranges, keep);
        if scheme.is_empty() {
            return Err(CompressError::Nothing);
        }
        let means = self.options.correct_bias.then_some(&self.statistics);
        insert(&self.graph, &Settings { types: &self.types, scheme: &scheme, dtype, ports, means })
    }

    /// Quantizes each layer with weights alone and tells what that does to the first output, on the
    /// first samples of the set; most sensitive first.
    ///
    /// # Errors
    /// As [`Calibrated::new`] and [`Calibrated::quantized`].
    pub fn sensitivity(
        &self,
        samples: &dyn Samples,
        progress: &mut Progress<'_>,
    ) -> Result<Vec<LayerSensitivity>, CompressError> {
        let engine = &self.options.engine;
        let mut runner = Runner::new(&self.graph, samples, engine)?;
        let mut want: Vec<Tensor> = Vec::new();
        for index in 0..samples.len().min(TRIED) {
            let sample = samples::read(&self.graph, samples, index)?;
            want.extend(runner.run(&sample.inputs)?);
        }
        let all =
            Scheme::new(&self.graph, &self.types, self.options.activations, &self.ranges, &|id| {
                self.kept[id.index()]
            });
        let is_weighted = |id: &NodeId| matches!(all.kind(*id), Kind::Weighted { .. });
        let layers: Vec<NodeId> = self.graph.node_ids().filter(is_weighted).collect();
        let mut found = Vec::with_capacity(layers.len());
        for (done, &layer) in layers.iter().enumerate() {
            progress("trying layers", done, layers.len());
            let graph = self.with(&|id| id != layer, Ports::Real)?;
            let node = self.graph.node(layer);
            found.push(LayerSensitivity {
                layer: node.name.clone(),
                kind: node.op.layer().kind(),
                sqnr_db: against(&want, &graph, samples, engine)?,
            });
        }
        progress("trying layers", layers.len(), layers.len());
        found.sort_by(|a, b| a.sqnr_db.total_cmp(&b.sqnr_db));
        Ok(found)
    }
}

/// Whether a pattern names each node.
fn kept(graph: &Graph, patterns: &[String]) -> Result<Vec<bool>, CompressError> {
    let mut kept = vec![false; graph.nodes().len()];
    for text in patterns {
        let pattern = Pattern::new(text)
            .map_err(|source| CompressError::Pattern { pattern: text.clone(), source })?;
        let mut any = false;
        for (kept, node) in kept.iter_mut().zip(graph.nodes()) {
            let named = pattern.matches(&node.name);
            (*kept, any) = (*kept || named, any || named);
        }
        if !any {
            let names = graph.nodes().iter().map(|node| node.name.as_str());
            let example = names.take(EXAMPLES).collect::<Vec<_>>().join(", ");
            return Err(CompressError::NoLayer { pattern: text.clone(), example });
        }
    }
    Ok(kept)
}
