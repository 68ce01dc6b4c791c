//! Where a model comes from: a file, weights of a known network, or a name.

pub(crate) use crate::engine_args::EngineArgs;

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::ValueEnum;
use depthwise_engine::layers::Op;
use depthwise_engine::tensor::{Hw, TensorError};
use depthwise_engine::{DType, Graph, Model, Session, Shape, Tensor};
use depthwise_formats::{FormatError, SaveOptions, Weights};
use depthwise_vision::{Normalize, Picture, Preprocess};
use depthwise_zoo::{
    Checkpoint, EfficientNetLite, MobileNetV1, MobileNetV2, MobileNetV3, Network, Random, ZooError,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Names of the networks, for help texts.
pub(crate) const NETWORKS: &str = "mobilenet-v1, mobilenet-v2, mobilenet-v3-large, \
mobilenet-v3-small, efficientnet-lite0 .. efficientnet-lite4";

/// The network that `classify` uses unless told otherwise.
const DEFAULT_NETWORK: &str = "efficientnet-lite0";

/// Side of pictures for networks that take any.
pub(crate) const USUAL_SIDE: usize = 224;

/// A shape on the command line: `1x3x224x224`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ShapeArg(pub(crate) Shape);

impl FromStr for ShapeArg {
    type Err = String;
    fn from_str(text: &str) -> Result<ShapeArg, String> {
        let dims = text.split('x').map(|d| {
            d.parse::<usize>().map_err(|_| format!("\"{d}\" is no extent; write 1x3x224x224"))
        });
        let dims = dims.collect::<Result<Vec<_>, _>>()?;
        Ok(ShapeArg(Shape::new(&dims).map_err(|e| e.to_string())?))
    }
}

/// How pixels become numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Preset {
    /// x / 255, then the mean and deviation of ImageNet (torchvision, timm).
    Torchvision,
    /// x / 127.5 - 1 (Keras, TensorFlow's MobileNets).
    Tf,
    /// (x - 127) / 128 (EfficientNet-Lite).
    Lite,
    /// x / 255.
    Unit,
    /// 0 to 255 as they are.
    Raw,
}

impl Preset {
    fn normalize(self) -> Normalize {
        match self {
            Preset::Torchvision => Normalize::IMAGENET,
            Preset::Tf => Normalize::SIGNED_UNIT,
            Preset::Lite => Normalize::CENTRED_127,
            Preset::Unit => Normalize::UNIT,
            Preset::Raw => Normalize::RAW,
        }
    }
}

/// A network of the zoo under the name that people type.
struct Named {
    name: String,
    preset: Preset,
    network: Box<dyn Network>,
}

/// The networks of this width; those that have no widths, where it is 1.
fn networks(width: f64) -> Vec<Named> {
    let named = |name: &str, preset, network: Box<dyn Network>| Named {
        name: name.into(),
        preset,
        network,
    };
    let lite = [
        EfficientNetLite::lite0(),
        EfficientNetLite::lite1(),
        EfficientNetLite::lite2(),
        EfficientNetLite::lite3(),
        EfficientNetLite::lite4(),
    ];
    let mut all = vec![
        named("mobilenet-v1", Preset::Tf, Box::new(MobileNetV1::new(width))),
        named("mobilenet-v2", Preset::Torchvision, Box::new(MobileNetV2::new(width))),
        named("mobilenet-v3-large", Preset::Torchvision, Box::new(MobileNetV3::large(width))),
        named("mobilenet-v3-small", Preset::Torchvision, Box::new(MobileNetV3::small(width))),
    ];
    for (i, network) in lite.into_iter().enumerate().filter(|_| width == 1.0) {
        all.push(named(&format!("efficientnet-lite{i}"), Preset::Lite, Box::new(network)));
    }
    all
}

/// Where a model comes from.
#[derive(Debug)]
pub(crate) enum ModelSource {
    /// A file: a network, or weights of one.
    File(PathBuf),
    /// A network of the zoo.
    Name(String),
}

impl ModelSource {
    /// What the text on the command line means: a file if there is one, else a name.
    pub(crate) fn find(text: &str) -> Result<ModelSource> {
        if Path::new(text).exists() {
            return Ok(ModelSource::File(text.into()));
        }
        let name = text.replace('_', "-").to_ascii_lowercase();
        if networks(1.0).iter().any(|n| n.name == name) {
            return Ok(ModelSource::Name(name));
        }
        bail!("\"{text}\" is neither a file nor one of the networks {NETWORKS}")
    }

    /// The graph. Weights of a named network that ships none are made up.
    pub(crate) fn graph(&self) -> Result<Graph> {
        match self {
            ModelSource::File(path) => Ok(open(path)?.0),
            ModelSource::Name(name) if is_embedded(name) => embedded(),
            ModelSource::Name(name) => {
                let found = networks(1.0).into_iter().find(|n| n.name == *name);
                let found = found.with_context(|| format!("there is no network \"{name}\""))?;
                Ok(found.network.build(&Random { seed: 1 })?)
            }
        }
    }

    /// The model, ready to be planned.
    pub(crate) fn load(&self, engine: &EngineArgs) -> Result<Model> {
        Ok(Model::from_graph(self.graph()?, engine.options())?)
    }
}

/// Whether a name is that of the network inside the program.
pub(crate) fn is_embedded(name: &str) -> bool {
    cfg!(feature = "embedded-weights") && name == DEFAULT_NETWORK
}

#[cfg(feature = "embedded-weights")]
fn embedded() -> Result<Graph> {
    Ok(depthwise_zoo::default_model()?)
}

#[cfg(not(feature = "embedded-weights"))]
fn embedded() -> Result<Graph> {
    bail!("this build has no weights of its own (feature embedded-weights); name a --model")
}

/// The graph of a file and, where the file holds weights alone, the preset of its network.
fn open(path: &Path) -> Result<(Graph, Option<Preset>)> {
    match depthwise_formats::open(path) {
        Ok(graph) => Ok((graph, None)),
        Err(FormatError::OnlyWeights { .. }) => {
            let weights = depthwise_formats::open_weights(path)?;
            let (graph, preset) = recognise(&weights)
                .with_context(|| format!("{}: weights of no known network", path.display()))?;
            Ok((graph, Some(preset)))
        }
        Err(error) => Err(error.into()),
    }
}

/// The network whose weights these are: the first that takes them all.
fn recognise(weights: &Weights) -> Result<(Graph, Preset)> {
    let checkpoint = Checkpoint::new(weights);
    let mut nearest: Option<(usize, String, ZooError)> = None;
    for named in networks(1.0) {
        match named.network.build(&checkpoint) {
            Ok(mut graph) => {
                graph.metadata.extend(weights.metadata.clone());
                return Ok((graph, named.preset));
            }
            Err(error) => {
                let length = error.to_string().len();
                if nearest.as_ref().is_none_or(|(n, ..)| length < *n) {
                    nearest = Some((length, named.name, error));
                }
            }
        }
    }
    match nearest {
        Some((_, name, error)) => Err(anyhow!(error).context(format!("nearest to {name}"))),
        None => bail!("no networks are known"),
    }
}

/// A model with all that it takes to name what is on a photo.
pub(crate) struct Classifier {
    model: Model,
    name: String,
    preprocess: Preprocess,
    /// Three channels first, as ONNX files have them.
    nchw: bool,
    labels: Vec<String>,
    /// The network ends in a softmax.
    normalized: bool,
}

impl Classifier {
    /// The model of a file, or the one that ships with the program.
    pub(crate) fn load(
        file: Option<&Path>,
        labels: Option<&Path>,
        preset: Option<Preset>,
        engine: &EngineArgs,
    ) -> Result<Classifier> {
        let (graph, known, name) = network(file)?;
        let normalized = ends_in_softmax(&graph);
        // Pictures are given and scores are read as real numbers, whatever the file stores.
        let model = Model::from_graph(graph.with_real_ports(), engine.options())?;
        let (side, nchw) = picture_input(&model)?;
        let preprocess = preprocessing(&name, model.metadata(), side, preset, known)?;
        let labels = match labels {
            Some(path) => read_labels(path)?,
            None => own_labels(model.metadata()),
        };
        Ok(Classifier { model, name, preprocess, nchw, labels, normalized })
    }

    /// Name of the model.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// A session for one picture at a time.
    pub(crate) fn session(&self) -> Result<Session> {
        let Hw { h, w } = self.preprocess.output_hw(Hw::square(1024))?;
        let dims = if self.nchw { [1, 3, h, w] } else { [1, h, w, 3] };
        Ok(self.model.session_for(&[Shape::new(&dims)?])?)
    }

    /// Prepares a picture into the input of the session.
    pub(crate) fn fill(&self, session: &mut Session, picture: &Picture) -> Result<()> {
        let input = session.input_mut::<f32>(0)?;
        if !self.nchw {
            return Ok(self.preprocess.write(picture, input)?);
        }
        let tensor = channels_first(&self.preprocess.tensor(picture)?)?;
        input.copy_from_slice(tensor.data()?);
        Ok(())
    }

    /// The first output as probabilities: softmax is applied unless it is one already.
    pub(crate) fn probabilities(&self, session: &Session) -> Result<Vec<f32>> {
        let scores = session.output::<f32>(0)?;
        ensure!(!scores.is_empty(), "{} gives no scores", self.name);
        let sum: f32 = scores.iter().sum();
        // Probabilities of eight bits need not sum to 1.
        if self.normalized
            || (sum - 1.0).abs() < 1e-3 && scores.iter().all(|x| (0.0..=1.0).contains(x))
        {
            return Ok(scores.to_vec());
        }
        let max = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let exps: Vec<f32> = scores.iter().map(|x| (x - max).exp()).collect();
        let sum: f32 = exps.iter().sum();
        Ok(exps.iter().map(|e| e / sum).collect())
    }

    /// Name of a class: from the labels given or in the file, else of ImageNet where there are as
    /// many classes.
    pub(crate) fn label(&self, class: usize, classes: usize) -> &str {
        let imagenet = depthwise_zoo::imagenet_labels();
        if !self.labels.is_empty() {
            return self.labels.get(class).map_or("?", String::as_str);
        }
        match classes {
            1000 => &imagenet[class],
            // TensorFlow puts "background" first.
            1001 if class == 0 => "background",
            1001 => &imagenet[class - 1],
            _ => "?",
        }
    }
}

/// A picture of three channels, NHWC, as NCHW.
pub(crate) fn channels_first(picture: &Tensor) -> Result<Tensor, TensorError> {
    let (shape, pixels) = (picture.shape(), picture.elements() / 3);
    let mut planes = vec![0f32; picture.elements()];
    for (i, pixel) in picture.to_f32().chunks_exact(3).enumerate() {
        for (channel, &x) in pixel.iter().enumerate() {
            planes[channel * pixels + i] = x;
        }
    }
    Tensor::from_vec(&[1, 3, shape[1], shape[2]], planes)
}

/// Whether the first output is a softmax, perhaps of other extents or quantized.
fn ends_in_softmax(graph: &Graph) -> bool {
    let mut value = graph.outputs().first().copied();
    while let Some(node) = value.and_then(|id| graph.producer(id)).map(|id| graph.node(id)) {
        match &node.op {
            Op::Softmax(softmax) => return !softmax.log,
            Op::Quantize(_) | Op::Dequantize(_) | Op::Reshape(_) | Op::Cast(_) => {
                value = node.inputs.first().copied().flatten();
            }
            _ => return false,
        }
    }
    false
}

/// The network of a file, or the one that ships with the program; the preset of weights of a known
/// network; a name to show.
pub(crate) fn network(file: Option<&Path>) -> Result<(Graph, Option<Preset>, String)> {
    let Some(path) = file else {
        return Ok((embedded()?, None, DEFAULT_NETWORK.to_owned()));
    };
    let (graph, preset) = open(path)?;
    let name = path.file_name().unwrap_or(path.as_os_str());
    Ok((graph, preset, name.to_string_lossy().into_owned()))
}

/// Where training starts.
pub(crate) struct Start {
    pub(crate) graph: Graph,
    /// What is usual for its pictures.
    pub(crate) preset: Option<Preset>,
    /// To show.
    pub(crate) name: String,
    /// It has learnt nothing yet.
    pub(crate) fresh: bool,
}

/// The network that training starts from: of a file, the one that ships with the program, or one of
/// the zoo without weights, `NAME` or `NAME:WIDTH`.
pub(crate) fn start(from: Option<&str>) -> Result<Start> {
    let file = from.map(Path::new).filter(|path| path.exists());
    let trained = from.is_none_or(is_embedded) || file.is_some();
    if trained {
        let (graph, preset, name) = network(file)?;
        return Ok(Start { graph, preset, name, fresh: false });
    }
    let text = from.unwrap_or_default();
    let (name, width) = text.split_once(':').unwrap_or((text, "1"));
    let width: f64 = width.parse().with_context(|| format!("\"{text}\": the width"))?;
    let known = name.replace('_', "-").to_ascii_lowercase();
    let found = networks(width).into_iter().find(|n| n.name == known);
    let found = found.with_context(|| {
        format!(
            "\"{text}\" is neither a file nor one of the networks {NETWORKS}; widths are of \
             MobileNets"
        )
    })?;
    let graph = found.network.build(&Random { seed: 1 })?;
    Ok(Start { graph, preset: Some(found.preset), name: text.to_owned(), fresh: true })
}

/// Writes a network, in the format that the file's name tells.
pub(crate) fn save(graph: &Graph, path: &Path) -> Result<()> {
    depthwise_formats::save(graph, path, &SaveOptions::default())?;
    Ok(())
}

/// How pictures are prepared for a network of this side: as the command line says, else the file,
/// else what is usual for its weights.
pub(crate) fn preprocessing(
    name: &str,
    metadata: &BTreeMap<String, String>,
    side: usize,
    preset: Option<Preset>,
    known: Option<Preset>,
) -> Result<Preprocess> {
    let described = match Preprocess::from_metadata(metadata)? {
        None => normalization(metadata)?.map(|normalize| Preprocess::classifier(side, normalize)),
        described => described,
    };
    match (preset, described, known) {
        (Some(preset), _, _) => Ok(Preprocess::classifier(side, preset.normalize())),
        (None, Some(described), _) => Ok(described),
        (None, None, Some(known)) => Ok(Preprocess::classifier(side, known.normalize())),
        (None, None, None) => bail!(
            "{name} does not say how pixels become numbers; add --preset torchvision, tf, lite, \
             unit or raw"
        ),
    }
}

/// Names of all classes of a model: of a file, else its own, else those of ImageNet, else numbers.
pub(crate) fn labels(
    file: Option<&Path>,
    metadata: &BTreeMap<String, String>,
    classes: usize,
) -> Result<Vec<String>> {
    let named = match file {
        Some(path) => read_labels(path)?,
        None => own_labels(metadata),
    };
    if named.is_empty() {
        return Ok(match classes {
            1000 => depthwise_zoo::imagenet_labels().to_vec(),
            n => (0..n).map(|class| class.to_string()).collect(),
        });
    }
    let n = named.len();
    ensure!(n == classes, "{n} names of classes are given, but the model tells {classes} apart");
    Ok(named)
}

/// The names that a model file has.
fn own_labels(metadata: &BTreeMap<String, String>) -> Vec<String> {
    metadata.get("labels").map(|text| text.lines().map(str::to_owned).collect()).unwrap_or_default()
}

/// The side of the square picture that a model takes, and whether channels come first.
fn picture_input(model: &Model) -> Result<(usize, bool)> {
    use depthwise_engine::layers::ir::Dim;
    let mut inputs = model.inputs();
    let (name, ty) = inputs.next().context("the model has no input")?;
    ensure!(inputs.next().is_none(), "the model has more inputs than a picture");
    let unfit = || format!("input \"{name}\" is {ty}, which is no f32 picture of three channels");
    ensure!(ty.dtype == DType::F32, unfit());
    let fixed = |d: &Dim| match d {
        Dim::Fixed(n) => Some(*n),
        Dim::Free(_) => None,
    };
    let dims: Vec<Option<usize>> = ty.dims.iter().map(fixed).collect();
    let (nchw, h, w) = match dims[..] {
        [_, h, w, Some(3)] => (false, h, w),
        [_, Some(3), h, w] => (true, h, w),
        _ => bail!(unfit()),
    };
    let (h, w) = (h.unwrap_or(USUAL_SIDE), w.unwrap_or(USUAL_SIDE));
    ensure!(h == w, "input \"{name}\" is {ty}; only square pictures are classified");
    Ok((h, nchw))
}

/// The normalization that the metadata of a TensorFlow Lite file describe: `input.mean` and
/// `input.std`, one number or one per channel.
fn normalization(metadata: &BTreeMap<String, String>) -> Result<Option<Normalize>> {
    let triple = |key: &str| -> Result<Option<[f32; 3]>> {
        let Some(text) = metadata.get(key) else { return Ok(None) };
        let numbers = text.split(',').map(str::parse).collect::<Result<Vec<f32>, _>>();
        match numbers.with_context(|| format!("{key} = \"{text}\""))?[..] {
            [x] => Ok(Some([x; 3])),
            [r, g, b] => Ok(Some([r, g, b])),
            _ => bail!("{key} = \"{text}\" is neither one number nor one per channel"),
        }
    };
    let (Some(mean), Some(std)) = (triple("input.mean")?, triple("input.std")?) else {
        return Ok(None);
    };
    let usable = |x: &f32| x.is_finite() && *x != 0.0;
    ensure!(mean.iter().all(|x| x.is_finite()), "input.mean is not finite");
    ensure!(std.iter().all(usable), "input.std is not a number to divide by");
    Ok(Some(Normalize { divisor: 1.0, mean, std }))
}

/// Class names: a JSON list, a JSON object by number, or one per line.
fn read_labels(path: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let list = if text.trim_start().starts_with('[') {
        serde_json::from_str(&text).with_context(|| path.display().to_string())?
    } else if text.trim_start().starts_with('{') {
        let named: std::collections::BTreeMap<usize, String> =
            serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        named.into_values().collect()
    } else {
        text.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>()
    };
    ensure!(!list.is_empty(), "{}: no labels", path.display());
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_parse() {
        let shape: ShapeArg = "1x3x224x224".parse().unwrap();
        assert_eq!(shape.0.dims(), [1, 3, 224, 224]);
        assert!("1x-3".parse::<ShapeArg>().is_err());
        assert!("".parse::<ShapeArg>().is_err());
    }

    #[test]
    fn normalization_is_one_number_or_one_per_channel() {
        let of = |mean: &str, std: &str| {
            let pairs = [("input.mean", mean), ("input.std", std)];
            normalization(&pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).into())
        };
        let want = Normalize { divisor: 1.0, mean: [127.5; 3], std: [1.0, 2.0, 4.0] };
        assert_eq!(of("127.5", "1,2,4").unwrap(), Some(want));
        assert_eq!(normalization(&BTreeMap::new()).unwrap(), None);
        for (mean, std) in [("a", "1"), ("1", "0"), ("1,2", "1"), ("inf", "1"), ("1", "nan")] {
            assert!(of(mean, std).is_err(), "{mean} {std}");
        }
    }

    #[test]
    fn names_are_found_in_either_spelling() {
        let found = ModelSource::find("MobileNet_V2").unwrap();
        assert!(matches!(found, ModelSource::Name(name) if name == "mobilenet-v2"));
        let error = ModelSource::find("resnet-50").unwrap_err().to_string();
        assert!(error.contains("mobilenet-v3-large"), "{error}");
    }
}
