//! How a model is to run.

use crate::passes::PassOptions;
use depthwise_kernels::isa::Extension;
use depthwise_kernels::{Cpu, Isa, Par};

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
    /// How exact products are.
    pub precision: Precision,
    /// The order of axes in which pictures enter and leave.
    pub ends: Ends,
    /// What bytes stand for, where pictures enter as bytes.
    pub byte_pictures: Option<BytePictures>,
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

/// Pictures that enter as bytes: every `f32` input of four dimensions with as many channels as there
/// are factors becomes `u8`, and channel `c` of it stands for `scale[c] * x + shift[c]`. Channels are
/// the last axis of that extent. Inputs that the file declares as bytes, and states, stay as they are.
///
/// A first convolution with few channels converts the bytes as it reads them, so that the picture is
/// never in memory as numbers.
///
/// ```no_run
/// # use depthwise_engine::{BytePictures, Ends, Model, Options};
/// let options = Options {
///     byte_pictures: Some(BytePictures::normalized(&[0.485, 0.456, 0.406], &[0.229, 0.224, 0.225])),
///     ends: Ends::NhwcOfNchw,
///     ..Options::default()
/// };
/// let mut session = Model::open_with("mobilenet_v2.onnx", options)?.session()?;
/// let rgb = vec![0u8; 224 * 224 * 3];
/// session.input_mut::<u8>(0)?.copy_from_slice(&rgb);
/// session.run();
/// # Ok::<(), depthwise_engine::EngineError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct BytePictures {
    /// One factor per channel.
    pub scale: Vec<f32>,
    /// One offset per channel.
    pub shift: Vec<f32>,
}

impl BytePictures {
    /// `(x / 255 - mean[c]) / deviation[c]`, as torchvision and timm write it; channels are as many as
    /// both lists have.
    pub fn normalized(mean: &[f32], deviation: &[f32]) -> BytePictures {
        let each = |f: &dyn Fn(f64, f64) -> f64| {
            let pairs = mean.iter().zip(deviation);
            pairs.map(|(&m, &d)| f(m.into(), d.into()) as f32).collect()
        };
        BytePictures { scale: each(&|_, d| 1.0 / (255.0 * d)), shift: each(&|m, d| -m / d) }
    }
}

/// Whether chains of convolutions (1x1, depthwise, 1x1), of `f32` or of bytes, are computed a few rows
/// at a time through all of them, so that what lies between is never whole in memory: results are the
/// same to the bit. And whether a convolution takes over what stands beside it: the conversion of
/// bytes, the gate of a squeeze-excite block (as factors of its weights, so that results are rounded
/// elsewhere), a global mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fusion {
    /// Where it is less work, by the sizes of what lies between.
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

/// How exact the products of pointwise convolutions, dense layers and wider convolutions are. All else is
/// single precision: every tensor, the sums, biases, depthwise convolutions, activations; and the
/// convolutions of fewer than 8 channels and of groups.
///
/// A layer with these products is a step of its own, where others may be part of a chain ([`Fusion`]).
/// [`DenseWeights::F16`] comes first for dense layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// Single precision.
    #[default]
    F32,
    /// Factors may be rounded to bfloat16 (8 significant bits), where the CPU multiplies those faster: with
    /// AVX512_BF16. Elsewhere as [`Precision::F32`].
    Bf16,
    /// As [`Precision::Bf16`], and on CPUs without the instructions the same products, to the bit,
    /// computed slowly: to see what they do to the results of a network.
    Bf16Emulated,
}

/// What plans of one model have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choices {
    pub threads: usize,
    pub fusion: Fusion,
    pub dense_weights: DenseWeights,
    pub precision: Precision,
}

impl Choices {
    /// Whether products of bfloat16 are allowed and this CPU is to compute them.
    pub(crate) fn rounds_to_bf16(&self, cpu: &Cpu) -> bool {
        match self.precision {
            Precision::F32 => false,
            Precision::Bf16 => cpu.has(Extension::Avx512Bf16),
            Precision::Bf16Emulated => true,
        }
    }
}

impl Options {
    /// Plans kept unless told otherwise.
    pub const DEFAULT_PLANS: usize = 4;

    /// The default with this number of threads.
    pub fn with_threads(threads: usize) -> Options {
        Options { threads, ..Options::default() }
    }
}
