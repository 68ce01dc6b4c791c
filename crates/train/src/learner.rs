//! Networks in the loop: a trainer, and a trainer with a teacher.

use crate::data::Batch;
use crate::features::Extractor;
use crate::runner::set_input;
use crate::{Adversary, FitError, Step, Target, TrainError, Trainer};
use depthwise_engine::formats::Weights;
use depthwise_engine::{Model, Options};
use depthwise_tensor::Tensor;

impl Trainer {
    /// The first output of the network for a batch, as it is used after training: without dropout,
    /// batch normalization by its running statistics, with the averages of
    /// [`TrainOptions::average`](crate::TrainOptions::average).
    ///
    /// The engine plans the network anew after a step.
    ///
    /// # Errors
    /// [`TrainError::Engine`] where the input does not fit.
    pub fn evaluate(&mut self, input: &Tensor) -> Result<&[f32], TrainError> {
        let shapes = [*input.shape()];
        let mut session = match self.evaluation.take() {
            Some(session) => session,
            None => {
                let graph = crate::trainer::with_free_batch(&self.averaged_graph()?);
                let options = Options { par: Some(self.par.clone()), ..Options::default() };
                Model::from_graph(graph, options)?.session_for(&shapes)?
            }
        };
        session.reshape(&shapes)?;
        set_input(&mut session, 0, input)?;
        session.run();
        Ok(self.evaluation.insert(session).output(0)?)
    }
}

/// A [`Trainer`] in the loop of [`fit()`](crate::fit()), with or without a teacher.
#[derive(Debug)]
pub struct Learner {
    /// Who learns the distributions of a batch ([`Batch::targets`]): without a teacher, its loss is
    /// one that takes [`Target::Values`]; with one, [`Loss::Distillation`](crate::Loss::Distillation).
    pub trainer: Trainer,
    /// Who knows: takes the pictures of the trainer and gives logits of the same classes. See
    /// [`features::teacher`](crate::features::teacher).
    pub teacher: Option<Extractor>,
    /// Who makes samples that mislead; asks for [`TrainOptions::input_gradients`](crate::TrainOptions::input_gradients).
    pub adversary: Option<Adversary>,
}

impl Learner {
    /// Without a teacher or an adversary.
    pub fn new(trainer: Trainer) -> Learner {
        Learner { trainer, teacher: None, adversary: None }
    }
}

impl Step for Learner {
    fn step(&mut self, batch: &Batch, rate: f32) -> Result<f32, FitError> {
        let mut input = batch.input.clone();
        let logits = match &mut self.teacher {
            // The teacher sees what the adversary has not touched.
            Some(teacher) => {
                let logits = teacher.run(&input)?;
                Some(Tensor::from_vec(&[batch.labels.len(), teacher.width()], logits)?)
            }
            None => None,
        };
        let target = match &logits {
            Some(teacher) => Target::Distilled { targets: &batch.targets, teacher },
            None => Target::Values(&batch.targets),
        };
        if let Some(adversary) = &self.adversary {
            let trainer = &mut self.trainer;
            input = adversary
                .mislead(&input, |x| trainer.input_gradient(std::slice::from_ref(x), target))?;
        }
        Ok(self.trainer.step_at(std::slice::from_ref(&input), target, rate)?.loss)
    }

    fn logits(&mut self, input: &Tensor) -> Result<Vec<f32>, FitError> {
        Ok(self.trainer.evaluate(input)?.to_vec())
    }

    fn state(&self) -> Result<Weights, FitError> {
        Ok(self.trainer.state()?)
    }

    fn restore(&mut self, state: &Weights) -> Result<(), FitError> {
        Ok(self.trainer.restore(state)?)
    }
}
