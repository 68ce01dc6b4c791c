//! Graphs to files.

mod atomic;
mod error;
mod fold;
mod half;
mod known;

pub(crate) use atomic::write_atomically;
pub use error::{SaveError, UnsupportedLayer};
pub(crate) use fold::folded;
pub(crate) use known::Known;

use crate::{onnx, safetensors, tflite};
use depthwise_layers::ir::Graph;
use depthwise_tensor::Shape;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

/// How a graph is written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SaveOptions {
    /// Store the filters of convolutions and dense layers as `f16`, which halves the file and
    /// rounds each by up to 2^-11 of itself. Filters beyond the range of `f16` stay `f32`.
    pub half: bool,
    /// ONNX: pictures that enter or leave the network are NCHW, instead of NHWC with a transpose
    /// behind the input or before the output.
    pub nchw: bool,
    /// Shapes of all inputs in order, in place of extents that the graph leaves free. Empty keeps
    /// the extents free, where the format can express that.
    pub input_shapes: Vec<Shape>,
}

/// A file format that graphs can be written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SaveFormat {
    /// `.onnx`
    Onnx,
    /// `.tflite`
    Tflite,
    /// `.safetensors` with the graph in its metadata: our own form, exact for every graph.
    Safetensors,
}

impl SaveFormat {
    /// The format of a file with this name.
    pub fn of_path(path: &Path) -> Option<SaveFormat> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        match extension.as_str() {
            "onnx" => Some(SaveFormat::Onnx),
            "tflite" => Some(SaveFormat::Tflite),
            "safetensors" => Some(SaveFormat::Safetensors),
            _ => None,
        }
    }

    /// Name of the format, as printed.
    pub const fn name(self) -> &'static str {
        match self {
            SaveFormat::Onnx => "ONNX",
            SaveFormat::Tflite => "TensorFlow Lite",
            SaveFormat::Safetensors => "safetensors",
        }
    }
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// The format.
    pub format: SaveFormat,
    /// Bytes of the file.
    pub bytes: u64,
    /// How often each operator stands in the file, by the format's name for it.
    pub operators: BTreeMap<String, usize>,
    /// Bytes of constants, and how many there are.
    pub constants: (u64, usize),
}

/// Writes a graph to a file, whose name tells the format. The file appears whole or not at all; one
/// that was there is replaced.
///
/// # Errors
/// [`SaveError::Extension`] where the name tells no format, [`SaveError::Unsupported`] with every
/// layer that the format has no form for, [`SaveError::FreeShape`] where the format needs extents
/// that are free, [`SaveError::Infer`] where the shapes do not fit the graph,
/// [`SaveError::Released`] where elements of a constant are gone, [`SaveError::TooLarge`] where the
/// format cannot hold so much, [`SaveError::Io`] where the file cannot be written.
pub fn save(
    graph: &Graph,
    path: impl AsRef<Path>,
    options: &SaveOptions,
) -> Result<Saved, SaveError> {
    let path = path.as_ref();
    let format = SaveFormat::of_path(path);
    let format = format.ok_or_else(|| SaveError::Extension { path: path.to_owned() })?;
    let encoded = encode(graph, format, options)?;
    let io = |source| SaveError::Io { path: path.to_owned(), source };
    write_atomically(path, |out| std::io::Write::write_all(out, &encoded.bytes)).map_err(io)?;
    let (operators, constants) = (encoded.operators, encoded.constants);
    Ok(Saved { format, bytes: encoded.bytes.len() as u64, operators, constants })
}

/// The bytes of a graph in a format.
///
/// # Errors
/// As [`save`], but those of files.
pub fn to_bytes(
    graph: &Graph,
    format: SaveFormat,
    options: &SaveOptions,
) -> Result<Vec<u8>, SaveError> {
    Ok(encode(graph, format, options)?.bytes)
}

/// A file before it is written.
pub(crate) struct Encoded {
    pub(crate) bytes: Vec<u8>,
    pub(crate) operators: BTreeMap<String, usize>,
    pub(crate) constants: (u64, usize),
}

fn encode(graph: &Graph, format: SaveFormat, options: &SaveOptions) -> Result<Encoded, SaveError> {
    graph.verify()?;
    error::check_released(graph)?;
    let graph = match options.half {
        true => Cow::Owned(half::halved(graph)),
        false => Cow::Borrowed(graph),
    };
    match format {
        SaveFormat::Onnx => onnx::write::encode(&graph, options),
        SaveFormat::Tflite => tflite::write::encode(&graph, options),
        SaveFormat::Safetensors => safetensors::graph::encode(&graph, options),
    }
}

#[cfg(test)]
mod tests;
