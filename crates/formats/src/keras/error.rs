//! Why a Keras file could not be read.

use depthwise_layers::ir::VerifyError;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why a Keras file could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KerasError {
    /// The file could not be read.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The bytes are neither a `.keras` archive nor a whole model in HDF5.
    #[error("not a Keras model: {0}")]
    Container(String),
    /// The HDF5 part is broken.
    #[error("the HDF5 part of the file is not well-formed: {0}")]
    Hdf5(String),
    /// The description of the network is broken.
    #[error("{place}: {reason}")]
    Config {
        /// The layer or model, in words.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// Layers that cannot be imported: all of them. Nothing was built.
    #[error("{} of the model's layers are not supported:{}", .0.len(), list(.0))]
    Unsupported(Vec<UnsupportedLayer>),
    /// Weights that are missing, or do not belong to their layer.
    #[error("weights of layer \"{layer}\": {reason}")]
    Weights {
        /// The layer.
        layer: String,
        /// What is wrong.
        reason: String,
    },
    /// A layer or an output reads a result that there is not.
    #[error("{reader} reads {result}, which there is not")]
    Undefined {
        /// The layer or the list of outputs.
        reader: String,
        /// The layer, and which result of which of its calls.
        result: String,
    },
    /// Layers that depend on their own results.
    #[error("layer \"{0}\" depends on its own result")]
    Cycle(String),
    /// Models in models that unfold to many times the size of the file.
    #[error("the models in this model unfold to more than {0} layers")]
    TooLarge(usize),
    /// The importer built a graph that breaks the rules of graphs.
    #[error("the imported graph is not well-formed: {0}")]
    Verify(#[from] VerifyError),
    /// An error in a named file.
    #[error("{path}: {source}", path = path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<KerasError>,
    },
}

/// A layer that cannot be imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsupportedLayer {
    /// Name of the layer, after those of the models it stands in.
    pub layer: String,
    /// Class of the layer.
    pub class: String,
    /// Why it cannot be imported.
    pub reason: String,
}

impl fmt::Display for UnsupportedLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "layer \"{}\" ({}): {}", self.layer, self.class, self.reason)
    }
}

fn list(layers: &[UnsupportedLayer]) -> String {
    layers.iter().map(|layer| format!("\n  {layer}")).collect()
}
