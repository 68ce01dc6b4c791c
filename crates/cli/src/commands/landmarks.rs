//! `depthwise landmarks`: points of faces and hands on photos.

use crate::commands::classify::{collect, each};
use crate::commands::detect::share;
use crate::photo::{self, Detector, LANDMARKERS, Landmark, Landmarker, Part};
use crate::source::EngineArgs;
use crate::text;
use anyhow::{Result, ensure};
use depthwise_vision::{Color, Painter, Picture, Point, Rect, RotatedRect};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

#[derive(Debug, clap::Args)]
#[command(after_help = format!("\
Models it knows by their inputs and outputs:
{LANDMARKERS}

Faces are found first, with MediaPipe's short-range detector that ships in the binary, then turned
upright and looked at one by one. Hands are not found: --box says where one is, or it is looked for on
the whole photo.

--json prints one line per photo, in pixels of the photo; z is the distance behind the middle of the
part, in pixels too:
  {{\"file\": .., \"model\": .., \"width\": .., \"height\": ..,
   \"parts\": [{{\"part\": \"face\", \"score\": 0.99, \"points\": [[x, y, z], ..]}}, ..], \"milliseconds\": ..}}

Examples:
  depthwise landmarks --model mediapipe_face_landmark.tflite photos/astronaut.png -o marked.png
  depthwise landmarks --model mediapipe_hand_landmark_lite.tflite --box 20,40,300,320 hand.jpg --json

Exit code 1 where any photo could not be read; the others are still looked at."))]
pub(crate) struct Args {
    /// Photos, or folders of photos.
    #[arg(required = true)]
    photos: Vec<PathBuf>,
    /// A landmark network (.tflite).
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    /// The detector that finds faces, in the place of the one in the binary.
    #[arg(long, value_name = "FILE", conflicts_with = "window")]
    detector: Option<PathBuf>,
    /// Where to look, in pixels, instead of finding faces first.
    #[arg(long = "box", value_name = "LEFT,TOP,RIGHT,BOTTOM")]
    window: Option<Window>,
    /// Leave out parts whose score is lower.
    #[arg(long, value_name = "SCORE", default_value = "0.5", value_parser = share)]
    min_score: f32,
    /// Draw the points and write the picture; a folder where there are several photos.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print one JSON object per photo and line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    engine: EngineArgs,
}

/// A box on the command line.
#[derive(Clone, Copy, Debug)]
struct Window(Rect);

impl FromStr for Window {
    type Err = String;
    fn from_str(text: &str) -> Result<Window, String> {
        let numbers: Option<Vec<f32>> = text.split(',').map(|x| x.trim().parse().ok()).collect();
        match numbers.as_deref() {
            Some(&[left, top, right, bottom])
                if left < right && top < bottom && (right - left + bottom - top).is_finite() =>
            {
                Ok(Window(Rect { left, top, right, bottom }))
            }
            _ => Err(format!("\"{text}\" is no box; write LEFT,TOP,RIGHT,BOTTOM in pixels")),
        }
    }
}

#[derive(Serialize)]
struct Answer<'a> {
    file: String,
    model: &'a str,
    width: usize,
    height: usize,
    parts: Vec<Found>,
    milliseconds: f64,
}

#[derive(Serialize)]
struct Found {
    part: &'static str,
    score: f32,
    points: Vec<[f64; 3]>,
    #[serde(skip)]
    landmarks: Vec<Landmark>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let photos = collect(&args.photos)?;
    let mut landmarker = Landmarker::load(&args.model, &args.engine)?;
    let mut detector = None;
    if args.window.is_none() && landmarker.part == Part::Face {
        let found = Detector::load(args.detector.as_deref(), &args.engine)?;
        ensure!(found.what == "face", "{} finds no faces", found.net.name());
        detector = Some(found);
    }
    each(&photos, args.json, |path| {
        landmarks(args, &mut landmarker, detector.as_mut(), path, photos.len())
    })
}

fn landmarks(
    args: &Args,
    landmarker: &mut Landmarker,
    detector: Option<&mut Detector>,
    path: &Path,
    photos: usize,
) -> Result<String> {
    let mut picture = Picture::open(path)?;
    let (width, height) = (picture.width(), picture.height());
    let (windows, mut time) = windows(args, detector, &picture)?;
    let mut parts = Vec::new();
    for window in &windows {
        let (landmarks, score, took) = landmarker.find(&picture, window)?;
        time += took;
        if score >= args.min_score {
            let points =
                landmarks.iter().map(|l| [l.at.x, l.at.y, l.z].map(photo::tenth)).collect();
            parts.push(Found { part: name(landmarker.part), score, points, landmarks });
        }
    }
    if let Some(named) = &args.output {
        for (i, part) in parts.iter().enumerate() {
            draw(&mut picture, landmarker.part, &part.landmarks, i);
        }
        picture.save(photo::output_path(named, path, photos)?)?;
    }
    let (file, milliseconds) = (path.display().to_string(), time.as_secs_f64() * 1e3);
    let model = landmarker.net.name();
    if args.json {
        let answer = Answer { file, model, width, height, parts, milliseconds };
        return Ok(serde_json::to_string(&answer)?);
    }
    let count = match parts.len() {
        1 => format!("1 {}", name(landmarker.part)),
        n => format!("{n} {}s", name(landmarker.part)),
    };
    let head = format!("{file}   {width}x{height}   {count}   {model} in {milliseconds:.1} ms");
    if parts.is_empty() {
        return Ok(head);
    }
    Ok(format!("{head}\n{}", table(landmarker.part, &parts)))
}

/// Where to look for parts.
fn windows(
    args: &Args,
    detector: Option<&mut Detector>,
    picture: &Picture,
) -> Result<(Vec<RotatedRect>, Duration)> {
    const MAX_IOU: f32 = 0.3;
    if let Some(Window(rect)) = args.window {
        return Ok((vec![square(rect)], Duration::ZERO));
    }
    let Some(detector) = detector else {
        let (right, bottom) = (picture.width() as f32, picture.height() as f32);
        return Ok((vec![square(Rect { right, bottom, ..Rect::default() })], Duration::ZERO));
    };
    let (faces, time) = detector.find(picture, MAX_IOU)?;
    Ok((faces.iter().map(RotatedRect::for_face_landmarks).collect(), time))
}

/// The square around a box, which a network that looks at squares sees undistorted.
fn square(rect: Rect) -> RotatedRect {
    let side = rect.width().max(rect.height());
    Rect::around(rect.centre(), side, side).into()
}

fn name(part: Part) -> &'static str {
    match part {
        Part::Face => "face",
        Part::Hand => "hand",
    }
}

/// Points worth a column, and the closed and open lines between points. Numbers are MediaPipe's;
/// sides are the person's.
struct Drawing {
    named: &'static [(&'static str, usize)],
    closed: &'static [&'static [usize]],
    open: &'static [&'static [usize]],
}

const FACE: Drawing = Drawing {
    named: &[
        ("right eye", 33),
        ("left eye", 263),
        ("nose", 1),
        ("mouth right", 61),
        ("mouth left", 291),
        ("forehead", 10),
        ("chin", 152),
    ],
    closed: &[
        &[
            10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400,
            377, 152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67,
            109,
        ],
        &[33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246],
        &[263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466],
        &[
            61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40,
            185,
        ],
        &[
            78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80,
            191,
        ],
    ],
    open: &[
        &[46, 53, 52, 65, 55],
        &[70, 63, 105, 66, 107],
        &[276, 283, 282, 295, 285],
        &[300, 293, 334, 296, 336],
    ],
};

const HAND: Drawing = Drawing {
    named: &[
        ("wrist", 0),
        ("thumb", 4),
        ("index", 8),
        ("middle", 12),
        ("ring", 16),
        ("little", 20),
    ],
    closed: &[&[0, 5, 9, 13, 17]],
    open: &[
        &[0, 1, 2, 3, 4],
        &[5, 6, 7, 8],
        &[9, 10, 11, 12],
        &[13, 14, 15, 16],
        &[17, 18, 19, 20],
    ],
};

fn drawing(part: Part) -> &'static Drawing {
    match part {
        Part::Face => &FACE,
        Part::Hand => &HAND,
    }
}

fn table(part: Part, parts: &[Found]) -> String {
    let named = drawing(part).named;
    let mut head = vec!["", "score", "points"];
    head.extend(named.iter().map(|(name, _)| name));
    let mut table = text::table(&head, 1);
    for found in parts {
        let mut row = vec![
            found.part.to_owned(),
            format!("{:.2}", found.score),
            found.points.len().to_string(),
        ];
        row.extend(named.iter().map(|&(_, i)| {
            let at = found.landmarks.get(i).map_or(Point { x: f32::NAN, y: f32::NAN }, |l| l.at);
            format!("{:.0},{:.0}", at.x, at.y)
        }));
        table.add_row(row);
    }
    table.to_string()
}

fn draw(picture: &mut Picture, part: Part, landmarks: &[Landmark], i: usize) {
    let mut painter = Painter::new(picture);
    let stroke = extent(landmarks) / 200.0;
    painter.set_stroke(stroke.round() as u32);
    let dot = (stroke * 1.5).round() as u32;
    for landmark in landmarks {
        painter.dot(landmark.at, dot, Color::nth(i));
    }
    let points = |list: &[usize]| -> Vec<Point> {
        list.iter().filter_map(|&i| landmarks.get(i)).map(|l| l.at).collect()
    };
    let drawing = drawing(part);
    for list in drawing.closed {
        painter.outline(&points(list), Color::nth(i + 1));
    }
    for list in drawing.open {
        painter.path(&points(list), Color::nth(i + 1));
    }
}

/// The larger extent of all points.
fn extent(landmarks: &[Landmark]) -> f32 {
    let range = |of: fn(&Landmark) -> f32| {
        let all = landmarks.iter().map(of);
        all.clone().fold(f32::NEG_INFINITY, f32::max) - all.fold(f32::INFINITY, f32::min)
    };
    range(|l| l.at.x).max(range(|l| l.at.y)).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_parse() {
        let Window(rect) = "1, 2,30.5,40".parse().unwrap();
        assert_eq!(rect, Rect { left: 1.0, top: 2.0, right: 30.5, bottom: 40.0 });
        for bad in ["1,2,3", "3,2,1,4", "1,2,3,x", "0,0,inf,1", "nan,0,1,1", ""] {
            assert!(bad.parse::<Window>().is_err(), "{bad}");
        }
    }

    #[test]
    fn lines_go_through_points_that_there_are() {
        for (drawing, count) in [(FACE, 468), (HAND, 21)] {
            let lists = drawing.closed.iter().chain(drawing.open).flat_map(|list| list.iter());
            assert!(lists.chain(drawing.named.iter().map(|(_, i)| i)).all(|&i| i < count));
        }
    }
}
