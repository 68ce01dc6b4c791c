//! `cargo xtask accuracy --exported`: models as this program writes them, in other engines.

use super::{RELATIVE_EXPORTED, Subject, errors, find, verdict};
use crate::bench::environment;
use crate::workspace;
use anyhow::{Context, Result, bail, ensure};
use depthwise_engine::formats::SaveOptions;
use depthwise_engine::{Graph, Model, Options, Shape, Tensor};
use depthwise_zoo::{MobileNetV1, MobileNetV3, Network, Random};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The other engines, as `pip` finds them.
const PACKAGES: [&str; 4] =
    ["onnxruntime==1.32.0", "ai-edge-litert==2.3.0", "numpy==2.4.6", "onnx==1.23.2"];

/// How a model is written, and who is to run it.
const FORMS: [(&str, bool, &str); 3] =
    [("onnx", false, "onnxruntime"), ("onnx", true, "onnxruntime"), ("tflite", false, "litert")];

/// A model with the inputs on which it runs.
struct Case {
    name: String,
    graph: Graph,
    inputs: Vec<Tensor>,
}

#[derive(serde::Serialize)]
pub(super) struct Job {
    pub(super) engine: &'static str,
    pub(super) model: PathBuf,
    pub(super) inputs: Vec<JobInput>,
    pub(super) output: PathBuf,
}

#[derive(serde::Serialize)]
pub(super) struct JobInput {
    pub(super) name: String,
    pub(super) dims: Vec<usize>,
    pub(super) file: PathBuf,
}

#[derive(serde::Deserialize)]
struct Outcome {
    #[serde(default)]
    outputs: Vec<OutcomeOutput>,
    error: Option<String>,
}

#[derive(serde::Deserialize)]
struct OutcomeOutput {
    name: String,
    dims: Vec<usize>,
}

/// What is expected of a job.
struct Expected {
    name: String,
    form: String,
    outputs: Vec<(String, Tensor)>,
    output: PathBuf,
    nchw: bool,
}

/// Python with the other engines.
pub(crate) fn engines() -> Result<PathBuf> {
    let folder = workspace::target().join("exported");
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    environment(&folder.join("engines"), &PACKAGES)
}

/// Lets the other engines do what is listed.
pub(super) fn execute(python: &Path, folder: &Path, jobs: &[Job]) -> Result<()> {
    ensure!(!jobs.is_empty(), "no such model");
    let list = folder.join("jobs.json");
    std::fs::write(&list, serde_json::to_string(jobs)?)?;
    eprintln!("other engines ...");
    let script = workspace::root().join("xtask/peers/exported.py");
    let status = Command::new(python).arg(script).arg(&list).status()?;
    ensure!(status.success(), "{}: {status}", python.display());
    Ok(())
}

/// The elements of the first output of a job, or what went wrong.
pub(super) fn first_output(output: &Path) -> Result<Result<Vec<f32>, String>> {
    let text = std::fs::read_to_string(format!("{}.json", output.display()))?;
    let outcome: Outcome = serde_json::from_str(&text)?;
    match outcome.error {
        Some(error) => Ok(Err(error)),
        None => Ok(Ok(f32s(&std::fs::read(format!("{}.0", output.display()))?))),
    }
}

fn f32s(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

pub(super) fn run(models: &Path, only: Option<&str>) -> Result<()> {
    let (python, folder) = (engines()?, workspace::target().join("exported"));
    let (mut jobs, mut expected, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    for case in cases(models)? {
        if only.is_none_or(|text| case.name.contains(text)) {
            eprintln!("{} ...", case.name);
            export(&folder, &case, &mut jobs, &mut expected, &mut refused)?;
        }
    }
    execute(&python, &folder, &jobs)?;
    let mut table =
        workspace::table(&["model", "written as", "output", "max abs", "relative", ""], &[3, 4]);
    let mut failures = 0;
    for expected in &expected {
        for (cells, passed) in compare(expected)? {
            failures += usize::from(!passed);
            table.add_row(cells);
        }
    }
    println!("{}\n", table.trim_fmt());
    for line in &refused {
        println!("not written: {line}");
    }
    match failures {
        0 => {
            println!("accuracy: {} files agree with other engines", expected.len());
            Ok(())
        }
        n => bail!("accuracy: {n} comparisons failed"),
    }
}

/// The models of the folder with their recorded inputs, and the networks of the zoo.
fn cases(models: &Path) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for subject in find(models, false)?.0 {
        let Subject { name, graph, golden, inputs, .. } = subject;
        if !graph.states().is_empty() {
            // What it keeps is an input in the file, of which the golden file has no elements.
            eprintln!("{name}: left out, since it keeps a state");
            continue;
        }
        let input = |input: &String| {
            let tensor = golden.get(input).cloned();
            tensor.with_context(|| format!("{name}: the golden file has no {input}"))
        };
        let inputs = inputs.iter().map(input).collect::<Result<Vec<_>>>()?;
        cases.push(Case { name: file_name(&name), graph, inputs });
    }
    let zoo: [(&str, Box<dyn Network>); 3] = [
        ("mobilenet_v1", Box::new(MobileNetV1::new(1.0))),
        ("mobilenet_v3_large", Box::new(MobileNetV3::large(1.0))),
        ("mobilenet_v3_small", Box::new(MobileNetV3::small(1.0))),
    ];
    for (name, network) in zoo {
        let graph = network.build(&Random { seed: 3 })?;
        cases.push(Case { name: name.into(), graph, inputs: vec![ramp(&[1, 224, 224, 3])?] });
    }
    Ok(cases)
}

/// The name without what file systems mind.
fn file_name(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect()
}

/// Numbers between -1 and 1 in no order.
fn ramp(dims: &[usize]) -> Result<Tensor> {
    let count: usize = dims.iter().product();
    let data = (0..count).map(|i| (i * 7919 % 1009) as f32 / 504.5 - 1.0).collect();
    Ok(Tensor::from_vec(dims, data)?)
}

fn export(
    folder: &Path,
    case: &Case,
    jobs: &mut Vec<Job>,
    expected: &mut Vec<Expected>,
    refused: &mut Vec<String>,
) -> Result<()> {
    let shapes: Vec<Shape> = case.inputs.iter().map(|t| *t.shape()).collect();
    let model = Model::from_graph(case.graph.clone(), Options::default())?;
    let names: Vec<String> = model.outputs().map(str::to_owned).collect();
    let input_names: Vec<String> = model.inputs().map(|(name, _)| name.to_owned()).collect();
    let mut written = Vec::new();
    for (extension, nchw, engine) in FORMS {
        let form = if nchw { "onnx nchw" } else { extension };
        let path = folder.join(format!("{}.{}.{extension}", case.name, form.replace(' ', "_")));
        // Extents that are free stay free in one of the ONNX files.
        let input_shapes = if extension == "onnx" && !nchw { Vec::new() } else { shapes.clone() };
        let options = SaveOptions { nchw, input_shapes, half: false };
        match model.export(&path, &options) {
            Ok(_) => written.push((path, form, engine, nchw)),
            Err(error) => {
                // The layers are many where a network computes in integers.
                let why = error.to_string();
                let why = why.lines().next().unwrap_or_default();
                refused.push(format!("{} as {form}: {why}", case.name));
            }
        }
    }
    // Packing drops the weights, so the model runs when all is written.
    let outputs = model.session_for(&shapes)?.run_tensors(&case.inputs)?;
    for (path, form, engine, nchw) in written {
        let output = path.with_extension("out");
        let mut inputs = Vec::new();
        for (at, (name, tensor)) in input_names.iter().zip(&case.inputs).enumerate() {
            let is_turned = nchw && declared(&path, at)? != Some(*tensor.shape());
            let tensor = if is_turned { channels_first(tensor)? } else { tensor.clone() };
            let file = path.with_extension(format!("in{at}"));
            std::fs::write(&file, tensor.bytes())?;
            let dims = tensor.shape().to_vec();
            inputs.push(JobInput { name: name.clone(), dims, file });
        }
        if engine == "onnxruntime" {
            let output = path.with_extension("check");
            jobs.push(Job {
                engine: "onnx checker",
                model: path.clone(),
                inputs: vec![],
                output: output.clone(),
            });
            let (name, form) = (case.name.clone(), format!("{form}, checker"));
            expected.push(Expected { name, form, outputs: Vec::new(), output, nchw });
        }
        jobs.push(Job { engine, model: path, inputs, output: output.clone() });
        let outputs = names.iter().cloned().zip(outputs.iter().cloned()).collect();
        expected.push(Expected {
            name: case.name.clone(),
            form: form.into(),
            outputs,
            output,
            nchw,
        });
    }
    Ok(())
}

/// The extents that a file declares for an input.
fn declared(path: &Path, input: usize) -> Result<Option<Shape>> {
    let graph = depthwise_formats::open(path)?;
    let ty = graph.inputs().get(input).and_then(|&id| graph.input_type(id));
    Ok(ty.and_then(|ty| ty.shape()))
}

/// The rows of the table for one file.
fn compare(expected: &Expected) -> Result<Vec<([String; 6], bool)>> {
    let text = std::fs::read_to_string(expected.output.with_extension(extension(expected)))?;
    let outcome: Outcome = serde_json::from_str(&text)?;
    let row = |output: &str, absolute: String, relative: String, passed: bool| {
        let (name, form) = (expected.name.clone(), expected.form.clone());
        ([name, form, output.into(), absolute, relative, verdict(passed).into()], passed)
    };
    if let Some(error) = outcome.error {
        eprintln!("{} as {}: {error}", expected.name, expected.form);
        return Ok(vec![row("", "-".into(), "-".into(), false)]);
    }
    if expected.outputs.is_empty() {
        return Ok(vec![row("", String::new(), String::new(), true)]);
    }
    ensure!(outcome.outputs.len() == expected.outputs.len(), "{}: outputs", expected.name);
    let mut rows = Vec::new();
    for (at, (name, want)) in expected.outputs.iter().enumerate() {
        let file = PathBuf::from(format!("{}.{at}", expected.output.display()));
        let got = f32s(&std::fs::read(&file)?);
        let OutcomeOutput { name: their_name, dims } = &outcome.outputs[at];
        let is_turned = expected.nchw && dims != want.shape().dims();
        let want = if is_turned { channels_first(want)? } else { want.clone() };
        let same = their_name == name && dims == want.shape().dims();
        let (absolute, relative) = errors(&got, &want.to_f32());
        let passed = same && relative < RELATIVE_EXPORTED;
        rows.push(row(name, format!("{absolute:.1e}"), format!("{relative:.1e}"), passed));
    }
    Ok(rows)
}

pub(super) fn channels_first(tensor: &Tensor) -> Result<Tensor> {
    use depthwise_layers::{Layer, Transpose};
    let turn = Transpose { perm: vec![0, 3, 1, 2] };
    let turned = turn.reference(&[Some(tensor)])?;
    turned.into_iter().next().context("a transpose has one result")
}

/// `out.json` beside `out.0`.
fn extension(expected: &Expected) -> String {
    let own = expected.output.extension().unwrap_or_default().to_string_lossy();
    format!("{own}.json")
}
