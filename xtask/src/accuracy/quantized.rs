//! `cargo xtask accuracy --quantized`: networks that this program quantizes, against what they were, here
//! and in other engines.

use super::exported::{self, Job, JobInput, channels_first};
use super::{find, verdict};
use crate::workspace;
use anyhow::{Context, Result, bail, ensure};
use depthwise_compress::{Calibrated, Options, Sample, compare};
use depthwise_engine::formats::{SaveOptions, open, save};
use depthwise_engine::layers::Op;
use depthwise_engine::passes::{PassOptions, prepare};
use depthwise_engine::{Graph, Model, Tensor};
use depthwise_layers::ir::{Def, Dim};
use depthwise_vision::{Normalize, Picture, Preprocess};
use depthwise_zoo::{MobileNetV3, Network, Random};
use std::path::{Path, PathBuf};

/// Photos on which the quantized network has to give the answer of the real one, of 13.
const AGREE: usize = 12;
/// How a quantized network is written, and who is to run it.
const FORMS: [(&str, bool, Option<&str>); 4] = [
    ("safetensors", false, None),
    ("tflite", false, Some("litert")),
    ("onnx", false, Some("onnxruntime")),
    ("onnx", true, Some("onnxruntime")),
];

/// A network and how photos become its inputs.
struct Case {
    name: String,
    graph: Graph,
    normalize: Normalize,
    /// Trained weights, whose answers mean something.
    trained: bool,
}

/// A file that another engine runs on each photo.
struct Written {
    name: String,
    form: String,
    outputs: Vec<PathBuf>,
    want: Vec<Tensor>,
    trained: bool,
}

pub(super) fn run(models: &Path, only: Option<&str>) -> Result<()> {
    let folder = workspace::target().join("quantized");
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let python = exported::engines()?;
    let header = ["network", "top-1 as f32", "mean abs", "max abs", "SQNR, dB", "real layers", ""];
    let mut table = workspace::table(&header, &[1, 2, 3, 4, 5]);
    let (mut jobs, mut written, mut failures) = (Vec::new(), Vec::new(), 0);
    for case in cases(models)? {
        if only.is_some_and(|text| !case.name.contains(text)) {
            continue;
        }
        eprintln!("{} ...", case.name);
        let samples = photos(&models.join("photos"), case.normalize)?;
        let mut quiet = |_: &'static str, _: usize, _: usize| {};
        let calibrated =
            Calibrated::new(case.graph.clone(), &samples, Options::default(), &mut quiet)?;
        let quantized = calibrated.quantized()?;
        let engine = depthwise_engine::Options::default();
        let found = compare(&case.graph, &quantized, &samples, &engine, &mut quiet)?;
        let real = real_layers(&quantized);
        let passed = real.is_empty() && (!case.trained || found.top1.0 >= AGREE);
        failures += usize::from(!passed);
        table.add_row([
            case.name.clone(),
            format!("{} of {}", found.top1.0, found.top1.1),
            format!("{:.4}", found.mean_abs),
            format!("{:.4}", found.max_abs),
            format!("{:.1}", found.sqnr_db),
            real.len().to_string(),
            verdict(passed).into(),
        ]);
        real.iter().for_each(|layer| eprintln!("{}: {layer} is computed in f32", case.name));
        let mut session = Model::from_graph(quantized.clone(), engine)?.session()?;
        let mut want = Vec::new();
        for sample in &samples {
            want.extend(session.run_tensors(&sample.inputs)?.into_iter().next());
        }
        for form in FORMS {
            write(&folder, &case, &quantized, &samples, &want, form, &mut jobs, &mut written)?;
        }
    }
    println!("{}\n", table.trim_fmt());
    exported::execute(&python, &folder, &jobs)?;
    failures += report(&written)?;
    match failures {
        0 => {
            println!("accuracy: {} files of quantized networks agree", written.len());
            Ok(())
        }
        n => bail!("accuracy: {n} comparisons failed"),
    }
}

/// The classifiers with trained weights, and V3 for its layers.
fn cases(models: &Path) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for subject in find(models, false)?.0 {
        let Some((normalize, name)) = subject.photos else { continue };
        if !subject.name.contains("embedded") {
            let (name, graph) = (name.to_owned(), subject.graph);
            cases.push(Case { name, graph, normalize, trained: true });
        }
    }
    let zoo: [(&str, Box<dyn Network>); 2] = [
        ("mobilenet_v3_large", Box::new(MobileNetV3::large(1.0))),
        ("mobilenet_v3_small", Box::new(MobileNetV3::small(1.0))),
    ];
    for (name, network) in zoo {
        let graph = network.build(&Random { seed: 3 })?;
        let normalize = Normalize::IMAGENET;
        cases.push(Case { name: name.into(), graph, normalize, trained: false });
    }
    for case in &mut cases {
        let dims = [1, 224, 224, 3].map(Dim::Fixed).to_vec();
        case.graph.set_input_dims(case.graph.inputs()[0], dims);
    }
    Ok(cases)
}

fn photos(folder: &Path, normalize: Normalize) -> Result<Vec<Sample>> {
    let prepare = Preprocess::classifier(224, normalize);
    let mut samples = Vec::new();
    for path in super::files(folder)? {
        if path.extension().is_none() {
            continue;
        }
        let picture = Picture::open(&path)?;
        let name = path.display().to_string();
        samples.push(Sample { name, inputs: vec![prepare.tensor(&picture)?] });
    }
    ensure!(!samples.is_empty(), "{}: no photos", folder.display());
    Ok(samples)
}

/// Layers of weights, and Quantize and Dequantize but for those at the ends, that the passes leave real.
fn real_layers(graph: &Graph) -> Vec<String> {
    let mut graph = graph.clone();
    prepare(&mut graph, &PassOptions::default());
    let is_end = |node: &depthwise_layers::ir::Node| match &node.op {
        Op::Quantize(_) => node
            .inputs
            .first()
            .copied()
            .flatten()
            .is_some_and(|id| matches!(graph.value(id).def, Def::Input(_))),
        Op::Dequantize(_) => node.outputs.iter().all(|id| graph.outputs().contains(id)),
        _ => false,
    };
    let is_real = |op: &Op| {
        let moves =
            matches!(op, Op::Reshape(_) | Op::Flatten(_) | Op::Concat(_) | Op::Transpose(_));
        let kind = op.layer().kind();
        let integer = kind.starts_with('Q') && kind != "Quantize";
        !integer && !moves
    };
    let nodes = graph.nodes().iter().filter(|node| is_real(&node.op) && !is_end(node));
    nodes.map(|node| format!("\"{}\" ({})", node.name, node.op.layer().kind())).collect()
}

/// Writes a quantized network and what is to run it; what this program reads back has to compute the
/// same bits.
#[allow(clippy::too_many_arguments, reason = "one call, in a loop over forms")]
fn write(
    folder: &Path,
    case: &Case,
    quantized: &Graph,
    samples: &[Sample],
    want: &[Tensor],
    (extension, nchw, engine): (&str, bool, Option<&'static str>),
    jobs: &mut Vec<Job>,
    written: &mut Vec<Written>,
) -> Result<()> {
    let form = if nchw { "nchw.onnx" } else { extension };
    let path = folder.join(format!("{}.{form}", case.name));
    save(quantized, &path, &SaveOptions { nchw, ..SaveOptions::default() })?;
    let back = open(&path)?;
    let real = real_layers(&back);
    ensure!(real.is_empty(), "{}: read back, {} are real", path.display(), real.join(", "));
    let mut session = Model::from_graph(back, depthwise_engine::Options::default())?.session()?;
    let mut outputs = Vec::new();
    for (index, (sample, want)) in samples.iter().zip(want).enumerate() {
        let input = match nchw {
            true => channels_first(&sample.inputs[0])?,
            false => sample.inputs[0].clone(),
        };
        let got = session.run_tensors(std::slice::from_ref(&input))?;
        ensure!(got.first() == Some(want), "{}: read back, it gives other bits", path.display());
        let Some(engine) = engine else { continue };
        let file = folder.join(format!("{}.{form}.{index}.in", case.name));
        std::fs::write(&file, input.bytes())?;
        let output = folder.join(format!("{}.{form}.{index}", case.name));
        let name = case.graph.value(case.graph.inputs()[0]).name.clone();
        let inputs = vec![JobInput { name, dims: input.shape().to_vec(), file }];
        jobs.push(Job { engine, model: path.clone(), inputs, output: output.clone() });
        outputs.push(output);
    }
    if let Some(engine) = engine {
        let form = format!("{form}, {engine}");
        let (name, want, trained) = (case.name.clone(), want.to_vec(), case.trained);
        written.push(Written { name, form, outputs, want, trained });
    }
    Ok(())
}

/// What the other engines gave; returns the number of failures.
fn report(written: &[Written]) -> Result<usize> {
    let header = ["network", "written as", "same top-1", "mean abs", "max abs", "same bits", ""];
    let mut table = workspace::table(&header, &[2, 3, 4, 5]);
    let mut failures = 0;
    for Written { name, form, outputs, want, trained } in written {
        let (mut same, mut sum, mut most, mut bits, mut all) = (0, 0f64, 0f32, 0, 0);
        for (output, want) in outputs.iter().zip(want) {
            let got = match exported::first_output(output)? {
                Ok(got) => got,
                Err(error) => {
                    eprintln!("{name} as {form}: {error}");
                    continue;
                }
            };
            let want = want.to_f32();
            ensure!(got.len() == want.len(), "{name} as {form}: {} outputs", got.len());
            same += usize::from(top(&got) == top(&want));
            for (got, want) in got.iter().zip(want.iter()) {
                sum += f64::from((got - want).abs());
                most = most.max((got - want).abs());
                bits += usize::from(got == want);
                all += 1;
            }
        }
        // Random weights give answers that lie close together.
        let passed = all > 0 && (same == want.len() || !trained);
        failures += usize::from(!passed);
        table.add_row([
            name.clone(),
            form.clone(),
            format!("{same} of {}", want.len()),
            format!("{:.4}", sum / f64::from(all.max(1) as u32)),
            format!("{most:.4}"),
            format!("{:.1}%", 100.0 * bits as f64 / f64::from(all.max(1) as u32)),
            verdict(passed).into(),
        ]);
    }
    println!("{}\n", table.trim_fmt());
    Ok(failures)
}

fn top(row: &[f32]) -> Option<usize> {
    (0..row.len()).reduce(|best, i| if row[i] > row[best] { i } else { best })
}
