//! `depthwise evaluate`: how good a model is on labelled pictures.

use crate::source::{self, EngineArgs, Preset};
use crate::text::outln;
use crate::training::{self, Bar, Prepared};
use anyhow::{Result, ensure};
use depthwise_engine::tensor::Hw;
use depthwise_train::data::{PictureSource, Splits};
use depthwise_train::features::{Extractor, PictureInput};
use depthwise_train::fit::Predictions;
use depthwise_train::metrics::softmax;
use depthwise_train::report::{Mistake, Report};
use std::path::PathBuf;

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

pub(crate) fn run(args: &Args) -> Result<()> {
    let (graph, known, name) = source::network(Some(&args.model))?;
    let input = PictureInput::of(&graph)?;
    let hw = input.hw.unwrap_or(Hw::square(source::USUAL_SIDE));
    let preprocess = source::preprocessing(&name, &graph.metadata, hw.h, args.preset, known)?;
    let mut extractor = Extractor::new(&graph, hw, 8, &args.engine.options())?;
    let classes = extractor.width();
    let labels = source::labels(args.labels.as_deref(), &graph.metadata, classes)?;
    let data = Splits::open_test(&args.data)?.with_classes(&args.data, &labels)?;
    let threads = args.engine.par()?.threads();
    // Pictures are seen once: none is kept.
    let store = depthwise_train::data::PictureStore::new(&data, preprocess, 512 << 20);
    let mut part = Prepared { data, store };
    let mut bar = Bar::new(part.store.len(), "reading pictures");
    let bad = part.store.check(threads, || bar.advance(1));
    bar.clear();
    part.store = part.store.without(&bad);
    part.data.skip(bad);
    ensure!(!part.data.samples.is_empty(), "{}: no readable pictures", args.data.display());
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
    show(args, &name, &labels, &part, &predictions)
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
