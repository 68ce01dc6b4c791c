//! `cargo xtask bench`: times of every kernel on the layers of real networks, and of whole networks
//! at every ISA level.

mod kernels;
mod load;
mod nets;
mod peers;
mod report;
mod roofline;

use crate::workspace;
use anyhow::{Context, Result, bail, ensure};
use depthwise_benches::families::{FAMILIES, Family};
use depthwise_benches::shapes::{NETS, Net, OTHERS};
use depthwise_kernels::{Cpu, Isa, Par};
pub(crate) use peers::environment;
use roofline::Roofline;
use serde::Serialize;
use std::io::IsTerminal;
use std::path::PathBuf;

#[derive(clap::Args)]
#[command(after_help = "\
--family alone measures kernels, --net alone whole networks, both together the kernels on the
layers of those networks. --peers measures other engines on whole networks instead, side by side
with this one. Close other programs, and compare minima.

Examples:
  cargo xtask bench --quick
  cargo xtask bench --roofline
  cargo xtask bench --family dwconv_f32 --net mobilenet_v2 --layers
  cargo xtask bench --net mobilenet_v1 --threads 1 --json out.json --plot out.svg
  cargo xtask bench --load --rounds 20
  cargo xtask bench --peers --rounds 50 --json benches/record/f32.json
  cargo xtask bench --peers --int8 --rounds 50 --json benches/record/int8.json")]
pub(crate) struct Args {
    /// Only this network (may be repeated)
    #[arg(long, value_name = "NAME")]
    net: Vec<String>,
    /// Only this kernel family (may be repeated)
    #[arg(long, value_name = "NAME")]
    family: Vec<String>,
    /// Numbers of threads; one and all physical cores unless given
    #[arg(long, value_name = "N,N", value_delimiter = ',')]
    threads: Vec<usize>,
    /// Fewer rounds: a glance, not a measurement
    #[arg(long)]
    quick: bool,
    /// Turns of every engine or kernel; more where the machine has slow phases of seconds
    #[arg(long, value_name = "N", default_value_t = 15, conflicts_with = "quick",
          value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Also print every layer with its fastest kernel against its roof, the worst first
    #[arg(long)]
    layers: bool,
    /// Measure only what the machine can do: multiply-adds, caches, memory
    #[arg(long)]
    roofline: bool,
    /// Measure only how long the real float files take to load, here and in ONNX Runtime and
    /// LiteRT, which pip installs below target/
    #[arg(long)]
    load: bool,
    #[command(flatten)]
    peers: peers::PeerArgs,
    /// Write all figures to a JSON file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw the figures into an SVG file: networks, or kernels where none are measured
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
}

/// What is measured, and how often.
struct Settings {
    cpu: Cpu,
    /// One entry per number of threads.
    pars: Vec<Par>,
    rounds: usize,
}

#[derive(Serialize)]
struct Report {
    cpu: String,
    level: String,
    cores: usize,
    /// Element type of the networks.
    dtype: &'static str,
    #[serde(flatten)]
    roofline: Roofline,
    kernels: Vec<kernels::Row>,
    nets: Vec<nets::Row>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    load: Vec<load::Row>,
    /// Other engines, and what they are.
    peers: Vec<peers::Row>,
    #[serde(skip_serializing_if = "<[&str]>::is_empty")]
    versions: &'static [&'static str],
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if cfg!(debug_assertions) {
        return run_optimised();
    }
    let nets = pick("network", &args.net, &NETS.map(|n| (n.name, n)))?;
    let listed: Vec<(&str, &Family)> = FAMILIES.iter().map(|f| (f.name, f)).collect();
    let families = pick("family", &args.family, &listed)?;
    let settings = settings(args)?;
    let mut report = Report {
        cpu: cpu_name(),
        level: settings.cpu.to_string(),
        cores: Par::default_threads(),
        dtype: if args.peers.int8 { "int8" } else { "f32" },
        roofline: Roofline::default(),
        kernels: Vec::new(),
        nets: Vec::new(),
        load: Vec::new(),
        peers: Vec::new(),
        versions: &[],
    };
    println!("{}, level {}, {} cores", report.cpu, report.level, report.cores);
    report.roofline.update_peaks(&settings.cpu, &settings.pars);
    if args.roofline {
        report.roofline.measure_bandwidths(&settings.cpu, &settings.pars);
        return finish(report, args);
    }
    if args.load {
        let models = workspace::root().join("../shared/models");
        report.load = load::measure(&models, settings.rounds)?;
        return finish(report, args);
    }
    if args.peers.peers {
        report.peers = peers::measure(&args.peers, &nets, &settings)?;
        report.versions = peers::versions();
        report.roofline.update_peaks(&settings.cpu, &settings.pars);
        return finish(report, args);
    }
    if args.net.is_empty() || !args.family.is_empty() {
        // Layers of no network take part unless networks are named.
        let others: &[Net] = if args.net.is_empty() { &[OTHERS] } else { &[] };
        let sources = [&nets[..], others].concat();
        report.roofline.measure_bandwidths(&settings.cpu, &settings.pars);
        for family in families {
            report.roofline.update_peaks(&settings.cpu, &settings.pars);
            let rows = kernels::measure(family, &sources, &settings)?;
            report.kernels.extend(rows);
        }
    }
    if args.family.is_empty() {
        for net in &nets {
            report.roofline.update_peaks(&settings.cpu, &settings.pars);
            report.nets.extend(nets::measure(net, &settings)?);
        }
    }
    finish(report, args)
}

/// Sets the figures against the peak, and prints and writes them.
fn finish(mut report: Report, args: &Args) -> Result<()> {
    for row in &mut report.peers {
        row.percent_of_peak =
            report.roofline.percent_of_peak(&report.level, row.threads, row.gflops);
    }
    for row in &mut report.kernels {
        row.percent_of_peak = report.roofline.percent_of_peak(row.level, row.threads, row.gflops);
        row.roof = report.roofline.roof(row.level, row.threads, row.work());
    }
    for row in &mut report.nets {
        row.percent_of_peak = report.roofline.percent_of_peak(row.level, row.threads, row.gflops);
    }
    if report.load.is_empty() {
        report::print(&report, args.layers);
    } else {
        load::print(&report.load);
    }
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&report)?;
        std::fs::write(path, text).with_context(|| path.display().to_string())?;
        eprintln!("wrote {}", path.display());
    }
    if let Some(path) = &args.plot {
        report::plot(&report, path).with_context(|| path.display().to_string())?;
        eprintln!("wrote {}", path.display());
    }
    Ok(())
}

/// Shows how far a measurement is, on the one line that [`done`] ends; nothing in a log.
fn progress(text: &str) {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K{text}");
    }
}

/// Says that a measurement is done.
fn done(text: &str) {
    let start = if std::io::stderr().is_terminal() { "\r\x1b[K" } else { "" };
    eprintln!("{start}{text}");
}

/// Starts this command again in a build whose times mean something.
fn run_optimised() -> Result<()> {
    let mut command = workspace::cargo();
    command
        .args(["run", "--release", "--package", "xtask", "--"])
        .args(std::env::args_os().skip(1));
    // Relative paths are those of the caller.
    command.current_dir(std::env::current_dir()?);
    let status = command.status().context("cannot run cargo")?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok(())
}

/// The named entries, all of them where none is named.
fn pick<T: Copy>(what: &str, names: &[String], all: &[(&str, T)]) -> Result<Vec<T>> {
    for name in names {
        if all.iter().all(|(known, _)| known != name) {
            let known: Vec<&str> = all.iter().map(|(known, _)| *known).collect();
            bail!("no {what} {name}; there are {}", known.join(", "));
        }
    }
    let wanted = |name: &str| names.is_empty() || names.iter().any(|n| n == name);
    Ok(all.iter().filter(|(name, _)| wanted(name)).map(|&(_, entry)| entry).collect())
}

fn settings(args: &Args) -> Result<Settings> {
    let mut threads = args.threads.clone();
    if threads.is_empty() {
        threads = vec![1, Par::default_threads()];
        threads.dedup();
    }
    ensure!(threads.iter().all(|n| (1..=1024).contains(n)), "threads must be from 1 to 1024");
    let pars = threads.into_iter().map(Par::new).collect::<Result<_, _>>()?;
    let rounds = if args.quick { 3 } else { usize::from(args.rounds) };
    Ok(Settings { cpu: Cpu::from_env()?, pars, rounds })
}

/// What the system calls the CPU.
fn cpu_name() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find(|line| line.starts_with("model name"));
    let name = model.and_then(|line| line.split_once(':')).map(|(_, name)| name.trim().to_owned());
    name.unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

/// The middle of some times, and the shortest. Sorts them.
fn median_and_min(times: &mut [f64]) -> (f64, f64) {
    times.sort_by(f64::total_cmp);
    let median = times.get(times.len() / 2).copied().unwrap_or(0.0);
    (median, times.first().copied().unwrap_or(0.0))
}

fn is_scalar(level: &str) -> bool {
    level == Isa::Scalar.name()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_names_are_refused_with_the_known_ones() {
        let all = [("a", 1), ("b", 2)];
        assert_eq!(pick("net", &[], &all).unwrap(), [1, 2]);
        assert_eq!(pick("net", &["b".into()], &all).unwrap(), [2]);
        let error = pick("net", &["c".into()], &all).unwrap_err().to_string();
        assert_eq!(error, "no net c; there are a, b");
    }

    #[test]
    fn median_and_minimum_of_times() {
        assert_eq!(median_and_min(&mut [3.0, 1.0, 2.0]), (2.0, 1.0));
        assert_eq!(median_and_min(&mut []), (0.0, 0.0));
    }
}
