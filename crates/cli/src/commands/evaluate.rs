//! `depthwise evaluate`: how good a model is on labelled pictures or texts.

use crate::source::{self, EngineArgs, Preset};
use crate::text::outln;
use crate::training::{self, Bar, PictureSetup, Prepared};
use anyhow::{Result, ensure};
use depthwise_engine::Graph;
use depthwise_engine::layers::ir::Dim;
use depthwise_engine::tensor::Hw;
use depthwise_train::Augment;
use depthwise_train::data::Splits;
use depthwise_train::features::{Extractor, PictureInput, with_picture};
use depthwise_train::fit::Predictions;
use depthwise_train::report::{Mistake, Report};
use depthwise_train::text::{Synonyms, TextEncoder};
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
DATA is a folder with one folder of pictures per class, or a table (.csv) of `path,label` rows; of a
folder with folders test or val in it, these are taken. For a model that reads text, it is a file
(.jsonl or .csv) of texts and labels, or a folder with such a file called test or val. Folders and
labels must bear the names of the model's classes (--labels), or their numbers.

Examples:
  depthwise evaluate flowers.safetensors flowers/
  depthwise evaluate flowers.safetensors labels.csv --report flowers.html
  depthwise evaluate reviews.safetensors reviews-test.jsonl
  depthwise evaluate net.onnx data/ --labels names.txt --preset torchvision --json")]
pub(crate) struct Args {
    /// A model file.
    model: PathBuf,
    /// A folder of folders of pictures, a table of paths and labels, or texts and labels.
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

/// Samples that are computed at a time.
const BATCH: usize = 8;

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

/// What a network makes of labelled samples.
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

/// Runs a network over labelled samples: texts, where it has an encoder of its own, else pictures.
pub(crate) fn predictions(request: &Request<'_>) -> Result<Evaluated> {
    let (engine, path) = (request.engine, request.data);
    let threads = engine.par()?.threads();
    let encoder = TextEncoder::from_metadata(&request.graph.metadata)?;
    let graph = match &encoder {
        Some(_) => request.graph.clone(),
        None => with_picture(request.graph, picture_hw(request.graph)?, Dim::Fixed(1))?,
    };
    let mut extractor = Extractor::new(&graph, BATCH, &engine.options())?;
    let classes = extractor.width();
    let labels = source::labels(request.labels, &graph.metadata, classes)?;
    let part = match encoder {
        Some(encoder) => {
            let data = Splits::open_text_test(path)?.with_classes(path, &labels)?;
            training::prepare_texts(data, encoder, Synonyms::default(), 0, threads)
        }
        None => {
            let data = Splits::open_test(path)?.with_classes(path, &labels)?;
            let &Request { name, preset, known, .. } = request;
            let side = picture_hw(&graph)?.h;
            let setup = PictureSetup {
                preprocess: source::preprocessing(name, &graph.metadata, side, preset, known)?,
                nchw: PictureInput::of(&graph)?.nchw,
                augment: Augment::default(),
                seed: 0,
                threads,
                limit_bytes: 512 << 20,
            };
            training::prepare_pictures(data, &setup, "pictures")?
        }
    };
    ensure!(!part.data.samples.is_empty(), "{}: no readable samples", path.display());
    let mut bar = Bar::new(part.data.samples.len(), "evaluating");
    let mut probabilities = extractor.all(&*part.source, &[None], &mut |n| bar.advance(n))?;
    bar.clear();
    training::to_probabilities(&mut probabilities, classes);
    let predictions = Predictions { probabilities, labels: part.data.labels() };
    Ok(Evaluated { labels, part, predictions })
}

/// Extents of the pictures of a network.
fn picture_hw(graph: &Graph) -> Result<Hw> {
    Ok(PictureInput::of(graph)?.hw.unwrap_or(Hw::square(source::USUAL_SIDE)))
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
            eprintln!("left out: {skipped}");
        }
        if part.data.skipped.len() > 10 {
            eprintln!("left out: {} in all", part.data.skipped.len());
        }
    }
    let Some(page) = &args.report else { return Ok(()) };
    let report = Report {
        title: format!("{name} on {}", args.data.display()),
        settings: vec![("model".into(), args.model.display().to_string())],
        classes: classes.to_vec(),
        counts: Vec::new(),
        history: Vec::new(),
        best: 0,
        mistakes: Mistake::worst(&part.data, predictions, training::MISTAKES),
        metrics: Some(metrics),
        skipped: part.data.skipped.clone(),
    };
    report.save_page(page)?;
    if !args.json {
        outln!("{} written", page.display());
    }
    Ok(())
}
