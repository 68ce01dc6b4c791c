//! `cargo xtask hostile`: one real file of every format, cut short and changed.
//!
//! Every length of the file, then thousands of copies with one byte changed, half of them anywhere
//! and half near an end, where formats keep what is not weights. Each must give an error or a sound
//! network (or weights); a network small enough to run here must run, or refuse with an error.
//! Panics are findings; time and memory are printed, and bounded.

use crate::workspace;
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use depthwise_engine::{Graph, Model, Options, Shape, Tensor};
use depthwise_formats::{keras, onnx, safetensors, tflite, torch};
use depthwise_layers::ir::{Dim, infer_types};
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// A file of each format, in the folder of models.
const FILES: [(&str, &str); 5] = [
    ("onnx", "onnx/ppocr_mobile_v2_cls.onnx"),
    ("tflite", "tflite/mediapipe_face_detection_short_range.tflite"),
    ("keras", "keras/vww_96.h5"),
    ("torch", "weights/mobilenet_v2-b0353104.pth"),
    ("safetensors", "golden/mediapipe_face_detection_short_range.safetensors"),
];

/// Where most of what is not weights lies: this near to an end.
const NEAR: usize = 1 << 16;
/// A network whose values need more is not run: a changed extent may ask for any amount.
const MOST_BYTES: usize = 64 << 20;
/// Most memory over that of the file as it is, in multiples of its size and beyond that. A network is
/// run at [`MOST_BYTES`], and its weights are packed.
const FACTOR: usize = 8;
const BEYOND: usize = 4 * MOST_BYTES;
/// Longest time for one file, in milliseconds. That of a machine with other work, in a build for
/// tests.
const MOST_MS: f64 = 20_000.0;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The folder with onnx, tflite, keras, weights and golden
    #[arg(long, value_name = "DIR")]
    models: Option<PathBuf>,
    /// Only this format (may be repeated)
    #[arg(long, value_name = "NAME")]
    format: Vec<String>,
    /// Copies with one byte changed
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    mutations: u64,
    /// Lengths between the first and the last 64 KiB, of which every length is tried, at most
    #[arg(long, value_name = "N", default_value_t = 1 << 20)]
    lengths: usize,
}

/// What became of the files.
#[derive(Default)]
struct Counts {
    refused: usize,
    read: usize,
    run: usize,
    panics: usize,
    slowest_ms: f64,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let models = match &args.models {
        Some(models) => models.clone(),
        None => workspace::root().join("../shared/models"),
    };
    let header =
        ["format", "files", "bytes", "count", "refused", "read", "run", "panics", "ms", "MB"];
    let mut table = workspace::table(&header, &[2, 3, 4, 5, 6, 7, 8, 9]);
    let mut failures = Vec::new();
    for (format, file) in FILES {
        if !args.format.is_empty() && !args.format.iter().any(|name| name == format) {
            continue;
        }
        let path = models.join(file);
        let bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
        let bytes = Bytes::from(bytes);
        let (whole, before) = (try_file(format, &bytes), peak_bytes()?);
        ensure!(matches!(whole, Outcome::Read | Outcome::Run), "{}", path.display());
        for (what, counts) in [
            ("cut short", cut_short(format, &bytes, args.lengths)),
            ("one byte changed", changed(format, &bytes, args.mutations)),
        ] {
            let grown = peak_bytes()?.saturating_sub(before);
            let most = FACTOR * bytes.len() + BEYOND;
            if counts.panics > 0 || counts.slowest_ms > MOST_MS || grown > most {
                failures.push(format!("{format}, {what}"));
            }
            let total = counts.refused + counts.read + counts.run + counts.panics;
            table.add_row([
                format.to_owned(),
                what.to_owned(),
                bytes.len().to_string(),
                total.to_string(),
                counts.refused.to_string(),
                counts.read.to_string(),
                counts.run.to_string(),
                counts.panics.to_string(),
                format!("{:.0}", counts.slowest_ms),
                (grown >> 20).to_string(),
            ]);
        }
    }
    println!("{}\n", table.trim_fmt());
    println!("ms: of the slowest file; MB: most memory over that of the file as it is");
    ensure!(failures.is_empty(), "findings: {}", failures.join("; "));
    Ok(())
}

/// Every length near an end, and `between` of the others at most.
fn cut_short(format: &str, bytes: &Bytes, between: usize) -> Counts {
    let len = bytes.len();
    let step = len.saturating_sub(2 * NEAR).div_ceil(between.max(1)).max(1);
    let is_tried = |&at: &usize| at < NEAR || at + NEAR >= len || at.is_multiple_of(step);
    let mut counts = Counts::default();
    for at in (0..len).filter(is_tried) {
        counts.add(&format!("{format} cut to {at}"), || try_file(format, &bytes.slice(..at)));
    }
    counts
}

fn changed(format: &str, bytes: &Bytes, count: u64) -> Counts {
    let mut counts = Counts::default();
    let mut copy = bytes.to_vec();
    for n in 0..count {
        let random = scramble(n);
        let at = (random >> 16) as usize
            % match n % 4 {
                0 | 1 => copy.len(),
                _ => copy.len().min(NEAR),
            };
        let at = if n % 4 == 3 { copy.len() - 1 - at } else { at };
        let old = copy[at];
        // Never the byte that is there.
        copy[at] = old.wrapping_add(1 + (random % 255) as u8);
        let what = format!("{format} with {} at {at}", copy[at]);
        let file = Bytes::copy_from_slice(&copy);
        counts.add(&what, || try_file(format, &file));
        copy[at] = old;
    }
    counts
}

/// A number in no order (the finalizer of SplitMix64).
fn scramble(n: u64) -> u64 {
    let mut z = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Counts {
    fn add(&mut self, what: &str, of: impl FnOnce() -> Outcome) {
        let start = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(of));
        self.slowest_ms = self.slowest_ms.max(1e3 * start.elapsed().as_secs_f64());
        match outcome {
            Ok(Outcome::Refused) => self.refused += 1,
            Ok(Outcome::Read) => self.read += 1,
            Ok(Outcome::Run) => self.run += 1,
            Err(_) => {
                println!("panic: {what}");
                self.panics += 1;
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Outcome {
    /// It is no model.
    Refused,
    /// It is one, or has weights.
    Read,
    /// It is one, and was run.
    Run,
}

fn try_file(format: &str, bytes: &Bytes) -> Outcome {
    let bytes = bytes.clone();
    let graph = match format {
        "onnx" => onnx::read(bytes, None).ok(),
        "tflite" => {
            let _ = tflite::metadata(&bytes);
            tflite::read(bytes).ok()
        }
        "keras" => keras::read(bytes).ok(),
        "torch" => return weights(torch::read(bytes)),
        _ => return weights(safetensors::read(bytes)),
    };
    match graph {
        None => Outcome::Refused,
        Some(graph) => try_graph(graph),
    }
}

fn weights<T, E: Display>(read: Result<T, E>) -> Outcome {
    match read {
        Ok(_) => Outcome::Read,
        Err(error) => {
            // A message is part of the answer.
            let _ = error.to_string();
            Outcome::Refused
        }
    }
}

/// Plans and runs a network that is small enough.
///
/// # Panics
/// Where a reader gives a graph that is not sound.
fn try_graph(graph: Graph) -> Outcome {
    graph.verify().expect("readers give sound graphs");
    let Some(inputs) = inputs(&graph) else { return Outcome::Read };
    let shapes: Vec<Shape> = inputs.iter().map(|tensor| *tensor.shape()).collect();
    let Ok(types) = infer_types(&graph, &shapes) else { return Outcome::Read };
    let results = graph.nodes().iter().flat_map(|node| &node.outputs);
    let bytes = results.map(|&id| types.of(id).bytes());
    if bytes.fold(0, usize::saturating_add) > MOST_BYTES {
        return Outcome::Read;
    }
    let outcome = Model::from_graph(graph, Options::with_threads(1)).and_then(|model| {
        let shapes: Vec<Shape> = inputs.iter().map(|tensor| *tensor.shape()).collect();
        model.session_for(&shapes)?.run_tensors(&inputs)
    });
    match outcome {
        Ok(_) => Outcome::Run,
        Err(error) => {
            let _ = error.to_string();
            Outcome::Read
        }
    }
}

/// Zeros for every input: one picture, 48 of any other free extent.
fn inputs(graph: &Graph) -> Option<Vec<Tensor>> {
    let input = |&id| {
        let ty = graph.input_type(id)?;
        let extent = |(axis, dim): (usize, &Dim)| match dim {
            Dim::Fixed(n) => *n,
            Dim::Free(_) if axis == 0 => 1,
            Dim::Free(_) => 48,
        };
        let dims: Vec<usize> = ty.dims.iter().enumerate().map(extent).collect();
        let shape = Shape::new(&dims).ok()?;
        if shape.elements().saturating_mul(ty.dtype.size_bytes()) > MOST_BYTES {
            return None;
        }
        Tensor::zeros(ty.dtype, shape).ok()
    };
    graph.inputs().iter().map(input).collect()
}

/// Most memory that this process ever had.
fn peak_bytes() -> Result<usize> {
    let path = Path::new("/proc/self/status");
    let status = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<usize>().ok());
    Ok(kib.context("the system does not tell how much memory a process had")? << 10)
}
