//! `cargo xtask conformance`: the node cases of the ONNX package through reader and engine.
//!
//! `xtask/conformance/cases.csv` has every case with its result. A case that passed must go on
//! passing; `--update` writes the list anew.
//!
//! A case passes in one of three ways, which are tried in this order: `run`, as it is; `fixed`, with
//! all inputs but the first as constants, where the engine must know them when it plans; `folded`,
//! with all of them, where the result is computed before anything runs.

use crate::bench::environment;
use crate::workspace;
use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use depthwise_engine::{DType, Model, Options, Shape, Tensor};
use depthwise_formats::onnx;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The package that has the cases.
const PACKAGES: [&str; 2] = ["onnx==1.23.2", "numpy==2.4.6"];
/// All cases and their results.
const LIST: &str = "xtask/conformance/cases.csv";
/// Cases whose values this program does not aim at, by the end of their names, and why.
const OTHER_VALUES: [(&str, &str); 4] = [
    ("downsample_scales_cubic_align_corners", ALIGNED),
    ("downsample_scales_linear_align_corners", ALIGNED),
    ("bf16_expanded", ROUNDED),
    ("fp16_expanded", ROUNDED),
];
const ALIGNED: &str = "corners are aligned by the whole size, as ONNX Runtime does";
const ROUNDED: &str = "each node rounds to 16 bits; the case rounds the result alone";
#[derive(Default, clap::Args)]
pub(crate) struct Args {
    /// Only cases whose name contains this, with what is wrong with each
    #[arg(long, value_name = "TEXT")]
    case: Option<String>,
    /// Write the list of results anew
    #[arg(long, conflicts_with = "case")]
    update: bool,
    /// A Python that has the packages onnx and numpy already
    #[arg(long, value_name = "FILE")]
    python: Option<PathBuf>,
}

#[derive(serde::Deserialize)]
struct Case {
    name: String,
    rtol: f64,
    atol: f64,
    /// Why it could not be written out.
    reason: Option<String>,
    #[serde(default)]
    inputs: Vec<Kind>,
    #[serde(default)]
    outputs: Vec<Kind>,
}

#[derive(serde::Deserialize)]
struct Kind {
    dtype: String,
    dims: Vec<usize>,
}

/// A line of the list.
#[derive(Clone, Debug, PartialEq, serde::Deserialize, serde::Serialize)]
struct Line {
    case: String,
    /// `run`, `fixed`, `folded`, `skip` or `wrong`.
    result: String,
    /// Why it does not pass.
    reason: String,
}

impl Line {
    fn passes(&self) -> bool {
        matches!(self.result.as_str(), "run" | "fixed" | "folded")
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let folder = workspace::target().join("conformance");
    let cases = cases(&folder, args.python.as_deref())?;
    let wanted = |case: &&Case| args.case.as_ref().is_none_or(|text| case.name.contains(text));
    let lines: Vec<Line> = cases.iter().filter(wanted).map(|case| judge(&folder, case)).collect();
    if args.case.is_some() {
        let mut table = workspace::table(&["case", "result", "reason"], &[]);
        for line in &lines {
            table.add_row([&line.case, &line.result, &line.reason]);
        }
        println!("{}", table.trim_fmt());
        return Ok(());
    }
    summary(&lines);
    let path = workspace::root().join(LIST);
    if args.update {
        let mut writer = csv::Writer::from_path(&path).with_context(|| LIST)?;
        for line in &lines {
            writer.serialize(line)?;
        }
        writer.flush()?;
        println!("conformance: wrote {LIST}");
        return Ok(());
    }
    guard(&path, &lines)
}

/// How many cases pass in which way, and the commonest reasons of the others.
fn summary(lines: &[Line]) {
    let mut counts = BTreeMap::<&str, usize>::new();
    let mut reasons = BTreeMap::<&str, usize>::new();
    for line in lines {
        *counts.entry(&line.result).or_default() += 1;
        if !line.passes() {
            *reasons.entry(&line.reason).or_default() += 1;
        }
    }
    let mut reasons: Vec<_> = reasons.into_iter().collect();
    reasons.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    let mut table = workspace::table(&["cases", "that do not pass, by reason"], &[0]);
    for (reason, count) in reasons.iter().take(25) {
        table.add_row([&count.to_string(), *reason]);
    }
    println!("{}\n", table.trim_fmt());
    let passing = lines.iter().filter(|line| line.passes()).count();
    println!("conformance: {passing} of {} cases pass: {counts:?}", lines.len());
}

/// Compares with the list.
fn guard(path: &Path, lines: &[Line]) -> Result<()> {
    let mut reader = csv::Reader::from_path(path).with_context(|| LIST)?;
    let before = reader.deserialize().collect::<Result<Vec<Line>, _>>().with_context(|| LIST)?;
    let now: BTreeMap<&str, &Line> = lines.iter().map(|line| (line.case.as_str(), line)).collect();
    let lost: Vec<String> = before
        .iter()
        .filter(|line| line.passes())
        .filter_map(|line| match now.get(line.case.as_str()) {
            Some(now) if now.passes() => None,
            Some(now) => Some(format!("  {}: {}", line.case, now.reason)),
            None => Some(format!("  {}: not in the package", line.case)),
        })
        .collect();
    ensure!(
        lost.is_empty(),
        "{} cases passed before and do not now:\n{}",
        lost.len(),
        lost.join("\n")
    );
    if before != lines {
        bail!("{LIST} is out of date; write it with cargo xtask conformance --update");
    }
    Ok(())
}

/// All cases, written out where they are not yet.
fn cases(folder: &Path, python: Option<&Path>) -> Result<Vec<Case>> {
    let list = folder.join("cases.json");
    let script = workspace::root().join("xtask/conformance/dump.py");
    // What the cases were written by; they are written anew where that changes.
    let stamp = folder.join("written-by");
    let source = std::fs::read_to_string(&script).with_context(|| script.display().to_string())?;
    let wanted = format!("{}\n{source}", PACKAGES.join("\n"));
    if !list.is_file() || std::fs::read_to_string(&stamp).ok().as_ref() != Some(&wanted) {
        let python = match python {
            Some(python) => python.to_owned(),
            None => environment(&folder.join("python"), &PACKAGES)?,
        };
        eprintln!("writing the cases into {} ...", folder.display());
        let ran = Command::new(python).arg(script).arg(folder).output()?;
        ensure!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr).trim());
        std::fs::write(&stamp, wanted).with_context(|| stamp.display().to_string())?;
    }
    let text = std::fs::read_to_string(&list).with_context(|| list.display().to_string())?;
    serde_json::from_str(&text).with_context(|| list.display().to_string())
}

fn judge(folder: &Path, case: &Case) -> Line {
    let line = |result: &str, reason: String| Line {
        case: case.name.clone(),
        result: result.into(),
        reason,
    };
    if let Some(reason) = &case.reason {
        return line("skip", reason.clone());
    }
    // Of the reasons the last, since more constants lead past what only some of them hide.
    let mut last = String::new();
    for (way, constants_from) in [("run", usize::MAX), ("fixed", 1), ("folded", 0)] {
        if way != "run" && case.inputs.len() <= constants_from {
            continue;
        }
        match attempt(folder, case, way, constants_from) {
            Ok(()) => return line(way, String::new()),
            Err(Failure::Wrong(reason)) => {
                let other = OTHER_VALUES.iter().find(|(end, _)| case.name.ends_with(end));
                return match other {
                    Some((_, why)) => line("skip", (*why).into()),
                    None => line("wrong", reason),
                };
            }
            Err(Failure::Refused(reason)) => last = reason,
        }
    }
    line("skip", last)
}

enum Failure {
    /// It does not run.
    Refused(String),
    /// It runs, and gives something else.
    Wrong(String),
}

fn refused(error: impl std::fmt::Display) -> Failure {
    Failure::Refused(shorten(&error.to_string()))
}

/// The reason without the names of nodes, so that like reasons read alike.
fn shorten(error: &str) -> String {
    let line = error.lines().find(|line| line.starts_with("  ")).or(error.lines().next());
    let line = line.unwrap_or_default().trim();
    let line = line.strip_prefix("node ").unwrap_or(line);
    let reason = match line.strip_prefix('"').and_then(|rest| rest.split_once("\" ")) {
        Some((_, rest)) => rest,
        None => line,
    };
    reason.chars().take(160).collect()
}

fn attempt(folder: &Path, case: &Case, way: &str, constants_from: usize) -> Result<(), Failure> {
    let (inputs, outputs) = tensors(folder, case).map_err(refused)?;
    let inputs = &inputs[..inputs.len().min(constants_from)];
    let file = match way {
        "run" => format!("{}.onnx", case.name),
        way => format!("{}.{way}.onnx", case.name),
    };
    let bytes = Bytes::from(std::fs::read(folder.join(file)).map_err(refused)?);
    let run = || -> Result<Vec<Tensor>, Failure> {
        let graph = onnx::read(bytes, None).map_err(refused)?;
        let model = Model::from_graph(graph, Options::with_threads(1)).map_err(refused)?;
        let shapes: Vec<Shape> = inputs.iter().map(|input| *input.shape()).collect();
        let mut session = model.session_for(&shapes).map_err(refused)?;
        session.run_tensors(inputs).map_err(refused)
    };
    let got = catch_unwind(AssertUnwindSafe(run))
        .unwrap_or_else(|_| Err(Failure::Wrong("it panics".into())))?;
    if got.len() != outputs.len() {
        return Err(Failure::Wrong(format!("{} outputs, not {}", got.len(), outputs.len())));
    }
    got.iter().zip(&outputs).try_for_each(|(got, want)| compare(case, got, want))
}

/// Every element within `atol + rtol * |wanted|`, as the package compares.
fn compare(case: &Case, got: &Tensor, want: &Tensor) -> Result<(), Failure> {
    let kind = |tensor: &Tensor| format!("{}[{}]", tensor.dtype(), tensor.shape());
    if kind(got) != kind(want) {
        return Err(Failure::Wrong(format!("{}, not {}", kind(got), kind(want))));
    }
    let is_exact = !want.dtype().is_float();
    let close = |(got, want): (&f64, &f64)| {
        got == want
            || got.is_nan() && want.is_nan()
            || !is_exact && (got - want).abs() <= case.atol + case.rtol * want.abs()
    };
    let (x, y) = (got.to_f64(), want.to_f64());
    match x.iter().zip(y.iter()).position(|pair| !close(pair)) {
        None => Ok(()),
        Some(at) => Err(Failure::Wrong(format!("{} at {at}, not {}", x[at], y[at]))),
    }
}

/// Inputs and outputs, which stand one after the other in a file.
fn tensors(folder: &Path, case: &Case) -> Result<(Vec<Tensor>, Vec<Tensor>)> {
    let bytes = Bytes::from(std::fs::read(folder.join(format!("{}.bin", case.name)))?);
    let mut at = 0;
    let mut next = |kind: &Kind| -> Result<Tensor> {
        let shape = Shape::new(&kind.dims)?;
        let dtype = dtype(&kind.dtype).with_context(|| kind.dtype.clone())?;
        let end = at + shape.elements() * dtype.size_bytes();
        ensure!(end <= bytes.len(), "the file is too short");
        let tensor = Tensor::new(dtype, shape, bytes.slice(at..end))?;
        at = end;
        Ok(tensor)
    };
    let inputs = case.inputs.iter().map(&mut next).collect::<Result<_>>()?;
    Ok((inputs, case.outputs.iter().map(&mut next).collect::<Result<_>>()?))
}

fn dtype(name: &str) -> Option<DType> {
    use DType::*;
    [F64, F32, F16, Bf16, I64, I32, I16, I8, U8, Bool].into_iter().find(|d| d.name() == name)
}
