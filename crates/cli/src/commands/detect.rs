//! `depthwise detect`: where things are on photos.

use crate::commands::classify::{collect, each};
use crate::photo::{self, DETECTORS, Detector};
use crate::source::EngineArgs;
use crate::text;
use anyhow::Result;
use depthwise_vision::{Color, Detection, Painter, Picture};
use serde::Serialize;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
#[command(after_help = format!("\
Without --model, MediaPipe's short-range face detector that ships in the binary finds faces of
people up to two metres from the camera. Other models it knows by their inputs and outputs:
{DETECTORS}

--json prints one line per photo, in pixels of the photo:
  {{\"file\": .., \"model\": .., \"width\": .., \"height\": ..,
   \"detections\": [{{\"what\": \"face\", \"score\": 0.92, \"box\": [left, top, right, bottom],
                   \"keypoints\": {{\"right eye\": [x, y], ..}}}}, ..], \"milliseconds\": ..}}

Examples:
  depthwise detect photos/astronaut.png -o faces.png
  depthwise detect --json holiday/ > faces.jsonl
  depthwise detect --model ultralight_face_rfb_320.onnx --min-score 0.9 -o marked/ a.jpg b.jpg

Exit code 1 where any photo could not be read; the others are still looked at."))]
pub(crate) struct Args {
    /// Photos, or folders of photos.
    #[arg(required = true)]
    photos: Vec<PathBuf>,
    /// A detector (.onnx, .tflite).
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Leave out what has a lower score; unless given, what the model's authors use (0.5 or 0.7).
    #[arg(long, value_name = "SCORE", value_parser = share)]
    min_score: Option<f32>,
    /// Boxes that overlap by more than this (intersection over union) are of one thing.
    #[arg(long, value_name = "SHARE", default_value = "0.3", value_parser = share)]
    max_iou: f32,
    /// Draw what was found and write the picture; a folder where there are several photos.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print one JSON object per photo and line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    engine: EngineArgs,
}

/// A number between 0 and 1.
pub(crate) fn share(text: &str) -> Result<f32, String> {
    let number = text.parse().ok().filter(|x| (0.0..=1.0).contains(x));
    number.ok_or_else(|| format!("\"{text}\" is no number between 0 and 1"))
}

#[derive(Serialize)]
struct Answer<'a> {
    file: String,
    model: &'a str,
    width: usize,
    height: usize,
    detections: Vec<Found<'a>>,
    milliseconds: f64,
}

#[derive(Serialize)]
struct Found<'a> {
    what: &'a str,
    score: f32,
    #[serde(rename = "box")]
    corners: [f64; 4],
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    keypoints: serde_json::Map<String, serde_json::Value>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let photos = collect(&args.photos)?;
    let mut detector = Detector::load(args.model.as_deref(), &args.engine)?;
    if let Some(score) = args.min_score {
        detector.set_min_score(score);
    }
    each(&photos, args.json, |path| detect(args, &mut detector, path, photos.len()))
}

fn detect(args: &Args, detector: &mut Detector, path: &Path, photos: usize) -> Result<String> {
    let mut picture = Picture::open(path)?;
    let (found, time) = detector.find(&picture, args.max_iou)?;
    let milliseconds = time.as_secs_f64() * 1e3;
    let (width, height) = (picture.width(), picture.height());
    if let Some(named) = &args.output {
        draw(&mut picture, detector.what, &found);
        picture.save(photo::output_path(named, path, photos)?)?;
    }
    let file = path.display().to_string();
    if args.json {
        let json = |d: &Detection| Found {
            what: detector.what,
            score: d.score,
            corners: photo::corners(&d.rect),
            keypoints: detector
                .keypoints
                .iter()
                .zip(&d.keypoints)
                .map(|(&name, p)| (name.into(), [p.x, p.y].map(photo::tenth).into_iter().collect()))
                .collect(),
        };
        let detections = found.iter().map(json).collect();
        let model = detector.net.name();
        let answer = Answer { file, model, width, height, detections, milliseconds };
        return Ok(serde_json::to_string(&answer)?);
    }
    let count = match found.len() {
        1 => format!("1 {}", detector.what),
        n => format!("{n} {}", plural(detector.what)),
    };
    let head = format!(
        "{file}   {width}x{height}   {count}   {} in {milliseconds:.1} ms",
        detector.net.name()
    );
    if found.is_empty() {
        return Ok(head);
    }
    Ok(format!("{head}\n{}", table(detector, &found)))
}

fn plural(what: &str) -> String {
    if what == "person" { "people".into() } else { format!("{what}s") }
}

/// Scores, corners and points, in pixels.
fn table(detector: &Detector, found: &[Detection]) -> String {
    let mut head = vec!["", "score", "left", "top", "right", "bottom"];
    head.extend(detector.keypoints);
    let mut table = text::table(&head, 1);
    for d in found {
        let mut row = vec![detector.what.to_owned(), format!("{:.2}", d.score)];
        let corners = [d.rect.left, d.rect.top, d.rect.right, d.rect.bottom];
        row.extend(corners.map(|x| format!("{x:.0}")));
        row.extend(d.keypoints.iter().map(|p| format!("{:.0},{:.0}", p.x, p.y)));
        table.add_row(row);
    }
    table.to_string()
}

fn draw(picture: &mut Picture, what: &str, found: &[Detection]) {
    let mut painter = Painter::new(picture);
    for (i, d) in found.iter().enumerate() {
        painter.rect(&d.rect, Color::nth(i));
        for &point in &d.keypoints {
            painter.dot(point, 3 * painter.stroke(), Color::nth(i));
        }
        painter.label(&d.rect, &format!("{what} {:.2}", d.score), Color::nth(i));
    }
}
