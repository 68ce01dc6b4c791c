//! What can go wrong between a folder of pictures and a trained network.

use crate::TrainError;
use depthwise_engine::EngineError;
use depthwise_engine::formats::safetensors::SafetensorsError;
use depthwise_tensor::TensorError;
use depthwise_vision::VisionError;
use std::io;
use std::path::{Path, PathBuf};

/// Why data cannot be trained on, or why training stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FitError {
    /// A file or folder could not be read or written.
    #[error("{path}: {source}{}", advice(.source), path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A table that is not well-formed.
    #[error("{path}: {source}", path = path.display())]
    Table {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: csv::Error,
    },
    /// A row of a table that does not say what is needed.
    #[error("{path}, line {line}: {what}", path = path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: u64,
        /// What is wrong.
        what: String,
    },
    /// Data that no classifier can be trained on.
    #[error("{path}: {what}", path = path.display())]
    Data {
        /// The folder or table.
        path: PathBuf,
        /// What is wrong, and what would be right.
        what: String,
    },
    /// A label that none of the expected classes bears.
    #[error("{path}: \"{label}\" is none of the {} classes {}", .classes.len(), some(.classes), path = path.display())]
    UnknownClass {
        /// Where the label stands.
        path: PathBuf,
        /// The label.
        label: String,
        /// The classes there are.
        classes: Vec<String>,
    },
    /// A picture that cannot be prepared.
    #[error("{path}: {source}", path = path.display())]
    Picture {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: VisionError,
    },
    /// A setting out of range.
    #[error("{name} is {value}; it must be {want}")]
    Setting {
        /// Name of the setting.
        name: &'static str,
        /// Its value.
        value: String,
        /// The range.
        want: &'static str,
    },
    /// The loss is no finite number any more.
    #[error(
        "epoch {epoch}: the {what} became {value}; use a lower learning rate, and look at the data \
         for extreme values"
    )]
    NotFinite {
        /// Epoch, from 1.
        epoch: usize,
        /// "loss", "norm of the gradients", "parameters" or "running statistics".
        what: &'static str,
        /// Its value.
        value: f32,
    },
    /// A network that does not take pictures, or does not give one row of numbers for each.
    #[error("the network cannot be used: {0}")]
    Network(String),
    /// A saved state that does not belong to this run.
    #[error("{path}: {what}", path = path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        what: String,
    },
    /// A file of tensors that cannot be read or written.
    #[error("{source}{}", tensors_advice(.source))]
    Tensors {
        /// What is wrong with it.
        #[from]
        source: SafetensorsError,
    },
    /// A tensor that cannot be.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// The network cannot be trained.
    #[error(transparent)]
    Train(TrainError),
    /// The network cannot run.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A curve that cannot be drawn.
    #[error("cannot draw {what}: {reason}")]
    Draw {
        /// Which.
        what: &'static str,
        /// Why.
        reason: String,
    },
}

impl From<TrainError> for FitError {
    fn from(error: TrainError) -> FitError {
        match error {
            TrainError::Engine(error) => FitError::Engine(error),
            TrainError::Tensor(error) => FitError::Tensor(error),
            error => FitError::Train(error),
        }
    }
}

impl FitError {
    /// A number that is not finite, with the epoch in which it was found.
    pub(crate) fn in_epoch(self, epoch: usize) -> FitError {
        match self {
            FitError::Train(TrainError::NotFinite { what, value, .. }) => {
                FitError::NotFinite { epoch, what, value }
            }
            error => error,
        }
    }

    pub(crate) fn io(path: impl AsRef<Path>) -> impl Fn(io::Error) -> FitError {
        move |source| FitError::Io { path: path.as_ref().to_owned(), source }
    }

    pub(crate) fn data(path: &Path, what: impl Into<String>) -> FitError {
        FitError::Data { path: path.to_owned(), what: what.into() }
    }
}

/// What to do about it, where that is known.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; the last whole checkpoint is kept: make room and resume"
        }
        _ => "",
    }
}

fn tensors_advice(error: &SafetensorsError) -> &'static str {
    match error {
        SafetensorsError::Io { source, .. } => advice(source),
        _ => "",
    }
}

/// The first few names.
fn some(names: &[String]) -> String {
    const SHOWN: usize = 8;
    let more = if names.len() > SHOWN { ", ..." } else { "" };
    format!("{}{more}", names[..names.len().min(SHOWN)].join(", "))
}
