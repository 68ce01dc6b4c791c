//! `depthwise evaluate`: how good a model is on labelled pictures.

use crate::source::{self, EngineArgs, Preset};
use crate::text::outln;
use crate::training::{self, Bar, Prepared};
use anyhow::{Result, ensure};
use depthwise_engine::Graph;
use depthwise_engine::tensor::Hw;
use depthwise_train::data::{PictureSource, Splits};
use depthwise_train::features::{Extractor, PictureInput};
use depthwise_train::fit::Predictions;
use depthwise_train::metrics::softmax;
use depthwise_train::report::{Mistake, Report};
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
DATA is a folder with one folder of pictures per class, or a table (.csv) of `path,label` rows; of a
folder with folders test or val in it, these are taken. Folders and labels must bear the names of the
model's classes (--labels), or their numbers.

Examples:
  depthwise evaluate flowers.safetensors flowers/
  depthwise evaluate flowers.safetensors labels.csv --report flowers.html
  depthwise evaluate net.onnx data/ --labels names.txt --preset torchvision --json")]
pub(crate) struct Args {
    /// A model file.
    model: PathBuf,
    /// A folder of folders of pictures, or a table of paths and labels.
    data: PathBuf,
    /// Names of the classes: one per line, or a JSON list or object.
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// How pixels become numbers; needed where the model file does not say.
    #[arg(long)]
    preset: Option<Preset>,
    /// Print the figures as JSON.
    #[arg(long)]
    json: bool,
    /// Write a page with confusion and mistakes.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    #[command(flatten)]
    engine: EngineArgs,
}

/// What is to be evaluated, on what.
pub(crate) struct Request<'a> {
    pub(crate) graph: &'a Graph,
    pub(crate) name: &'a str,
    /// The preset of weights of a known network.
    pub(crate) known: Option<Preset>,
    pub(crate) data: &'a Path,
    pub(crate) labels: Option<&'a Path>,
    pub(crate) preset: Option<Preset>,
    pub(crate) engine: &'a EngineArgs,
}

/// What a network makes of labelled pictures.
pub(crate) struct Evaluated {
    pub(crate) labels: Vec<String>,
    pub(crate) part: Prepared,
    pub(crate) predictions: Predictions,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let (graph, known, name) = source::network(Some(&args.model))?;
    // Pictures are given and scores are read as real numbers, whatever the file stores.
    let evaluated = predictions(&Request {
        graph: &graph.with_real_ports(),
        name: &name,
        known,
        data: &args.data,
        labels: args.labels.as_deref(),
        preset: args.preset,
        engine: &args.engine,
    })?;
    show(args, &name, &evaluated.labels, &evaluated.part, &evaluated.predictions)
}

/// Runs a network over labelled pictures.
pub(crate) fn predictions(request: &Request<'_>) -> Result<Evaluated> {
    let &Request { graph, data: path, .. } = request;
    let input = PictureInput::of(graph)?;
    let hw = input.hw.unwrap_or(Hw::square(source::USUAL_SIDE));
    let Request { name, preset, known, .. } = *request;
    let preprocess = source::preprocessing(name, &graph.metadata, hw.h, preset, known)?;
    let mut extractor = Extractor::new(graph, hw, 8, &request.engine.options())?;
    let classes = extractor.width();
    let labels = source::labels(request.labels, &graph.metadata, classes)?;
    let data = Splits::open_test(path)?.with_classes(path, &labels)?;
    let threads = request.engine.par()?.threads();
    // Pictures are seen once: none is kept.
    let store = depthwise_train::data::PictureStore::new(&data, preprocess, 512 << 20);
    let mut part = Prepared { data, store };
    let mut bar = Bar::new(part.store.len(), "reading pictures");
    let bad = part.store.check(threads, || bar.advance(1));
    bar.clear();
    part.store = part.store.without(&bad);
    part.data.skip(bad);
    ensure!(!part.data.samples.is_empty(), "{}: no readable pictures", path.display());
    let source = PictureSource {
        nchw: input.nchw,
        threads,
        ..PictureSource::new(&part.data, &part.store, &preprocess)?
    };
    let mut bar = Bar::new(part.store.len(), "evaluating");
    let mut probabilities = extractor.all(&source, &[None], &mut |n| bar.advance(n))?;
    bar.clear();
    if !are_probabilities(&probabilities, classes) {
        softmax(&mut probabilities, classes);
    }
    let predictions = Predictions { probabilities, labels: source.labels.clone() };
    Ok(Evaluated { labels, part, predictions })
}

/// Whether every row is one of probabilities already.
fn are_probabilities(rows: &[f32], classes: usize) -> bool {
    rows.chunks_exact(classes.max(1)).all(|row| {
        let sum: f32 = row.iter().sum();
        (sum - 1.0).abs() < 1e-3 && row.iter().all(|x| (0.0..=1.0).contains(x))
    })
}

fn show(
    args: &Args,
    name: &str,
    classes: &[String],
    part: &Prepared,
    predictions: &Predictions,
) -> Result<()> {
    let metrics = predictions.metrics(classes.len());
    if args.json {
        outln!("{}", serde_json::to_string(&metrics)?);
    } else {
        training::print(classes, &metrics)?;
        for skipped in part.data.skipped.iter().take(10) {
            eprintln!("left out: {}: {}", skipped.path.display(), skipped.reason);
        }
        if part.data.skipped.len() > 10 {
            eprintln!("left out: {} files in all", part.data.skipped.len());
        }
    }
    let Some(page) = &args.report else { return Ok(()) };
    let worst = predictions.worst(classes.len(), training::MISTAKES).into_iter();
    let mistakes = worst.map(|(sample, predicted, probability)| {
        let sample = &part.data.samples[sample];
        Mistake { path: sample.path.clone(), right: sample.label, predicted, probability }
    });
    let report = Report {
        title: format!("{name} on {}", args.data.display()),
        settings: vec![("model".into(), args.model.display().to_string())],
        classes: classes.to_vec(),
        counts: Vec::new(),
        history: Vec::new(),
        best: 0,
        mistakes: mistakes.collect(),
        metrics: Some(metrics),
        skipped: part.data.skipped.clone(),
    };
    report.save_page(page)?;
    if !args.json {
        outln!("{} written", page.display());
    }
    Ok(())
}
