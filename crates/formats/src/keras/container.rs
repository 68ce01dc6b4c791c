//! The two containers: a `.keras` archive, and a whole model in one HDF5 file.

use super::error::KerasError;
use super::h5::H5;
use super::weights::Weights;
use bytes::Bytes;
use serde_json::Value;
use std::io::{Cursor, Read};
use zip::ZipArchive;

/// A model as both containers hold it.
pub(super) struct Container {
    /// `class_name` and `config`.
    pub(super) model: Value,
    /// Bytes of the text of `model`.
    pub(super) model_len: usize,
    /// First number of the version of Keras that wrote the file.
    pub(super) version: u32,
    pub(super) weights: Weights,
}

/// How a file of HDF5 starts.
pub(crate) const HDF5_START: &[u8] = b"\x89HDF\r\n\x1a\n";

/// What a part of an archive may take beside the archive, when it is unpacked.
const MAX_EXPANSION: usize = 100;

fn no_model(reason: impl Into<String>) -> KerasError {
    KerasError::Container(reason.into())
}

pub(super) fn open(file: &Bytes) -> Result<Container, KerasError> {
    if file.starts_with(b"PK") { archive(file) } else { legacy(file) }
}

/// The attribute `model_config` has the network, the group `model_weights` a group per layer.
fn legacy(file: &Bytes) -> Result<Container, KerasError> {
    if !file.starts_with(HDF5_START) {
        return Err(no_model("it is neither a .keras archive nor an HDF5 file"));
    }
    let h5 = H5::open(file)?;
    let Some(text) = h5.text("model_config")? else {
        return Err(no_model(
            "the HDF5 file has weights, but no network; save the whole model with model.save(), \
             not with save_weights()",
        ));
    };
    let version = match h5.text("keras_version")? {
        Some(version) => major(&version)?,
        // Files of before 2.0 did not say.
        None => 1,
    };
    let model = parse(&text, "model_config")?;
    let weights = Weights::named(h5)?;
    Ok(Container { model, model_len: text.len(), version, weights })
}

fn archive(file: &Bytes) -> Result<Container, KerasError> {
    let mut archive =
        ZipArchive::new(Cursor::new(file)).map_err(|error| no_model(error.to_string()))?;
    let config = part(&mut archive, file.len(), "config.json")?;
    let metadata = part(&mut archive, file.len(), "metadata.json")?;
    let weights = part(&mut archive, file.len(), "model.weights.h5")?;
    let text = |name: &str, bytes: Vec<u8>| {
        String::from_utf8(bytes).map_err(|_| no_model(format!("{name} is no UTF-8 text")))
    };
    let config = text("config.json", config)?;
    let metadata = parse(&text("metadata.json", metadata)?, "metadata.json")?;
    let version = metadata.get("keras_version").and_then(Value::as_str);
    let version = version.ok_or_else(|| no_model("metadata.json names no keras_version"))?;
    let weights = Weights::numbered(H5::open(&weights.into())?)?;
    Ok(Container {
        model: parse(&config, "config.json")?,
        model_len: config.len(),
        version: major(version)?,
        weights,
    })
}

fn part(
    archive: &mut ZipArchive<Cursor<&Bytes>>,
    file_len: usize,
    name: &str,
) -> Result<Vec<u8>, KerasError> {
    let fail = |reason: String| no_model(format!("{name}: {reason}"));
    let mut part = archive.by_name(name).map_err(|error| fail(error.to_string()))?;
    let limit = file_len.saturating_mul(MAX_EXPANSION);
    let mut bytes = Vec::new();
    let read = part.by_ref().take(limit as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| fail(error.to_string()))?;
    if bytes.len() > limit {
        return Err(fail(format!("it unpacks to more than {MAX_EXPANSION} times the file")));
    }
    Ok(bytes)
}

fn parse(text: &str, name: &str) -> Result<Value, KerasError> {
    serde_json::from_str(text).map_err(|error| no_model(format!("{name}: {error}")))
}

fn major(version: &str) -> Result<u32, KerasError> {
    let first = version.split('.').next().and_then(|number| number.parse().ok());
    first.ok_or_else(|| no_model(format!("\"{version}\" is no version of Keras")))
}
