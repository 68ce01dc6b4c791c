//! The training loop: epochs, validation, early stopping, checkpoints.

use crate::checkpoint::{Checkpoint, Saved};
use crate::data::Source;
use crate::metrics::{Metrics, softmax};
use crate::streams::{Use, rng, shuffle};
use crate::{FitError, Plateau, Schedule, Step, schedule};
use depthwise_engine::formats::Weights;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Instant;

/// How the learning rate goes on after the warm-up, in epochs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Decay {
    /// Down to 0 along half a cosine (Loshchilov and Hutter, "SGDR", 2017).
    #[default]
    Cosine,
    /// It stays.
    Constant,
    /// Times `factor` every so many epochs.
    Step {
        /// Epochs between two falls.
        epochs: usize,
        /// What is left.
        factor: f32,
    },
    /// Times `factor` per epoch, smoothly.
    Exponential {
        /// What is left.
        factor: f32,
    },
    /// Times `factor` after so many epochs without a lower validation loss (training loss, without
    /// validation samples): [`Plateau`].
    Plateau {
        /// Epochs that are borne.
        patience: u32,
        /// What is left.
        factor: f32,
    },
}

/// `cosine`, `constant`, `step=EPOCHS:FACTOR`, `exponential=FACTOR` or `plateau=EPOCHS:FACTOR`.
impl FromStr for Decay {
    type Err = String;
    fn from_str(text: &str) -> Result<Decay, String> {
        let (name, numbers) = text.split_once('=').unwrap_or((text, ""));
        let factor = |text: &str| text.parse::<f32>().ok().filter(|f| (0.0..=1.0).contains(f));
        let both = numbers.split_once(':');
        let both =
            both.and_then(|(n, f)| Some((n.parse::<u32>().ok().filter(|&n| n > 0)?, factor(f)?)));
        match (name, numbers, both, factor(numbers)) {
            ("cosine", "", ..) => Ok(Decay::Cosine),
            ("constant", "", ..) => Ok(Decay::Constant),
            ("step", _, Some((n, factor)), _) => Ok(Decay::Step { epochs: n as usize, factor }),
            ("plateau", _, Some((patience, factor)), _) => Ok(Decay::Plateau { patience, factor }),
            ("exponential", _, _, Some(factor)) => Ok(Decay::Exponential { factor }),
            _ => Err(format!(
                "\"{text}\" is none of cosine, constant, step=EPOCHS:FACTOR, exponential=FACTOR, \
                 plateau=EPOCHS:FACTOR, factors from 0 to 1"
            )),
        }
    }
}

/// How long and in what steps to train.
#[derive(Clone, Debug, PartialEq)]
pub struct FitOptions {
    /// Times that every sample is seen.
    pub epochs: usize,
    /// Samples per step.
    pub batch: usize,
    /// Learning rate after the warm-up.
    pub rate: f32,
    /// Share of all steps in which the rate rises from 0.
    pub warmup: f32,
    /// How it goes on.
    pub decay: Decay,
    /// Training stops after so many epochs without a better validation; `None` never.
    pub patience: Option<usize>,
    /// Where random numbers start.
    pub seed: u64,
    /// Where to save the state after every epoch.
    pub checkpoint: Option<PathBuf>,
    /// Whether to go on from the checkpoint, if there is one.
    pub resume: bool,
    /// What else decides the result (data, augmentation, network). A checkpoint of other settings
    /// is not resumed.
    pub settings: String,
}

impl Default for FitOptions {
    fn default() -> FitOptions {
        FitOptions {
            epochs: 10,
            batch: 32,
            rate: 1e-3,
            warmup: 0.0,
            decay: Decay::Cosine,
            patience: None,
            seed: 0,
            checkpoint: None,
            resume: false,
            settings: String::new(),
        }
    }
}

impl FitOptions {
    fn check(&self) -> Result<(), FitError> {
        let refuse = |name, value: String, want| Err(FitError::Setting { name, value, want });
        if self.epochs == 0 {
            return refuse("epochs", "0".into(), "1 or more");
        }
        if self.batch == 0 {
            return refuse("batch", "0".into(), "1 or more");
        }
        if !(self.rate > 0.0 && self.rate.is_finite()) {
            return refuse("learning rate", self.rate.to_string(), "above 0 and finite");
        }
        if !(0.0..1.0).contains(&self.warmup) {
            return refuse("warm-up", self.warmup.to_string(), "from 0 to below 1");
        }
        Ok(())
    }

    /// The learning rate of step `step` of `steps`, without what [`Decay::Plateau`] takes off.
    pub fn rate_at(&self, step: usize, steps: usize) -> f32 {
        let (step, steps) = (step as u64, steps as u64);
        let warm_up = (f64::from(self.warmup) * steps as f64).round() as u64;
        let epoch = steps / self.epochs.max(1) as u64;
        let decay = match self.decay {
            Decay::Constant | Decay::Plateau { .. } => schedule::Decay::Constant,
            Decay::Cosine => return Schedule::cosine(self.rate, warm_up, steps).rate(step),
            Decay::Step { epochs, factor } => {
                schedule::Decay::Step { every: epochs as u64 * epoch, factor }
            }
            Decay::Exponential { factor } => schedule::Decay::Exponential { every: epoch, factor },
        };
        Schedule { base: self.rate, warm_up, decay }.rate(step)
    }

    /// What is left of the rate after these epochs by [`Decay::Plateau`].
    fn plateau(&self, history: &[EpochRecord]) -> f32 {
        let Decay::Plateau { patience, factor } = self.decay else { return 1.0 };
        let mut plateau = Plateau::new(factor, patience.saturating_sub(1));
        let loss = |e: &EpochRecord| e.validation_loss.unwrap_or(e.loss) as f32;
        history.iter().map(|e| plateau.observe(loss(e))).product()
    }

    /// What a checkpoint must have been made with.
    fn fingerprint(&self, train: &dyn Source) -> String {
        format!(
            "samples {}, classes {}, epochs {}, batch {}, rate {}, warm-up {}, decay {:?}, seed {}; {}",
            train.len(),
            train.classes(),
            self.epochs,
            self.batch,
            self.rate,
            self.warmup,
            self.decay,
            self.seed,
            self.settings
        )
    }
}

/// What an epoch came to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Number, from 1.
    pub epoch: usize,
    /// Mean loss of the training samples, each as it was when it was learnt from.
    pub loss: f64,
    /// Loss of the validation samples; `None` without any.
    pub validation_loss: Option<f64>,
    /// Accuracy on the validation samples.
    pub accuracy: Option<f64>,
    /// Mean of the classes' F1 on the validation samples.
    pub macro_f1: Option<f64>,
    /// Learning rate at the end.
    pub rate: f32,
    /// Wall time.
    pub seconds: f64,
}

impl EpochRecord {
    /// Whether this epoch validated better: more accurate, or as accurate at a lower loss.
    pub fn beats(&self, other: &EpochRecord) -> bool {
        let score =
            |e: &EpochRecord| (e.accuracy.unwrap_or(0.0), -e.validation_loss.unwrap_or(e.loss));
        score(self) > score(other)
    }
}

/// Hears how training goes. All methods do nothing unless written.
pub trait Observer {
    /// An epoch begins: its number from 1, and its number of steps.
    fn begin(&mut self, _epoch: usize, _steps: usize) {}
    /// A step was taken, with this loss.
    fn step(&mut self, _loss: f32) {}
    /// An epoch ended and its checkpoint is written.
    ///
    /// # Errors
    /// Where the observer cannot write what it keeps; training then stops.
    fn end(&mut self, _record: &EpochRecord) -> Result<(), FitError> {
        Ok(())
    }
}

/// An observer that does not care.
impl Observer for () {}

/// What training came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// All epochs, those before a resumption among them.
    pub history: Vec<EpochRecord>,
    /// Number of the epoch whose state the step was left in, from 1.
    pub best: usize,
    /// Whether patience ran out before the epochs did.
    pub stopped_early: bool,
}

/// Trains `step` on `train`; leaves it in the state of the epoch that validated best (of the last
/// one, without validation samples).
///
/// The order of samples depends on the seed and the epoch alone. With a checkpoint, a run that is
/// ended at any moment goes on later (`resume`) to the same bits that it would have reached; it
/// repeats the epoch it was in.
///
/// # Errors
/// [`FitError::Setting`]; [`FitError::NotFinite`] where the loss overflows;
/// [`FitError::Checkpoint`] where the checkpoint is of another run; [`FitError::Io`] and
/// [`FitError::Tensors`] where it cannot be written, a full disk among the reasons. The last whole
/// checkpoint is kept.
pub fn fit(
    step: &mut dyn Step,
    train: &dyn Source,
    validation: &dyn Source,
    options: &FitOptions,
    observer: &mut dyn Observer,
) -> Result<Outcome, FitError> {
    options.check()?;
    let fingerprint = options.fingerprint(train);
    let checkpoint = options.checkpoint.as_deref().map(Checkpoint::new);
    let mut run = Run { history: Vec::new(), best: None };
    if let Some(checkpoint) = checkpoint.as_ref().filter(|_| options.resume)
        && let Some(saved) = checkpoint.load(&fingerprint)?
    {
        step.restore(&saved.now)?;
        run = Run { history: saved.history, best: saved.best };
    }
    while run.history.len() < options.epochs && !run.out_of_patience(options) {
        let record = epoch(step, train, validation, options, &run.history, observer)?;
        run.history.push(record);
        let now = step.state()?;
        let first = run.best.is_none();
        let best = run.best.as_ref().map(|(epoch, _)| run.history[epoch - 1]);
        if first || validation.is_empty() || best.is_some_and(|best| record.beats(&best)) {
            run.best = Some((record.epoch, now.clone()));
        }
        if let Some(checkpoint) = &checkpoint {
            let saved = Saved { now, best: run.best.clone(), history: run.history.clone() };
            checkpoint.save(&fingerprint, &saved)?;
        }
        observer.end(&record)?;
    }
    let stopped_early = run.history.len() < options.epochs;
    let best = match &run.best {
        Some((epoch, state)) => {
            step.restore(state)?;
            *epoch
        }
        None => 0,
    };
    Ok(Outcome { history: run.history, best, stopped_early })
}

struct Run {
    history: Vec<EpochRecord>,
    /// Epoch, from 1, and the state after it.
    best: Option<(usize, Weights)>,
}

impl Run {
    fn out_of_patience(&self, options: &FitOptions) -> bool {
        let since = |(epoch, _): &(usize, Weights)| self.history.len() - epoch;
        match (options.patience, &self.best) {
            (Some(patience), Some(best)) => since(best) >= patience.max(1),
            _ => false,
        }
    }
}

fn epoch(
    step: &mut dyn Step,
    train: &dyn Source,
    validation: &dyn Source,
    options: &FitOptions,
    history: &[EpochRecord],
    observer: &mut dyn Observer,
) -> Result<EpochRecord, FitError> {
    let start = Instant::now();
    let (done, left) = (history.len(), options.plateau(history));
    let number = done + 1;
    let mut order: Vec<usize> = (0..train.len()).collect();
    shuffle(&mut order, &mut rng(options.seed, Use::Shuffle, done as u64, 0));
    let steps = train.len().div_ceil(options.batch);
    observer.begin(number, steps);
    let (mut at, mut total, mut rate) = (0, 0.0, 0.0);
    train.batches(&order, options.batch, Some(done as u64), &mut |batch| {
        rate = left * options.rate_at(done * steps + at, options.epochs * steps);
        let loss = step.step(&batch, rate).map_err(|error| error.in_epoch(number))?;
        if !loss.is_finite() {
            return Err(FitError::NotFinite { epoch: number, what: "loss", value: loss });
        }
        at += 1;
        total += f64::from(loss) * batch.labels.len() as f64;
        observer.step(loss);
        Ok(())
    })?;
    let metrics = match validation.is_empty() {
        true => None,
        false => {
            let found = evaluate(step, validation, options.batch);
            Some(found.map_err(|error| error.in_epoch(number))?.metrics(validation.classes()))
        }
    };
    Ok(EpochRecord {
        epoch: number,
        loss: total / train.len().max(1) as f64,
        validation_loss: metrics.as_ref().map(|m| m.loss),
        accuracy: metrics.as_ref().map(|m| m.accuracy),
        macro_f1: metrics.as_ref().map(|m| m.macro_f1),
        rate,
        seconds: start.elapsed().as_secs_f64(),
    })
}

/// What a network says about labelled samples.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Predictions {
    /// `N,C`, in the order of the samples.
    pub probabilities: Vec<f32>,
    /// The right class of each.
    pub labels: Vec<usize>,
}

impl Predictions {
    /// How good they are.
    pub fn metrics(&self, classes: usize) -> Metrics {
        Metrics::of(&self.probabilities, &self.labels, classes)
    }

    /// The samples predicted wrongly, those whose own class was given least first, `most` of them:
    /// position, predicted class, and the probability of the right one.
    pub fn worst(&self, classes: usize, most: usize) -> Vec<(usize, usize, f32)> {
        let rows = self.probabilities.chunks_exact(classes.max(1)).zip(&self.labels).enumerate();
        let judge = |(sample, (row, &label)): (usize, (&[f32], &usize))| {
            let predicted = crate::metrics::best(row);
            (predicted != label).then_some((sample, predicted, row[label]))
        };
        let mut wrong: Vec<_> = rows.filter_map(judge).collect();
        wrong.sort_by(|a, b| a.2.total_cmp(&b.2).then(a.0.cmp(&b.0)));
        wrong.truncate(most);
        wrong
    }
}

/// Predictions for all samples, without random changes.
///
/// # Errors
/// Where a sample cannot be read or computed.
pub fn evaluate(
    step: &mut dyn Step,
    source: &dyn Source,
    batch: usize,
) -> Result<Predictions, FitError> {
    let order: Vec<usize> = (0..source.len()).collect();
    let mut all = Predictions::default();
    source.batches(&order, batch, None, &mut |batch| {
        all.probabilities.extend(step.logits(&batch.input)?);
        all.labels.extend(batch.labels);
        Ok(())
    })?;
    softmax(&mut all.probabilities, source.classes());
    Ok(all)
}

#[cfg(test)]
mod tests;
