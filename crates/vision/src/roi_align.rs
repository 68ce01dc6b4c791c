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
        let want = hw.h.saturating_mul(hw.w).saturating_mul(channels);
        if want != features.len() || want == 0 {
            let got = features.len();
            return Err(VisionError::Length { what: "features", want: want.max(1), got });
        }
        let mut out = Vec::new();
        for rect in boxes {
            let grid = self.grid(rect)?;
            let map = Map { features, hw, channels };
            for row in 0..self.output.h {
                for column in 0..self.output.w {
                    let ys = grid.y.samples(row);
                    let xs = grid.x.samples(column);
                    map.bin(&ys, &xs, self.mode, &mut out);
                }
            }
        }
        Ok(out)
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

impl Map<'_> {
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

    fn sample(&self, y: f32, x: f32, mode: RoiMode, bin: &mut [f32]) {
        let (Some((y0, y1, fy)), Some((x0, x1, fx))) =
            (neighbours(y, self.hw.h), neighbours(x, self.hw.w))
        else {
            if mode == RoiMode::Max {
                bin.iter_mut().for_each(|value| *value = value.max(0.0));
            }
            return;
        };
        let at = |y: usize, x: usize| (y * self.hw.w + x) * self.channels;
        let corners = [
            (at(y0, x0), (1.0 - fy) * (1.0 - fx)),
            (at(y0, x1), (1.0 - fy) * fx),
            (at(y1, x0), fy * (1.0 - fx)),
            (at(y1, x1), fy * fx),
        ];
        for (channel, value) in bin.iter_mut().enumerate() {
            let weighted = corners.map(|(start, weight)| self.features[start + channel] * weight);
            match mode {
                RoiMode::Mean => *value += weighted.iter().sum::<f32>(),
                RoiMode::Max => *value = weighted.iter().fold(*value, |m, &v| m.max(v)),
            }
        }
    }
}
