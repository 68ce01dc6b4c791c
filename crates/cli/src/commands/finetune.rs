//! `depthwise finetune`: a new classifier from pictures in folders.

mod network;
mod tune;

use crate::source::{self, EngineArgs, Preset};
use crate::text::outln;
use crate::training::{self, Bar, Prepared, Progress};
use anyhow::{Context, Result, ensure};
use depthwise_engine::Graph;
use depthwise_formats::SaveFormat;
use depthwise_train::data::{
    Dataset, FeatureSource, PictureSource, Sample, Source, Splits, TakeBatch,
};
use depthwise_train::features::Extractor;
use depthwise_train::fit::{Decay, EpochRecord, Outcome, Predictions, evaluate};
use depthwise_train::report::{EventLog, Mistake, Report};
use depthwise_train::{
    Augment, FitError, FitOptions, Initializer, Learner, Loss, Optimizer, Pattern, TrainOptions,
    Trainer, copy_parameters, fit,
};
use network::Network;
use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::time::Instant;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
DATA is a folder with one folder of pictures per class, or a table (.csv) of `path,label` rows. Where
it has folders train and val (or validation) of this kind, these are used; a folder test is left for
`depthwise evaluate`. Without a val folder, --validation of the pictures are held back, the same share
of every class.

Training has two phases. First the backbone stays as it is: the features of every picture are computed
once, then a new last layer is trained on them (--epochs, --lr), which takes seconds. --views computes
them for several random changes (--augment) of every picture. Then what --train names is trained through
the network (--tune-epochs, --tune-lr), the pictures changed anew in every epoch:
  head      nothing more: the first phase is all
  last=N    the last N layers with parameters; a batch normalization is one of them
  all       everything
  PATTERNS  parameters by name, as `features.17.*,features.18.*`; the new layer always
The better of both phases is kept, by validation. --teacher FILE lets the second phase learn what a
better network of the same classes says of every picture.

--from NAME or NAME:WIDTH takes a network without weights (mobilenet-v1:0.5); all of it is trained,
and there is no first phase. --init PATTERN=HOW gives fresh weights to a part of a network: he, glorot,
gaussian=DEVIATION, uniform=LIMIT or constant=VALUE.

The result is one file with network, weights, class names and preprocessing, for `depthwise classify
--model`. Beside it, in a folder (--run), are checkpoints, a page with curves, confusion and mistakes
(report.html) and an event log for TensorBoard.

Augmentations: flip, flip-vertical, and with =NUMBER: crop (least share of the area, 0.01 to 1), rotate
(degrees), shift (share), shear (degrees), zoom, brightness, noise (deviation, of 255), salt-pepper
(share of the pixels), cutout (share of the side), mixup.

Examples:
  depthwise finetune flowers/ -o flowers.safetensors
  depthwise finetune flowers/ -o flowers.safetensors --epochs 60 --views 4 --augment flip,crop=0.6
  depthwise finetune labels.csv -o net.safetensors --from mobilenet_v2.pth --size 96
  depthwise finetune flowers/ -o flowers.safetensors --train last=20 --tune-epochs 15
  depthwise finetune flowers/ -o flowers.safetensors --train all --rates 'head*=1,*=0.1'
  depthwise finetune flowers/ -o small.onnx --from mobilenet-v1:0.25 --teacher flowers.safetensors
  depthwise finetune flowers/ -o net.safetensors --init '*depthwise*=he' --train all
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
    #[command(flatten)]
    tune: tune::TuneArgs,
    /// Pictures per step.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=4096))]
    batch: u16,
    /// Share of the targets that all classes get alike.
    #[arg(long, default_value_t = 0.1, value_name = "SHARE")]
    smoothing: f32,
    /// Weight decay.
    #[arg(long, default_value_t = 1e-2)]
    decay: f32,
    /// Stop a phase after so many epochs without a better validation; 0 never.
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
    /// Go on from the checkpoints of the run.
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
    let (train, validation) = parts(args)?;
    let network = Network::load(args, train.classes.len())?;
    let threads = args.engine.par()?.threads();
    let bytes = args.cache.saturating_mul(1 << 20);
    let prepare =
        |data, what| training::prepare(data, network.preprocess, threads, bytes / 2, what);
    let train = prepare(train, "training pictures")?;
    let validation = prepare(validation, "validation pictures")?;
    train.data.check_trainable(&args.data)?;
    announce(args, &network, &train.data, &validation.data)?;

    let folder = args.run.clone().unwrap_or_else(|| args.output.with_extension("run"));
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let run = Run { args, network, train, validation, folder, threads };
    let mut log = EventLog::create(&run.folder)?;
    let trained = run.train(&mut log)?;
    let graph = run.network.finish(trained.graph, &run.train.data.classes);
    source::save(&graph, &args.output)?;
    let report = run.report(&trained.outcome, &trained.predictions);
    let page = report.save(&run.folder)?;
    conclude(args, &report, &trained.outcome, &page, start)
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
    outln!("augmentation: {}", args.augment);
    if network.head_epochs > 0 {
        outln!("1. the new layer: {} epochs on {} views", network.head_epochs, args.views + 1);
    }
    if !network.scope.is_head() {
        outln!("2. {}: {} epochs", network.scope, args.tune.tune_epochs);
    }
    Ok(())
}

/// A run whose data are read.
struct Run<'a> {
    args: &'a Args,
    network: Network,
    train: Prepared,
    validation: Prepared,
    folder: PathBuf,
    threads: usize,
}

/// What a run came to.
struct Trained {
    graph: Graph,
    /// Of both phases, epochs numbered through.
    outcome: Outcome,
    /// For the validation pictures.
    predictions: Predictions,
}

impl Run<'_> {
    /// Both phases; the better one is what is left.
    fn train(&self, log: &mut EventLog) -> Result<Trained> {
        let head = match self.network.head_epochs {
            0 => None,
            epochs => Some(self.train_head(epochs, log)?),
        };
        if self.network.scope.is_head() {
            return head.context("--epochs 0 with --train head trains nothing");
        }
        let start = head.as_ref().map_or(&self.network.graph, |head| &head.graph);
        let before = head.as_ref().map_or(0, |head| head.outcome.history.len());
        let mut tuned = self.tune(start.clone(), before, log)?;
        let Some(head) = head else { return Ok(tuned) };
        let best = |trained: &Trained| trained.outcome.history[trained.outcome.best - 1];
        let keep_head =
            !self.validation.data.samples.is_empty() && !best(&tuned).beats(&best(&head));
        let own = tuned.outcome.history.iter();
        let own = own.map(|e| EpochRecord { epoch: e.epoch + before, ..*e });
        let outcome = Outcome {
            history: head.outcome.history.iter().copied().chain(own).collect(),
            best: if keep_head { head.outcome.best } else { before + tuned.outcome.best },
            stopped_early: tuned.outcome.stopped_early,
        };
        if keep_head {
            tuned = head;
        }
        Ok(Trained { outcome, ..tuned })
    }

    /// The new layer alone, on features.
    fn train_head(&self, epochs: u32, log: &mut EventLog) -> Result<Trained> {
        let args = self.args;
        let (backbone, head) = self.network.split()?;
        let views: Vec<Option<u64>> =
            [None].into_iter().chain((0..args.views.into()).map(Some)).collect();
        let train = self.features(&self.train, &backbone, views);
        let validation = self.features(&self.validation, &backbone, vec![None]);
        let mut learner = Learner::new(Trainer::new(
            head,
            TrainOptions {
                loss: self.cross_entropy(),
                optimizer: Optimizer::adamw(args.decay),
                no_decay: vec!["*.bias".into()],
                seed: args.seed,
                threads: self.threads,
                ..TrainOptions::default()
            },
        )?);
        let options = FitOptions {
            epochs: epochs as usize,
            rate: args.lr,
            checkpoint: Some(self.folder.join("head.checkpoint.safetensors")),
            settings: format!("{}, {} views", self.settings(), args.views),
            ..self.options()
        };
        let mut progress = Progress::new(log, options.epochs, 0);
        let fitted = fit(&mut learner, &train, &validation, &options, &mut progress);
        progress.bar.clear();
        let outcome = fitted?;
        let mut graph = self.network.graph.clone();
        copy_parameters(&learner.trainer.graph()?, &mut graph)?;
        let predictions = evaluate(&mut learner, &validation, args.batch.into())?;
        Ok(Trained { graph, outcome, predictions })
    }

    /// Layers of the network on pictures.
    fn tune(&self, graph: Graph, before: usize, log: &mut EventLog) -> Result<Trained> {
        let (args, tune) = (self.args, &self.args.tune);
        let teacher = self.network.teacher(args, &self.train.data.classes)?;
        let options = tune.train_options(&self.network, args.decay, &graph)?;
        let loss = match &teacher {
            Some(_) => tune.distillation(),
            None => self.cross_entropy(),
        };
        let trainer = Trainer::new(
            graph,
            TrainOptions { loss, seed: args.seed, threads: self.threads, ..options },
        )?;
        let trained = trainer.parameters().map(|(_, values)| values.len()).sum::<usize>();
        outln!("{trained} parameters are trained");
        let mut learner = Learner { trainer, teacher };
        let train = self.pictures(&self.train)?;
        let validation = self.pictures(&self.validation)?;
        let options = FitOptions {
            epochs: tune.tune_epochs as usize,
            rate: tune.tune_lr,
            checkpoint: Some(self.folder.join("checkpoint.safetensors")),
            settings: format!(
                "{}, after {before} epochs of the new layer of rate {} and {} views; {}",
                self.settings(),
                args.lr,
                args.views,
                tune.settings(&self.network.scope)
            ),
            ..self.options()
        };
        let mut progress = Progress::new(log, options.epochs, before);
        let fitted = fit(&mut learner, &train, &validation, &options, &mut progress);
        progress.bar.clear();
        let outcome = fitted?;
        let predictions = evaluate(&mut learner, &validation, args.batch.into())?;
        Ok(Trained { graph: learner.trainer.averaged_graph()?, outcome, predictions })
    }

    fn cross_entropy(&self) -> Loss {
        Loss::CrossEntropy { label_smoothing: self.args.smoothing, class_weights: Vec::new() }
    }

    fn pictures<'p>(&self, part: &'p Prepared) -> Result<PictureSource<'p>, FitError> {
        Ok(PictureSource {
            augment: self.args.augment,
            seed: self.args.seed,
            nchw: self.network.nchw,
            threads: self.threads,
            ..PictureSource::new(&part.data, &part.store, &self.network.preprocess)?
        })
    }

    fn features<'p>(
        &'p self,
        part: &'p Prepared,
        backbone: &'p Graph,
        views: Vec<Option<u64>>,
    ) -> LazyFeatures<'p> {
        let (len, classes) = (part.data.samples.len(), part.data.classes.len());
        let compute = move || {
            const BATCH: usize = 16;
            let options = self.args.engine.options();
            let mut extractor = Extractor::new(backbone, self.network.hw, BATCH, &options)?;
            let source = self.pictures(part)?;
            let mut bar = Bar::new(len * views.len(), "computing features");
            let all = extractor.all(&source, &views, &mut |n| bar.advance(n));
            bar.clear();
            FeatureSource::new(all?, extractor.width(), source.labels, classes)
        };
        LazyFeatures { len, classes, compute: Box::new(compute), computed: OnceCell::new() }
    }

    fn options(&self) -> FitOptions {
        let args = self.args;
        FitOptions {
            batch: args.batch.into(),
            warmup: 0.05,
            decay: Decay::Cosine,
            patience: (args.patience > 0).then_some(args.patience),
            seed: args.seed,
            resume: args.resume,
            ..FitOptions::default()
        }
    }

    /// What both phases depend on, for their checkpoints.
    fn settings(&self) -> String {
        let (args, network) = (self.args, &self.network);
        // The names of the files decide which picture is which.
        let names = self.train.data.samples.iter().map(|s| s.path.as_os_str());
        format!(
            "{} at {} cut {}, fresh {:?}, {}, augmentation {}, smoothing {}, decay {}, dropout {}, \
             files {:016x}",
            network.name,
            network.hw,
            args.cut.as_deref().unwrap_or("before the classifier"),
            network.init,
            network.preprocess,
            args.augment,
            args.smoothing,
            args.decay,
            args.tune.dropout,
            training::digest(names),
        )
    }

    fn report(&self, outcome: &Outcome, predictions: &Predictions) -> Report {
        let (args, network, validation) = (self.args, &self.network, &self.validation.data);
        let classes = validation.classes.len();
        let worst = predictions.worst(classes, training::MISTAKES).into_iter();
        let mistakes = worst.map(|(sample, predicted, probability)| {
            let Sample { path, label } = &validation.samples[sample];
            Mistake { path: path.clone(), right: *label, predicted, probability }
        });
        let mut settings = vec![
            ("data", args.data.display().to_string()),
            ("network", network.name.clone()),
            ("pictures", format!("{}, {}", network.hw, network.preprocess)),
            ("augmentation", args.augment.to_string()),
            ("batch", args.batch.to_string()),
            ("label smoothing", args.smoothing.to_string()),
            ("weight decay", args.decay.to_string()),
            ("seed", args.seed.to_string()),
        ];
        if network.head_epochs > 0 {
            let (epochs, lr, views) = (network.head_epochs, args.lr, args.views + 1);
            let text = format!("{epochs} epochs on {views} views, learning rate {lr}");
            settings.push(("1. the new layer", text));
        }
        if !network.scope.is_head() {
            let (epochs, lr) = (args.tune.tune_epochs, args.tune.tune_lr);
            let how = args.tune.settings(&network.scope);
            settings
                .push(("2. the network", format!("{epochs} epochs, learning rate {lr}; {how}")));
        }
        settings.push(("output", args.output.display().to_string()));
        let train = &self.train.data;
        let any = !validation.samples.is_empty();
        Report {
            title: format!("Fine-tuning on {}", args.data.display()),
            settings: settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            classes: train.classes.clone(),
            counts: train.counts().into_iter().zip(validation.counts()).collect(),
            history: outcome.history.clone(),
            best: outcome.best,
            metrics: any.then(|| predictions.metrics(classes)),
            mistakes: mistakes.collect(),
            skipped: train.skipped.iter().chain(&validation.skipped).cloned().collect(),
        }
    }
}

/// Features that are computed when a batch is first asked for: a run that goes on in the second
/// phase needs none.
struct LazyFeatures<'p> {
    len: usize,
    classes: usize,
    compute: Box<dyn Fn() -> Result<FeatureSource, FitError> + 'p>,
    computed: OnceCell<FeatureSource>,
}

impl Source for LazyFeatures<'_> {
    fn len(&self) -> usize {
        self.len
    }

    fn classes(&self) -> usize {
        self.classes
    }

    fn batches(
        &self,
        order: &[usize],
        size: usize,
        epoch: Option<u64>,
        take: &mut TakeBatch<'_>,
    ) -> Result<(), FitError> {
        let source = match self.computed.get() {
            Some(source) => source,
            None => {
                let source = (self.compute)()?;
                self.computed.get_or_init(|| source)
            }
        };
        source.batches(order, size, epoch, take)
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
    outln!("try: depthwise classify --model {output} PHOTO");
    Ok(())
}
