//! The network that is fine-tuned, and the one that teaches it.

use super::Args;
use super::tune::Scope;
use crate::source::{self, Start};
use anyhow::{Context, Result, ensure};
use depthwise_engine::Graph;
use depthwise_engine::layers::ir::Dim;
use depthwise_engine::tensor::Hw;
use depthwise_train::features::{Extractor, PictureForm, PictureInput, teacher, with_picture};
use depthwise_train::text::TextEncoder;
use depthwise_train::{
    Head, Initializer, Pattern, Trainer, classifier_name, cut, initialize, replace_head, split_at,
};
use depthwise_vision::Preprocess;
use std::fmt;
use std::path::Path;

/// The network that training starts from, with its new classifier.
pub(super) struct Network {
    pub(super) name: String,
    pub(super) graph: Graph,
    /// Name of the new layer.
    pub(super) classifier: String,
    /// Name of the value that the new layer reads.
    features: String,
    pub(super) form: Form,
    pub(super) scope: Scope,
    /// Epochs of the new layer alone.
    pub(super) head_epochs: u32,
    /// What got fresh weights.
    pub(super) init: Vec<(Pattern, Initializer)>,
}

/// What a network takes.
#[derive(Clone)]
pub(super) enum Form {
    /// Square pictures.
    Pictures { preprocess: Preprocess, hw: Hw, nchw: bool },
    /// Texts; what is replaced in those to learn from, and how the user named that.
    Text { encoder: TextEncoder, synonyms: String },
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Form::Pictures { preprocess, hw, .. } => write!(f, "{hw} pixels: {preprocess}"),
            Form::Text { encoder, .. } => {
                write!(f, "{} tokens of {}", encoder.length(), encoder.size())
            }
        }
    }
}

impl Form {
    /// What is changed at random in samples to learn from.
    pub(super) fn augmentation(&self, args: &Args) -> String {
        match self {
            Form::Pictures { .. } => args.augment.to_string(),
            Form::Text { synonyms, .. } => synonyms.clone(),
        }
    }
}

impl Network {
    pub(super) fn of_pictures(args: &Args, classes: usize) -> Result<Network> {
        let start = source::start(args.from.as_deref())?;
        let input = PictureInput::of(&start.graph)?;
        let own = input.hw.unwrap_or(Hw::square(source::USUAL_SIDE));
        let hw = args.size.map_or(own, |side| Hw::square(side.into()));
        ensure!(
            hw.h == hw.w,
            "the network takes pictures of {hw}; only square ones can be trained on"
        );
        let metadata = &start.graph.metadata;
        let mut preprocess =
            source::preprocessing(&start.name, metadata, hw.h, args.preset, start.preset)?;
        if args.stretch {
            preprocess = Preprocess::stretch(hw, preprocess.normalize);
        } else if hw != own {
            preprocess = Preprocess::classifier(hw.h, preprocess.normalize);
        }
        let graph = with_picture(&start.graph, hw, Dim::Fixed(1))?;
        let form = Form::Pictures { preprocess, hw, nchw: input.nchw };
        Network::with_head(args, Start { graph, ..start }, form, classes)
    }

    /// Lets a network end in a new classifier.
    pub(super) fn with_head(
        args: &Args,
        start: Start,
        form: Form,
        classes: usize,
    ) -> Result<Network> {
        let Start { mut graph, name, fresh, .. } = start;
        let mut init = args.init.clone();
        if fresh && init.is_empty() {
            init.push(("*".into(), Initializer::He));
        }
        for (pattern, initializer) in &init {
            let weights = initialize(&mut graph, pattern, *initializer, args.seed)?;
            ensure!(weights > 0, "--init: no weight is called {pattern}; {}", some_names(&graph)?);
        }
        let classifier = classifier_name(&graph).to_owned();
        let at = args.cut.as_deref();
        let backbone = cut(&graph, at)?;
        let features = backbone.value(backbone.outputs()[0]).name.clone();
        // All weights 0 are as good a start as any for the last layer.
        let head = Head {
            name: classifier.clone(),
            dropout: args.tune.dropout,
            initializer: Initializer::Constant(0.0),
            ..Head::new(classes)
        };
        let graph = replace_head(&graph, at, &head)?;
        let scope = args.tune.train.clone().unwrap_or(if fresh { Scope::All } else { Scope::Head });
        let head_epochs = args.epochs.unwrap_or(if fresh { 0 } else { 30 });
        ensure!(
            !scope.is_head() || head_epochs > 0,
            "--epochs 0 and --train head: nothing is trained"
        );
        ensure!(
            !scope.is_head() || args.tune.teacher.is_none(),
            "--teacher teaches in the second phase: add --train last=N, all, or names"
        );
        Ok(Network { name, graph, classifier, features, form, scope, head_epochs, init })
    }

    /// The backbone, and the new layer alone.
    pub(super) fn split(&self) -> Result<(Graph, Graph)> {
        Ok(split_at(&self.graph, &self.features)?)
    }

    /// A trained network with what it takes to use it.
    pub(super) fn finish(&self, mut graph: Graph, classes: &[String]) -> Result<Graph> {
        let of_pictures = |key: &str| key.starts_with("preprocess.") || key.starts_with("input.");
        graph.metadata.retain(|key, _| !of_pictures(key) && !TextEncoder::is_key(key));
        match &self.form {
            Form::Pictures { preprocess, .. } => graph.metadata.extend(preprocess.to_metadata()),
            Form::Text { encoder, .. } => graph.metadata.extend(encoder.to_metadata()?),
        }
        graph.metadata.insert("labels".into(), classes.join("\n"));
        Ok(graph)
    }

    /// The teacher, for the pictures of this network.
    pub(super) fn teacher(&self, args: &Args, classes: &[String]) -> Result<Option<Extractor>> {
        let Some(path) = &args.tune.teacher else { return Ok(None) };
        let load = || self.load_teacher(args, path, classes);
        load().map(Some).with_context(|| format!("the teacher {}", path.display()))
    }

    fn load_teacher(&self, args: &Args, path: &Path, classes: &[String]) -> Result<Extractor> {
        let (graph, known, name) = source::network(Some(path))?;
        let names = graph.metadata.get("labels");
        if let Some(names) = names.filter(|names| !names.lines().eq(classes.iter())) {
            anyhow::bail!(
                "its classes are {}; those of the data are {}",
                names.lines().collect::<Vec<_>>().join(", "),
                classes.join(", ")
            );
        }
        let graph = match &self.form {
            Form::Pictures { preprocess, hw, nchw } => {
                let student = PictureForm { hw: *hw, nchw: *nchw, normalize: preprocess.normalize };
                let input = PictureInput::of(&graph)?;
                let hw = input.hw.unwrap_or(*hw);
                let own = source::preprocessing(&name, &graph.metadata, hw.h, None, known)?;
                let own = PictureForm { hw, nchw: input.nchw, normalize: own.normalize };
                teacher(&graph, own, student)?
            }
            Form::Text { encoder, .. } => {
                let own =
                    TextEncoder::from_metadata(&graph.metadata)?.context("it reads no text")?;
                ensure!(
                    own.to_metadata()? == encoder.to_metadata()?,
                    "it has another vocabulary; start with --from a model of the same"
                );
                graph
            }
        };
        let extractor = Extractor::new(&graph, args.batch.into(), &args.engine.options())?;
        let (width, n) = (extractor.width(), classes.len());
        ensure!(width == n, "it tells {width} classes apart, the data have {n}");
        Ok(extractor)
    }
}

/// What patterns could name.
pub(super) fn some_names(graph: &Graph) -> Result<String> {
    let names = Trainer::parameter_names(graph)?;
    let last: Vec<&str> = names.iter().rev().take(8).rev().map(String::as_str).collect();
    Ok(format!("the last parameters are {}", last.join(", ")))
}
