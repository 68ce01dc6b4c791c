//! How a model is to run.

use crate::passes::PassOptions;
use depthwise_kernels::{Isa, Par};

/// How a model is to run. The default: the best kernels of this CPU (or of `DEPTHWISE_ISA`), one
/// thread per physical core, all passes.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Threads of a run, the caller's included; 0 means one per physical core. Ignored where
    /// [`Options::par`] is given.
    pub threads: usize,
    /// Threads to share with other models.
    pub par: Option<Par>,
    /// Kernels no better than this level; `None` means what the CPU has.
    pub isa: Option<Isa>,
    /// Which passes run.
    pub passes: PassOptions,
    /// Whether chains of convolutions are computed band by band.
    pub fusion: Fusion,
    /// How the weights of dense layers are kept.
    pub dense_weights: DenseWeights,
    /// The order of axes in which pictures enter and leave.
    pub ends: Ends,
    /// Plans kept for input shapes used before; 0 means [`Options::DEFAULT_PLANS`].
    pub cached_plans: usize,
}

/// The order of axes in which pictures enter and leave a model: that of the file, or the other. A
/// picture is any input or output of four dimensions; others, and states, stay as they are.
///
/// Between its ends a network is NHWC whatever the file says. So turning the ends of an NCHW file
/// takes transposes away, and turning those of an NHWC file adds them.
///
/// ```no_run
/// # use depthwise_engine::{Ends, Model, Options};
/// let options = Options { ends: Ends::NhwcOfNchw, ..Options::default() };
/// let model = Model::open_with("detector.onnx", options)?;
/// // Declared by the file as 1x3x240x320.
/// assert_eq!(model.inputs().next().unwrap().1.to_string(), "f32[1x240x320x3]");
/// # Ok::<(), depthwise_engine::EngineError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ends {
    /// As the file declares them: NCHW of ONNX, NHWC of TensorFlow Lite and Keras.
    #[default]
    AsDeclared,
    /// NHWC, of a file that declares NCHW.
    NhwcOfNchw,
    /// NCHW, of a file that declares NHWC.
    NchwOfNhwc,
}

impl Ends {
    /// For each axis of an end as the caller has it, that of the file; `None` where both are one.
    pub(crate) fn order(self) -> Option<[usize; 4]> {
        match self {
            Ends::AsDeclared => None,
            Ends::NhwcOfNchw => Some([0, 2, 3, 1]),
            Ends::NchwOfNhwc => Some([0, 3, 1, 2]),
        }
    }
}

/// Whether chains of convolutions (1x1, depthwise, 1x1), of `f32` or of bytes, are computed a few rows
/// at a time through all of them, so that what lies between is never whole in memory. Results are the
/// same to the bit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fusion {
    /// Where the size of what lies between makes it worth while.
    #[default]
    Auto,
    /// Nowhere: every layer is a step of its own, with a time of its own.
    Off,
    /// Wherever the kernels can: least memory.
    Always,
}

/// How the weights of dense layers are kept. A dense layer of one picture takes as long as reading
/// its weights does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DenseWeights {
    /// In single precision, as all other weights.
    #[default]
    F32,
    /// Rounded to half precision, computed in single: half the memory traffic, and the same result
    /// where the file holds half precision anyway. A layer with a weight beyond its range (65504)
    /// stays in single precision.
    F16,
}

/// What plans of one model have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choices {
    pub threads: usize,
    pub fusion: Fusion,
    pub dense_weights: DenseWeights,
}

impl Options {
    /// Plans kept unless told otherwise.
    pub const DEFAULT_PLANS: usize = 4;

    /// The default with this number of threads.
    pub fn with_threads(threads: usize) -> Options {
        Options { threads, ..Options::default() }
    }
}
