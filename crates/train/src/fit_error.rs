//! What can go wrong between a folder of pictures and a trained network.

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
        "epoch {epoch}: the loss became {loss}; use a lower learning rate, and look at the data for \
         extreme values"
    )]
    NotFinite {
        /// Epoch, from 1.
        epoch: usize,
        /// The loss.
        loss: f32,
    },
    /// A network that has no place to cut it, or cannot take a new head.
    #[error("the network cannot get a new head: {0}")]
    Head(String),
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

impl FitError {
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
