//! `depthwise run`: tensors in, tensors out.

use crate::source::{EngineArgs, ModelSource};
use crate::text::outln;
use anyhow::{Context, Result, bail};
use depthwise_engine::Tensor;
use depthwise_formats::{Weights, safetensors};
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The input file holds one tensor per model input, under the input's name (a prefix \"in/\" is
understood). The output file gets one tensor per model output, under its name, in the model's own
layout and element types.

Example:
  depthwise run model.onnx --in x.safetensors --out y.safetensors --isa avx2 --threads 1")]
pub(crate) struct Args {
    /// A model file, or the name of a network (see `depthwise inspect --help`).
    model: String,
    /// Tensors to read (safetensors).
    #[arg(long = "in", value_name = "FILE")]
    input: PathBuf,
    /// Where to write the outputs (safetensors).
    #[arg(long = "out", value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    engine: EngineArgs,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let model = ModelSource::find(&args.model)?.load(&args.engine)?;
    let file = safetensors::open(&args.input)?;
    let inputs = model
        .inputs()
        .map(|(name, _)| pick(&file, name).with_context(|| args.input.display().to_string()))
        .collect::<Result<Vec<Tensor>>>()?;
    let shapes: Vec<_> = inputs.iter().map(|t| *t.shape()).collect();
    let outputs = model.session_for(&shapes)?.run_tensors(&inputs)?;
    let named: Weights = model.outputs().map(str::to_owned).zip(outputs).collect();
    for (name, tensor) in named.iter() {
        outln!("{name}: {}[{}]", tensor.dtype(), tensor.shape());
    }
    safetensors::save(&named, &args.output)?;
    Ok(())
}

/// The tensor for an input: under its name, under `in/` and its name, or the only one there is.
fn pick(file: &Weights, name: &str) -> Result<Tensor> {
    if let Some(t) = file.get(name).or_else(|| file.get(&format!("in/{name}"))) {
        return Ok(t.clone());
    }
    let names: Vec<&str> = file.tensors.keys().map(String::as_str).collect();
    match file.tensors.values().next() {
        Some(only) if file.tensors.len() == 1 => Ok(only.clone()),
        _ => bail!("no tensor \"{name}\" for the model's input; the file has {}", names.join(", ")),
    }
}
