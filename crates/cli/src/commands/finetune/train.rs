//! Both phases of training.

use super::Args;
use super::network::Network;
use super::search::Point;
use crate::text::outln;
use crate::training::{self, Bar, Prepared, Progress};
use anyhow::{Context, Result};
use depthwise_engine::Graph;
use depthwise_train::data::{FeatureSource, Source, TakeBatch};
use depthwise_train::features::Extractor;
use depthwise_train::fit::{EpochRecord, Outcome, Predictions, evaluate};
use depthwise_train::report::EventLog;
use depthwise_train::{
    FitError, FitOptions, Learner, Loss, Optimizer, TrainOptions, Trainer, copy_parameters, fit,
};
use std::cell::OnceCell;
use std::path::Path;

/// A run whose data are read.
pub(super) struct Run<'a> {
    pub(super) args: &'a Args,
    pub(super) network: Network,
    pub(super) train: Prepared,
    pub(super) validation: Prepared,
    threads: usize,
    /// Of the training and of the validation samples, once they were asked for.
    features: [OnceCell<FeatureSource>; 2],
}

/// What a run came to.
pub(super) struct Trained {
    pub(super) graph: Graph,
    /// Of both phases, epochs numbered through.
    pub(super) outcome: Outcome,
    /// For the validation samples.
    pub(super) predictions: Predictions,
}

impl Trained {
    /// The epoch that was kept.
    pub(super) fn best(&self) -> &EpochRecord {
        &self.outcome.history[self.outcome.best - 1]
    }
}

impl<'a> Run<'a> {
    pub(super) fn new(
        args: &'a Args,
        network: Network,
        train: Prepared,
        validation: Prepared,
        threads: usize,
    ) -> Run<'a> {
        Run { args, network, train, validation, threads, features: Default::default() }
    }

    /// Both phases; the better one is what is left.
    pub(super) fn train(
        &self,
        point: &Point,
        folder: &Path,
        log: &mut EventLog,
    ) -> Result<Trained> {
        let head = match self.network.head_epochs {
            0 => None,
            epochs => Some(self.train_head(epochs, point, folder, log)?),
        };
        if self.network.scope.is_head() {
            return head.context("--epochs 0 with --train head trains nothing");
        }
        let start = head.as_ref().map_or(&self.network.graph, |head| &head.graph);
        let before = head.as_ref().map_or(0, |head| head.outcome.history.len());
        let mut tuned = self.tune(start.clone(), before, point, folder, log)?;
        let Some(head) = head else { return Ok(tuned) };
        let keep_head =
            !self.validation.data.samples.is_empty() && !tuned.best().beats(head.best());
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
    fn train_head(
        &self,
        epochs: u32,
        point: &Point,
        folder: &Path,
        log: &mut EventLog,
    ) -> Result<Trained> {
        let args = self.args;
        let (backbone, head) = self.network.split()?;
        let views: Vec<Option<u64>> =
            [None].into_iter().chain((0..args.views.into()).map(Some)).collect();
        let [of_train, of_validation] = &self.features;
        let features = |part, views, computed| Features {
            run: self,
            part,
            backbone: &backbone,
            views,
            computed,
        };
        let train = features(&self.train, views, of_train);
        let validation = features(&self.validation, vec![None], of_validation);
        let mut learner = Learner::new(Trainer::new(
            head,
            TrainOptions {
                loss: self.loss(point)?,
                optimizer: Optimizer { l1: point.l1, ..Optimizer::adamw(point.decay) },
                no_decay: vec!["*.bias".into()],
                seed: args.seed,
                threads: self.threads,
                ..TrainOptions::default()
            },
        )?);
        let options = FitOptions {
            epochs: epochs as usize,
            rate: point.lr,
            checkpoint: Some(folder.join("head.checkpoint.safetensors")),
            settings: format!("{}, {} views", self.settings(point), args.views),
            ..self.options(point)
        };
        let mut progress = Progress::new(log, options.epochs, 0);
        let fitted = fit(&mut learner, &train, &validation, &options, &mut progress);
        progress.bar.clear();
        let outcome = fitted?;
        let mut graph = self.network.graph.clone();
        copy_parameters(&learner.trainer.graph()?, &mut graph)?;
        let predictions = evaluate(&mut learner, &validation, point.batch.into())?;
        Ok(Trained { graph, outcome, predictions })
    }

    /// Layers of the network on the samples themselves.
    fn tune(
        &self,
        graph: Graph,
        before: usize,
        point: &Point,
        folder: &Path,
        log: &mut EventLog,
    ) -> Result<Trained> {
        let (args, tune) = (self.args, &self.args.tune);
        let teacher = self.network.teacher(args, &self.train.data.classes)?;
        let options = tune.train_options(&self.network, point, &graph)?;
        let loss = match &teacher {
            Some(_) => tune.distillation(),
            None => self.loss(point)?,
        };
        let trainer = Trainer::new(
            graph,
            TrainOptions { loss, seed: args.seed, threads: self.threads, ..options },
        )?;
        let trained = trainer.parameters().map(|(_, values)| values.len()).sum::<usize>();
        if args.search.is_none() {
            outln!("{trained} parameters are trained");
        }
        let adversary = tune.adversary(&self.network.form)?;
        let mut learner = Learner { trainer, teacher, adversary };
        let (train, validation) = (&*self.train.source, &*self.validation.source);
        let options = FitOptions {
            epochs: tune.tune_epochs as usize,
            rate: point.tune_lr,
            checkpoint: Some(folder.join("checkpoint.safetensors")),
            settings: format!(
                "{}, after {before} epochs of the new layer of rate {} and {} views; {}",
                self.settings(point),
                point.lr,
                args.views,
                tune.settings(&self.network.scope)
            ),
            ..self.options(point)
        };
        let mut progress = Progress::new(log, options.epochs, before);
        let fitted = fit(&mut learner, train, validation, &options, &mut progress);
        progress.bar.clear();
        let outcome = fitted?;
        let predictions = evaluate(&mut learner, validation, point.batch.into())?;
        Ok(Trained { graph: learner.trainer.averaged_graph()?, outcome, predictions })
    }

    fn options(&self, point: &Point) -> FitOptions {
        let args = self.args;
        FitOptions {
            batch: point.batch.into(),
            warmup: 0.05,
            decay: args.schedule,
            patience: (args.patience > 0).then_some(args.patience),
            seed: args.seed,
            resume: args.resume,
            ..FitOptions::default()
        }
    }

    fn loss(&self, point: &Point) -> Result<Loss> {
        self.args.loss.loss(point.smoothing, &self.train.data.counts())
    }

    /// What both phases depend on, for their checkpoints.
    fn settings(&self, point: &Point) -> String {
        let (args, network) = (self.args, &self.network);
        format!(
            "{}, {}, cut {}, fresh {:?}, augmentation {}, {}, smoothing {}, decay {}, L1 {}, \
             dropout {}, samples {:016x}",
            network.name,
            network.form,
            args.cut.as_deref().unwrap_or("before the classifier"),
            network.init,
            network.form.augmentation(args),
            args.loss,
            point.smoothing,
            point.decay,
            point.l1,
            args.tune.dropout,
            // Their names decide which one is which.
            training::digest(&self.train.data),
        )
    }
}

/// Features that are computed when a batch is first asked for: a run that goes on in the second
/// phase needs none.
struct Features<'r> {
    run: &'r Run<'r>,
    part: &'r Prepared,
    backbone: &'r Graph,
    views: Vec<Option<u64>>,
    computed: &'r OnceCell<FeatureSource>,
}

impl Features<'_> {
    fn compute(&self) -> Result<FeatureSource, FitError> {
        const BATCH: usize = 16;
        let mut extractor = Extractor::new(self.backbone, BATCH, &self.run.args.engine.options())?;
        let mut bar = Bar::new(self.len() * self.views.len(), "computing features");
        let all = extractor.all(&*self.part.source, &self.views, &mut |n| bar.advance(n));
        bar.clear();
        FeatureSource::new(all?, extractor.width(), self.part.data.labels(), self.classes())
    }
}

impl Source for Features<'_> {
    fn len(&self) -> usize {
        self.part.data.samples.len()
    }

    fn classes(&self) -> usize {
        self.part.data.classes.len()
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
                let source = self.compute()?;
                self.computed.get_or_init(|| source)
            }
        };
        source.batches(order, size, epoch, take)
    }
}
