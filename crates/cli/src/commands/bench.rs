//! `depthwise bench`: how long a model takes, and where the time goes.

use crate::source::{EngineArgs, ModelSource, ShapeArg};
use crate::text::{self, outln};
use anyhow::{Result, ensure};
use comfy_table::Table;
use depthwise_engine::{Model, Profile, Session};
use serde::Serialize;
use std::time::{Duration, Instant};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Times come from this machine as it is now: close other programs, and compare minima.

Examples:
  depthwise bench efficientnet-lite0
  depthwise bench model.onnx --shape 1x3x320x320 --threads 1 --layers 20
  depthwise bench mobilenet-v2 --isa avx2 --json")]
pub(crate) struct Args {
    /// A model file, or the name of a network (then with random weights where none ship).
    model: String,
    /// Shape of each input in order, where the model leaves it open: 1x3x224x224.
    #[arg(long, value_name = "NxHxWxC")]
    shape: Vec<ShapeArg>,
    /// Timed runs.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    runs: u32,
    /// Runs before the timed ones.
    #[arg(long, default_value_t = 5)]
    warmup: u32,
    /// Slowest steps to list; 0 for none.
    #[arg(long, default_value_t = 15)]
    layers: usize,
    /// Print one JSON object instead of tables.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    engine: EngineArgs,
}

#[derive(Serialize)]
struct Report<'a> {
    model: &'a str,
    cpu: String,
    threads: usize,
    runs: u32,
    load_milliseconds: f64,
    milliseconds: Percentiles,
    gflops: f64,
    macs: u64,
    arena_bytes: usize,
    packed_bytes: usize,
    steps: Vec<Step<'a>>,
}

#[derive(Serialize)]
struct Step<'a> {
    node: &'a str,
    kind: &'a str,
    kernel: &'a str,
    shapes: String,
    milliseconds: f64,
    share: f64,
    gflops: f64,
}

#[derive(Clone, Copy, Serialize)]
struct Percentiles {
    min: f64,
    median: f64,
    p90: f64,
    p99: f64,
    max: f64,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let start = Instant::now();
    let model = ModelSource::find(&args.model)?.load(&args.engine)?;
    let mut session = open_session(&model, &args.shape)?;
    let load = start.elapsed();
    fill_inputs(&mut session)?;
    let times = time(&mut session, args.warmup, args.runs);
    let profile = session.profile(args.runs.clamp(1, 50) as usize);
    let report = report(args, &model, &session, &profile, load, &times);
    if args.json {
        outln!("{}", serde_json::to_string(&report)?);
    } else {
        print(&report, args.layers)?;
    }
    Ok(())
}

/// A session for the given shapes, or for the declared ones.
pub(crate) fn open_session(model: &Model, shapes: &[ShapeArg]) -> Result<Session> {
    if shapes.is_empty() {
        return Ok(model.session()?);
    }
    let (want, got) = (model.inputs().len(), shapes.len());
    ensure!(want == got, "the model has {want} inputs, but --shape was given {got} times");
    Ok(model.session_for(&shapes.iter().map(|s| s.0).collect::<Vec<_>>())?)
}

/// Inputs that are neither constant nor denormal.
fn fill_inputs(session: &mut Session) -> Result<()> {
    let inputs = session.plan().inputs().len();
    for i in 0..inputs {
        if let Ok(data) = session.input_mut::<f32>(i) {
            for (j, x) in data.iter_mut().enumerate() {
                *x = ((j * 7919) % 1009) as f32 / 504.5 - 1.0;
            }
        }
    }
    Ok(())
}

fn time(session: &mut Session, warmup: u32, runs: u32) -> Vec<Duration> {
    for _ in 0..warmup {
        session.run();
    }
    let mut times: Vec<Duration> = (0..runs)
        .map(|_| {
            let start = Instant::now();
            session.run();
            start.elapsed()
        })
        .collect();
    times.sort();
    times
}

/// Nearest-rank percentiles of sorted times, in milliseconds.
fn percentiles(sorted: &[Duration]) -> Percentiles {
    let at = |share: f64| {
        let rank = (share * sorted.len() as f64).ceil() as usize;
        sorted[rank.clamp(1, sorted.len()) - 1].as_secs_f64() * 1e3
    };
    Percentiles { min: at(0.0), median: at(0.5), p90: at(0.9), p99: at(0.99), max: at(1.0) }
}

fn report<'a>(
    args: &'a Args,
    model: &Model,
    session: &Session,
    profile: &'a Profile,
    load: Duration,
    times: &[Duration],
) -> Report<'a> {
    let total: Duration = profile.steps.iter().map(|s| s.min).sum();
    let steps = profile.steps.iter().map(|s| Step {
        node: &s.step.node,
        kind: s.step.kind,
        kernel: s.step.kernel,
        shapes: shapes(&s.step),
        milliseconds: s.min.as_secs_f64() * 1e3,
        share: s.min.as_secs_f64() / total.as_secs_f64().max(f64::MIN_POSITIVE),
        gflops: s.gflops(),
    });
    let milliseconds = percentiles(times);
    let macs = session.plan().macs();
    Report {
        model: &args.model,
        cpu: model.cpu().to_string(),
        threads: model.par().threads(),
        runs: args.runs,
        load_milliseconds: load.as_secs_f64() * 1e3,
        gflops: 2.0 * macs as f64 / milliseconds.min / 1e6,
        milliseconds,
        macs,
        arena_bytes: session.plan().arena_bytes(),
        packed_bytes: model.packed_bytes(),
        steps: steps.collect(),
    }
}

fn shapes(step: &depthwise_engine::StepInfo) -> String {
    let join = |s: &[depthwise_engine::Shape]| {
        s.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    format!("{} -> {}", join(&step.inputs), join(&step.outputs))
}

fn print(report: &Report<'_>, layers: usize) -> Result<()> {
    let p = report.milliseconds;
    outln!(
        "{} on {}, {} thread(s), {} runs",
        report.model,
        report.cpu,
        report.threads,
        report.runs
    );
    outln!(
        "  load {:.1} ms   min {:.3}   median {:.3}   p90 {:.3}   p99 {:.3}   max {:.3} ms",
        report.load_milliseconds,
        p.min,
        p.median,
        p.p90,
        p.p99,
        p.max
    );
    outln!(
        "  {} MAC, {:.1} GFLOP/s at best; activations {}, packed weights {}",
        text::count(report.macs),
        report.gflops,
        text::bytes(report.arena_bytes as u64),
        text::bytes(report.packed_bytes as u64),
    );
    if layers == 0 {
        return Ok(());
    }
    let mut order: Vec<&Step<'_>> = report.steps.iter().collect();
    order.sort_by(|a, b| b.milliseconds.total_cmp(&a.milliseconds));
    let mut table: Table = text::table(&["step", "kernel", "shapes", "ms", "%", "GFLOP/s"], 3);
    for step in order.iter().take(layers) {
        table.add_row([
            step.node.to_owned(),
            step.kernel.to_owned(),
            step.shapes.clone(),
            format!("{:.3}", step.milliseconds),
            format!("{:.1}", step.share * 100.0),
            if step.gflops > 0.0 { format!("{:.1}", step.gflops) } else { "-".into() },
        ]);
    }
    outln!("\nslowest {} of {} steps:\n{table}", layers.min(order.len()), order.len());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_rank() {
        let times: Vec<Duration> = (1..=100).map(Duration::from_millis).collect();
        let p = percentiles(&times);
        assert_eq!((p.min, p.median, p.p90, p.p99, p.max), (1.0, 50.0, 90.0, 99.0, 100.0));
        let one = percentiles(&times[..1]);
        assert_eq!((one.min, one.median, one.max), (1.0, 1.0, 1.0));
    }
}
