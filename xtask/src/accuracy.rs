//! `cargo xtask accuracy`: real models against the answers of other runtimes.
//!
//! Every model below `../shared/models` that can be loaded runs on its recorded inputs at each ISA
//! level, on one thread and on two; its outputs are compared with the recorded ones. The classifiers
//! also name the photos. Keras files are compared with their TFLite twin, and with Keras itself where
//! `--keras` asks for it. What cannot be loaded is listed.
//!
//! With `--exported` the models are written first, and other engines run the files. With `--quantized`
//! the classifiers are quantized on the photos first. With `--finetuned` networks are trained first. With
//! `--bf16` the classifiers run with products of bfloat16.

mod exported;
mod finetuned;
mod keras;
mod quantized;
mod rounded;

use crate::workspace;
use anyhow::{Context, Result, bail, ensure};
use depthwise_engine::{Cpu, Graph, Model, Options, Shape, Tensor};
use depthwise_formats::{Weights, safetensors, torch};
use depthwise_layers::ir::ValueId;
use depthwise_vision::{Normalize, Picture, Preprocess};
use depthwise_zoo::{Checkpoint, EfficientNetLite, MobileNetV2, Network};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub(crate) use exported::engines;

/// The weights that ship with the project.
const EMBEDDED: &str = "crates/zoo/weights/efficientnet_lite0.safetensors";
/// Largest difference of a probability.
const ABSOLUTE: f32 = 1e-4;
/// Largest difference of anything else, over the largest magnitude of the output.
const RELATIVE: f32 = 1e-3;
/// Largest difference, relative to the largest magnitude, of an exported model in another engine.
const RELATIVE_EXPORTED: f32 = 1e-4;
/// Weights in `f16` differ from the checkpoint by up to 2^-11 of each.
const RELATIVE_HALF: f32 = 1e-2;
/// Largest difference of an 8-bit output. Integer layers differ by at most 1 from the runtimes'; a step
/// of one logit is 2 or 3 of the softmax behind it (docs/quantization.md).
const STEPS: i64 = 3;
/// Share of the elements that may differ, of labels and of 8-bit outputs.
const SHARE: f64 = 0.01;
/// Largest difference of a top-5 probability of a photo: pictures are decoded and resized here.
const PHOTO: f32 = 0.01;

/// Keras files whose TFLite twin has recorded answers.
const TWINS: [(&str, &str); 1] = [("vww_96.h5", "vww_96_float")];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The folder with onnx, weights, golden and photos
    #[arg(long, value_name = "DIR")]
    models: Option<PathBuf>,
    /// Only models whose name contains this
    #[arg(long, value_name = "TEXT")]
    model: Option<String>,
    /// Write the models as ONNX and TFLite files and compare with what ONNX Runtime and LiteRT, which
    /// pip installs below target/, make of them
    #[arg(long)]
    exported: bool,
    /// Quantize the classifiers on the photos, compare with what they were, and let ONNX Runtime and
    /// LiteRT, which pip installs below target/, name the photos with the files written
    #[arg(long, conflicts_with = "exported")]
    quantized: bool,
    /// Train classifiers for pictures and for text for a few steps, and compare with what ONNX Runtime and
    /// LiteRT, which pip installs below target/, make of the files written
    #[arg(long, conflicts_with_all = ["exported", "quantized"])]
    finetuned: bool,
    /// Let the classifiers name the photos with products of bfloat16, emulated where the CPU has none
    #[arg(long, conflicts_with_all = ["exported", "quantized", "finetuned"])]
    bf16: bool,
    /// Ask Keras, which pip installs below target/, what its own files give for a photo
    #[arg(long)]
    keras: bool,
}

/// A model with its recorded answers.
struct Subject {
    name: String,
    graph: Graph,
    golden: Weights,
    /// Names of the inputs and outputs in the golden file, in the order of the model.
    inputs: Vec<String>,
    outputs: Vec<String>,
    /// Largest relative difference, where outputs are no probabilities.
    relative: f32,
    /// How pictures are normalised and where the photos' answers stand, for classifiers.
    photos: Option<(Normalize, &'static str)>,
}

/// A file that cannot be loaded.
struct Unread {
    file: String,
    why: String,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let folder = args.models.clone().unwrap_or_else(|| workspace::root().join("../shared/models"));
    ensure!(folder.is_dir(), "{} is not there; name it with --models", folder.display());
    if args.exported {
        return exported::run(&folder, args.model.as_deref());
    }
    if args.quantized {
        return quantized::run(&folder, args.model.as_deref());
    }
    if args.finetuned {
        return finetuned::run(&folder, args.model.as_deref());
    }
    if args.bf16 {
        return rounded::run(&folder, args.model.as_deref());
    }
    let (mut subjects, unread) = find(&folder, args.keras)?;
    subjects.retain(|s| args.model.as_ref().is_none_or(|text| s.name.contains(text)));
    ensure!(!subjects.is_empty(), "no such model in {}", folder.display());
    let header = ["model", "level", "threads", "output", "max abs", "relative", "bound", ""];
    let mut table = workspace::table(&header, &[2, 4, 5]);
    let mut failures = 0;
    for subject in &subjects {
        eprintln!("{} ...", subject.name);
        let mut first = None;
        for options in settings() {
            for line in compare(subject, &options, &mut first)? {
                failures += usize::from(!line.passed);
                table.add_row(line.cells);
            }
        }
    }
    println!("{}\n", table.trim_fmt());
    failures += photos(&folder, &subjects)?;
    if args.model.is_none() {
        list_unread(&unread);
    }
    if failures > 0 {
        bail!("accuracy: {failures} comparisons failed");
    }
    println!("accuracy: {} models agree", subjects.len());
    Ok(())
}

/// All levels of this CPU (or up to `DEPTHWISE_ISA`), with one thread and with two.
fn settings() -> Vec<Options> {
    let levels = Cpu::from_env().unwrap_or_else(|_| Cpu::detect()).levels();
    levels
        .flat_map(|cpu| {
            [1, 2].map(|threads| Options { threads, isa: Some(cpu.isa()), ..Options::default() })
        })
        .collect()
}

/// The models that can be loaded, and the files that cannot, each with the reason.
fn find(folder: &Path, ask_keras: bool) -> Result<(Vec<Subject>, Vec<Unread>)> {
    let (mut subjects, mut unread) = (Vec::new(), Vec::new());
    for part in ["onnx", "tflite", "keras"] {
        for path in files(&folder.join(part))? {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            match depthwise_formats::open(&path) {
                Ok(graph) if part == "keras" => {
                    if let Some((_, twin)) = TWINS.iter().find(|(file, _)| *file == name) {
                        subjects.push(keras::of_twin(folder, &name, graph, twin)?);
                    } else if ask_keras {
                        subjects.push(keras::of_keras(folder, &path, graph)?);
                    }
                }
                Ok(graph) => subjects.push(of_file(folder, &path, graph)?),
                Err(error) => {
                    unread.push(Unread { file: format!("{part}/{name}"), why: error.to_string() });
                }
            }
        }
    }
    subjects.push(of_checkpoint(
        folder,
        ("mobilenet_v2-b0353104.pth", "mobilenet_v2"),
        &MobileNetV2::new(1.0),
        Normalize::IMAGENET,
    )?);
    let lite0 = of_checkpoint(
        folder,
        ("efficientnet-lite0-57934424.pth", "efficientnet_lite0"),
        &EfficientNetLite::lite0(),
        Normalize::CENTRED_127,
    )?;
    let weights = safetensors::open(workspace::root().join(EMBEDDED)).context(EMBEDDED)?;
    let embedded = Subject {
        name: "efficientnet_lite0 (embedded)".into(),
        graph: EfficientNetLite::lite0().build(&Checkpoint::new(&weights))?,
        golden: lite0.golden.clone(),
        inputs: lite0.inputs.clone(),
        outputs: lite0.outputs.clone(),
        relative: RELATIVE_HALF,
        photos: lite0.photos,
    };
    subjects.extend([lite0, embedded]);
    Ok((subjects, unread))
}

/// The files of a folder, by name.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.map(|e| e.path()))
        .collect::<std::io::Result<_>>()
        .with_context(|| folder.display().to_string())?;
    files.retain(|path| path.is_file());
    files.sort();
    Ok(files)
}

fn golden(folder: &Path, stem: &str) -> Result<Weights> {
    let path = folder.join("golden").join(format!("{stem}.safetensors"));
    safetensors::open(&path).with_context(|| path.display().to_string())
}

fn of_file(folder: &Path, path: &Path, graph: Graph) -> Result<Subject> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    // What a streaming network keeps is not in the golden file: it starts anew.
    let kept = graph.states();
    let inputs = graph.inputs().iter().enumerate();
    let inputs = inputs.filter(|(at, _)| kept.iter().all(|state| state.input != *at));
    let outputs = graph.outputs().iter().enumerate();
    let outputs = outputs.filter(|(at, _)| kept.iter().all(|state| state.output != *at));
    let name = |id: ValueId, side: &str| format!("{side}/{}", graph.value(id).name);
    Ok(Subject {
        golden: golden(folder, &stem)?,
        inputs: inputs.map(|(_, &id)| name(id, "in")).collect(),
        outputs: outputs.map(|(_, &id)| name(id, "out")).collect(),
        name: stem,
        graph,
        relative: RELATIVE,
        photos: None,
    })
}

fn of_checkpoint(
    folder: &Path,
    (file, name): (&str, &'static str),
    network: &dyn Network,
    normalize: Normalize,
) -> Result<Subject> {
    let path = folder.join("weights").join(file);
    let weights = torch::open(&path).with_context(|| path.display().to_string())?;
    Ok(Subject {
        name: format!("{name} ({file})"),
        graph: network.build(&Checkpoint::new(&weights))?,
        golden: golden(folder, &format!("{name}_imagenet"))?,
        inputs: vec!["in/input_nhwc".into()],
        outputs: vec!["out/logits".into()],
        relative: RELATIVE,
        photos: Some((normalize, name)),
    })
}

/// A row of the table.
struct Line {
    cells: [String; 8],
    passed: bool,
}

/// Runs a subject; `first` are the outputs of its first run, to which those of integers must be equal.
fn compare(
    subject: &Subject,
    options: &Options,
    first: &mut Option<Vec<Tensor>>,
) -> Result<Vec<Line>> {
    let find = |name: &String| {
        let tensor = subject.golden.get(name).cloned();
        tensor.with_context(|| format!("{}: the golden file has no {name}", subject.name))
    };
    let inputs = subject.inputs.iter().map(find).collect::<Result<Vec<Tensor>>>()?;
    let shapes: Vec<Shape> = inputs.iter().map(|t| *t.shape()).collect();
    let model = Model::from_graph(subject.graph.clone(), options.clone())?;
    let got = model.session_for(&shapes)?.run_tensors(&inputs)?;
    let same = first.get_or_insert_with(|| got.clone());
    let outputs = subject.outputs.iter().zip(got.iter().zip(&*same));
    outputs
        .map(|(name, (got, first))| {
            let want = find(name)?;
            ensure!(got.shape() == want.shape(), "{}: {name} has another shape", subject.name);
            if got.dtype().is_int() {
                return Ok(compare_integers(subject, options, name, (got, first), &want));
            }
            let (got, want, row) = (got.to_f32(), want.to_f32(), got.shape().last().copied());
            let (absolute, relative) = errors(&got, &want);
            let probabilities = are_probabilities(&want, row.unwrap_or(1));
            let (passed, bound) = match probabilities {
                true => (absolute < ABSOLUTE, format!("abs {ABSOLUTE:.0e}")),
                false => (relative < subject.relative, format!("rel {:.0e}", subject.relative)),
            };
            let isa = options.isa.map_or("", |isa| isa.name());
            let cells = [
                subject.name.clone(),
                isa.into(),
                options.threads.to_string(),
                name.trim_start_matches("out/").into(),
                format!("{absolute:.1e}"),
                format!("{relative:.1e}"),
                bound,
                verdict(passed).into(),
            ];
            Ok(Line { cells, passed })
        })
        .collect()
}

/// A line for an output of integers.
fn compare_integers(
    subject: &Subject,
    options: &Options,
    name: &str,
    (got, first): (&Tensor, &Tensor),
    want: &Tensor,
) -> Line {
    let (ours, theirs) = (got.to_i64(), want.to_i64());
    let steps = || ours.iter().zip(theirs.iter()).map(|(a, b)| (a - b).abs());
    let most = steps().max().unwrap_or(0);
    let differ = steps().filter(|&step| step != 0).count();
    let share = differ as f64 / ours.len().max(1) as f64;
    // Labels are names, not numbers.
    let labels = got.dtype().size_bytes() > 1;
    let passed = got == first && share <= SHARE && (labels || most <= STEPS);
    let bound = match (got == first, labels) {
        (false, _) => "same at every level".into(),
        (true, true) => format!("{}% differ", 100.0 * SHARE),
        (true, false) => format!("{STEPS} steps, {}%", 100.0 * SHARE),
    };
    let cells = [
        subject.name.clone(),
        options.isa.map_or("", |isa| isa.name()).into(),
        options.threads.to_string(),
        name.trim_start_matches("out/").chars().take(24).collect(),
        format!("{most} steps"),
        format!("{differ} of {}", ours.len()),
        bound,
        verdict(passed).into(),
    ];
    Line { cells, passed }
}

fn verdict(passed: bool) -> &'static str {
    if passed { "pass" } else { "FAIL" }
}

/// Largest absolute difference, and that over the largest magnitude of `want`; infinite where a
/// value is not finite.
fn errors(got: &[f32], want: &[f32]) -> (f32, f32) {
    if got.len() != want.len() || !got.iter().all(|x| x.is_finite()) {
        return (f32::INFINITY, f32::INFINITY);
    }
    let scale = want.iter().fold(f32::MIN_POSITIVE, |m, x| m.max(x.abs()));
    let worst = got.iter().zip(want).fold(0f32, |m, (g, w)| m.max((g - w).abs()));
    (worst, worst / scale)
}

/// Whether every row is a distribution over classes.
fn are_probabilities(values: &[f32], row: usize) -> bool {
    row > 1
        && values.chunks(row).all(|row| {
            row.iter().all(|x| (0.0..=1.0).contains(x))
                && (row.iter().sum::<f32>() - 1.0).abs() < 1e-3
        })
}

#[derive(serde::Deserialize)]
struct Prediction {
    class: usize,
    probability: f32,
}

/// Compares the classifiers on all photos at every level; returns the number of failures.
fn photos(folder: &Path, subjects: &[Subject]) -> Result<usize> {
    let classifiers: Vec<_> =
        subjects.iter().filter_map(|s| Some((s, s.photos.as_ref()?))).collect();
    if classifiers.is_empty() {
        return Ok(0);
    }
    let path = folder.join("golden/imagenet_photos.json");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let all: BTreeMap<String, BTreeMap<String, Vec<Prediction>>> = serde_json::from_str(&text)?;
    let header = ["classifier", "level", "top-1 agrees", "worst top-5 difference", ""];
    let mut table = workspace::table(&header, &[2, 3]);
    let mut failures = 0;
    for (subject, (normalize, key)) in classifiers {
        eprintln!("{}: photos ...", subject.name);
        let answers = all.get(*key).with_context(|| format!("no answers for {key}"))?;
        for options in settings().into_iter().filter(|options| options.threads == 1) {
            let isa = options.isa.map_or("", |isa| isa.name());
            let (agreed, worst) = name_photos(folder, subject, options, *normalize, answers)?;
            let passed = agreed == answers.len() && worst < PHOTO;
            failures += usize::from(!passed);
            table.add_row([
                subject.name.clone(),
                isa.into(),
                format!("{agreed} of {}", answers.len()),
                format!("{worst:.4}"),
                verdict(passed).into(),
            ]);
        }
    }
    println!("{}\n", table.trim_fmt());
    Ok(failures)
}

/// How often the likeliest class is the recorded one, and the largest difference of a recorded
/// probability.
fn name_photos(
    folder: &Path,
    subject: &Subject,
    options: Options,
    normalize: Normalize,
    answers: &BTreeMap<String, Vec<Prediction>>,
) -> Result<(usize, f32)> {
    let prepare = Preprocess::classifier(224, normalize);
    let mut session = Model::from_graph(subject.graph.clone(), options)?.session()?;
    let (mut agreed, mut worst) = (0, 0f32);
    for (photo, want) in answers {
        let picture = Picture::open(folder.join("photos").join(photo))?;
        prepare.write(&picture, session.input_mut(0)?)?;
        session.run();
        let got = softmax(session.output(0)?);
        let best = (0..got.len()).max_by(|&a, &b| got[a].total_cmp(&got[b]));
        agreed += usize::from(best == want.first().map(|p| p.class));
        for p in want {
            let got = got.get(p.class).with_context(|| format!("no class {}", p.class))?;
            worst = worst.max((got - p.probability).abs());
        }
    }
    Ok((agreed, worst))
}

fn softmax(logits: &[f32]) -> Vec<f32> {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exps: Vec<f32> = logits.iter().map(|x| (x - max).exp()).collect();
    let sum: f32 = exps.iter().sum();
    exps.iter().map(|e| e / sum).collect()
}

fn list_unread(unread: &[Unread]) {
    if unread.is_empty() {
        return;
    }
    let mut table = workspace::table(&["not loaded", "reason"], &[]);
    for Unread { file, why } in unread {
        // The reason without the path, which is in the first column.
        let why = why.split_once(": ").map_or(why.as_str(), |(_, why)| why);
        table.add_row([file.as_str(), why.lines().next().unwrap_or_default()]);
    }
    println!("{}\n", table.trim_fmt());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_absolute_and_relative_to_the_largest_magnitude() {
        assert_eq!(errors(&[1.0, -4.0], &[1.5, -4.0]), (0.5, 0.125));
        assert_eq!(errors(&[f32::NAN], &[1.0]), (f32::INFINITY, f32::INFINITY));
        assert_eq!(errors(&[1.0], &[]), (f32::INFINITY, f32::INFINITY));
    }

    #[test]
    fn rows_that_sum_to_one_are_probabilities() {
        assert!(are_probabilities(&[0.25, 0.75, 1.0, 0.0], 2));
        assert!(!are_probabilities(&[0.25, 0.5], 2));
        assert!(!are_probabilities(&[1.5, -0.5], 2));
        assert!(!are_probabilities(&[1.0], 1), "a single sigmoid is measured as a number");
    }
}
