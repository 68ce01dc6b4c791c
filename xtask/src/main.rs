//! Tasks of the workspace: `cargo xtask TASK`. One file per task.

#![forbid(unsafe_code)]

mod accuracy;
mod bench;
mod ci;
mod conformance;
mod counts;
mod hostile;
mod table;
mod tidy;
mod weights;
mod workspace;

use clap::Parser;
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Tasks of the workspace", disable_help_subcommand = true)]
enum Task {
    /// Real models against the answers of other runtimes
    Accuracy(accuracy::Args),
    /// Times of every kernel on the layers of real networks, and of whole networks
    Bench(bench::Args),
    /// Everything that must pass before a change lands
    Ci(ci::Args),
    /// The node cases of the ONNX package, against those that passed before
    Conformance(conformance::Args),
    /// Instructions that the hot kernels take, against those on record
    Counts(counts::Args),
    /// Real files cut short and changed, through readers and engine
    Hostile(hostile::Args),
    /// Write the layer shapes of the networks, and the list of kernels
    Table(table::Args),
    /// The rules of the house that a script can see
    Tidy(tidy::Args),
    /// Make the weights that ship with the project from their checkpoint
    Weights(weights::Args),
}

fn main() -> ExitCode {
    let result = match Task::parse() {
        Task::Accuracy(args) => accuracy::run(&args),
        Task::Bench(args) => bench::run(&args),
        Task::Ci(args) => ci::run(&args),
        Task::Conformance(args) => conformance::run(&args),
        Task::Counts(args) => counts::run(&args),
        Task::Hostile(args) => hostile::run(&args),
        Task::Table(args) => table::run(&args),
        Task::Tidy(args) => tidy::run(&args),
        Task::Weights(args) => weights::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
