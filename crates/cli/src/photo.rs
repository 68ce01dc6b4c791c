//! Networks that look at one photo: their input, and what they found on the photo.

use crate::source::EngineArgs;
use anyhow::{Context, Result, bail, ensure};
use depthwise_engine::layers::ir::Dim;
use depthwise_engine::tensor::Hw;
use depthwise_engine::{DType, Graph, Model, Session, Shape};
use depthwise_vision::{Detection, Normalize, Picture, Point, Rect, RotatedRect};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A network with one picture as its input.
pub(crate) struct PhotoNet {
    name: String,
    session: Session,
    /// Extents of the input.
    pub(crate) hw: Hw,
    /// Three channels first, as ONNX files have them.
    pub(crate) nchw: bool,
    /// How pixels become numbers.
    pub(crate) normalize: Normalize,
}

impl PhotoNet {
    /// The network of a file, or else the one that ships with the program.
    pub(crate) fn load(
        file: Option<&Path>,
        shipped: fn() -> Result<(Graph, &'static str)>,
        engine: &EngineArgs,
    ) -> Result<PhotoNet> {
        let (graph, name) = match file {
            Some(path) => {
                let name = path.file_name().unwrap_or(path.as_os_str());
                (depthwise_formats::open(path)?, name.to_string_lossy().into_owned())
            }
            None => shipped().map(|(graph, name)| (graph, name.to_owned()))?,
        };
        let model = Model::from_graph(graph, engine.options())?;
        let (hw, nchw) = input(&model).with_context(|| name.clone())?;
        let dims = if nchw { [1, 3, hw.h, hw.w] } else { [1, hw.h, hw.w, 3] };
        let session = model.session_for(&[Shape::new(&dims)?])?;
        Ok(PhotoNet { name, session, hw, nchw, normalize: Normalize::UNIT })
    }

    /// Name of the model.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Shape of every output.
    pub(crate) fn outputs(&self) -> Vec<Vec<usize>> {
        let outputs = self.session.plan().outputs();
        outputs.map(|(_, ty)| ty.shape.dims().to_vec()).collect()
    }

    /// The elements of an output.
    pub(crate) fn output(&self, index: usize) -> Result<&[f32]> {
        Ok(self.session.output::<f32>(index)?)
    }

    /// Runs the network on a picture of the extents of its input, and tells how long that took.
    pub(crate) fn run(&mut self, picture: &Picture) -> Result<Duration> {
        ensure!(
            picture.hw() == self.hw,
            "a picture of {} for an input of {}",
            picture.hw(),
            self.hw
        );
        let (normalize, nchw) = (self.normalize, self.nchw);
        let input = self.session.input_mut::<f32>(0)?;
        if nchw {
            let mut pixels = vec![0.0; input.len()];
            normalize.write(picture.pixels(), &mut pixels)?;
            let plane = pixels.len() / 3;
            for (i, pixel) in pixels.chunks_exact(3).enumerate() {
                for (channel, &x) in pixel.iter().enumerate() {
                    input[channel * plane + i] = x;
                }
            }
        } else {
            normalize.write(picture.pixels(), input)?;
        }
        let start = Instant::now();
        self.session.run();
        Ok(start.elapsed())
    }

    /// The error for a network that a command cannot use.
    pub(crate) fn unknown(&self, command: &str, known: &str) -> anyhow::Error {
        let list =
            |dims: &Vec<usize>| dims.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let outputs: Vec<String> = self.outputs().iter().map(list).collect();
        let input = if self.nchw {
            format!("1,3,{},{}", self.hw.h, self.hw.w)
        } else {
            format!("1,{},{},3", self.hw.h, self.hw.w)
        };
        anyhow::anyhow!(
            "{}: `{command}` does not know what this network says (input {input}, outputs {}).\n\
             It knows:\n{known}",
            self.name,
            outputs.join(" and "),
        )
    }
}

/// Extents of the one picture that a model takes, and whether its channels come first.
fn input(model: &Model) -> Result<(Hw, bool)> {
    let mut inputs = model.inputs();
    let (name, ty) = inputs.next().context("the model has no input")?;
    ensure!(inputs.next().is_none(), "the model has more inputs than a picture");
    let unfit = || format!("input \"{name}\" is {ty}, which is no f32 picture of fixed size");
    ensure!(ty.dtype == DType::F32, unfit());
    match ty.dims[..] {
        [_, Dim::Fixed(h), Dim::Fixed(w), Dim::Fixed(3)] => Ok((Hw { h, w }, false)),
        [_, Dim::Fixed(3), Dim::Fixed(h), Dim::Fixed(w)] => Ok((Hw { h, w }, true)),
        _ => bail!(unfit()),
    }
}

/// What `detect` can read.
pub(crate) const DETECTORS: &str = "  \
MediaPipe face detection, short range   1,128,128,3 to 1,896,16 and 1,896,1
  MediaPipe pose detection                1,224,224,3 to 1,2254,12 and 1,2254,1
  Ultra-Light-Fast-Generic-Face-Detector  1,3,H,W to 1,N,4 (corners) and 1,N,2 (background, face)";

/// How the outputs of a detector are to be read.
enum Reading {
    /// Offsets from anchors, of a letterboxed picture.
    Anchors(depthwise_vision::AnchorDecoder),
    /// Corners and scores by class, of a stretched picture.
    Corners { classes: usize, min_score: f32 },
}

/// A network that finds boxes.
pub(crate) struct Detector {
    pub(crate) net: PhotoNet,
    reading: Reading,
    /// Outputs of boxes and of scores.
    boxes: usize,
    scores: usize,
    /// What is found.
    pub(crate) what: &'static str,
    /// Names of its keypoints.
    pub(crate) keypoints: &'static [&'static str],
}

#[cfg(feature = "embedded-weights")]
fn shipped_detector() -> Result<(Graph, &'static str)> {
    Ok((depthwise_zoo::face_detector()?, "mediapipe-face-short-range"))
}

#[cfg(not(feature = "embedded-weights"))]
fn shipped_detector() -> Result<(Graph, &'static str)> {
    bail!("this build has no networks of its own (feature embedded-weights); name a --model")
}

impl Detector {
    /// The detector of a file, or the face detector that ships with the program.
    pub(crate) fn load(file: Option<&Path>, engine: &EngineArgs) -> Result<Detector> {
        let net = PhotoNet::load(file, shipped_detector, engine)?;
        let outputs = net.outputs();
        let find = |want: [usize; 3]| outputs.iter().position(|dims| *dims == want);
        let input = (net.hw, net.nchw);
        let faces = (find([1, 896, 16]), find([1, 896, 1]));
        let poses = (find([1, 2254, 12]), find([1, 2254, 1]));
        if let ((Some(boxes), Some(scores)), (Hw { h: 128, w: 128 }, false)) = (faces, input) {
            let decoder = depthwise_vision::AnchorDecoder::mediapipe_face_short_range();
            return Ok(Detector::mediapipe(net, decoder, (boxes, scores), "face", &FACE_POINTS));
        }
        if let ((Some(boxes), Some(scores)), (Hw { h: 224, w: 224 }, false)) = (poses, input) {
            let decoder = depthwise_vision::AnchorDecoder::mediapipe_pose();
            return Ok(Detector::mediapipe(net, decoder, (boxes, scores), "person", &POSE_POINTS));
        }
        if let ([a, b], true) = (&outputs[..], net.nchw) {
            let rows = |dims: &[usize], last: usize| match *dims {
                [1, n, l] if l == last => Some(n),
                _ => None,
            };
            for ((corners, scores), boxes) in [((a, b), 0), ((b, a), 1)] {
                if rows(corners, 4).is_some() && rows(corners, 4) == rows(scores, 2) {
                    return Ok(Detector::ultra_light(net, boxes));
                }
            }
        }
        Err(net.unknown("detect", DETECTORS))
    }

    fn mediapipe(
        mut net: PhotoNet,
        decoder: depthwise_vision::AnchorDecoder,
        (boxes, scores): (usize, usize),
        what: &'static str,
        keypoints: &'static [&'static str],
    ) -> Detector {
        net.normalize = Normalize::SIGNED_UNIT;
        Detector { net, reading: Reading::Anchors(decoder), boxes, scores, what, keypoints }
    }

    fn ultra_light(mut net: PhotoNet, boxes: usize) -> Detector {
        net.normalize = Normalize::CENTRED_127;
        // What its authors use.
        let reading = Reading::Corners { classes: 2, min_score: 0.7 };
        Detector { net, reading, boxes, scores: 1 - boxes, what: "face", keypoints: &[] }
    }

    /// Leaves out what has a lower score.
    pub(crate) fn set_min_score(&mut self, score: f32) {
        match &mut self.reading {
            Reading::Anchors(decoder) => decoder.min_score = score,
            Reading::Corners { min_score, .. } => *min_score = score,
        }
    }

    /// What is on the picture, in its pixels, best first, and how long the network took.
    pub(crate) fn find(
        &mut self,
        picture: &Picture,
        max_iou: f32,
    ) -> Result<(Vec<Detection>, Duration)> {
        let how = depthwise_vision::Interpolation::Bilinear;
        let frame = self.net.hw;
        match &self.reading {
            Reading::Anchors(decoder) => {
                let (framed, placement) = picture.letterbox(frame, 0, how)?;
                let time = self.net.run(&framed)?;
                let (boxes, scores) = (self.net.output(self.boxes)?, self.net.output(self.scores)?);
                let found = decoder.decode(boxes, scores)?;
                let found = depthwise_vision::weighted_nms(found, max_iou);
                let place = |p: Point| placement.share_to_original(frame, p);
                Ok((found.iter().map(|d| d.map(place)).collect(), time))
            }
            &Reading::Corners { classes, min_score } => {
                let time = self.net.run(&picture.resize(frame, how)?)?;
                let (boxes, scores) = (self.net.output(self.boxes)?, self.net.output(self.scores)?);
                let found = depthwise_vision::decode_corners(boxes, scores, classes, min_score)?;
                let (w, h) = (picture.width() as f32, picture.height() as f32);
                let place = |p: Point| Point { x: p.x * w, y: p.y * h };
                let found = depthwise_vision::nms(found, max_iou);
                Ok((found.iter().map(|d| d.map(place)).collect(), time))
            }
        }
    }
}

/// In the order of the network; sides as the person has them.
const FACE_POINTS: [&str; 6] = ["right eye", "left eye", "nose", "mouth", "right ear", "left ear"];
const POSE_POINTS: [&str; 4] = ["hips", "body circle", "shoulders", "chest circle"];

/// What `landmarks` can read.
pub(crate) const LANDMARKERS: &str = "  \
MediaPipe face landmarks  1,192,192,3 to 1404 and 1 numbers
  MediaPipe hand landmarks  1,224,224,3 to 63, 1, 1 and 63 numbers";

/// A body part that landmarks lie on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// 468 points.
    Face,
    /// 21 points.
    Hand,
}

/// A network that finds points in a window.
pub(crate) struct Landmarker {
    pub(crate) net: PhotoNet,
    pub(crate) part: Part,
    points: usize,
    presence: usize,
}

/// A landmark: pixels of the photo, and its distance behind the middle of the part, in pixels too.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Landmark {
    pub(crate) at: Point,
    pub(crate) z: f32,
}

impl Landmarker {
    /// The network of a file.
    pub(crate) fn load(file: &Path, engine: &EngineArgs) -> Result<Landmarker> {
        let none = || bail!("name a --model");
        let net = PhotoNet::load(Some(file), none, engine)?;
        let sizes: Vec<usize> = net.outputs().iter().map(|dims| dims.iter().product()).collect();
        let part = match (net.hw, net.nchw, &sizes[..]) {
            (Hw { h: 192, w: 192 }, false, [1404, 1] | [1, 1404]) => Part::Face,
            (Hw { h: 224, w: 224 }, false, [63, 1, 1, 63]) => Part::Hand,
            _ => return Err(net.unknown("landmarks", LANDMARKERS)),
        };
        let points = usize::from(sizes[0] == 1);
        let presence = match part {
            Part::Face => 1 - points,
            Part::Hand => 1,
        };
        Ok(Landmarker { net, part, points, presence })
    }

    /// The points in the window of the picture, how sure the network is that the part is there, and
    /// how long it took.
    pub(crate) fn find(
        &mut self,
        picture: &Picture,
        window: &RotatedRect,
    ) -> Result<(Vec<Landmark>, f32, Duration)> {
        let time = self.net.run(&picture.crop_rotated(window, self.net.hw)?)?;
        let (w, h) = (self.net.hw.w as f32, self.net.hw.h as f32);
        let points = self.net.output(self.points)?.chunks_exact(3).map(|xyz| Landmark {
            at: window.to_picture(Point { x: xyz[0] / w, y: xyz[1] / h }),
            z: xyz[2] / w * window.width,
        });
        let presence = self.net.output(self.presence)?.first().copied().unwrap_or(f32::NAN);
        let score = match self.part {
            Part::Face => depthwise_vision::sigmoid(presence),
            Part::Hand => presence,
        };
        Ok((points.collect(), score, time))
    }
}

/// The file that the picture made of a photo goes to: the one named, or one of the photo's name in
/// the folder named.
pub(crate) fn output_path(named: &Path, photo: &Path, photos: usize) -> Result<PathBuf> {
    if photos > 1 && !named.exists() {
        std::fs::create_dir_all(named).with_context(|| named.display().to_string())?;
    }
    let folder = named.is_dir();
    ensure!(
        folder || photos == 1,
        "{} is a file, but there are {photos} photos; name a folder",
        named.display()
    );
    if !folder {
        return Ok(named.to_owned());
    }
    let mut name = photo.file_stem().unwrap_or(photo.as_os_str()).to_owned();
    name.push(".png");
    Ok(named.join(name))
}

/// `[left, top, right, bottom]` to a tenth of a pixel, for JSON.
pub(crate) fn corners(rect: &Rect) -> [f64; 4] {
    [rect.left, rect.top, rect.right, rect.bottom].map(tenth)
}

/// To a tenth.
pub(crate) fn tenth(x: f32) -> f64 {
    (f64::from(x) * 10.0).round() / 10.0
}
