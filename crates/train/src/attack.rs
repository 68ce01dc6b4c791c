//! Inputs that mislead a network.

use crate::form::TrainingGraph;
use crate::runner::Runner;
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
        let runner = Runner::new(&graph.graph, &par, false)?;
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
        let (epsilon, step) = reach;
        let start = x.to_f32().into_owned();
        let mut now = x.clone();
        for _ in 0..steps {
            let (_, gradient) = self.gradient(&now, target)?;
            let (gradient, at) = (gradient.to_f32(), now.to_f32());
            let moved = at.iter().zip(gradient.iter()).zip(&start).map(|((&at, &g), &x)| {
                let sign = if g == 0.0 { 0.0 } else { g.signum() };
                (at + step * sign).max(x - epsilon).min(x + epsilon).max(range.0).min(range.1)
            });
            now = Tensor::from_vec(x.shape().dims(), moved.collect::<Vec<f32>>())?;
        }
        Ok(now)
    }
}
