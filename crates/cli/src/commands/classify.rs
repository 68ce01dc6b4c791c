//! `depthwise classify`: what is on photos, or what texts say.

use crate::source::{self, Classifier, EngineArgs, Preset};
use crate::text::{self, outln};
use crate::training;
use anyhow::{Context, Result, bail};
use depthwise_engine::{Session, Tensor};
use depthwise_train::features::Extractor;
use depthwise_train::text::TextEncoder;
use depthwise_vision::Picture;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without --model the EfficientNet-Lite0 that ships in the binary names one of the 1000 ImageNet
classes. A folder stands for the pictures in it (JPEG, PNG, BMP, WebP, GIF, TIFF).

--json prints one line per photo:
  {\"file\": .., \"model\": .., \"predictions\": [{\"class\": 285, \"name\": .., \"probability\": 0.71}, ..],
   \"milliseconds\": ..}

Examples:
  depthwise classify photos/chelsea.png
  depthwise classify --top 3 --json holiday/ > labels.jsonl
  depthwise classify --model net.onnx --preset torchvision --labels names.txt cat.jpg
  depthwise classify --model reviews.safetensors --text \"so good\" --text \"never again\"

Exit code 1 where any photo could not be read; the others are still classified.")]
pub(crate) struct Args {
    /// Photos, or folders of photos.
    #[arg(required_unless_present = "text")]
    photos: Vec<PathBuf>,
    /// Texts instead of photos, for a --model that reads text; `-` stands for the lines of standard
    /// input. May be given several times.
    #[arg(
        long,
        value_name = "TEXT",
        requires = "model",
        conflicts_with = "photos",
        allow_hyphen_values = true
    )]
    text: Vec<String>,
    /// A model file (.onnx, .tflite, .keras, .h5, or weights in .pth or .safetensors of a known
    /// network).
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// How many classes to show.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    top: u16,
    /// Names of the classes: one per line, or a JSON list or object.
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// How pixels become numbers; needed where the model file does not say.
    #[arg(long)]
    preset: Option<Preset>,
    /// Print one JSON object per photo and line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    engine: EngineArgs,
}

#[derive(Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    subject: Subject,
    model: &'a str,
    predictions: Vec<Prediction<'a>>,
    milliseconds: f64,
}

/// What is classified.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Subject {
    File(String),
    Text(String),
}

#[derive(Serialize)]
struct Prediction<'a> {
    class: usize,
    name: &'a str,
    probability: f32,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if !args.text.is_empty() {
        return texts(args);
    }
    let photos = collect(&args.photos)?;
    let classifier =
        Classifier::load(args.model.as_deref(), args.labels.as_deref(), args.preset, &args.engine)?;
    let mut session = classifier.session()?;
    each(&photos, args.json, |photo| {
        let answer = classify(&classifier, &mut session, photo, args.top.into())?;
        if args.json { Ok(serde_json::to_string(&answer)?) } else { Ok(lines(&answer)) }
    })
}

fn texts(args: &Args) -> Result<()> {
    let (graph, _, name) = source::network(args.model.as_deref())?;
    let encoder = TextEncoder::from_metadata(&graph.metadata)?;
    let encoder = encoder.with_context(|| format!("{name} does not read text"))?;
    let mut network = Extractor::new(&graph.with_real_ports(), 1, &args.engine.options())?;
    let labels = source::labels(args.labels.as_deref(), &graph.metadata, network.width())?;
    let mut one = |text: &str| -> Result<()> {
        let mut row = vec![0i64; encoder.length()];
        encoder.write(text, &mut row)?;
        let row = Tensor::from_vec(&[1, encoder.length()], row)?;
        let start = Instant::now();
        let mut probabilities = network.run(&row)?;
        let time = start.elapsed();
        training::to_probabilities(&mut probabilities, network.width());
        let label = |class: usize| labels[class].as_str();
        let subject = Subject::Text(text.to_owned());
        let answer = Answer::new(subject, &name, &probabilities, args.top.into(), label, time);
        outln!("{}", if args.json { serde_json::to_string(&answer)? } else { lines(&answer) });
        Ok(())
    };
    for text in &args.text {
        if text == "-" {
            for line in std::io::stdin().lines() {
                one(&line.context("standard input")?)?;
            }
        } else {
            one(text)?;
        }
    }
    Ok(())
}

/// Prints what `answer` says of each photo, with a bar where that takes long. Photos without an
/// answer are named and counted; the others still get theirs.
pub(crate) fn each(
    photos: &[PathBuf],
    json: bool,
    mut answer: impl FnMut(&Path) -> Result<String>,
) -> Result<()> {
    let progress = progress(photos.len(), json);
    let mut failed = 0;
    for photo in photos {
        match answer(photo) {
            Ok(text) => progress.suspend(|| -> Result<()> {
                outln!("{text}");
                Ok(())
            })?,
            Err(error) => {
                failed += 1;
                progress.suspend(|| eprintln!("{}", text::report(&error)));
            }
        }
        progress.inc(1);
    }
    progress.finish_and_clear();
    match failed {
        0 => Ok(()),
        n => bail!("{n} of {} photos failed", photos.len()),
    }
}

fn classify<'a>(
    classifier: &'a Classifier,
    session: &mut Session,
    photo: &Path,
    top: usize,
) -> Result<Answer<'a>> {
    let picture = Picture::open(photo)?;
    classifier.fill(session, &picture).with_context(|| photo.display().to_string())?;
    let start = Instant::now();
    session.run();
    let time = start.elapsed();
    let probabilities = classifier.probabilities(session)?;
    let label = |class: usize| classifier.label(class, probabilities.len());
    let subject = Subject::File(photo.display().to_string());
    Ok(Answer::new(subject, classifier.name(), &probabilities, top, label, time))
}

impl<'a> Answer<'a> {
    /// The `top` most probable classes.
    fn new(
        subject: Subject,
        model: &'a str,
        probabilities: &[f32],
        top: usize,
        name: impl Fn(usize) -> &'a str,
        time: Duration,
    ) -> Answer<'a> {
        let prediction = |class: usize| {
            let (name, probability) = (name(class), probabilities[class]);
            Prediction { class, name, probability }
        };
        let predictions = best(probabilities, top).into_iter().map(prediction).collect();
        Answer { subject, model, predictions, milliseconds: time.as_secs_f64() * 1e3 }
    }
}

/// Positions of the largest numbers, largest first; ties in order, NaN last.
fn best(probabilities: &[f32], top: usize) -> Vec<usize> {
    let key = |i: &usize| {
        let p = probabilities[*i];
        if p.is_nan() { f32::NEG_INFINITY } else { p }
    };
    let mut order: Vec<usize> = (0..probabilities.len()).collect();
    order.sort_by(|a, b| key(b).total_cmp(&key(a)));
    order.truncate(top);
    order
}

fn lines(answer: &Answer<'_>) -> String {
    let (Subject::File(subject) | Subject::Text(subject)) = &answer.subject;
    let mut lines = vec![format!("{subject}   {} in {:.1} ms", answer.model, answer.milliseconds)];
    let width = answer.predictions.iter().map(|p| p.name.chars().count()).max().unwrap_or(0);
    lines.extend(answer.predictions.iter().map(|p| {
        format!(
            "  {:>5.1}%  {:width$}  {:4}  {}",
            p.probability * 100.0,
            p.name,
            p.class,
            text::bar(p.probability, 30),
        )
    }));
    lines.join("\n")
}

/// A bar on standard error, from the second photo on and where a person sees it.
fn progress(photos: usize, json: bool) -> ProgressBar {
    let seen = std::io::stderr().is_terminal() && (json || std::io::stdout().is_terminal());
    if photos < 2 || !seen {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(photos as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} photos, {eta} left") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

const EXTENSIONS: [&str; 9] = ["jpg", "jpeg", "png", "bmp", "webp", "gif", "tif", "tiff", "jfif"];

/// The photos named, and those in the folders named, by name; never one twice.
pub(crate) fn collect(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut photos = Vec::new();
    let mut seen = BTreeSet::new();
    for path in paths {
        if path.is_dir() {
            let found = in_folder(path)?;
            if found.is_empty() {
                bail!("{}: no pictures in this folder", path.display());
            }
            photos.extend(found.into_iter().filter(|p| seen.insert(p.clone())));
        } else if seen.insert(path.clone()) {
            photos.push(path.clone());
        }
    }
    Ok(photos)
}

fn in_folder(folder: &Path) -> Result<Vec<PathBuf>> {
    let context = || format!("cannot read the folder {}", folder.display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(context)? {
        let path = entry.with_context(context)?.path();
        let known = path
            .extension()
            .and_then(|e| e.to_str())
            .is_some_and(|e| EXTENSIONS.contains(&e.to_ascii_lowercase().as_str()));
        if known && path.is_file() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn best_sorts_and_puts_nan_last() {
        assert_eq!(best(&[0.1, 0.7, f32::NAN, 0.2], 4), [1, 3, 0, 2]);
        assert_eq!(best(&[0.5, 0.5], 1), [0]);
        assert_eq!(best(&[], 5), [0usize; 0]);
    }
}
