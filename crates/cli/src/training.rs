//! What the commands about training share.

use crate::text::{self, outln};
use anyhow::Result;
use depthwise_train::data::{Dataset, Example, PictureSource, PictureStore, Source, TextSource};
use depthwise_train::fit::{EpochRecord, Observer};
use depthwise_train::metrics::{Metrics, softmax};
use depthwise_train::report::EventLog;
use depthwise_train::text::{Synonyms, TextEncoder};
use depthwise_train::{Augment, FitError};
use depthwise_vision::Preprocess;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

/// Mistakes that a report shows.
pub(crate) const MISTAKES: usize = 24;
/// Most classes whose figures are printed one by one.
const CLASSES_PRINTED: usize = 50;

/// Labelled samples that can all be read, and where batches of them come from.
pub(crate) struct Prepared {
    pub(crate) data: Dataset<Example>,
    pub(crate) source: Box<dyn Source>,
}

/// How pictures are prepared for a network.
pub(crate) struct PictureSetup {
    pub(crate) preprocess: Preprocess,
    pub(crate) nchw: bool,
    pub(crate) augment: Augment,
    pub(crate) seed: u64,
    pub(crate) threads: usize,
    /// Of the pictures that are kept.
    pub(crate) limit_bytes: usize,
}

/// Reads every picture; those that cannot be read move to the skipped files.
pub(crate) fn prepare_pictures(
    mut data: Dataset,
    setup: &PictureSetup,
    what: &'static str,
) -> Result<Prepared> {
    let store = PictureStore::new(&data, setup.preprocess, setup.limit_bytes);
    let mut bar = Bar::new(store.len(), format!("reading {what}"));
    let bad = store.check(setup.threads, || bar.advance(1));
    bar.clear();
    let store = store.without(&bad);
    data.skip(bad);
    let source = PictureSource {
        nchw: setup.nchw,
        augment: setup.augment,
        seed: setup.seed,
        threads: setup.threads,
        ..PictureSource::new(&data, store, &setup.preprocess)?
    };
    Ok(Prepared { data: data.map(Example::Picture), source: Box::new(source) })
}

/// Texts as an encoder gives them.
pub(crate) fn prepare_texts(
    data: Dataset<Arc<str>>,
    encoder: TextEncoder,
    synonyms: Synonyms,
    seed: u64,
    threads: usize,
) -> Prepared {
    let source = TextSource { synonyms, seed, threads, ..TextSource::new(&data, encoder) };
    let data = data.map(|text| Example::Text(text.as_ref().to_owned()));
    Prepared { data, source: Box::new(source) }
}

/// Scores of networks, `N,classes`, as probabilities: softmax, unless all rows are probabilities.
pub(crate) fn to_probabilities(rows: &mut [f32], classes: usize) {
    let are_already = rows.chunks_exact(classes.max(1)).all(|row| {
        let sum: f32 = row.iter().sum();
        (sum - 1.0).abs() < 1e-3 && row.iter().all(|x| (0.0..=1.0).contains(x))
    });
    if !are_already {
        softmax(rows, classes);
    }
}

/// A bar on standard error, where a person sees it: what is done, how much, time left.
pub(crate) struct Bar(ProgressBar);

impl Bar {
    pub(crate) fn new(len: usize, what: impl Into<String>) -> Bar {
        if !std::io::stderr().is_terminal() || len == 0 {
            return Bar(ProgressBar::hidden());
        }
        let bar = ProgressBar::new(len as u64).with_message(what.into());
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len}, {eta} left  {msg}");
        if let Ok(style) = style {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        Bar(bar)
    }

    pub(crate) fn advance(&mut self, count: usize) {
        self.0.inc(count as u64);
    }

    /// Takes work of earlier runs as done; it does not count for the time left.
    pub(crate) fn set(&mut self, done: usize) {
        self.0.set_position(done as u64);
        self.0.reset_eta();
    }

    pub(crate) fn say(&self, what: String) {
        self.0.set_message(what);
    }

    pub(crate) fn clear(&self) {
        self.0.finish_and_clear();
    }
}

/// Shows how a phase of training goes, and logs it.
pub(crate) struct Progress<'l> {
    pub(crate) bar: Bar,
    log: &'l mut EventLog,
    epochs: usize,
    /// Epochs of the phases before.
    before: usize,
    epoch: usize,
}

impl<'l> Progress<'l> {
    /// For a phase of so many epochs, after the `before` ones of other phases.
    pub(crate) fn new(log: &'l mut EventLog, epochs: usize, before: usize) -> Progress<'l> {
        Progress { bar: Bar::new(0, ""), log, epochs, before, epoch: 0 }
    }
}

impl Observer for Progress<'_> {
    fn begin(&mut self, epoch: usize, steps: usize) {
        if self.epoch == 0 {
            self.bar = Bar::new(self.epochs * steps, "training");
            self.bar.set((epoch - 1) * steps);
        }
        self.epoch = epoch;
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
        self.log.add((self.before + record.epoch) as u64, &scalars)
    }
}

/// Figures of a classifier: one line in all, and a table of the classes.
pub(crate) fn print(classes: &[String], metrics: &Metrics) -> Result<()> {
    let percent = |x: f64| format!("{:.1}%", x * 100.0);
    let mut parts = vec![format!("accuracy {}", percent(metrics.accuracy))];
    parts.extend(metrics.top5.map(|x| format!("top 5 {}", percent(x))));
    parts.push(format!("macro F1 {:.3}", metrics.macro_f1));
    parts.extend(metrics.roc_auc.map(|x| format!("ROC AUC {x:.3}")));
    parts.push(format!("loss {:.3}", metrics.loss));
    outln!("{} on {} samples", parts.join(", "), metrics.samples);
    if classes.len() > CLASSES_PRINTED {
        return Ok(());
    }
    let mut table = text::table(&["class", "samples", "precision", "recall", "F1", "taken for"], 1);
    for (right, (name, class)) in classes.iter().zip(&metrics.classes).enumerate() {
        let wrong = metrics.confusion[right].iter().enumerate();
        let wrong = wrong.filter(|&(predicted, &n)| predicted != right && n > 0);
        let often = wrong.max_by_key(|&(predicted, &n)| (n, std::cmp::Reverse(predicted)));
        table.add_row(vec![
            name.clone(),
            class.support.to_string(),
            format!("{:.3}", class.precision),
            format!("{:.3}", class.recall),
            format!("{:.3}", class.f1),
            often.map_or(String::new(), |(predicted, n)| format!("{} ({n})", classes[predicted])),
        ]);
    }
    outln!("{table}");
    Ok(())
}

/// A number for samples: FNV-1a, 64 bits, of the names of pictures and of texts.
pub(crate) fn digest(data: &Dataset<Example>) -> u64 {
    let bytes = data.samples.iter().flat_map(|sample| {
        let own = match &sample.item {
            Example::Picture(path) => path.as_os_str().as_encoded_bytes(),
            Example::Text(text) => text.as_bytes(),
        };
        own.iter().copied().chain([0])
    });
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
