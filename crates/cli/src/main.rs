//! The `depthwise` binary: see `depthwise --help`.
#![forbid(unsafe_code)]

mod commands;
mod engine_args;
mod photo;
mod source;
mod text;
mod training;

use clap::{CommandFactory, Parser, Subcommand};
use std::io::Write as _;
use std::process::ExitCode;

const AFTER_HELP: &str = "\
Examples:
  depthwise classify photos/chelsea.png
  depthwise classify --top 3 --json holiday/ > labels.jsonl
  depthwise detect photos/astronaut.png -o faces.png
  depthwise segment photos/astronaut.png -o tinted.png
  depthwise inspect model.onnx
  depthwise bench mobilenet-v2 --threads 2
  depthwise compare --channels 256 --size 28 --plot saving.svg
  depthwise convert model.onnx model.tflite
  depthwise quantize model.onnx --calibrate photos/ -o model.int8.tflite
  depthwise finetune flowers/ -o flowers.safetensors

Exit codes:
  0  everything asked for was done
  1  a file could not be read, or a network could not run
  2  the command line was not understood

Environment:
  DEPTHWISE_ISA    no kernels better than this: scalar, neon, avx2, avx512";

/// Run depthwise-separable networks on this CPU.
#[derive(Debug, Parser)]
#[command(version, about, after_help = AFTER_HELP, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say what is on photos.
    Classify(commands::classify::Args),
    /// Find faces (or people) on photos.
    Detect(commands::detect::Args),
    /// Find the pixels of photos that show a person.
    Segment(commands::segment::Args),
    /// Find the points of faces or hands on photos.
    Landmarks(commands::landmarks::Args),
    /// Run a model on tensors of a file.
    Run(commands::run::Args),
    /// Show the layers of a model: shapes, parameters, arithmetic, kernels.
    Inspect(commands::inspect::Args),
    /// Time a model, as a whole and step by step.
    Bench(commands::bench::Args),
    /// Show what a depthwise separable convolution saves against a standard one.
    Compare(commands::compare::Args),
    /// Write a model in another format: ONNX, TensorFlow Lite, or the project's own.
    Convert(commands::convert::Args),
    /// Turn a network into one of 8-bit integers, calibrated on pictures.
    Quantize(commands::quantize::Args),
    /// Teach a network other classes, from pictures in folders.
    Finetune(Box<commands::finetune::Args>),
    /// Tell how good a model is on labelled pictures.
    Evaluate(commands::evaluate::Args),
    /// Write the page of a training run.
    Report(commands::report::Args),
    /// Print a completion script for a shell.
    Completions(CompletionArgs),
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  depthwise completions bash > ~/.local/share/bash-completion/completions/depthwise"
)]
struct CompletionArgs {
    /// The shell.
    shell: clap_complete::Shell,
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Classify(args) => commands::classify::run(&args),
        Command::Detect(args) => commands::detect::run(&args),
        Command::Segment(args) => commands::segment::run(&args),
        Command::Landmarks(args) => commands::landmarks::run(&args),
        Command::Run(args) => commands::run::run(&args),
        Command::Inspect(args) => commands::inspect::run(&args),
        Command::Bench(args) => commands::bench::run(&args),
        Command::Compare(args) => commands::compare::run(&args),
        Command::Convert(args) => commands::convert::run(&args),
        Command::Quantize(args) => commands::quantize::run(&args),
        Command::Finetune(args) => commands::finetune::run(&args),
        Command::Evaluate(args) => commands::evaluate::run(&args),
        Command::Report(args) => commands::report::run(&args),
        Command::Completions(args) => completions(args.shell),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if text::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", text::report(&error));
            ExitCode::FAILURE
        }
    }
}

fn completions(shell: clap_complete::Shell) -> anyhow::Result<()> {
    // By way of memory: written directly, a reader that goes away would be a panic.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "depthwise", &mut script);
    Ok(std::io::stdout().write_all(&script)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
