//! Which format a file is of.

use crate::keras::{self, KerasError};
use crate::onnx::{self, OnnxError};
use crate::safetensors::{self, SafetensorsError};
use crate::tflite::{self, TfliteError};
use crate::torch::{self, TorchError};
use crate::{Weights, file};
use depthwise_layers::ir::Graph;
use std::io;
use std::path::{Path, PathBuf};

/// Why a file of some format could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// The file could not be read.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Neither content nor name are those of a known format.
    #[error("{path}: the format of this file is not known", path = path.display())]
    Unknown {
        /// The file.
        path: PathBuf,
    },
    /// Weights where a network is asked for.
    #[error("{path}: {format} files hold weights, but no network", path = path.display())]
    OnlyWeights {
        /// The file.
        path: PathBuf,
        /// Name of the format.
        format: &'static str,
    },
    /// A network where weights are asked for.
    #[error("{path}: {format} files hold a network, not bare weights", path = path.display())]
    NotWeights {
        /// The file.
        path: PathBuf,
        /// Name of the format.
        format: &'static str,
    },
    /// An ONNX file with a fault.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    /// A safetensors file with a fault.
    #[error(transparent)]
    Safetensors(#[from] SafetensorsError),
    /// A PyTorch checkpoint with a fault.
    #[error(transparent)]
    Torch(#[from] TorchError),
    /// A TFLite file with a fault, or that cannot be run.
    #[error(transparent)]
    Tflite(#[from] TfliteError),
    /// A Keras file with a fault, or that cannot be run.
    #[error(transparent)]
    Keras(#[from] KerasError),
}

/// Reads a network from a file of any format that holds one; content decides before the name.
///
/// # Errors
/// [`FormatError`], naming the file.
pub fn open(path: impl AsRef<Path>) -> Result<Graph, FormatError> {
    let path = path.as_ref();
    match detect(path)? {
        Format::Onnx => Ok(onnx::open(path)?),
        Format::Tflite => Ok(tflite::open(path)?),
        Format::Keras => Ok(keras::open(path)?),
        format @ Format::Safetensors => {
            let weights =
                || FormatError::OnlyWeights { path: path.to_owned(), format: format.name() };
            safetensors::open_graph(path)?.ok_or_else(weights)
        }
        format @ Format::Torch => {
            Err(FormatError::OnlyWeights { path: path.to_owned(), format: format.name() })
        }
    }
}

/// Reads weights from a file of any format that holds them; content decides before the name.
///
/// # Errors
/// [`FormatError`], naming the file.
pub fn open_weights(path: impl AsRef<Path>) -> Result<Weights, FormatError> {
    let path = path.as_ref();
    match detect(path)? {
        Format::Safetensors => Ok(safetensors::open(path)?),
        Format::Torch => Ok(torch::open(path)?),
        format @ (Format::Onnx | Format::Tflite | Format::Keras) => {
            Err(FormatError::NotWeights { path: path.to_owned(), format: format.name() })
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Format {
    Onnx,
    Safetensors,
    Torch,
    Tflite,
    Keras,
}

impl Format {
    fn name(self) -> &'static str {
        match self {
            Format::Onnx => "ONNX",
            Format::Safetensors => "safetensors",
            Format::Torch => "PyTorch",
            Format::Tflite => "TensorFlow Lite",
            Format::Keras => "Keras",
        }
    }

    fn of_extension(path: &Path) -> Option<Format> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        Some(match extension.as_str() {
            "onnx" => Format::Onnx,
            "safetensors" => Format::Safetensors,
            "pth" | "pt" => Format::Torch,
            "tflite" => Format::Tflite,
            "keras" | "h5" | "hdf5" => Format::Keras,
            _ => return None,
        })
    }

    /// By what the first bytes say beyond doubt.
    fn of_content(head: &[u8]) -> Option<Format> {
        let json = head.len() > 9 && head[8] == b'{' && head[9] == b'"';
        if head.get(4..8) == Some(b"TFL3") {
            Some(Format::Tflite)
        } else if head.starts_with(keras::HDF5_START) || is_keras_archive(head) {
            Some(Format::Keras)
        } else if head.starts_with(&torch::LEGACY_START) {
            Some(Format::Torch)
        } else if json {
            Some(Format::Safetensors)
        } else {
            None
        }
    }
}

/// Whether an archive starts with one of the parts of a Keras model.
fn is_keras_archive(head: &[u8]) -> bool {
    // The name of the first part stands behind the 30 bytes of its header.
    let name = head.get(30..).filter(|_| head.starts_with(b"PK\x03\x04")).unwrap_or_default();
    let parts = ["metadata.json", "config.json", "model.weights.h5"];
    parts.iter().any(|part| name.starts_with(part.as_bytes()))
}

fn detect(path: &Path) -> Result<Format, FormatError> {
    let head =
        file::head(path).map_err(|source| FormatError::Io { path: path.to_owned(), source })?;
    let format = Format::of_content(&head).or_else(|| Format::of_extension(path));
    // A model starts with the number of its format version: field 1, an integer.
    let format = format.or_else(|| head.starts_with(&[8]).then_some(Format::Onnx));
    format.ok_or_else(|| FormatError::Unknown { path: path.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(name: &str, content: &[u8]) -> FormatError {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        let error = open(&path).unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
        error
    }

    #[test]
    fn content_decides_before_the_name() {
        let tflite = b"\x1c\0\0\0TFL3";
        assert!(matches!(error("m.onnx", tflite), FormatError::Tflite(_)));
        let broken = b"\x02\0\0\0\0\0\0\0{\"a\"";
        assert!(matches!(error("m.bin", broken), FormatError::Safetensors(_)));
        let text = br#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#;
        let weights = [&(text.len() as u64).to_le_bytes(), &text[..], b"\x07"].concat();
        assert!(matches!(error("m.bin", &weights), FormatError::OnlyWeights { .. }));
        assert!(matches!(error("m.bin", b"\x08"), FormatError::Onnx(_)));
        assert!(matches!(error("m.onnx", b""), FormatError::Onnx(_)));
    }

    #[test]
    fn names_decide_where_content_does_not() {
        let archive = b"PK\x03\x04__________________________config.json";
        let cases = [
            ("m.keras", &b"PK\x03\x04"[..]),
            ("m.h5", b""),
            ("m.pth", archive),
            ("m", b"\x89HDF\r\n\x1a\n"),
        ];
        for (name, content) in cases {
            let error = error(name, content);
            assert!(matches!(error, FormatError::Keras(_)), "{error}");
        }
        assert!(matches!(error("m.tflite", b""), FormatError::Tflite(_)));
        assert!(matches!(error("m.pth", b"PK"), FormatError::OnlyWeights { .. }));
        assert!(matches!(error("m.xyz", b"hello"), FormatError::Unknown { .. }));
        assert!(matches!(open("no/such"), Err(FormatError::Io { .. })));
    }

    #[test]
    fn weights_of_any_format_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights.dat");
        let weights: Weights =
            [("w".to_owned(), depthwise_tensor::Tensor::scalar(1f32))].into_iter().collect();
        safetensors::save(&weights, &path).unwrap();
        assert_eq!(open_weights(&path).unwrap(), weights);
    }
}
