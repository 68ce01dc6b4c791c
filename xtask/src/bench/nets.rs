//! Whole networks at every level.

use super::{Settings, done, is_scalar, median_and_min, progress};
use anyhow::{Context, Result};
use depthwise_benches::case::values;
use depthwise_benches::shapes::Net;
use depthwise_engine::{Model, Options, Session};
use serde::Serialize;
use std::time::Instant;

/// A network at one level with one number of threads.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    pub net: &'static str,
    pub level: &'static str,
    pub threads: usize,
    pub min_ms: f64,
    pub median_ms: f64,
    pub macs: u64,
    pub gflops: f64,
    pub percent_of_peak: Option<f64>,
    /// Time at the scalar level with as many threads, over this time.
    pub times_scalar: Option<f64>,
}

/// Time of one turn of a network, in milliseconds.
const TURN_MS: f64 = 40.0;

/// A network, ready to be timed.
struct Candidate {
    level: &'static str,
    threads: usize,
    session: Session,
    runs: usize,
    times: Vec<f64>,
}

/// Measures a network of made-up weights.
pub(super) fn measure(net: &Net, settings: &Settings) -> Result<Vec<Row>> {
    progress(&format!("{}: loading", net.name));
    let graph = net.graph()?.with_context(|| format!("no network {}", net.name))?;
    let mut candidates = Vec::new();
    for cpu in settings.cpu.levels() {
        for par in &settings.pars {
            let options =
                Options { isa: Some(cpu.isa()), par: Some(par.clone()), ..Options::default() };
            let mut session = Model::from_graph(graph.clone(), options)?.session()?;
            let input = session.input_mut::<f32>(0)?;
            input.copy_from_slice(&values(input.len()));
            session.run();
            let runs = (TURN_MS / time(&mut session)).ceil().clamp(1.0, 20.0) as usize;
            let (level, threads) = (cpu.isa().name(), par.threads());
            candidates.push(Candidate { level, threads, session, runs, times: Vec::new() });
        }
    }
    for round in 0..settings.rounds {
        progress(&format!("{}: round {}/{}", net.name, round + 1, settings.rounds));
        for c in &mut candidates {
            // The first run finds caches that another level has filled.
            c.session.run();
            for _ in 0..c.runs {
                c.times.push(time(&mut c.session));
            }
        }
    }
    done(&format!("{}: {} measurements", net.name, candidates.len()));
    let mut rows: Vec<Row> = candidates.into_iter().map(|c| row(net.name, c)).collect();
    for i in 0..rows.len() {
        let same = |r: &&Row| is_scalar(r.level) && r.threads == rows[i].threads;
        rows[i].times_scalar = rows.iter().find(same).map(|r| r.min_ms / rows[i].min_ms);
    }
    Ok(rows)
}

/// Time of one run in milliseconds.
fn time(session: &mut Session) -> f64 {
    let start = Instant::now();
    session.run();
    start.elapsed().as_secs_f64() * 1e3
}

fn row(net: &'static str, mut c: Candidate) -> Row {
    let (median_ms, min_ms) = median_and_min(&mut c.times);
    let macs = c.session.plan().macs();
    Row {
        net,
        level: c.level,
        threads: c.threads,
        min_ms,
        median_ms,
        macs,
        gflops: 2e-6 * macs as f64 / min_ms,
        percent_of_peak: None,
        times_scalar: None,
    }
}
