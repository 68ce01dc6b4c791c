//! Features of boxes, at one size for all.

use crate::VisionError;
use crate::geometry::Rect;
use depthwise_tensor::Hw;

/// How the samples of a bin become one number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RoiMode {
    /// Their mean.
    #[default]
    Mean,
    /// The largest of the weighted corners, as ONNX's `max` mode has it.
    Max,
}

/// RoIAlign (He et al. 2017, Mask R-CNN, section 3): the features inside a box, as a grid of bins,
/// each from bilinear samples at exact places. Numbers are those of ONNX's `RoiAlign` and of
/// torchvision's `roi_align`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RoiAlign {
    /// Rows and columns of bins.
    pub output: Hw,
    /// From coordinates of the boxes to those of the features: 1/16 for features of stride 16.
    pub scale: f32,
    /// Samples of a bin along each axis; 0 means as many as the bin has pixels, rounded up.
    pub samples: usize,
    /// Whether the first pixel has its centre at 0.5 (ONNX's `half_pixel`, torchvision's `aligned`)
    /// instead of at 0; with the latter, boxes are at least one pixel wide and high.
    pub half_pixel: bool,
    /// Mean or maximum.
    pub mode: RoiMode,
}

/// Largest number of samples of all bins of one box along one axis, if the number follows from the
/// size of the box.
const MAX_SAMPLES: f32 = 4096.0;

impl RoiAlign {
    /// The features of every box: `boxes.len() x output.h x output.w x channels`, from one picture's
    /// `hw.h x hw.w x channels`, dense.
    ///
    /// # Errors
    /// [`VisionError::Length`] where `features` does not fit, [`VisionError::Rect`] for a box that is
    /// not finite or is larger than any picture.
    pub fn run(
        &self,
        features: &[f32],
        hw: Hw,
        channels: usize,
        boxes: &[Rect],
    ) -> Result<Vec<f32>, VisionError> {
        let map = Map::new(features, hw, channels)?;
        let mut out = Vec::new();
        self.each_bin(boxes, |_, ys, xs| map.bin(ys, xs, self.mode, &mut out))?;
        Ok(out)
    }

    /// The gradient with respect to the features, `hw.h x hw.w x channels`, where that of the result
    /// of [`RoiAlign::run`] is `dy`. Of equal maxima the first has it all. Boxes are taken as given:
    /// they have no gradient (He et al. stop it there).
    ///
    /// # Errors
    /// As [`RoiAlign::run`]; [`VisionError::Length`] where `dy` does not fit, too.
    pub fn gradient(
        &self,
        features: &[f32],
        hw: Hw,
        channels: usize,
        boxes: &[Rect],
        dy: &[f32],
    ) -> Result<Vec<f32>, VisionError> {
        let map = Map::new(features, hw, channels)?;
        let want = boxes.len().saturating_mul(self.output.h * self.output.w * channels);
        if dy.len() != want {
            return Err(VisionError::Length { what: "gradient", want, got: dy.len() });
        }
        let mut dx = vec![0f32; features.len()];
        self.each_bin(boxes, |bin, ys, xs| {
            map.spread(ys, xs, self.mode, &dy[bin * channels..][..channels], &mut dx);
        })?;
        Ok(dx)
    }

    /// Calls with the number of every bin, in order, and the rows and columns of its samples.
    fn each_bin(
        &self,
        boxes: &[Rect],
        mut bin: impl FnMut(usize, &[f32], &[f32]),
    ) -> Result<(), VisionError> {
        let mut number = 0;
        for rect in boxes {
            let grid = self.grid(rect)?;
            for row in 0..self.output.h {
                for column in 0..self.output.w {
                    bin(number, &grid.y.samples(row), &grid.x.samples(column));
                    number += 1;
                }
            }
        }
        Ok(())
    }

    fn grid(&self, rect: &Rect) -> Result<Grid, VisionError> {
        let offset = if self.half_pixel { 0.5 } else { 0.0 };
        let axis = |low: f32, high: f32, bins: usize| {
            let start = low * self.scale - offset;
            let mut extent = high * self.scale - offset - start;
            if !self.half_pixel {
                extent = extent.max(1.0);
            }
            let fits = start.is_finite() && extent.is_finite() && extent <= MAX_SAMPLES;
            let size = extent / bins.max(1) as f32;
            let samples = match self.samples {
                0 => size.ceil().max(1.0) as usize,
                n => n,
            };
            fits.then_some(Axis { start, size, samples })
        };
        let x = axis(rect.left, rect.right, self.output.w);
        let y = axis(rect.top, rect.bottom, self.output.h);
        let (Some(x), Some(y)) = (x, y) else { return Err(VisionError::Rect { rect: *rect }) };
        Ok(Grid { x, y })
    }
}

/// Where the samples of a box lie.
struct Grid {
    x: Axis,
    y: Axis,
}

struct Axis {
    start: f32,
    /// Extent of a bin.
    size: f32,
    samples: usize,
}

impl Axis {
    fn samples(&self, bin: usize) -> Vec<f32> {
        let step = self.size / self.samples as f32;
        let first = self.start + bin as f32 * self.size;
        (0..self.samples).map(|i| first + (i as f32 + 0.5) * step).collect()
    }
}

struct Map<'f> {
    features: &'f [f32],
    hw: Hw,
    channels: usize,
}

/// The two neighbours of a place, and the weight of the second.
fn neighbours(at: f32, extent: usize) -> Option<(usize, usize, f32)> {
    // A sample up to a pixel outside takes the border; further out it counts as zero.
    if !(-1.0..=extent as f32).contains(&at) {
        return None;
    }
    let last = extent - 1;
    let at = at.max(0.0);
    let low = (at as usize).min(last);
    let weight = if low == last { 0.0 } else { at - low as f32 };
    Some((low, (low + 1).min(last), weight))
}

impl<'f> Map<'f> {
    fn new(features: &'f [f32], hw: Hw, channels: usize) -> Result<Map<'f>, VisionError> {
        let (want, got) = (hw.h.saturating_mul(hw.w).saturating_mul(channels), features.len());
        match want == got && want > 0 {
            true => Ok(Map { features, hw, channels }),
            false => Err(VisionError::Length { what: "features", want: want.max(1), got }),
        }
    }

    /// Appends a bin's channels.
    fn bin(&self, ys: &[f32], xs: &[f32], mode: RoiMode, out: &mut Vec<f32>) {
        let start = out.len();
        let empty = match mode {
            RoiMode::Mean => 0.0,
            RoiMode::Max => f32::NEG_INFINITY,
        };
        out.resize(start + self.channels, empty);
        let bin = &mut out[start..];
        for &y in ys {
            for &x in xs {
                self.sample(y, x, mode, bin);
            }
        }
        let count = (ys.len() * xs.len()) as f32;
        for value in bin {
            *value = match mode {
                RoiMode::Mean => *value / count,
                RoiMode::Max if *value == f32::NEG_INFINITY => 0.0,
                RoiMode::Max => *value,
            };
        }
    }

    /// Where the four neighbours of a place begin, and their weights; `None` outside.
    fn corners(&self, y: f32, x: f32) -> Option<[(usize, f32); 4]> {
        let (y0, y1, fy) = neighbours(y, self.hw.h)?;
        let (x0, x1, fx) = neighbours(x, self.hw.w)?;
        let at = |y: usize, x: usize| (y * self.hw.w + x) * self.channels;
        Some([
            (at(y0, x0), (1.0 - fy) * (1.0 - fx)),
            (at(y0, x1), (1.0 - fy) * fx),
            (at(y1, x0), fy * (1.0 - fx)),
            (at(y1, x1), fy * fx),
        ])
    }

    fn sample(&self, y: f32, x: f32, mode: RoiMode, bin: &mut [f32]) {
        let Some(corners) = self.corners(y, x) else {
            if mode == RoiMode::Max {
                bin.iter_mut().for_each(|value| *value = value.max(0.0));
            }
            return;
        };
        for (channel, value) in bin.iter_mut().enumerate() {
            let weighted = corners.map(|(start, weight)| self.features[start + channel] * weight);
            match mode {
                RoiMode::Mean => *value += weighted.iter().sum::<f32>(),
                RoiMode::Max => *value = weighted.iter().fold(*value, |m, &v| m.max(v)),
            }
        }
    }

    /// Adds what a bin's gradient `dy` means for the features to `dx`.
    fn spread(&self, ys: &[f32], xs: &[f32], mode: RoiMode, dy: &[f32], dx: &mut [f32]) {
        let samples = || ys.iter().flat_map(|&y| xs.iter().map(move |&x| self.corners(y, x)));
        let count = (ys.len() * xs.len()) as f32;
        for (channel, &dy) in dy.iter().enumerate() {
            match mode {
                RoiMode::Mean => {
                    for (start, weight) in samples().flatten().flatten() {
                        dx[start + channel] += weight * dy / count;
                    }
                }
                RoiMode::Max => {
                    let mut best: (f32, Option<(usize, f32)>) = (f32::NEG_INFINITY, None);
                    for sample in samples() {
                        // A sample outside is a zero that no feature changes.
                        let outside = [(0.0, None); 1];
                        let values = sample.map(|corners| {
                            corners.map(|(at, w)| (self.features[at + channel] * w, Some((at, w))))
                        });
                        let values = values.as_ref().map_or(&outside[..], |v| &v[..]);
                        for &value in values {
                            if value.0 > best.0 {
                                best = value;
                            }
                        }
                    }
                    if let Some((start, weight)) = best.1 {
                        dx[start + channel] += weight * dy;
                    }
                }
            }
        }
    }
}
