//! Rewrites of a graph that keep its meaning and make it cheaper to run.
//!
//! [`prepare`] runs once, at load, when input extents may be free; [`specialize`] runs on a clone
//! of the prepared graph for every new set of input shapes. Both run the passes of a list
//! ([`PREPARE`], [`SPECIALIZE`]) in order, over and over, until none finds anything more to do. Before
//! that, quantized graphs go through those of [`QUANTIZED`]. Where no extent is free, [`prepare`] has
//! already done what [`specialize`] would look for.
//!
//! Rules for a pass:
//! - It stops by itself: every rewrite lowers some measure that none of its rewrites raises. The
//!   measure stands in the pass's own words.
//! - It asks [`Rewriter::allow`] before every rewrite, so that a bad one can be found by bisection.
//! - In [`SPECIALIZE`], it reads no weights and makes none: their elements may have been released,
//!   and packed weights are looked up by the ids that constants have in the prepared graph.

mod dense_from_matmul;
mod depthwise_from_grouped;
mod fold_batch_norm;
mod fold_channel_affine;
mod fold_constants;
mod fold_input_affine;
mod fold_pad;
mod fold_quantized;
mod fuse_activation;
mod fuse_residual;
mod merge_reshapes;
mod options;
mod push_transposes;
mod recognize_activations;
mod remove_identities;
mod rewriter;
mod scalar_chain;
mod share_subexpressions;
#[cfg(test)]
mod tests;
mod weights;

pub use options::{PassOptions, UnknownPass};
use rewriter::Context;
pub use rewriter::Rewriter;
pub(crate) use weights::factors_and_offsets;

use depthwise_layers::ir::{Graph, InferError, Types, infer_types};
use depthwise_tensor::Shape;
use std::fmt;
use std::ops::Range;

/// A rewrite of graphs that keeps their meaning.
pub trait Pass: Sync {
    /// Name of the pass, a verb phrase in kebab case.
    fn name(&self) -> &'static str;

    /// Rewrites what it can find, calling [`Rewriter::allow`] before each change.
    fn run(&self, graph: &mut Rewriter<'_>);

    /// Two measures of a graph, for a pass that may fail to lower either although each of its
    /// rewrites looked good: its work is taken back where both have grown.
    fn cost(&self, graph: &Graph, types: Option<&Types>) -> Option<(usize, usize)> {
        let _ = (graph, types);
        None
    }
}

/// The passes at load over a graph with quantized operations, before all others: what they need, and
/// no more, since others would take weights apart that integer layers want whole.
pub static QUANTIZED: &[&dyn Pass] = &[
    &fold_constants::FoldConstants { dequantize: false },
    &remove_identities::RemoveIdentities,
    &push_transposes::PushTransposes,
    &fuse_activation::FuseActivation,
    &fold_quantized::FoldQuantized,
    &fold_pad::FoldPad,
];

/// The passes at load, in order.
pub static PREPARE: &[&dyn Pass] = &[
    &fold_constants::FoldConstants { dequantize: true },
    &remove_identities::RemoveIdentities,
    &share_subexpressions::ShareSubexpressions,
    &push_transposes::PushTransposes,
    &fold_pad::FoldPad,
    &depthwise_from_grouped::DepthwiseFromGrouped,
    &dense_from_matmul::DenseFromMatMul,
    &recognize_activations::RecognizeActivations,
    &fold_batch_norm::FoldBatchNorm,
    &fold_channel_affine::FoldChannelAffine,
    &fold_input_affine::FoldInputAffine,
    &fuse_activation::FuseActivation,
    &fuse_residual::FuseResidual,
    &merge_reshapes::MergeReshapes,
];

/// The passes at plan time, in order.
pub static SPECIALIZE: &[&dyn Pass] = &[
    &fold_constants::FoldConstants { dequantize: true },
    &remove_identities::RemoveIdentities,
    &share_subexpressions::ShareSubexpressions,
    &push_transposes::PushTransposes,
    &fold_pad::FoldPad,
    &recognize_activations::RecognizeActivations,
    &fold_batch_norm::LowerBatchNorm,
    &fuse_activation::FuseActivation,
    &fuse_residual::FuseResidual,
    &merge_reshapes::MergeReshapes,
];

/// Rounds over the list after which the passes stop even if something is left to do: a net far
/// from any that real graphs need, since each pass does all it can see in one run.
const MAX_ROUNDS: usize = 16;

/// How often each pass rewrote something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PassReport {
    counts: Vec<(&'static str, usize)>,
}

impl PassReport {
    /// Names of the passes that ran and how many rewrites each made, in the order of first use.
    pub fn counts(&self) -> &[(&'static str, usize)] {
        &self.counts
    }

    /// Rewrites made by the pass of this name.
    pub fn of(&self, pass: &str) -> usize {
        self.counts.iter().find(|(name, _)| *name == pass).map_or(0, |&(_, n)| n)
    }

    /// Rewrites made by all passes.
    pub fn total(&self) -> usize {
        self.counts.iter().map(|&(_, n)| n).sum()
    }

    fn add(&mut self, pass: &'static str, rewrites: usize) {
        match self.counts.iter_mut().find(|(name, _)| *name == pass) {
            Some((_, count)) => *count += rewrites,
            None => self.counts.push((pass, rewrites)),
        }
    }
}

impl fmt::Display for PassReport {
    /// One line per pass that rewrote something.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, count) in self.counts.iter().filter(|&&(_, n)| n > 0) {
            writeln!(f, "{name:24} {count:5}")?;
        }
        Ok(())
    }
}

/// Simplifies a graph whose input extents may be free. Constants that are no longer read lose
/// their elements.
pub fn prepare(graph: &mut Graph, options: &PassOptions) -> PassReport {
    let mut report = PassReport::default();
    let mut left = options.limit().unwrap_or(usize::MAX);
    graph.sort();
    if fold_quantized::is_quantized(graph) && options.runs(fold_quantized::FoldQuantized.name()) {
        prepare_with(QUANTIZED, graph, options, &mut left, &mut report);
    }
    prepare_with(PREPARE, graph, options, &mut left, &mut report);
    graph.release_unused_constants();
    report
}

/// Runs the passes of a list until none finds anything more to do.
fn prepare_with(
    passes: &[&'static dyn Pass],
    graph: &mut Graph,
    options: &PassOptions,
    left: &mut usize,
    report: &mut PassReport,
) {
    // Where no extent is free, everything is known already. A graph that does not fit together
    // says so when it is planned.
    let infer = |graph: &Graph| infer_types(graph, &fixed_shapes(graph)?).ok();
    let mut types = infer(graph);
    let passes: Vec<_> = passes.iter().filter(|pass| options.runs(pass.name())).collect();
    let mut rounds = Rounds::of(passes.len());
    while let Some(at) = rounds.next() {
        let rewrites = run(*passes[at], graph, types.as_ref(), left);
        report.add(passes[at].name(), rewrites);
        if rewrites > 0 {
            types = infer(graph);
            rounds.again();
        }
    }
}

/// The order in which passes run: over and over, until all have run since the last rewrite.
struct Rounds {
    passes: usize,
    /// Runs so far, and those since the last that rewrote something, itself included.
    runs: usize,
    idle: usize,
}

impl Rounds {
    fn of(passes: usize) -> Rounds {
        Rounds { passes, runs: 0, idle: 0 }
    }

    /// Begins with these, which are the only ones unless they rewrite something.
    fn start_with(&mut self, passes: Range<usize>) {
        (self.runs, self.idle) = (passes.start, self.passes - passes.len());
    }

    /// The position of the next pass.
    fn next(&mut self) -> Option<usize> {
        if self.idle == self.passes || self.runs == self.passes * MAX_ROUNDS {
            return None;
        }
        let at = self.runs % self.passes;
        self.runs += 1;
        self.idle += 1;
        Some(at)
    }

    /// The pass has rewritten something.
    fn again(&mut self) {
        self.idle = 0;
    }
}

/// Simplifies a graph for inputs of these shapes (one per graph input, in order), and finds the
/// types of all its values. Ids of the constants that [`prepare`] left stay as they are.
///
/// # Errors
/// [`InferError`] where the shapes do not fit the inputs or a layer refuses its operands.
pub fn specialize(
    graph: &mut Graph,
    shapes: &[Shape],
    options: &PassOptions,
) -> Result<Types, InferError> {
    specialize_reporting(graph, shapes, options, &mut PassReport::default())
}

/// [`specialize`], adding to a report.
///
/// # Errors
/// As [`specialize`].
pub fn specialize_reporting(
    graph: &mut Graph,
    shapes: &[Shape],
    options: &PassOptions,
    report: &mut PassReport,
) -> Result<Types, InferError> {
    let mut left = options.limit().unwrap_or(usize::MAX);
    let mut types = infer_types(graph, shapes)?;
    let passes: Vec<_> = SPECIALIZE.iter().filter(|pass| options.runs(pass.name())).collect();
    let mut rounds = Rounds::of(passes.len());
    if fixed_shapes(graph).is_some() && options.limit().is_none() {
        // `prepare` knew the same types: those that both have found nothing more there.
        let is_new = |pass: &&&dyn Pass| PREPARE.iter().all(|other| other.name() != pass.name());
        let first = passes.iter().position(is_new).unwrap_or(passes.len());
        let end = passes.iter().rposition(is_new).map_or(passes.len(), |last| last + 1);
        rounds.start_with(first..end);
    }
    while let Some(at) = rounds.next() {
        let rewrites = run(*passes[at], graph, Some(&types), &mut left);
        report.add(passes[at].name(), rewrites);
        if rewrites > 0 {
            types = infer_types(graph, shapes)?;
            rounds.again();
        }
    }
    Ok(types)
}

/// The number of dimensions of each output, where it is known.
pub(crate) fn output_ranks(graph: &mut Graph) -> Vec<Option<usize>> {
    let types = fixed_shapes(graph).and_then(|shapes| infer_types(graph, &shapes).ok());
    let outputs = graph.outputs().to_vec();
    let context = Context { types: types.as_ref(), left: &mut 0 };
    let rewriter = Rewriter::new(graph, context);
    outputs.into_iter().map(|id| rewriter.rank(id)).collect()
}

/// The shapes of the inputs, where none has a free extent.
fn fixed_shapes(graph: &Graph) -> Option<Vec<Shape>> {
    graph.inputs().iter().map(|&id| graph.input_type(id)?.shape()).collect()
}

/// Runs one pass; in debug builds, checks the graph that it leaves.
fn run(pass: &dyn Pass, graph: &mut Graph, types: Option<&Types>, left: &mut usize) -> usize {
    let before = pass.cost(graph, types).map(|cost| (cost, graph.clone(), *left));
    let mut rewriter = Rewriter::new(graph, Context { types, left });
    pass.run(&mut rewriter);
    let rewrites = rewriter.finish();
    #[cfg(debug_assertions)]
    if let Err(broken) = graph.verify() {
        panic!("{} broke the graph: {broken}\n{graph}", pass.name());
    }
    if let Some((cost, original, budget)) = before
        && rewrites > 0
        && is_worse(pass, graph, types, cost)
    {
        *graph = original;
        *left = budget;
        return 0;
    }
    rewrites
}

/// Whether a pass has raised both of its measures.
fn is_worse(pass: &dyn Pass, graph: &Graph, types: Option<&Types>, before: (usize, usize)) -> bool {
    let shapes = |types: &Types| graph.inputs().iter().map(|&id| types.of(id).shape).collect();
    let types = types.map(shapes).and_then(|shapes: Vec<Shape>| infer_types(graph, &shapes).ok());
    pass.cost(graph, types.as_ref()).is_some_and(|after| after.0 > before.0 && after.1 > before.1)
}
