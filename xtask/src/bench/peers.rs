//! The same networks in other engines, side by side.
//!
//! Every engine is a process of its own that loads a model once; they take turns, one at a time.

mod setup;

use super::{Settings, done, median_and_min, progress};
use crate::workspace;
use anyhow::{Context, Result, bail, ensure};
use depthwise_benches::shapes::Net;
use serde::{Deserialize, Serialize};
pub(super) use setup::PeerArgs;
pub(crate) use setup::environment;
use setup::{Engine, Setup};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// An engine with one network on so many threads.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    pub net: &'static str,
    pub threads: usize,
    pub engine: String,
    pub load_ms: f64,
    pub first_ms: f64,
    /// Most memory that the process ever had, its language and libraries included.
    pub peak_mb: f64,
    pub samples: usize,
    pub min_ms: f64,
    pub median_ms: f64,
    pub gflops: f64,
    pub percent_of_peak: Option<f64>,
    /// Shortest time over that of the fastest other engine.
    pub ratio: Option<f64>,
    /// Likewise of medians.
    pub median_ratio: Option<f64>,
}

/// What a worker says of itself when it is ready.
#[derive(Debug, Deserialize)]
struct Ready {
    load_ms: f64,
    first_ms: f64,
    hwm_kb: f64,
}

/// A process that has loaded a model.
struct Worker {
    engine: Engine,
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    ready: Ready,
    /// Runs of one turn.
    runs: usize,
    times: Vec<f64>,
}

/// Time of one turn of an engine, in milliseconds.
const TURN_MS: f64 = 80.0;

/// Difference of outputs, relative to the largest, up to which engines agree: they sum in different
/// orders, through some fifty layers.
const AGREEMENT: f64 = 1e-3;

/// The same of networks in 8-bit integers, which two tools quantized on their own.
const QUANTIZED_AGREEMENT: f64 = 0.25;

/// Packages and versions of the other engines.
pub(super) const fn versions() -> &'static [&'static str] {
    &setup::PACKAGES
}

/// Makes what is needed, then measures every network on every number of threads.
pub(super) fn measure(args: &PeerArgs, nets: &[Net], settings: &Settings) -> Result<Vec<Row>> {
    let setup = Setup::new(args, nets)?;
    let mut rows = Vec::new();
    for net in nets {
        for threads in settings.pars.iter().map(|par| par.threads()) {
            rows.extend(measure_net(&setup, net, threads, settings.rounds)?);
        }
    }
    Ok(rows)
}

fn measure_net(setup: &Setup, net: &Net, threads: usize, rounds: usize) -> Result<Vec<Row>> {
    let mut workers = Vec::new();
    for engine in setup.engines(net.name) {
        progress(&format!("{}, {threads} thread(s): starting {}", net.name, engine.name));
        let name = engine.name.clone();
        workers
            .push(Worker::start(engine, threads).with_context(|| format!("{name}: {}", net.name))?);
    }
    // Quantized networks agree as far as their scales do.
    if setup.int8 {
        compare_outputs(net.name, &mut workers, QUANTIZED_AGREEMENT)?;
    } else {
        compare_outputs(net.name, &mut workers, AGREEMENT)?;
    }
    let count = workers.len();
    for round in 0..rounds {
        progress(&format!("{}, {threads} thread(s): round {}/{rounds}", net.name, round + 1));
        // Each round begins with another engine.
        for turn in 0..count {
            workers[(round + turn) % count].turn()?;
        }
    }
    done(&format!("{}, {threads} thread(s): {count} engines", net.name));
    let macs = macs(net)?;
    let mut rows: Vec<Row> = workers.into_iter().map(|w| w.row(net.name, threads, macs)).collect();
    let others = |of: fn(&Row) -> f64, rows: &[Row]| {
        rows.iter().filter(|r| !r.engine.starts_with("depthwise")).map(of).min_by(f64::total_cmp)
    };
    let (min, median) = (others(|r| r.min_ms, &rows), others(|r| r.median_ms, &rows));
    for row in &mut rows {
        row.ratio = min.map(|best| row.min_ms / best);
        row.median_ratio = median.map(|best| row.median_ms / best);
    }
    Ok(rows)
}

fn macs(net: &Net) -> Result<u64> {
    let graph = net.graph()?.with_context(|| format!("no network {}", net.name))?;
    let shapes: Option<Vec<_>> =
        graph.inputs().iter().map(|&id| graph.input_type(id)?.shape()).collect();
    let shapes = shapes.context("the input of a network is free")?;
    let types = depthwise_layers::ir::infer_types(&graph, &shapes)?;
    Ok(graph.cost(&types).macs)
}

/// Refuses to compare engines that compute different things.
fn compare_outputs(net: &str, workers: &mut [Worker], agreement: f64) -> Result<()> {
    let mut first: Option<(String, Vec<f64>)> = None;
    for worker in workers {
        let out: Vec<f64> = worker.ask("out")?;
        let Some((name, want)) = &first else {
            first = Some((worker.engine.name.clone(), out));
            continue;
        };
        let scale = want.iter().fold(f64::MIN_POSITIVE, |m, x| m.max(x.abs()));
        let worst = want.iter().zip(&out).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        ensure!(
            out.len() == want.len() && worst <= agreement * scale,
            "{net}: {name} answers {want:?}, {} {out:?}",
            worker.engine.name
        );
    }
    Ok(())
}

impl Worker {
    fn start(engine: Engine, threads: usize) -> Result<Worker> {
        let mut command = match threads {
            // One thread stays on one core, the last: the system likes the first.
            1 if setup::has_taskset() => {
                let mut command = Command::new("taskset");
                let last = std::thread::available_parallelism()?.get() - 1;
                command.arg("-c").arg(last.to_string()).arg(&engine.program);
                command
            }
            _ => Command::new(&engine.program),
        };
        command.args(&engine.args).arg(threads.to_string()).envs(engine.env.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().with_context(|| format!("{command:?}"))?;
        let pipes = (process.stdin.take(), process.stdout.take());
        let (Some(input), Some(output)) = pipes else { bail!("{command:?} has no pipes") };
        let mut output = BufReader::new(output);
        let mut line = String::new();
        // Libraries may greet first.
        while !line.starts_with("READY ") {
            line.clear();
            if output.read_line(&mut line)? == 0 {
                let result = process.wait_with_output()?;
                bail!("{command:?}: {}", String::from_utf8_lossy(&result.stderr).trim());
            }
        }
        let ready = serde_json::from_str(&line["READY ".len()..])?;
        let mut worker =
            Worker { engine, process, input, output, ready, runs: 1, times: Vec::new() };
        let times: Vec<f64> = worker.ask("run 1 2")?;
        let ms = 1e-6 * times.iter().copied().fold(f64::MAX, f64::min);
        worker.runs = (TURN_MS / ms).ceil().clamp(4.0, 20.0) as usize;
        Ok(worker)
    }

    fn ask<T: for<'a> Deserialize<'a>>(&mut self, line: &str) -> Result<T> {
        writeln!(self.input, "{line}")?;
        let mut answer = String::new();
        self.output.read_line(&mut answer)?;
        serde_json::from_str(&answer).with_context(|| {
            format!("{} answers \"{}\" to \"{line}\"", self.engine.name, answer.trim())
        })
    }

    fn turn(&mut self) -> Result<()> {
        // The first runs find caches that another engine has filled.
        let line = format!("run 2 {}", self.runs);
        let times: Vec<f64> = self.ask(&line)?;
        self.times.extend(times.into_iter().map(|ns| ns * 1e-6));
        Ok(())
    }

    fn row(mut self, net: &'static str, threads: usize, macs: u64) -> Row {
        let (median_ms, min_ms) = median_and_min(&mut self.times);
        Row {
            net,
            threads,
            engine: self.engine.name.clone(),
            load_ms: self.ready.load_ms,
            first_ms: self.ready.first_ms,
            peak_mb: self.ready.hwm_kb / 1024.0,
            samples: self.times.len(),
            min_ms,
            median_ms,
            gflops: 2e-6 * macs as f64 / min_ms,
            percent_of_peak: None,
            ratio: None,
            median_ratio: None,
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Any other line ends a worker; one that hangs is ended. It has nothing left to say.
        let _ = writeln!(self.input, "end");
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(super) fn print(rows: &[Row], dtype: &str) {
    let header = [
        "network",
        "threads",
        "engine",
        "min ms",
        "median",
        "GFLOP/s",
        "% of peak",
        "x best other",
        "median",
        "load ms",
        "first ms",
        "peak MB",
        "runs",
    ];
    let mut table = workspace::table(&header, &[1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    let ratio = |x: Option<f64>| x.map_or("-".into(), |x| format!("{x:.3}"));
    for row in rows {
        table.add_row([
            row.net.to_owned(),
            row.threads.to_string(),
            row.engine.clone(),
            format!("{:.3}", row.min_ms),
            format!("{:.3}", row.median_ms),
            format!("{:.1}", row.gflops),
            row.percent_of_peak.map_or("-".into(), |x| format!("{x:.1}")),
            ratio(row.ratio),
            ratio(row.median_ratio),
            format!("{:.1}", row.load_ms),
            format!("{:.1}", row.first_ms),
            format!("{:.0}", row.peak_mb),
            row.samples.to_string(),
        ]);
    }
    println!("\nEngines side by side, {dtype}, 224 x 224, batch 1:\n{}", table.trim_fmt());
}
