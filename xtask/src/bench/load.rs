//! Load times of the real float files, beside those of the engine of their format.
//!
//! Both load in turns, each in a process that has loaded the file before: from the name of the file
//! to where inputs can be given, weights packed.

use super::{done, progress};
use crate::accuracy::engines;
use crate::workspace;
use anyhow::{Context, Result, ensure};
use depthwise_engine::{Model, Options, Shape};
use depthwise_layers::ir::Dim;
use serde::Serialize;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

/// A file in two engines: the shortest times.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    pub file: String,
    pub bytes: u64,
    pub ms: f64,
    pub engine: &'static str,
    pub their_ms: f64,
}

/// Loads every float file of the folder `rounds` times.
pub(super) fn measure(models: &Path, rounds: usize) -> Result<Vec<Row>> {
    let python = engines()?;
    let mut rows = Vec::new();
    for (folder, engine) in [("onnx", "onnxruntime"), ("tflite", "litert")] {
        for path in files(&models.join(folder))? {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let Some(shapes) = shapes(&path)? else { continue };
            let mut peer =
                Peer::start(&python, engine, &path).with_context(|| format!("{engine}: {name}"))?;
            let (mut ms, mut their_ms) = (f64::MAX, f64::MAX);
            for round in 0..rounds {
                progress(&format!("{name}: round {}/{rounds}", round + 1));
                their_ms = their_ms.min(peer.load()?);
                ms = ms.min(ours(&path, &shapes)?);
            }
            done(&format!("{name}: {engine}"));
            let bytes = std::fs::metadata(&path)?.len();
            rows.push(Row { file: name, bytes, ms, engine, their_ms });
        }
    }
    ensure!(!rows.is_empty(), "no models in {}", models.display());
    Ok(rows)
}

/// The files of a folder in the order of their names.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.sort();
    Ok(files)
}

/// Shapes of the inputs, 48 for free extents but that of the pictures; `None` of a network in 8-bit
/// integers, or one that cannot be read.
fn shapes(path: &Path) -> Result<Option<Vec<Shape>>> {
    let Ok(graph) = depthwise_formats::open(path) else { return Ok(None) };
    let is_quantized =
        |id| graph.constant(id).is_some_and(|tensor| tensor.dtype().size_bytes() == 1);
    if graph.value_ids().any(is_quantized) {
        return Ok(None);
    }
    let extent = |(axis, dim): (usize, &Dim)| match dim {
        Dim::Fixed(n) => *n,
        Dim::Free(_) => {
            if axis == 0 {
                1
            } else {
                48
            }
        }
    };
    let shape = |&id| {
        let dims = graph.input_type(id).map(|ty| ty.dims.clone()).unwrap_or_default();
        Ok(Shape::new(&dims.iter().enumerate().map(extent).collect::<Vec<_>>())?)
    };
    graph.inputs().iter().map(shape).collect::<Result<_>>().map(Some)
}

/// Milliseconds of one load on one thread.
fn ours(path: &Path, shapes: &[Shape]) -> Result<f64> {
    let start = Instant::now();
    let model = Model::open_with(path, Options::with_threads(1))?;
    let session = model.session_for(shapes)?;
    let ms = 1e3 * start.elapsed().as_secs_f64();
    drop(session);
    Ok(ms)
}

/// A process of another engine.
struct Peer {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Peer {
    fn start(python: &Path, engine: &str, model: &Path) -> Result<Peer> {
        let script = workspace::root().join("xtask/peers/load.py");
        let mut process = Command::new(python)
            .arg(script)
            .arg(engine)
            .arg(model)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let input = process.stdin.take().context("no standard input")?;
        let output = BufReader::new(process.stdout.take().context("no standard output")?);
        let mut peer = Peer { process, input, output };
        while peer.line()? != "READY" {}
        Ok(peer)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        ensure!(self.output.read_line(&mut line)? > 0, "it ended");
        Ok(line.trim().to_owned())
    }

    fn load(&mut self) -> Result<f64> {
        writeln!(self.input, "load")?;
        let answer = self.line()?;
        answer.parse().with_context(|| format!("it answers {answer:?}"))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // One that has ended already has nothing left to say.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// One line per file.
pub(super) fn print(rows: &[Row]) {
    let mut table = workspace::table(&["file", "KB", "ms", "other", "ms", "ratio"], &[1, 2, 4, 5]);
    for row in rows {
        table.add_row([
            row.file.clone(),
            (row.bytes >> 10).to_string(),
            format!("{:.2}", row.ms),
            row.engine.to_owned(),
            format!("{:.2}", row.their_ms),
            format!("{:.2}", row.ms / row.their_ms),
        ]);
    }
    println!("{}", table.trim_fmt());
}
