//! Inputs that mislead a network.

use crate::form::TrainingGraph;
use crate::runner::{How, Runner};
use crate::trainer::{trainable_form, with_free_batch};
use crate::{BatchNormMode, FormOptions, Loss, Target, TrainError};
use depthwise_engine::{EngineError, Par};
use depthwise_layers::TensorType;
use depthwise_layers::ir::{Graph, infer_types};
use depthwise_tensor::{Shape, Tensor};

/// The gradient of a loss with respect to the input of a network, and what can be done with it:
/// adversarial pictures by one step along its sign (FGSM, Goodfellow et al. 2015) or by several with
/// a projection (PGD, Madry et al. 2018).
#[derive(Debug)]
pub struct Attack {
    loss: Loss,
    graph: TrainingGraph,
    /// Number of the output that holds the gradient of the input.
    gradient: usize,
    predictions: TensorType,
    runner: Runner,
}

impl Attack {
    /// For a network of one input, which is of this shape. `threads` 0 means one per core.
    ///
    /// # Errors
    /// As [`TrainingGraph::build`]; [`TrainError::Target`] for a network of several inputs.
    pub fn new(
        network: Graph,
        loss: Loss,
        shape: Shape,
        threads: usize,
    ) -> Result<Attack, TrainError> {
        let shapes = [shape];
        if network.inputs().len() != 1 {
            let count = network.inputs().len();
            return Err(TrainError::Target(format!("the network has {count} inputs, not one")));
        }
        let network = with_free_batch(&trainable_form(network)?);
        let options = FormOptions {
            shapes: &shapes,
            trainable: &|_| false,
            batch_norm: BatchNormMode::Frozen,
            dropout: false,
            drop_path: 0.0,
            recompute: false,
            input_gradients: true,
            loss: &loss,
        };
        let graph = TrainingGraph::build(&network, &options)?;
        let gradient = graph.input_gradients.first().copied().flatten();
        let Some(gradient) = gradient.and_then(|id| graph.output(id)) else {
            return Err(TrainError::NothingToTrain("the loss does not see the input".into()));
        };
        let inputs = graph.graph.inputs().iter();
        let fixed: Vec<Shape> =
            inputs.filter_map(|&id| graph.graph.input_type(id)?.shape()).collect();
        let predictions = infer_types(&graph.graph, &fixed)?.of(graph.predictions);
        let par =
            Par::new(threads).map_err(|error| TrainError::Engine(EngineError::from(error)))?;
        let runner = Runner::new(&graph.graph, &par, How::Once)?;
        Ok(Attack { loss, graph, gradient, predictions, runner })
    }

    /// The loss and its gradient with respect to the input.
    ///
    /// # Errors
    /// [`TrainError::Target`] where the target does not fit.
    pub fn gradient(
        &mut self,
        x: &Tensor,
        target: Target<'_>,
    ) -> Result<(f32, Tensor), TrainError> {
        let targets = self.loss.targets(target, self.predictions)?;
        self.runner.set(0, x)?;
        for (i, tensor) in targets.iter().enumerate().take(self.graph.targets.len()) {
            self.runner.set(1 + i, tensor)?;
        }
        self.runner.run()?;
        let gradient = Tensor::from_slice(x.shape().dims(), self.runner.output(self.gradient)?)?;
        Ok((self.runner.output(0)?[0], gradient))
    }

    /// `x + epsilon * sign(gradient)`, within `range`.
    ///
    /// # Errors
    /// As [`Attack::gradient`].
    pub fn fast_sign(
        &mut self,
        x: &Tensor,
        target: Target<'_>,
        epsilon: f32,
        range: (f32, f32),
    ) -> Result<Tensor, TrainError> {
        self.projected(x, target, (epsilon, epsilon), 1, range)
    }

    /// `steps` steps of size `step` along the sign of the gradient, each followed by a projection to
    /// at most `epsilon` from `x` in every element and to `range`. `reach` is `(epsilon, step)`.
    ///
    /// # Errors
    /// As [`Attack::gradient`].
    pub fn projected(
        &mut self,
        x: &Tensor,
        target: Target<'_>,
        reach: (f32, f32),
        steps: usize,
        range: (f32, f32),
    ) -> Result<Tensor, TrainError> {
        projected(x, reach, steps, range, |x| Ok(self.gradient(x, target)?.1))
    }
}

/// As [`Attack::projected`], along gradients from anywhere.
pub(crate) fn projected(
    x: &Tensor,
    (epsilon, step): (f32, f32),
    steps: usize,
    range: (f32, f32),
    mut gradient: impl FnMut(&Tensor) -> Result<Tensor, TrainError>,
) -> Result<Tensor, TrainError> {
    let start = x.to_f32().into_owned();
    let mut now = x.clone();
    for _ in 0..steps {
        let gradient = gradient(&now)?;
        let (gradient, at) = (gradient.to_f32(), now.to_f32());
        let moved = at.iter().zip(gradient.iter()).zip(&start).map(|((&at, &g), &x)| {
            let sign = if g == 0.0 { 0.0 } else { g.signum() };
            (at + step * sign).max(x - epsilon).min(x + epsilon).max(range.0).min(range.1)
        });
        now = Tensor::from_vec(x.shape().dims(), moved.collect::<Vec<f32>>())?;
    }
    Ok(now)
}

/// Samples that mislead the network take the places of every second one in training (Goodfellow et
/// al. 2015, Madry et al. 2018).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adversary {
    /// Farthest that a number of the input may move.
    pub epsilon: f32,
    /// How far it moves in one step; `epsilon` with one step is FGSM.
    pub step: f32,
    /// Steps; each costs as much as one of training.
    pub steps: usize,
    /// Least and largest number of an input.
    pub range: (f32, f32),
}

impl Adversary {
    /// The input of a batch, every second sample changed; `gradient` is that of the loss.
    pub(crate) fn mislead(
        &self,
        x: &Tensor,
        gradient: impl FnMut(&Tensor) -> Result<Tensor, TrainError>,
    ) -> Result<Tensor, TrainError> {
        let moved = projected(x, (self.epsilon, self.step), self.steps, self.range, gradient)?;
        let row = x.elements() / x.shape().first().copied().unwrap_or(1).max(1);
        let (mut mixed, moved) = (x.to_f32().into_owned(), moved.to_f32());
        let rows = mixed.chunks_exact_mut(row.max(1)).zip(moved.chunks_exact(row.max(1)));
        rows.skip(1).step_by(2).for_each(|(own, moved)| own.copy_from_slice(moved));
        Ok(Tensor::from_vec(x.shape().dims(), mixed)?)
    }
}
