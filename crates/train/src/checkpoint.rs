//! The state of a run in a file.

use crate::FitError;
use crate::fit::EpochRecord;
use depthwise_engine::formats::{Weights, safetensors};
use depthwise_tensor::Tensor;
use std::path::{Path, PathBuf};

/// Keys of the metadata, and the name of a tensor.
const VERSION: &str = "checkpoint";
const SETTINGS: &str = "settings";
const HISTORY: &str = "history";
const BEST: &str = "best";
/// The only version there is.
const VERSION_1: &str = "1";
/// Before the names of tensors and notes of a state.
const NOW_PREFIX: &str = "now/";
const BEST_PREFIX: &str = "best/";

/// A safetensors file with the state after the last whole epoch. It is replaced whole or not at
/// all, so whoever ends the program at whatever moment finds this state or the one before.
pub(crate) struct Checkpoint {
    path: PathBuf,
}

/// What a checkpoint holds.
pub(crate) struct Saved {
    pub(crate) now: Weights,
    /// Epoch, from 1, and the state after it.
    pub(crate) best: Option<(usize, Weights)>,
    pub(crate) history: Vec<EpochRecord>,
}

impl Checkpoint {
    pub(crate) fn new(path: &Path) -> Checkpoint {
        Checkpoint { path: path.to_owned() }
    }

    pub(crate) fn save(&self, settings: &str, saved: &Saved) -> Result<(), FitError> {
        let mut file = Weights::default();
        let best = saved.best.iter().map(|(_, state)| (BEST_PREFIX, state));
        for (prefix, state) in [(NOW_PREFIX, &saved.now)].into_iter().chain(best) {
            let named =
                state.iter().map(|(name, tensor)| (format!("{prefix}{name}"), tensor.clone()));
            file.tensors.extend(named);
            let notes = state.metadata.iter().map(|(k, v)| (format!("{prefix}{k}"), v.clone()));
            file.metadata.extend(notes);
        }
        file.tensors.insert(HISTORY.into(), history_tensor(&saved.history)?);
        let best = saved.best.as_ref().map_or(0, |(epoch, _)| *epoch).to_string();
        for (key, value) in [(VERSION, VERSION_1), (SETTINGS, settings), (BEST, &best)] {
            file.metadata.insert(key.into(), value.into());
        }
        Ok(safetensors::save(&file, &self.path)?)
    }

    /// The state, or `None` where there is no file.
    pub(crate) fn load(&self, settings: &str) -> Result<Option<Saved>, FitError> {
        if !self.path.exists() {
            return Ok(None);
        }
        let file = safetensors::open(&self.path)?;
        let entry = |key: &str| file.metadata.get(key).map_or("", String::as_str);
        if entry(VERSION) != VERSION_1 {
            return Err(self.fault("not a checkpoint that this version can read"));
        }
        if entry(SETTINGS) != settings {
            return Err(self.fault(format!(
                "the checkpoint is of another run; give the same settings, or do not resume\n  \
                 checkpoint: {}\n  this run:   {settings}",
                entry(SETTINGS)
            )));
        }
        let history = file.get(HISTORY).and_then(history_of);
        let history = history.ok_or_else(|| self.fault("the history is missing or broken"))?;
        let part = |prefix: &str| -> Weights {
            let named = file.iter().filter_map(|(name, tensor)| {
                Some((name.strip_prefix(prefix)?.to_owned(), tensor.clone()))
            });
            let notes = file.metadata.iter().filter_map(|(key, value)| {
                Some((key.strip_prefix(prefix)?.to_owned(), value.clone()))
            });
            Weights { tensors: named.collect(), metadata: notes.collect() }
        };
        let best = match entry(BEST).parse() {
            Ok(0) => None,
            Ok(epoch) if epoch <= history.len() => Some((epoch, part(BEST_PREFIX))),
            _ => return Err(self.fault("the best epoch is none of the history")),
        };
        Ok(Some(Saved { now: part(NOW_PREFIX), best, history }))
    }

    fn fault(&self, what: impl Into<String>) -> FitError {
        FitError::Checkpoint { path: self.path.clone(), what: what.into() }
    }
}

/// Numbers of an epoch in the order of [`EpochRecord`]; NaN where there is none.
const COLUMNS: usize = 7;

/// Epochs as a tensor: numbers in text would lose their last bit.
fn history_tensor(history: &[EpochRecord]) -> Result<Tensor, FitError> {
    let row = |e: &EpochRecord| {
        let or_nan = |x: Option<f64>| x.unwrap_or(f64::NAN);
        let (validation, f1) = (or_nan(e.validation_loss), or_nan(e.macro_f1));
        [e.epoch as f64, e.loss, validation, or_nan(e.accuracy), f1, e.rate.into(), e.seconds]
    };
    let rows: Vec<f64> = history.iter().flat_map(row).collect();
    Ok(Tensor::from_vec(&[history.len(), COLUMNS], rows)?)
}

/// The inverse; `None` where it is no such tensor.
fn history_of(tensor: &Tensor) -> Option<Vec<EpochRecord>> {
    let numbers = tensor.data::<f64>().ok().filter(|_| tensor.shape().last() == Some(&COLUMNS))?;
    let rows = numbers.chunks_exact(COLUMNS).enumerate();
    let record = |(index, row): (usize, &[f64])| {
        let some = |x: f64| (!x.is_nan()).then_some(x);
        let &[epoch, loss, validation, accuracy, f1, rate, seconds] = row else { return None };
        (epoch == (index + 1) as f64).then_some(EpochRecord {
            epoch: index + 1,
            loss,
            validation_loss: some(validation),
            accuracy: some(accuracy),
            macro_f1: some(f1),
            rate: rate as f32,
            seconds,
        })
    };
    rows.map(record).collect()
}
