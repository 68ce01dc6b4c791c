//! `depthwise convert`: a model in another format.

use crate::source::{EngineArgs, ModelSource, NETWORKS, ShapeArg};
use crate::text::{self, outln};
use anyhow::{Context, Result, bail};
use depthwise_engine::{Model, Shape};
use depthwise_formats::{SaveFormat, SaveOptions, Saved};
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
#[command(after_help = format!("\
The name of the new file tells its format:
  .onnx         ONNX, operator set 20
  .tflite       TensorFlow Lite, float; all extents fixed
  .safetensors  the project's own form: weights and graph in one file, exact for every model

The model is optimised first (batch normalization folded, activations fused); --passes -all writes
it as it was read.

Networks by name: {NETWORKS}

Examples:
  depthwise convert model.onnx model.tflite
  depthwise convert model.tflite model.onnx --nchw
  depthwise convert model.onnx model.tflite --ends nhwc-of-nchw
  depthwise convert mobilenet-v3-small v3.tflite --half
  depthwise convert text.onnx text.tflite --input-shape 1x3x48x320"))]
pub(crate) struct Args {
    /// A model file, or the name of a network.
    model: String,
    /// The file to write.
    output: PathBuf,
    /// Store filters as f16: half the size, each rounded by up to 2^-11 of itself.
    #[arg(long)]
    half: bool,
    /// ONNX: let pictures enter and leave as NCHW.
    #[arg(long)]
    nchw: bool,
    /// Shape of each input in order, in place of extents that the model leaves open.
    #[arg(long, visible_alias = "shape", value_name = "NxHxWxC")]
    input_shape: Vec<ShapeArg>,
    /// Replace the output if it exists.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    engine: EngineArgs,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let output = &args.output;
    let Some(format) = SaveFormat::of_path(output) else {
        bail!("{}: name the file .onnx, .tflite or .safetensors", output.display());
    };
    if args.nchw && format != SaveFormat::Onnx {
        bail!("--nchw is for ONNX; {} files are NHWC", format.name());
    }
    if output.exists() && !args.force {
        bail!("{} exists; add --force to replace it", output.display());
    }
    let graph = ModelSource::find(&args.model)?.graph()?;
    let input_shapes: Vec<Shape> = args.input_shape.iter().map(|shape| shape.0).collect();
    let model = Model::from_graph(graph, args.engine.options())?;
    let options = SaveOptions { half: args.half, nchw: args.nchw, input_shapes };
    let saved = model
        .export(output, &options)
        .with_context(|| format!("{} cannot become {}", args.model, output.display()))?;
    print(args, &saved)
}

fn print(args: &Args, saved: &Saved) -> Result<()> {
    let operators: usize = saved.operators.values().sum();
    let (bytes, constants) = saved.constants;
    outln!(
        "{}: {}, {}, {operators} operators, {constants} constants of {}",
        args.output.display(),
        saved.format.name(),
        text::bytes(saved.bytes),
        text::bytes(bytes)
    );
    let mut table = text::table(&["operator", "count"], 1);
    let mut counts: Vec<_> = saved.operators.iter().collect();
    counts.sort_by_key(|&(name, &count)| (std::cmp::Reverse(count), name));
    for (name, count) in counts {
        table.add_row([name.clone(), count.to_string()]);
    }
    outln!("{table}");
    Ok(())
}
