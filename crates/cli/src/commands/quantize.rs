//! `depthwise quantize`: a network of 8-bit integers, from a folder of pictures.

use super::{classify, evaluate};
use crate::source::{self, EngineArgs, Preset};
use crate::text::{self, outln};
use crate::training::Bar;
use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use depthwise_compress::{
    Agreement, Calibrated, LayerSensitivity, Observer, Options, Ports, Samples, compare,
};
use depthwise_engine::tensor::Hw;
use depthwise_engine::{DType, Graph, Tensor};
use depthwise_formats::{SaveFormat, SaveOptions, Weights, safetensors};
use depthwise_train::features::{PictureInput, with_picture};
use depthwise_vision::{Picture, Preprocess};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What takes longer is shown.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The folder of --calibrate holds pictures, some dozens like those that the network is to see; or
.safetensors files, each with one tensor per input under the input's name. Labels are not needed.

The name of the new file tells its format:
  .safetensors  the project's own form
  .tflite       TensorFlow Lite, i8
  .onnx         ONNX with QuantizeLinear and DequantizeLinear

Layers that lose most are listed; --keep-real leaves layers of a name as they are.

Examples:
  depthwise quantize net.onnx --calibrate photos/ -o net.int8.tflite --preset torchvision
  depthwise quantize flowers.safetensors --calibrate flowers/rose -o small.safetensors
  depthwise quantize net.onnx --calibrate photos/ -o net.int8.onnx --observer mse --correct-bias
  depthwise quantize net.pth --calibrate photos/ -o net.tflite --keep-real 'classifier*' \\
      --labelled validation/")]
pub(crate) struct Args {
    /// A model file, or the name of the network that ships with the program.
    model: PathBuf,
    /// The folder of pictures (or .safetensors files) to calibrate with.
    #[arg(long, value_name = "DIR")]
    calibrate: PathBuf,
    /// The file to write.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Type of the activations; TensorFlow Lite takes i8.
    #[arg(long, default_value = "i8")]
    activations: Integers,
    /// How ranges follow from what is seen.
    #[arg(long, default_value = "min-max")]
    observer: ObserverArg,
    /// With --observer percentile: the share of all numbers that lies within the range.
    #[arg(long, value_name = "PERCENT", default_value_t = 99.99)]
    percentile: f64,
    /// Leave layers real whose names fit this pattern, in which * stands for anything (may be repeated).
    #[arg(long, value_name = "PATTERN")]
    keep_real: Vec<String>,
    /// Equalize the ranges of channels across layers first.
    #[arg(long)]
    equalize: bool,
    /// Let biases make up for the rounding of weights.
    #[arg(long)]
    correct_bias: bool,
    /// Let inputs and outputs be integers too.
    #[arg(long)]
    integer_ports: bool,
    /// Sensitive layers to list; 0 tries none.
    #[arg(long, value_name = "N", default_value_t = 10)]
    layers: usize,
    /// Labelled pictures to measure the accuracy on, before and after: a folder of folders, or a table.
    #[arg(long, value_name = "DATA")]
    labelled: Option<PathBuf>,
    /// Names of the classes, for --labelled.
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// How pixels become numbers; needed where the model file does not say.
    #[arg(long)]
    preset: Option<Preset>,
    /// Replace the output if it exists.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    engine: EngineArgs,
}

/// Type of activations on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Integers {
    /// -128 to 127.
    I8,
    /// 0 to 255.
    U8,
}

/// [`Observer`] on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum ObserverArg {
    /// All that is seen.
    MinMax,
    /// All but the outermost; see --percentile.
    Percentile,
    /// Where the mean square error is smallest.
    Mse,
    /// Where the distribution changes least (Kullback-Leibler).
    Entropy,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let format = check(args)?;
    let network = if args.model.exists() { Some(args.model.as_path()) } else { None };
    let name = args.model.to_string_lossy();
    if network.is_none() && !source::is_embedded(&name) {
        bail!("\"{name}\" is neither a file nor the network that ships with the program");
    }
    let (graph, known, name) = source::network(network)?;
    let (graph, samples) = samples(args, graph, known, &name)?;
    let options = options(args);
    let engine = options.engine.clone();
    let mut progress = Shown::default();
    let calibrated = Calibrated::new(graph.clone(), &samples, options, &mut |what, n, all| {
        progress.show(what, n, all);
    })
    .with_context(|| format!("{} on {}", args.model.display(), args.calibrate.display()))?;
    let quantized = calibrated.quantized()?;
    let agreement = compare(&graph, &quantized, &samples, &engine, &mut |what, n, all| {
        progress.show(what, n, all)
    })?;
    let layers = match args.layers {
        0 => Vec::new(),
        _ => calibrated.sensitivity(&samples, &mut |what, n, all| progress.show(what, n, all))?,
    };
    progress.clear();
    let saved = depthwise_formats::save(&quantized, &args.output, &SaveOptions::default())
        .with_context(|| {
            format!("{} cannot become {}", args.model.display(), args.output.display())
        })?;
    let before = size(network, &graph)?;
    print_layers(args, &layers)?;
    outln!(
        "{}: {}, {} (before: {}, {:.2} of it)",
        args.output.display(),
        format.name(),
        text::bytes(saved.bytes),
        text::bytes(before),
        saved.bytes as f64 / before.max(1) as f64
    );
    print_agreement(&agreement)?;
    print_accuracy(args, &name, &graph, &quantized, samples.known)
}

/// The format of the output, where the options make sense for it.
fn check(args: &Args) -> Result<SaveFormat> {
    let output = &args.output;
    let Some(format) = SaveFormat::of_path(output) else {
        bail!("{}: name the file .onnx, .tflite or .safetensors", output.display());
    };
    if format == SaveFormat::Tflite && args.activations == Integers::U8 {
        bail!("{} files take --activations i8", format.name());
    }
    if output.exists() && !args.force {
        bail!("{} exists; add --force to replace it", output.display());
    }
    Ok(format)
}

fn options(args: &Args) -> Options {
    Options {
        activations: if args.activations == Integers::I8 { DType::I8 } else { DType::U8 },
        observer: match args.observer {
            ObserverArg::MinMax => Observer::MinMax,
            ObserverArg::Percentile => Observer::Percentile(args.percentile),
            ObserverArg::Mse => Observer::MeanSquare,
            ObserverArg::Entropy => Observer::Entropy,
        },
        keep_real: args.keep_real.clone(),
        equalize: args.equalize,
        correct_bias: args.correct_bias,
        ports: if args.integer_ports { Ports::Integers } else { Ports::Real },
        engine: args.engine.options(),
    }
}

/// Bytes of a file, or of the constants of a network that is no file.
fn size(file: Option<&Path>, graph: &Graph) -> Result<u64> {
    match file {
        Some(path) => {
            Ok(std::fs::metadata(path).with_context(|| path.display().to_string())?.len())
        }
        None => {
            let constants = graph.value_ids().filter_map(|id| graph.constant(id));
            Ok(constants.map(|tensor| tensor.bytes().len() as u64).sum())
        }
    }
}

/// The files of a folder as inputs of a network.
struct Files {
    paths: Vec<PathBuf>,
    kind: FileKind,
    known: Option<Preset>,
}

enum FileKind {
    Pictures {
        preprocess: Preprocess,
        nchw: bool,
    },
    /// Tensors by these names.
    Tensors(Vec<String>),
}

impl Samples for Files {
    fn len(&self) -> usize {
        self.paths.len()
    }

    fn name(&self, index: usize) -> String {
        self.paths[index].display().to_string()
    }

    fn read(&self, index: usize) -> Result<Vec<Tensor>, Box<dyn Error + Send + Sync>> {
        match &self.kind {
            FileKind::Pictures { preprocess, nchw } => {
                let tensor = preprocess.tensor(&Picture::open(&self.paths[index])?)?;
                Ok(vec![if *nchw { source::channels_first(&tensor)? } else { tensor }])
            }
            FileKind::Tensors(names) => {
                let file: Weights = safetensors::open(&self.paths[index])?;
                let tensor = |name: &String| {
                    let tensor = file.get(name).cloned();
                    tensor.ok_or_else(|| format!("it has no tensor \"{name}\"").into())
                };
                names.iter().map(tensor).collect()
            }
        }
    }
}

/// The network for the samples of the folder, and these.
fn samples(
    args: &Args,
    mut graph: Graph,
    known: Option<Preset>,
    name: &str,
) -> Result<(Graph, Files)> {
    let folder = &args.calibrate;
    let tensors = tensor_files(folder)?;
    if !tensors.is_empty() {
        let name = |&id| graph.value(id).name.clone();
        let kind = FileKind::Tensors(graph.inputs().iter().map(name).collect());
        return Ok((graph, Files { paths: tensors, kind, known }));
    }
    let paths = classify::collect(std::slice::from_ref(folder))?;
    let input = PictureInput::of(&graph)?;
    let hw = input.hw.unwrap_or(Hw::square(source::USUAL_SIDE));
    let preprocess = source::preprocessing(name, &graph.metadata, hw.h, args.preset, known)?;
    let hw = preprocess.output_hw(hw)?;
    let batch = depthwise_engine::layers::ir::Dim::Fixed(1);
    graph = with_picture(&graph, hw, batch)?;
    // What reads the new file needs no --preset.
    graph.metadata.extend(preprocess.to_metadata());
    Ok((graph, Files { paths, kind: FileKind::Pictures { preprocess, nchw: input.nchw }, known }))
}

fn tensor_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let context = || format!("cannot read the folder {}", folder.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(context)? {
        let path = entry.with_context(context)?.path();
        if path.is_file() && path.extension().is_some_and(|e| e == "safetensors") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Bars for what takes long.
#[derive(Default)]
struct Shown {
    what: &'static str,
    begin: Option<Instant>,
    bar: Option<Bar>,
}

impl Shown {
    fn show(&mut self, what: &'static str, done: usize, all: usize) {
        if self.what != what {
            self.clear();
            self.what = what;
            self.begin = Some(Instant::now());
        }
        if self.bar.is_none() && self.begin.is_some_and(|begin| begin.elapsed() > PATIENCE) {
            self.bar = Some(Bar::new(all, what));
        }
        if let Some(bar) = &mut self.bar {
            bar.set(done);
        }
    }

    fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.clear();
        }
    }
}

fn print_layers(args: &Args, layers: &[LayerSensitivity]) -> Result<()> {
    if layers.is_empty() {
        return Ok(());
    }
    let mut table = text::table(&["most sensitive layers", "kind", "SQNR alone, dB"], 2);
    for layer in layers.iter().take(args.layers) {
        table.add_row([layer.layer.clone(), layer.kind.into(), format!("{:.1}", layer.sqnr_db)]);
    }
    outln!("{table}\n");
    Ok(())
}

fn print_agreement(found: &Agreement) -> Result<()> {
    let Agreement { samples, top1: (same, all), mean_abs, max_abs, sqnr_db, .. } = found;
    outln!(
        "on {samples} calibration samples: top-1 as before {same} of {all}, first output off by \
         {mean_abs:.4} on average and {max_abs:.4} at most, SQNR {sqnr_db:.1} dB"
    );
    Ok(())
}

/// Accuracy on labelled pictures, before and after.
fn print_accuracy(
    args: &Args,
    name: &str,
    graph: &Graph,
    quantized: &Graph,
    known: Option<Preset>,
) -> Result<()> {
    let Some(data) = &args.labelled else { return Ok(()) };
    let mut table = text::table(&["on labelled pictures", "pictures", "accuracy", "top 5"], 1);
    for (what, graph) in [("before", graph), ("after", &quantized.with_real_ports())] {
        let request = evaluate::Request {
            graph,
            name,
            known,
            data,
            labels: args.labels.as_deref(),
            preset: args.preset,
            engine: &args.engine,
        };
        let evaluated = evaluate::predictions(&request)?;
        let metrics = evaluated.predictions.metrics(evaluated.labels.len());
        let percent = |x: f64| format!("{:.2}%", x * 100.0);
        table.add_row([
            what.to_owned(),
            metrics.samples.to_string(),
            percent(metrics.accuracy),
            metrics.top5.map_or(String::new(), percent),
        ]);
    }
    outln!("\n{table}");
    Ok(())
}
