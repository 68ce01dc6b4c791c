//! Every kernel of a family on the layers of networks.

use super::roofline::{Roof, Work};
use super::{Settings, done, is_scalar, median_and_min, progress};
use anyhow::{Context, Result};
use depthwise_benches::case::Case;
use depthwise_benches::families::Family;
use depthwise_benches::shapes::{Layer, Net};
use depthwise_kernels::{KernelInfo, Par};
use serde::Serialize;

/// One kernel on one layer with one number of threads.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    pub family: &'static str,
    pub kernel: &'static str,
    pub level: &'static str,
    pub net: &'static str,
    pub layer: String,
    /// Layers of this shape in the network.
    pub count: usize,
    pub threads: usize,
    pub min_us: f64,
    pub median_us: f64,
    pub macs: u64,
    /// Bytes of operands, packed weights and results.
    pub bytes: usize,
    /// Those of the results.
    pub bytes_written: usize,
    pub gflops: f64,
    pub gigabytes_per_second: f64,
    pub percent_of_peak: Option<f64>,
    /// What the layer could take on this machine.
    pub roof: Option<Roof>,
    /// Time of the fastest scalar kernel on this layer, over this time.
    pub times_scalar: Option<f64>,
}

impl Row {
    /// What a run does at least.
    pub(super) fn work(&self) -> Work {
        let read = self.bytes - self.bytes_written;
        Work { macs: self.macs, read, written: self.bytes_written }
    }

    /// Time of the roof over this time, in percent.
    pub(super) fn percent_of_roof(&self) -> Option<f64> {
        self.roof.map(|roof| 100.0 * roof.us / self.min_us)
    }
}

/// Time that a batch of runs of one kernel should take, in microseconds: long for the clock, short
/// for the scheduler.
const BATCH_US: f64 = 400.0;

/// Measures all kernels of a family that the CPU supports on all layers that they compute.
pub(super) fn measure(family: &Family, nets: &[Net], settings: &Settings) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for net in nets {
        let layers = net.layers()?;
        for (i, layer) in layers.iter().enumerate() {
            progress(&format!("{}: {} {}/{}", family.name, net.name, i + 1, layers.len()));
            let on_layer = on_layer(family, net.name, layer, settings)
                .with_context(|| format!("{} on {}.{}", family.name, net.name, layer.layer))?;
            rows.extend(on_layer);
        }
    }
    done(&format!("{}: {} measurements", family.name, rows.len()));
    Ok(rows)
}

/// A kernel, ready to be timed.
struct Candidate<'a> {
    kernel: KernelInfo,
    par: &'a Par,
    case: Case,
    runs: u32,
    times: Vec<f64>,
}

fn on_layer(
    family: &Family,
    net: &'static str,
    layer: &Layer,
    settings: &Settings,
) -> Result<Vec<Row>> {
    let mut candidates = Vec::new();
    for (index, kernel) in family.kernels().into_iter().enumerate() {
        if !kernel.is_supported(&settings.cpu) {
            continue;
        }
        for par in &settings.pars {
            let Some(mut case) = family.case(index, layer, par.threads())? else { continue };
            case.run(par);
            let once = case.time(par, 1).as_secs_f64() * 1e6;
            let runs = (BATCH_US / once.max(0.1)).ceil().clamp(1.0, 4000.0) as u32;
            candidates.push(Candidate { kernel, par, case, runs, times: Vec::new() });
        }
    }
    // Kernels take turns, so that a slow spell of the machine meets them all.
    for _ in 0..settings.rounds {
        for c in &mut candidates {
            c.times.push(c.case.time(c.par, c.runs).as_secs_f64() * 1e6);
        }
    }
    let mut rows: Vec<Row> =
        candidates.into_iter().map(|c| row(family.name, net, layer, c)).collect();
    compare_with_scalar(&mut rows);
    Ok(rows)
}

fn row(family: &'static str, net: &'static str, layer: &Layer, mut c: Candidate<'_>) -> Row {
    let (median_us, min_us) = median_and_min(&mut c.times);
    Row {
        family,
        kernel: c.kernel.name,
        level: c.kernel.isa.name(),
        net,
        layer: layer.layer.clone(),
        count: layer.count,
        threads: c.par.threads(),
        min_us,
        median_us,
        macs: c.case.macs(),
        bytes: c.case.bytes(),
        bytes_written: c.case.bytes_written(),
        gflops: 2e-3 * c.case.macs() as f64 / min_us,
        gigabytes_per_second: 1e-3 * c.case.bytes() as f64 / min_us,
        percent_of_peak: None,
        roof: None,
        times_scalar: None,
    }
}

/// Fills in the ratios of rows that are about one layer.
fn compare_with_scalar(rows: &mut [Row]) {
    for i in 0..rows.len() {
        let scalar = rows
            .iter()
            .filter(|r| is_scalar(r.level) && r.threads == rows[i].threads)
            .map(|r| r.min_us)
            .min_by(f64::total_cmp);
        rows[i].times_scalar = scalar.map(|us| us / rows[i].min_us);
    }
}
