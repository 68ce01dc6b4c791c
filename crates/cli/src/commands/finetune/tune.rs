//! The second phase: what is trained through the network, and how.

use super::network::{Form, Network, some_names};
use super::search::Point;
use anyhow::{Result, bail, ensure};
use clap::ValueEnum;
use depthwise_engine::Graph;
use depthwise_train::{
    Adversary, BatchNormMode, Initializer, Loss, Optimizer, Pattern, TrainOptions, Trainer,
};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

#[derive(Debug, clap::Args)]
pub(super) struct TuneArgs {
    /// What is trained after the new layer: head (nothing more), last=N, all, or patterns of names.
    #[arg(long, value_name = "WHAT")]
    pub(super) train: Option<Scope>,
    /// Epochs of the second phase.
    #[arg(long, default_value_t = 10, value_name = "EPOCHS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) tune_epochs: u32,
    /// Learning rate of the second phase.
    #[arg(long, default_value_t = 5e-4, value_name = "LR")]
    pub(super) tune_lr: f32,
    /// How parameters move in the second phase.
    #[arg(long, value_name = "NAME", default_value = "adamw")]
    optimizer: OptimizerArg,
    /// Factors of that learning rate for parameters by name, the first that fits: `head*=1,*=0.1`.
    #[arg(long, value_name = "PATTERN=FACTOR,..", value_delimiter = ',', value_parser = parse_rate)]
    rates: Vec<(Pattern, f32)>,
    /// Statistics of batch normalization in layers that are trained.
    #[arg(long, value_name = "WHICH", default_value = "train")]
    batch_norm: BatchNormArg,
    /// Longest that the gradient may be; longer ones are shortened.
    #[arg(long, value_name = "NORM")]
    clip: Option<f32>,
    /// Keep a moving average of the parameters with this decay, and use it.
    #[arg(long, value_name = "DECAY")]
    average: Option<f32>,
    /// Skip residual branches at random, the last one at this rate, those before it less often.
    #[arg(long, default_value_t = 0.0, value_name = "RATE")]
    drop_path: f32,
    /// Compute activations twice instead of keeping them: less memory, more time, the same bits.
    #[arg(long)]
    recompute: bool,
    /// Replace every second picture by one that misleads the network, each pixel at most EPSILON (of
    /// 255) away: in one step along the gradient (FGSM), or in STEPS steps (PGD).
    #[arg(long, value_name = "EPSILON[:STEPS]", value_parser = parse_adversary)]
    adversarial: Option<(f32, usize)>,
    /// Rate of the dropout before the new layer.
    #[arg(long, default_value_t = 0.2, value_name = "RATE")]
    pub(super) dropout: f32,
    /// A network of the same classes to learn from.
    #[arg(long, value_name = "FILE")]
    pub(super) teacher: Option<PathBuf>,
    /// How much the teacher's answers are smoothed.
    #[arg(long, default_value_t = 4.0, value_name = "T")]
    temperature: f32,
    /// Part of the loss that comes from the teacher.
    #[arg(long, default_value_t = 0.7, value_name = "SHARE")]
    teacher_share: f32,
}

/// An [`Optimizer`] on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum OptimizerArg {
    /// Momentum 0.9.
    Sgd,
    /// Weight decay in the gradient.
    Adam,
    /// Weight decay apart from the gradient.
    Adamw,
    Rmsprop,
}

/// A [`BatchNormMode`] on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum BatchNormArg {
    /// Those of the batch; the stored ones follow.
    Train,
    /// The stored ones.
    Frozen,
}

/// What the second phase trains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// There is no second phase.
    Head,
    Last(usize),
    All,
    Names(Vec<Pattern>),
}

impl Scope {
    pub(super) fn is_head(&self) -> bool {
        *self == Scope::Head
    }

    /// What stays as it is.
    fn frozen(&self, graph: &Graph, classifier: &str) -> Result<Vec<Pattern>> {
        let wanted = match self {
            Scope::All => return Ok(Vec::new()),
            Scope::Last(layers) => return Ok(Trainer::freeze_all_but_last(graph, *layers)?),
            Scope::Head => &[][..],
            Scope::Names(patterns) => patterns.as_slice(),
        };
        let names = Trainer::parameter_names(graph)?;
        for pattern in wanted {
            let found = names.iter().any(|name| pattern.matches(name));
            ensure!(found, "--train: no parameter is called {pattern}; {}", some_names(graph)?);
        }
        let head = Pattern::new(format!("{classifier}.*"));
        let trained = |name: &str| wanted.iter().chain([&head]).any(|p| p.matches(name));
        let frozen = names.iter().filter(|name| !trained(name));
        Ok(frozen.map(|name| Pattern::new(name.as_str())).collect())
    }
}

impl FromStr for Scope {
    type Err = String;
    fn from_str(text: &str) -> Result<Scope, String> {
        match (text, text.strip_prefix("last=")) {
            ("head", _) => Ok(Scope::Head),
            ("all", _) => Ok(Scope::All),
            (_, Some(layers)) => match layers.parse() {
                Ok(layers @ 1..) => Ok(Scope::Last(layers)),
                _ => Err(format!("last={layers}: give a number of layers, 1 or more")),
            },
            ("" | "last", _) => Err("give head, last=N, all, or patterns of names".into()),
            _ => Ok(Scope::Names(text.split(',').map(Pattern::new).collect())),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::Head => f.write_str("the new layer"),
            Scope::Last(layers) => write!(f, "the last {layers} layers"),
            Scope::All => f.write_str("all layers"),
            Scope::Names(patterns) => {
                let patterns: Vec<String> = patterns.iter().map(Pattern::to_string).collect();
                write!(f, "{} and the new layer", patterns.join(", "))
            }
        }
    }
}

pub(super) fn parse_init(text: &str) -> Result<(Pattern, Initializer), String> {
    let (pattern, how) = text.split_once('=').ok_or("write PATTERN=HOW, as *.weight=he")?;
    Ok((pattern.into(), how.parse()?))
}

fn parse_rate(text: &str) -> Result<(Pattern, f32), String> {
    let parsed = text.rsplit_once('=').and_then(|(pattern, factor)| {
        let factor = factor.parse::<f32>().ok()?;
        (factor.is_finite() && factor >= 0.0).then(|| (Pattern::new(pattern), factor))
    });
    parsed.ok_or_else(|| format!("\"{text}\": write PATTERN=FACTOR, the factor 0 or more"))
}

fn parse_adversary(text: &str) -> Result<(f32, usize), String> {
    let (epsilon, steps) = text.split_once(':').unwrap_or((text, "1"));
    let epsilon = epsilon.parse().ok().filter(|e: &f32| *e > 0.0 && *e <= 255.0);
    let steps = steps.parse().ok().filter(|s| (1..=1000).contains(s));
    epsilon.zip(steps).ok_or_else(|| {
        format!("\"{text}\": write EPSILON or EPSILON:STEPS, up to 255 and in 1 to 1000 steps")
    })
}

impl TuneArgs {
    /// How `graph` is trained; loss, seed and threads are left.
    pub(super) fn train_options(
        &self,
        network: &Network,
        point: &Point,
        graph: &Graph,
    ) -> Result<TrainOptions> {
        let optimizer = match self.optimizer {
            OptimizerArg::Sgd => Optimizer::sgd(0.9),
            OptimizerArg::Adam => Optimizer::adam(),
            OptimizerArg::Adamw => Optimizer::adamw(point.decay),
            OptimizerArg::Rmsprop => Optimizer::rmsprop(),
        };
        Ok(TrainOptions {
            optimizer: Optimizer { weight_decay: point.decay, l1: point.l1, ..optimizer },
            freeze: network.scope.frozen(graph, &network.classifier)?,
            rates: self.rates.clone(),
            no_decay: vec!["*.bias".into()],
            batch_norm: match self.batch_norm {
                BatchNormArg::Train => BatchNormMode::Train,
                BatchNormArg::Frozen => BatchNormMode::Frozen,
            },
            clip_norm: self.clip,
            average: self.average,
            drop_path: self.drop_path,
            recompute: self.recompute,
            input_gradients: self.adversarial.is_some(),
            ..TrainOptions::default()
        })
    }

    /// What misleads the network in training, in the numbers that it takes.
    pub(super) fn adversary(&self, form: &Form) -> Result<Option<Adversary>> {
        let Some((epsilon, steps)) = self.adversarial else { return Ok(None) };
        let Form::Pictures { preprocess, .. } = form else {
            bail!("--adversarial changes pixels; texts have none")
        };
        let (mut black, mut white) = ([0f32; 3], [0f32; 3]);
        preprocess.normalize.write(&[0; 3], &mut black)?;
        preprocess.normalize.write(&[255; 3], &mut white)?;
        let low = black.into_iter().fold(f32::INFINITY, f32::min);
        let high = white.into_iter().fold(f32::NEG_INFINITY, f32::max);
        // Channels may be scaled differently; the mean of them counts.
        let scale = black.iter().zip(&white).map(|(b, w)| (w - b) / 255.0).sum::<f32>() / 3.0;
        let epsilon = epsilon * scale;
        // Madry et al. 2018: far enough to reach the border from anywhere.
        let step = if steps == 1 { epsilon } else { 2.5 * epsilon / steps as f32 };
        Ok(Some(Adversary { epsilon, step, steps, range: (low, high) }))
    }

    pub(super) fn distillation(&self) -> Loss {
        Loss::Distillation { temperature: self.temperature, alpha: self.teacher_share }
    }

    /// All of it in words: for the report, and for checkpoints to know their runs.
    pub(super) fn settings(&self, scope: &Scope) -> String {
        let mut text = format!(
            "{scope}, optimizer {:?}, batch normalization {:?}",
            self.optimizer, self.batch_norm
        );
        for (pattern, factor) in &self.rates {
            text += &format!(", rate of {pattern} times {factor}");
        }
        if let Some(clip) = self.clip {
            text += &format!(", gradients up to {clip}");
        }
        if let Some(average) = self.average {
            text += &format!(", averaged with {average}");
        }
        if self.drop_path > 0.0 {
            text += &format!(", branches skipped up to {}", self.drop_path);
        }
        if let Some((epsilon, steps)) = self.adversarial {
            text += &format!(", adversarial by {epsilon} in {steps} steps");
        }
        if let Some(teacher) = &self.teacher {
            let (path, share, t) = (teacher.display(), self.teacher_share, self.temperature);
            text += &format!(", teacher {path} for {share} at temperature {t}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_trained_is_said_in_one_word() {
        let of = |text: &str| text.parse::<Scope>();
        assert_eq!(of("head"), Ok(Scope::Head));
        assert_eq!(of("last=7"), Ok(Scope::Last(7)));
        assert_eq!(of("all"), Ok(Scope::All));
        assert_eq!(of("a.*,b"), Ok(Scope::Names(vec!["a.*".into(), "b".into()])));
        for bad in ["", "last", "last=0", "last=x"] {
            assert!(of(bad).is_err(), "{bad}");
        }
        assert_eq!(parse_rate("a=b=0.5"), Ok(("a=b".into(), 0.5)));
        assert!(parse_rate("a").is_err() && parse_rate("a=-1").is_err());
        let gaussian = Initializer::Gaussian { deviation: 0.5 };
        assert_eq!(parse_init("*.pw=gaussian=0.5"), Ok(("*.pw".into(), gaussian)));
        assert_eq!(parse_adversary("8"), Ok((8.0, 1)));
        assert_eq!(parse_adversary("0.5:7"), Ok((0.5, 7)));
        assert!(["0", "8:0", "x", "8:", "300"].iter().all(|bad| parse_adversary(bad).is_err()));
        assert!(parse_init("he").is_err() && parse_init("*=hee").is_err());
    }
}
