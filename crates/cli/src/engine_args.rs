//! How a model is to run, on the command line.

use anyhow::Result;
use clap::ValueEnum;
use depthwise_engine::{DenseWeights, Ends, Fusion, Isa, Options, Precision};

/// How a model is to run.
#[derive(Debug, clap::Args)]
pub(crate) struct EngineArgs {
    /// Threads; 0 means one per physical core.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=1024))]
    threads: u16,
    /// Kernels no better than this: scalar, neon, avx2, avx512.
    #[arg(long, value_name = "LEVEL")]
    isa: Option<Isa>,
    /// Optimisations to switch off or on, for finding a bad one: `-fuse-residual,-all`.
    #[arg(long, value_name = "LIST", allow_hyphen_values = true, value_parser = parse_passes)]
    passes: Option<depthwise_engine::passes::PassOptions>,
    /// Whether to compute chains of convolutions a few rows at a time.
    #[arg(long, value_name = "WHERE", default_value = "auto")]
    fusion: FusionArg,
    /// How to keep the weights of dense layers: f16 halves what a classifier reads.
    #[arg(long, value_name = "TYPE", default_value = "f32")]
    dense_weights: DenseArg,
    /// How exact the products of convolutions and dense layers are; depthwise ones stay f32.
    #[arg(long, value_name = "TYPE", default_value = "f32")]
    precision: PrecisionArg,
    /// The order of axes in which pictures enter and leave.
    #[arg(long, value_name = "ORDER", default_value = "as-declared")]
    ends: EndsArg,
}

/// [`Ends`] on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum EndsArg {
    /// As the file declares them.
    AsDeclared,
    /// NHWC, of a file that declares NCHW.
    NhwcOfNchw,
    /// NCHW, of a file that declares NHWC.
    NchwOfNhwc,
}

/// [`DenseWeights`] on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum DenseArg {
    /// Single precision.
    F32,
    /// Rounded to half precision, computed in single.
    F16,
}

/// [`Precision`] on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum PrecisionArg {
    /// Single precision.
    F32,
    /// Factors rounded to bfloat16 where the CPU has instructions for them (AVX512_BF16), else f32.
    Bf16,
    /// As bf16, on any CPU and slowly: to see what it costs in accuracy.
    Bf16Emulated,
}

/// [`Fusion`] on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum FusionArg {
    /// Where what lies between the layers is larger than a cache.
    Auto,
    /// Nowhere: every layer is a step of its own, with a time of its own.
    Off,
    /// Wherever it can be done: least memory.
    Always,
}

fn parse_passes(list: &str) -> Result<depthwise_engine::passes::PassOptions, String> {
    let mut passes = depthwise_engine::passes::PassOptions::default();
    passes.apply(list).map_err(|e| e.to_string())?;
    Ok(passes)
}

impl EngineArgs {
    /// The threads of a run.
    pub(crate) fn par(&self) -> Result<depthwise_engine::Par> {
        Ok(depthwise_engine::Par::new(self.threads.into())?)
    }

    /// The options of the engine.
    pub(crate) fn options(&self) -> Options {
        Options {
            threads: self.threads.into(),
            isa: self.isa,
            passes: self.passes.clone().unwrap_or_default(),
            fusion: match self.fusion {
                FusionArg::Auto => Fusion::Auto,
                FusionArg::Off => Fusion::Off,
                FusionArg::Always => Fusion::Always,
            },
            dense_weights: match self.dense_weights {
                DenseArg::F32 => DenseWeights::F32,
                DenseArg::F16 => DenseWeights::F16,
            },
            precision: match self.precision {
                PrecisionArg::F32 => Precision::F32,
                PrecisionArg::Bf16 => Precision::Bf16,
                PrecisionArg::Bf16Emulated => Precision::Bf16Emulated,
            },
            ends: match self.ends {
                EndsArg::AsDeclared => Ends::AsDeclared,
                EndsArg::NhwcOfNchw => Ends::NhwcOfNchw,
                EndsArg::NchwOfNhwc => Ends::NchwOfNhwc,
            },
            ..Options::default()
        }
    }
}
