//! `depthwise segment`: which pixels of photos show people.

use crate::commands::classify::{collect, each};
use crate::commands::detect::share;
use crate::photo::{self, PhotoNet};
use crate::source::EngineArgs;
use anyhow::{Result, ensure};
use depthwise_engine::Graph;
use depthwise_vision::{Color, Interpolation, Mask, Normalize, Picture};
use serde_json::json;
use std::path::{Path, PathBuf};

/// What `segment` can read.
const SEGMENTERS: &str = "  \
MediaPipe selfie segmentation  1,256,256,3 (or 1,144,256,3) to as many rows and columns of one number";

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("out").required(true).multiple(true), after_help = format!("\
Without --model, MediaPipe's selfie segmenter that ships in the binary finds the person in front of
the camera. Other models it knows by their inputs and outputs:
{SEGMENTERS}

At least one of --output, --mask and --json says what is wanted. --json prints one line per photo:
  {{\"file\": .., \"model\": .., \"width\": .., \"height\": .., \"share\": 0.54, \"milliseconds\": ..}}

Examples:
  depthwise segment photos/astronaut.png -o tinted.png
  depthwise segment photos/astronaut.png --mask mask.png --cut-out alone.png
  depthwise segment --json holiday/

Exit code 1 where any photo could not be read; the others are still looked at."))]
pub(crate) struct Args {
    /// Photos, or folders of photos.
    #[arg(required = true)]
    photos: Vec<PathBuf>,
    /// A segmenter (.onnx, .tflite).
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Write the photo with the person tinted; a folder where there are several photos.
    #[arg(short, long, value_name = "FILE", group = "out")]
    output: Option<PathBuf>,
    /// Write the mask, white where the person is; a folder where there are several photos.
    #[arg(long, value_name = "FILE", group = "out")]
    mask: Option<PathBuf>,
    /// Write the person on a white ground; a folder where there are several photos.
    #[arg(long, value_name = "FILE", group = "out")]
    cut_out: Option<PathBuf>,
    /// Print one JSON object per photo and line.
    #[arg(long, group = "out")]
    json: bool,
    /// A pixel counts as the person's in the printed share from this value on.
    #[arg(long, value_name = "SHARE", default_value = "0.5", value_parser = share)]
    threshold: f32,
    #[command(flatten)]
    engine: EngineArgs,
}

#[cfg(feature = "embedded-weights")]
fn shipped() -> Result<(Graph, &'static str)> {
    Ok((depthwise_zoo::selfie_segmenter()?, "mediapipe-selfie"))
}

#[cfg(not(feature = "embedded-weights"))]
fn shipped() -> Result<(Graph, &'static str)> {
    anyhow::bail!(
        "this build has no networks of its own (feature embedded-weights); name a --model"
    )
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let photos = collect(&args.photos)?;
    let mut net = PhotoNet::load(args.model.as_deref(), shipped, &args.engine)?;
    let want = [1, net.hw.h, net.hw.w, 1];
    if net.nchw || net.outputs() != [want.to_vec()] {
        return Err(net.unknown("segment", SEGMENTERS));
    }
    net.normalize = Normalize::UNIT;
    for (a, b) in
        [(&args.output, &args.mask), (&args.output, &args.cut_out), (&args.mask, &args.cut_out)]
    {
        ensure!(a.is_none() || a != b, "two pictures cannot go to the same file or folder");
    }
    each(&photos, args.json, |path| segment(args, &mut net, path, photos.len()))
}

fn segment(args: &Args, net: &mut PhotoNet, path: &Path, photos: usize) -> Result<String> {
    let picture = Picture::open(path)?;
    let time = net.run(&picture.resize(net.hw, Interpolation::Bilinear)?)?;
    let mask = Mask::from_values(net.hw, net.output(0)?)?.resize(picture.hw())?;
    let share = mask.share_above(args.threshold);
    write(args, &picture, &mask, path, photos)?;
    let (file, milliseconds) = (path.display().to_string(), time.as_secs_f64() * 1e3);
    let (width, height) = (picture.width(), picture.height());
    if args.json {
        let model = net.name();
        let answer = json!({
            "file": file, "model": model, "width": width, "height": height,
            "share": share, "milliseconds": milliseconds,
        });
        return Ok(answer.to_string());
    }
    let percent = share * 100.0;
    let model = net.name();
    Ok(format!(
        "{file}   {width}x{height}   person on {percent:.1}% of it   {model} in {milliseconds:.1} ms"
    ))
}

fn write(args: &Args, picture: &Picture, mask: &Mask, path: &Path, photos: usize) -> Result<()> {
    if let Some(named) = &args.output {
        let mut tinted = picture.clone();
        tinted.tint(mask, Color::nth(0), 0.6)?;
        tinted.save(photo::output_path(named, path, photos)?)?;
    }
    if let Some(named) = &args.mask {
        mask.save(photo::output_path(named, path, photos)?)?;
    }
    if let Some(named) = &args.cut_out {
        let mut alone = picture.clone();
        alone.tint(&mask.inverted(), Color::WHITE, 1.0)?;
        alone.save(photo::output_path(named, path, photos)?)?;
    }
    Ok(())
}
