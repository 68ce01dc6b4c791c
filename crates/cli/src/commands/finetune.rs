//! `depthwise finetune`: a new classifier from pictures in folders.

use crate::source::{self, EngineArgs, Preset};
use crate::text::outln;
use crate::training::{self, Bar, Prepared};
use anyhow::{Context, Result, ensure};
use depthwise_engine::Graph;
use depthwise_engine::layers::ir::Dim;
use depthwise_engine::tensor::Hw;
use depthwise_formats::SaveFormat;
use depthwise_train::data::{Dataset, FeatureSource, PictureSource, Sample, Splits};
use depthwise_train::features::{Extractor, PictureInput, with_picture};
use depthwise_train::fit::{Decay, EpochRecord, Observer, Outcome, evaluate};
use depthwise_train::report::{EventLog, Mistake, Report};
use depthwise_train::{Augment, FitError, FitOptions, LinearHead, fit, linear};
use depthwise_vision::Preprocess;
use std::path::{Path, PathBuf};
use std::time::Instant;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
DATA is a folder with one folder of pictures per class, or a table (.csv) of `path,label` rows. Where
it has folders train and val (or validation) of this kind, these are used; a folder test is left for
`depthwise evaluate`. Without a val folder, --validation of the pictures are held back, the same share
of every class.

The backbone stays as it is: the features of every picture are computed once, then a new last layer is
trained on them, which takes seconds. --views computes them for several random changes (--augment) of
every picture.

The result is one file with network, weights, class names and preprocessing, for `depthwise classify
--model`. Beside it, in a folder (--run), are a checkpoint, a page with curves, confusion and mistakes
(report.html) and an event log for TensorBoard.

Augmentations: flip, flip-vertical, and with =NUMBER: crop (least share of the area, 0.01 to 1), rotate
(degrees), shift (share), shear (degrees), zoom, brightness, noise (deviation, of 255), salt-pepper
(share of the pixels), cutout (share of the side), mixup.

Examples:
  depthwise finetune flowers/ -o flowers.safetensors
  depthwise finetune flowers/ -o flowers.safetensors --epochs 60 --views 4 --augment flip,crop=0.6
  depthwise finetune labels.csv -o net.safetensors --from mobilenet_v2.pth --size 96
  depthwise finetune flowers/ -o flowers.safetensors --resume

Then:
  depthwise classify --model flowers.safetensors photo.jpg
  depthwise evaluate flowers.safetensors flowers/")]
pub(crate) struct Args {
    /// A folder of folders of pictures, or a table of paths and labels.
    data: PathBuf,
    /// Where to write the network.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// The network to start from: a model file or weights of a known network; the EfficientNet-Lite0
    /// of the program unless given.
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
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
    /// Times that every picture is seen.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
    epochs: u32,
    /// Learning rate, after a warm-up and before it falls along a cosine.
    #[arg(long, default_value_t = 1e-3)]
    lr: f32,
    /// Pictures per step.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=4096))]
    batch: u16,
    /// Share of the targets that all classes get alike.
    #[arg(long, default_value_t = 0.1, value_name = "SHARE")]
    smoothing: f32,
    /// Weight decay.
    #[arg(long, default_value_t = 1e-2)]
    decay: f32,
    /// Stop after so many epochs without a better validation; 0 never.
    #[arg(long, default_value_t = 10)]
    patience: usize,
    /// Share of the pictures held back for validation, where DATA has no folder for it.
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
    /// Go on from the checkpoint of the run.
    #[arg(long)]
    resume: bool,
    /// Write over an output that exists.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    engine: EngineArgs,
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
    let network = Network::load(args)?;
    let threads = args.engine.par()?.threads();
    let bytes = args.cache.saturating_mul(1 << 20);
    let prepare =
        |data, what| training::prepare(data, network.preprocess, threads, bytes / 2, what);
    let (train, validation) = parts(args)?;
    let train = prepare(train, "training pictures")?;
    let validation = prepare(validation, "validation pictures")?;
    train.data.check_trainable(&args.data)?;
    announce(args, &network, &train.data, &validation.data)?;

    let (train_features, validation_features) = features(args, &network, &train, &validation)?;
    let folder = args.run.clone().unwrap_or_else(|| args.output.with_extension("run"));
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let options = options(args, &network, &train.data, &folder);
    let mut head = LinearHead::new(train_features.width, train.data.classes.len());
    (head.smoothing, head.decay) = (args.smoothing, args.decay);
    let mut progress = Progress::new(&folder, args.epochs as usize)?;
    let fitted = fit(&mut head, &train_features, &validation_features, &options, &mut progress);
    progress.bar.clear();
    let outcome = fitted?;

    let graph = network.finish(&head, &train.data.classes)?;
    source::save(&graph, &args.output)?;
    let report =
        report(args, &network, &train, &validation, &outcome, &mut head, &validation_features)?;
    let page = report.save(&folder)?;
    conclude(args, &report, &outcome, &page, start)
}

/// The network to start from.
struct Network {
    name: String,
    /// Name of the layer that is replaced.
    classifier: String,
    features: Graph,
    preprocess: Preprocess,
    hw: Hw,
    nchw: bool,
}

impl Network {
    fn load(args: &Args) -> Result<Network> {
        let (graph, known, name) = source::network(args.from.as_deref())?;
        let input = PictureInput::of(&graph)?;
        let own = input.hw.unwrap_or(Hw::square(source::USUAL_SIDE));
        let hw = args.size.map_or(own, |side| Hw::square(side.into()));
        ensure!(
            hw.h == hw.w,
            "the network takes pictures of {hw}; only square ones can be trained on"
        );
        let mut preprocess =
            source::preprocessing(&name, &graph.metadata, hw.h, args.preset, known)?;
        if args.stretch {
            preprocess = Preprocess::stretch(hw, preprocess.normalize);
        } else if hw != own {
            preprocess = Preprocess::classifier(hw.h, preprocess.normalize);
        }
        let graph = with_picture(&graph, hw, Dim::Fixed(1))?;
        let features = linear::cut(&graph, args.cut.as_deref())?;
        let classifier = linear::classifier_name(&graph).to_owned();
        Ok(Network { name, classifier, features, preprocess, hw, nchw: input.nchw })
    }

    /// The whole network with its new classifier.
    fn finish(&self, head: &LinearHead, classes: &[String]) -> Result<Graph> {
        let mut graph = linear::attach(self.features.clone(), head, &self.classifier)?;
        graph
            .metadata
            .retain(|key, _| !key.starts_with("preprocess.") && !key.starts_with("input."));
        graph.metadata.extend(self.preprocess.to_metadata());
        graph.metadata.insert("labels".into(), classes.join("\n"));
        Ok(graph)
    }
}

/// The part to learn from and the part to validate with.
fn parts(args: &Args) -> Result<(Dataset, Dataset)> {
    let Splits { train, validation } = Splits::open(&args.data)?;
    Ok(match validation {
        Some(validation) => (train, validation),
        None => train.split(args.validation, args.seed)?,
    })
}

fn announce(args: &Args, network: &Network, train: &Dataset, validation: &Dataset) -> Result<()> {
    let backbone = &network.name;
    outln!(
        "{} classes, {} pictures to learn from, {} to validate with",
        train.classes.len(),
        train.samples.len(),
        validation.samples.len()
    );
    outln!("{backbone}, {} pixels: {}", network.hw, network.preprocess);
    let skipped = train.skipped.len() + validation.skipped.len();
    if skipped > 0 {
        let first = train.skipped.iter().chain(&validation.skipped).next();
        let first =
            first.map(|s| format!("{}: {}", s.path.display(), s.reason)).unwrap_or_default();
        outln!("{skipped} files are left out ({first}); the report names them");
    }
    if validation.samples.is_empty() {
        outln!("no validation pictures: the last epoch is kept, and the report has no figures");
    }
    outln!("augmentation: {} in {} views", args.augment, args.views);
    Ok(())
}

/// The features of all pictures, by the engine.
fn features(
    args: &Args,
    network: &Network,
    train: &Prepared,
    validation: &Prepared,
) -> Result<(FeatureSource, FeatureSource)> {
    const BATCH: usize = 16;
    let options = args.engine.options();
    let mut extractor = Extractor::new(&network.features, network.hw, BATCH, &options)?;
    let views: Vec<Option<u64>> =
        [None].into_iter().chain((0..args.views.into()).map(Some)).collect();
    let total = train.store.len() * views.len() + validation.store.len();
    let mut bar = Bar::new(total, "computing features");
    let mut of = |part: &Prepared, views: &[Option<u64>]| -> Result<FeatureSource> {
        let source = PictureSource {
            augment: args.augment,
            seed: args.seed,
            nchw: network.nchw,
            threads: args.engine.par()?.threads(),
            ..PictureSource::new(&part.data, &part.store, &network.preprocess)?
        };
        let all = extractor.all(&source, views, &mut |n| bar.advance(n))?;
        Ok(FeatureSource::new(all, extractor.width(), source.labels, part.data.classes.len())?)
    };
    let both = (of(train, &views)?, of(validation, &[None])?);
    bar.clear();
    Ok(both)
}

fn options(args: &Args, network: &Network, train: &Dataset, folder: &Path) -> FitOptions {
    // The names of the files decide which picture is which.
    let names = train.samples.iter().map(|s| s.path.as_os_str());
    FitOptions {
        epochs: args.epochs as usize,
        batch: args.batch.into(),
        rate: args.lr,
        warmup: 0.05,
        decay: Decay::Cosine,
        patience: (args.patience > 0).then_some(args.patience),
        seed: args.seed,
        checkpoint: Some(folder.join("checkpoint.safetensors")),
        resume: args.resume,
        settings: format!(
            "{} at {} cut {}, {}, augmentation {} x {}, smoothing {}, decay {}, files {:016x}",
            network.name,
            network.hw,
            args.cut.as_deref().unwrap_or("before the classifier"),
            network.preprocess,
            args.augment,
            args.views,
            args.smoothing,
            args.decay,
            training::digest(names),
        ),
    }
}

/// Shows how training goes, and logs it.
struct Progress {
    bar: Bar,
    log: EventLog,
    epochs: usize,
    steps: usize,
    epoch: usize,
}

impl Progress {
    fn new(folder: &Path, epochs: usize) -> Result<Progress> {
        let bar = Bar::new(0, "");
        Ok(Progress { bar, log: EventLog::create(folder)?, epochs, steps: 0, epoch: 0 })
    }
}

impl Observer for Progress {
    fn begin(&mut self, epoch: usize, steps: usize) {
        if self.epoch == 0 {
            self.bar = Bar::new(self.epochs * steps, "training");
            self.bar.set((epoch - 1) * steps);
        }
        (self.epoch, self.steps) = (epoch, steps);
    }

    fn step(&mut self, loss: f32) {
        self.bar.advance(1);
        self.bar.say(format!("epoch {} of {}, loss {loss:.3}", self.epoch, self.epochs));
    }

    fn end(&mut self, record: &EpochRecord) -> Result<(), FitError> {
        let mut scalars = vec![("loss/train", record.loss), ("rate", f64::from(record.rate))];
        scalars.extend(record.validation_loss.map(|x| ("loss/validation", x)));
        scalars.extend(record.accuracy.map(|x| ("accuracy/validation", x)));
        scalars.extend(record.macro_f1.map(|x| ("macro_f1/validation", x)));
        self.log.add(record.epoch as u64, &scalars)
    }
}

fn report(
    args: &Args,
    network: &Network,
    train: &Prepared,
    validation: &Prepared,
    outcome: &Outcome,
    head: &mut LinearHead,
    features: &FeatureSource,
) -> Result<Report> {
    let classes = train.data.classes.len();
    let predictions = evaluate(head, features, args.batch.into())?;
    let worst = predictions.worst(classes, training::MISTAKES).into_iter();
    let mistakes = worst.map(|(sample, predicted, probability)| {
        let Sample { path, label } = &validation.data.samples[sample];
        Mistake { path: path.clone(), right: *label, predicted, probability }
    });
    let any = !validation.data.samples.is_empty();
    let settings = [
        ("data", args.data.display().to_string()),
        ("network", network.name.clone()),
        ("pictures", format!("{}, {}", network.hw, network.preprocess)),
        ("augmentation", format!("{}, {} views", args.augment, args.views)),
        ("epochs", args.epochs.to_string()),
        ("batch", args.batch.to_string()),
        ("learning rate", args.lr.to_string()),
        ("label smoothing", args.smoothing.to_string()),
        ("weight decay", args.decay.to_string()),
        ("seed", args.seed.to_string()),
        ("output", args.output.display().to_string()),
    ];
    let skipped = train.data.skipped.iter().chain(&validation.data.skipped);
    Ok(Report {
        title: format!("Fine-tuning on {}", args.data.display()),
        settings: settings.map(|(name, value)| (name.to_owned(), value)).into(),
        classes: train.data.classes.clone(),
        counts: train.data.counts().into_iter().zip(validation.data.counts()).collect(),
        history: outcome.history.clone(),
        best: outcome.best,
        metrics: any.then(|| predictions.metrics(classes)),
        mistakes: mistakes.collect(),
        skipped: skipped.cloned().collect(),
    })
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
    outln!("try: depthwise classify --model {output} PHOTO");
    Ok(())
}
