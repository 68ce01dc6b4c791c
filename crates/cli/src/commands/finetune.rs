//! `depthwise finetune`: a new classifier from pictures or texts.

mod loss;
mod network;
mod search;
mod text;
mod train;
mod tune;

use crate::source::{self, EngineArgs, Preset};
use crate::text::outln;
use crate::training::{self, PictureSetup, Prepared};
use anyhow::{Context, Result, ensure};
use depthwise_formats::SaveFormat;
use depthwise_train::data::{Splits, holds_text};
use depthwise_train::fit::{Decay, Outcome};
use depthwise_train::report::{EventLog, Mistake, Report};
use depthwise_train::{Augment, Initializer, Pattern};
use network::{Form, Network};
use search::{Found, Grid, Point};
use std::path::{Path, PathBuf};
use std::time::Instant;
use train::{Run, Trained};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
DATA is a folder with one folder of pictures per class, or a table (.csv) of `path,label` rows.
Where it has folders train and val (or validation) of this kind, these are used; a folder test is
left for `depthwise evaluate`. Without a val folder, --validation of the samples are held back,
the same share of every class.

For texts, DATA is a file with a JSON object {\"text\": .., \"label\": ..} in every line (.jsonl),
a table (.csv) with columns text and label (or without a head, with --text), or a folder with such
files called train, val and test. A small convolutional network learns the words, or what
--tokenizer makes of them, from scratch; --from takes a model that was trained so, with its
vocabulary.

Training has two phases. First the backbone stays as it is: the features of every picture are
computed once, then a new last layer is trained on them (--epochs, --lr), which takes seconds.
--views computes them for several random changes (--augment) of every picture. Then what --train
names is trained through the network (--tune-epochs, --tune-lr), the pictures changed anew in
every epoch:
  head      nothing more: the first phase is all
  last=N    the last N layers with parameters; a batch normalization is one of them
  all       everything
  PATTERNS  parameters by name, as `features.17.*,features.18.*`; the new layer always
The better of both phases is kept, by validation. --teacher FILE lets the second phase learn what
a better network of the same classes says of every picture.

--from NAME or NAME:WIDTH takes a network without weights (mobilenet-v1:0.5); all of it is
trained, and there is no first phase. --init PATTERN=HOW gives fresh weights to a part of a
network: he, glorot, gaussian=DEVIATION, uniform=LIMIT or constant=VALUE.

--search tries a grid of settings, `lr=1e-3,1e-2:batch=16,64:decay=0,0.01` (also tune-lr,
smoothing and l1), prints what each comes to, and keeps the network of the best.

The result is one file with network, weights, class names and preprocessing or vocabulary, for
`depthwise classify --model`. Beside it, in a folder (--run), are checkpoints, a page with curves,
confusion and mistakes (report.html) and an event log for TensorBoard.

Augmentations: flip, flip-vertical, and with =NUMBER: crop (least share of the area, 0.01 to 1),
rotate (degrees), shift (share), shear (degrees), zoom, brightness, noise (deviation, of 255),
salt-pepper (share of the pixels), cutout (share of the side), mixup.

Examples:
  depthwise finetune flowers/ -o flowers.safetensors
  depthwise finetune flowers/ -o flowers.safetensors --epochs 60 --views 4 --augment flip,crop=0.6
  depthwise finetune labels.csv -o net.safetensors --from mobilenet_v2.pth --size 96
  depthwise finetune flowers/ -o flowers.safetensors --train last=20 --tune-epochs 15
  depthwise finetune flowers/ -o flowers.safetensors --train all --rates 'head*=1,*=0.1'
  depthwise finetune flowers/ -o small.onnx --from mobilenet-v1:0.25 --teacher flowers.safetensors
  depthwise finetune flowers/ -o net.safetensors --init '*depthwise*=he' --train all
  depthwise finetune flowers/ -o flowers.safetensors --search lr=1e-3,3e-3,1e-2:batch=16,64
  depthwise finetune reviews.jsonl -o reviews.safetensors --synonyms words.csv
  depthwise finetune flowers/ -o flowers.safetensors --resume

Then:
  depthwise classify --model flowers.safetensors photo.jpg
  depthwise classify --model reviews.safetensors --text \"so good\"
  depthwise evaluate flowers.safetensors flowers/")]
pub(crate) struct Args {
    /// A folder of folders of pictures, a table of paths and labels, or texts and labels.
    data: PathBuf,
    /// Where to write the network.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// The network to start from: a model file, weights of a known network, or the name of a network
    /// without weights; the EfficientNet-Lite0 of the program unless given.
    #[arg(long, value_name = "FILE|NAME")]
    from: Option<String>,
    /// Fresh weights where names fit: `PATTERN=HOW`. May be given several times.
    #[arg(long, value_name = "PATTERN=HOW", value_parser = tune::parse_init)]
    init: Vec<(Pattern, Initializer)>,
    /// Where the new classifier goes: a value or the begin of a node's name, as `inspect` shows them;
    /// before the last layer unless given.
    #[arg(long, value_name = "NAME")]
    cut: Option<String>,
    /// Side of the pictures, in pixels; the network's own unless given.
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u16).range(16..=4096))]
    size: Option<u16>,
    /// Stretch pictures to the square instead of cropping its middle.
    #[arg(long)]
    stretch: bool,
    /// How pixels become numbers; needed where the model file does not say.
    #[arg(long)]
    preset: Option<Preset>,
    /// Times that the new layer sees every picture's features; 30 unless given, 0 for a network
    /// without weights.
    #[arg(long, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    epochs: Option<u32>,
    /// Learning rate of the new layer, after a warm-up and before it falls along a cosine.
    #[arg(long, default_value_t = 1e-3)]
    lr: f32,
    /// How that rate and --tune-lr fall: cosine, constant, step=EPOCHS:FACTOR, exponential=FACTOR, or
    /// plateau=EPOCHS:FACTOR after epochs without a lower loss.
    #[arg(long, value_name = "HOW", default_value = "cosine", value_parser = parse_schedule)]
    schedule: Decay,
    #[command(flatten)]
    tune: tune::TuneArgs,
    #[command(flatten)]
    words: text::TextArgs,
    /// Settings to be tried in all combinations: `NAME=VALUE,..:NAME=VALUE,..`.
    #[arg(long, value_name = "GRID")]
    search: Option<Grid>,
    /// Samples per step.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=4096))]
    batch: u16,
    /// Share of the targets that all classes get alike.
    #[arg(long, default_value_t = 0.1, value_name = "SHARE")]
    smoothing: f32,
    #[command(flatten)]
    loss: loss::LossArgs,
    /// Weight decay.
    #[arg(long, default_value_t = 1e-2)]
    decay: f32,
    /// Factor of the sum of absolute weights in the loss.
    #[arg(long, default_value_t = 0.0, value_name = "FACTOR")]
    l1: f32,
    /// Stop a phase after so many epochs without a better validation; 0 never.
    #[arg(long, default_value_t = 10)]
    patience: usize,
    /// Share of the samples held back for validation, where DATA has no folder for it.
    #[arg(long, default_value_t = 0.2, value_name = "SHARE")]
    validation: f32,
    /// Random changes to training pictures.
    #[arg(long, value_name = "LIST", default_value = "flip,crop=0.7")]
    augment: Augment,
    /// Random changes of every picture that features are computed for, beside the picture as it is.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(0..=1000))]
    views: u16,
    /// The same seed and data give the same network.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Memory for decoded pictures, in MB.
    #[arg(long, default_value_t = 1024, value_name = "MB")]
    cache: usize,
    /// Folder of the run; the output's path with `.run` unless given.
    #[arg(long, value_name = "FOLDER")]
    run: Option<PathBuf>,
    /// Go on from the checkpoints of the run.
    #[arg(long)]
    resume: bool,
    /// Write over an output that exists.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    engine: EngineArgs,
}

fn parse_schedule(text: &str) -> Result<Decay, String> {
    text.parse()
}

pub(crate) fn run(args: &Args) -> Result<()> {
    ensure!(
        args.force || args.resume || !args.output.exists(),
        "{} exists; give another name, --force to write over it, or --resume",
        args.output.display()
    );
    ensure!(
        SaveFormat::of_path(&args.output).is_some(),
        "{}: the name tells no format; end it in .safetensors, .onnx or .tflite",
        args.output.display()
    );
    let start = Instant::now();
    let threads = args.engine.par()?.threads();
    let is_text = args.words.text || holds_text(&args.data)?;
    let (network, train, validation) = match is_text {
        true => text::load(args, threads)?,
        false => pictures(args, threads)?,
    };
    train.data.check_trainable(&args.data)?;
    announce(args, &network, &train, &validation)?;

    let folder = args.run.clone().unwrap_or_else(|| args.output.with_extension("run"));
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let run = Run::new(args, network, train, validation, threads);
    let point = Point::of(args);
    let Found { point, trained, tried } = match &args.search {
        Some(grid) => search::run(&run, grid, point, &folder)?,
        None => {
            let trained = run.train(&point, &folder, &mut EventLog::create(&folder)?)?;
            Found { point, trained, tried: Vec::new() }
        }
    };
    let graph = run.network.finish(trained.graph.clone(), &run.train.data.classes)?;
    source::save(&graph, &args.output)?;
    let report = report(&run, &point, &trained, tried);
    let page = report.save(&folder)?;
    conclude(args, &report, &trained.outcome, &page, start)
}

/// The network and the pictures to learn from and to validate with.
fn pictures(args: &Args, threads: usize) -> Result<(Network, Prepared, Prepared)> {
    let (train, validation) = Splits::open(&args.data)?.parts(args.validation, args.seed)?;
    let network = Network::of_pictures(args, train.classes.len())?;
    let Form::Pictures { preprocess, nchw, .. } = network.form else {
        unreachable!("a network of pictures takes pictures")
    };
    let setup = PictureSetup {
        preprocess,
        nchw,
        augment: args.augment,
        seed: args.seed,
        threads,
        limit_bytes: args.cache.saturating_mul(1 << 20) / 2,
    };
    let train = training::prepare_pictures(train, &setup, "training pictures")?;
    let validation = training::prepare_pictures(validation, &setup, "validation pictures")?;
    Ok((network, train, validation))
}

fn announce(args: &Args, network: &Network, train: &Prepared, validation: &Prepared) -> Result<()> {
    let (train, validation) = (&train.data, &validation.data);
    outln!(
        "{} classes, {} samples to learn from, {} to validate with",
        train.classes.len(),
        train.samples.len(),
        validation.samples.len()
    );
    outln!("{}, {}", network.name, network.form);
    let mut skipped = train.skipped.iter().chain(&validation.skipped);
    if let Some(first) = skipped.next() {
        outln!("{} left out ({first}); the report names all", 1 + skipped.count());
    }
    if validation.samples.is_empty() {
        ensure!(args.search.is_none(), "--search needs samples to validate with");
        outln!("no validation samples: the last epoch is kept, and the report has no figures");
    }
    outln!("augmentation: {}", network.form.augmentation(args));
    if network.head_epochs > 0 {
        outln!("1. the new layer: {} epochs on {} views", network.head_epochs, args.views + 1);
    }
    if !network.scope.is_head() {
        outln!("2. {}: {} epochs", network.scope, args.tune.tune_epochs);
    }
    Ok(())
}

fn report(run: &Run<'_>, point: &Point, trained: &Trained, tried: Vec<(String, String)>) -> Report {
    let (args, network, validation) = (run.args, &run.network, &run.validation.data);
    let named = |name: &str, value: String| (name.to_owned(), value);
    let mut settings = vec![
        named("data", args.data.display().to_string()),
        named("network", network.name.clone()),
        named("input", network.form.to_string()),
        named("augmentation", network.form.augmentation(args)),
        named("batch", point.batch.to_string()),
        named("label smoothing", point.smoothing.to_string()),
        named("weight decay", point.decay.to_string()),
        named("schedule", format!("{:?}", args.schedule)),
        named("seed", args.seed.to_string()),
    ];
    if point.l1 > 0.0 {
        settings.push(named("L1", point.l1.to_string()));
    }
    if network.head_epochs > 0 {
        let (epochs, lr, views) = (network.head_epochs, point.lr, args.views + 1);
        let text = format!("{epochs} epochs on {views} views, learning rate {lr}");
        settings.push(named("1. the new layer", text));
    }
    if !network.scope.is_head() {
        let (epochs, lr) = (args.tune.tune_epochs, point.tune_lr);
        let how = args.tune.settings(&network.scope);
        let text = format!("{epochs} epochs, learning rate {lr}; {how}");
        settings.push(named("2. the network", text));
    }
    settings.push(named("output", args.output.display().to_string()));
    settings.extend(tried);
    let (train, predictions) = (&run.train.data, &trained.predictions);
    let any = !validation.samples.is_empty();
    Report {
        title: format!("Fine-tuning on {}", args.data.display()),
        settings,
        classes: train.classes.clone(),
        counts: train.counts().into_iter().zip(validation.counts()).collect(),
        history: trained.outcome.history.clone(),
        best: trained.outcome.best,
        metrics: any.then(|| predictions.metrics(validation.classes.len())),
        mistakes: Mistake::worst(validation, predictions, training::MISTAKES),
        skipped: train.skipped.iter().chain(&validation.skipped).cloned().collect(),
    }
}

fn conclude(
    args: &Args,
    report: &Report,
    outcome: &Outcome,
    page: &Path,
    start: Instant,
) -> Result<()> {
    let early = if outcome.stopped_early { ", stopped early" } else { "" };
    outln!("{} epochs{early}; epoch {} is kept", outcome.history.len(), outcome.best);
    if let Some(metrics) = &report.metrics {
        training::print(&report.classes, metrics)?;
    }
    let output = args.output.display();
    outln!(
        "{output} and {} written, {:.1} s in all",
        page.display(),
        start.elapsed().as_secs_f64()
    );
    outln!("try: depthwise classify --model {output} PHOTO (or --text TEXT)");
    Ok(())
}
