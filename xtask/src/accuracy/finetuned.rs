//! `cargo xtask accuracy --finetuned`: networks that this program trained, in other engines.
//!
//! Two backbones get a new classifier and learn a few steps, all layers, on the photos; a network for
//! text learns a few lines. What each then says of its samples is compared with what ONNX Runtime and
//! LiteRT make of the files written.

use super::exported::{self, Job, JobInput, channels_first};
use super::{RELATIVE_EXPORTED, errors, find, verdict};
use crate::workspace;
use anyhow::{Result, bail, ensure};
use depthwise_engine::formats::SaveOptions;
use depthwise_engine::{Graph, Model, Options, Tensor};
use depthwise_layers::ir::Dim;
use depthwise_tensor::{DType, Hw};
use depthwise_train::features::with_picture;
use depthwise_train::text::{Synonyms, TextEncoder, VocabularyOptions};
use depthwise_train::{
    Head, Initializer, Optimizer, Schedule, Target, TrainOptions, Trainer, initialize, replace_head,
};
use depthwise_vision::{Normalize, Picture, Preprocess};
use depthwise_zoo::{Random, TextCnn};
use std::path::{Path, PathBuf};

/// Side of the photos.
const SIDE: usize = 96;
/// Steps that a network learns.
const STEPS: usize = 5;
/// How a network is written, and who is to run it.
const FORMS: [(&str, bool, &str); 3] =
    [("onnx", false, "onnxruntime"), ("onnx", true, "onnxruntime"), ("tflite", false, "litert")];
/// Texts and their classes.
const TEXTS: [(&str, usize); 6] = [
    ("a good film, and so funny", 0),
    ("never again such a bad film", 1),
    ("good music and a good story", 0),
    ("the story is bad, the music worse", 1),
    ("funny from start to end", 0),
    ("bad from start to end", 1),
];

/// A network and samples to learn, each of batch 1.
struct Case {
    name: String,
    graph: Graph,
    samples: Vec<Tensor>,
    classes: Vec<usize>,
}

/// A file that another engine runs on each sample.
struct Written {
    name: String,
    form: String,
    outputs: Vec<PathBuf>,
    want: Vec<Tensor>,
}

pub(super) fn run(models: &Path, only: Option<&str>) -> Result<()> {
    let folder = workspace::target().join("finetuned");
    std::fs::create_dir_all(&folder)?;
    let python = exported::engines()?;
    let (mut jobs, mut written) = (Vec::new(), Vec::new());
    for case in cases(models)? {
        if only.is_none_or(|text| case.name.contains(text)) {
            eprintln!("{} ...", case.name);
            let trained = learn(&case)?;
            write(&folder, &case, trained, &mut jobs, &mut written)?;
        }
    }
    exported::execute(&python, &folder, &jobs)?;
    let header = ["network", "written as", "same class", "max abs", "relative", ""];
    let mut table = workspace::table(&header, &[2, 3, 4]);
    let mut failures = 0;
    for Written { name, form, outputs, want } in &written {
        let (mut same, mut absolute, mut relative) = (0, 0f32, 0f32);
        for (output, want) in outputs.iter().zip(want) {
            let got = match exported::first_output(output)? {
                Ok(got) => got,
                Err(error) => bail!("{name} as {form}: {error}"),
            };
            let want = want.to_f32();
            ensure!(got.len() == want.len(), "{name} as {form}: {} outputs", got.len());
            let (a, r) = errors(&got, &want);
            (absolute, relative) = (absolute.max(a), relative.max(r));
            same += usize::from(largest(&got) == largest(&want));
        }
        let passed = same == want.len() && relative < RELATIVE_EXPORTED;
        failures += usize::from(!passed);
        table.add_row([
            name.clone(),
            form.clone(),
            format!("{same} of {}", want.len()),
            format!("{absolute:.1e}"),
            format!("{relative:.1e}"),
            verdict(passed).into(),
        ]);
    }
    println!("{}\n", table.trim_fmt());
    match failures {
        0 => {
            println!("accuracy: {} files of trained networks agree", written.len());
            Ok(())
        }
        n => bail!("accuracy: {n} comparisons failed"),
    }
}

fn largest(scores: &[f32]) -> Option<usize> {
    (0..scores.len()).max_by(|&a, &b| scores[a].total_cmp(&scores[b]))
}

fn cases(models: &Path) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for subject in find(models, false)?.0 {
        let Some((normalize, name)) = subject.photos else { continue };
        if subject.name.contains("embedded") {
            continue;
        }
        let graph = with_picture(&subject.graph, Hw::square(SIDE), Dim::Fixed(1))?;
        let graph = replace_head(&graph, None, &Head::new(2))?;
        let samples = photos(&models.join("photos"), normalize)?;
        let classes = (0..samples.len()).map(|i| i % 2).collect();
        cases.push(Case { name: name.to_owned(), graph, samples, classes });
    }
    cases.push(text()?);
    Ok(cases)
}

fn photos(folder: &Path, normalize: Normalize) -> Result<Vec<Tensor>> {
    let prepare = Preprocess::classifier(SIDE, normalize);
    let paths = super::files(folder)?.into_iter().filter(|path| path.extension().is_some());
    let samples = paths.map(|path| Ok(prepare.tensor(&Picture::open(&path)?)?));
    let samples = samples.collect::<Result<Vec<_>>>()?;
    ensure!(!samples.is_empty(), "{}: no photos", folder.display());
    Ok(samples)
}

fn text() -> Result<Case> {
    let options = VocabularyOptions::new(8);
    let lines = TEXTS.iter().map(|(text, _)| *text);
    let encoder = TextEncoder::of_words(lines.clone(), &Synonyms::default(), options)?;
    let net = TextCnn::new(encoder.size(), encoder.length());
    let mut graph = net.build(&Random { seed: 1 })?;
    initialize(&mut graph, &"*".into(), Initializer::He, 1)?;
    let mut samples = Vec::new();
    for line in lines {
        let mut row = vec![0i64; encoder.length()];
        encoder.write(line, &mut row)?;
        samples.push(Tensor::from_vec(&[1, row.len()], row)?);
    }
    let classes = TEXTS.iter().map(|(_, class)| *class).collect();
    Ok(Case { name: "text_cnn".into(), graph, samples, classes })
}

/// The network after a few steps of all its layers.
fn learn(case: &Case) -> Result<Graph> {
    let schedule = Schedule::constant(1e-3);
    let options =
        TrainOptions { optimizer: Optimizer::adam(), schedule, ..TrainOptions::default() };
    let mut trainer = Trainer::new(case.graph.clone(), options)?;
    let batch = stacked(&case.samples)?;
    for _ in 0..STEPS {
        trainer.step(std::slice::from_ref(&batch), Target::Classes(&case.classes))?;
    }
    Ok(trainer.into_graph()?)
}

/// Samples of batch 1 as one batch.
fn stacked(samples: &[Tensor]) -> Result<Tensor> {
    let mut dims = samples[0].shape().to_vec();
    dims[0] = samples.len();
    Ok(match samples[0].dtype() {
        DType::I64 => {
            let all: Vec<i64> = samples.iter().flat_map(|t| t.to_i64().into_owned()).collect();
            Tensor::from_vec(&dims, all)?
        }
        _ => {
            let all: Vec<f32> = samples.iter().flat_map(|t| t.to_f32().into_owned()).collect();
            Tensor::from_vec(&dims, all)?
        }
    })
}

fn write(
    folder: &Path,
    case: &Case,
    trained: Graph,
    jobs: &mut Vec<Job>,
    written: &mut Vec<Written>,
) -> Result<()> {
    let shape = *case.samples[0].shape();
    let model = Model::from_graph(trained, Options::default())?;
    let input_name = model.inputs().next().map(|(name, _)| name.to_owned()).unwrap_or_default();
    let mut files = Vec::new();
    for (extension, nchw, engine) in FORMS.into_iter().filter(|form| !form.1 || shape.rank() == 4) {
        let form = if nchw { "nchw.onnx" } else { extension };
        let path = folder.join(format!("{}.{form}", case.name));
        model.export(&path, &SaveOptions { nchw, input_shapes: vec![shape], half: false })?;
        files.push((path, form, nchw, engine));
    }
    // Packing drops the weights, so the model runs when all is written.
    let mut session = model.session_for(&[shape])?;
    let mut want = Vec::new();
    for sample in &case.samples {
        want.extend(session.run_tensors(std::slice::from_ref(sample))?.into_iter().next());
    }
    for (path, form, nchw, engine) in files {
        let mut outputs = Vec::new();
        for (index, sample) in case.samples.iter().enumerate() {
            let input = if nchw { channels_first(sample)? } else { sample.clone() };
            let kind = if input.dtype() == DType::I64 { "i64" } else { "in" };
            let file = folder.join(format!("{}.{form}.{index}.{kind}", case.name));
            std::fs::write(&file, input.bytes())?;
            let output = folder.join(format!("{}.{form}.{index}", case.name));
            let inputs =
                vec![JobInput { name: input_name.clone(), dims: input.shape().to_vec(), file }];
            jobs.push(Job { engine, model: path.clone(), inputs, output: output.clone() });
            outputs.push(output);
        }
        let form = format!("{form}, {engine}");
        written.push(Written { name: case.name.clone(), form, outputs, want: want.clone() });
    }
    Ok(())
}
