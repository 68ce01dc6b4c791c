//! Samples of a picture at any points, `f32`: warps, spatial transformers.
//!
//! `y[n, oh, ow, c] = sum over taps of weight * x[n, h, w, c]`, the taps being those of the point
//! `grid[n, oh, ow]` (column, then row; -1 is the first end of an axis, 1 the last).
//!
//! Points come with every run, so taps are found point by point; the loop over channels is what the
//! compiler vectorises, the same on every instruction set.

#[cfg(test)]
mod tests;

use crate::layout::View;
use crate::layout::walk::{chunks_for, part};
use crate::operator::{Io, KernelError, Operator};
use depthwise_tensor::{Nhwc, Shape};

const FAMILY: &str = "grid_sample_f32";

/// How a sample between pixels is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interpolation {
    /// The nearest pixel, halves to the even one.
    Nearest,
    /// Linear along each axis.
    Linear,
    /// Cubic convolution with coefficient -0.75 along each axis.
    Cubic,
}

/// What a pixel outside the picture is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Border {
    /// Zero.
    Zeros,
    /// The nearest pixel inside.
    Nearest,
    /// The pixel inside that it mirrors.
    Mirror,
}

/// What a [`GridSampleF32`] computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GridRule {
    /// Between pixels.
    pub interpolation: Interpolation,
    /// Outside.
    pub border: Border,
    /// Whether an axis ends in the middle of its last pixel; else at the edge of it.
    pub align_corners: bool,
}

/// The pixels of one axis that make up a sample, and their weights.
#[derive(Clone, Copy, Default)]
struct Taps {
    count: usize,
    taps: [(usize, f32); 4],
}

impl Taps {
    fn push(&mut self, tap: (usize, f32)) {
        self.taps[self.count] = tap;
        self.count += 1;
    }

    fn iter(&self) -> impl Iterator<Item = &(usize, f32)> {
        self.taps[..self.count].iter()
    }
}

impl GridRule {
    /// Where the first and the last of `extent` pixels end.
    fn ends(&self, extent: usize) -> (f32, f32) {
        let last = extent as f32 - 1.0;
        if self.align_corners { (0.0, last) } else { (-0.5, last + 0.5) }
    }

    /// The pixel at a whole position; `None` where there are zeros. A position that is no number is
    /// outside.
    fn pixel(&self, at: f32, extent: usize) -> Option<usize> {
        let last = extent as f32 - 1.0;
        match self.border {
            Border::Zeros => (0.0..=last).contains(&at).then_some(at as usize),
            Border::Nearest => Some((at.max(0.0) as usize).min(extent - 1)),
            Border::Mirror => {
                let (first, end) = self.ends(extent);
                let length = end - first;
                if length <= 0.0 || !at.is_finite() {
                    return Some(0);
                }
                let turned = (at - first).rem_euclid(2.0 * length);
                let turned = if turned > length { 2.0 * length - turned } else { turned };
                Some(((first + turned).round().max(0.0) as usize).min(extent - 1))
            }
        }
    }

    /// The pixels of an axis that make up the samples at `point`.
    fn taps(&self, point: f32, extent: usize) -> Taps {
        let (first, end) = self.ends(extent);
        let at = first + (point + 1.0) / 2.0 * (end - first);
        let (floor, t) = (at.floor(), at - at.floor());
        let mut taps = Taps::default();
        let mut push = |at: f32, weight: f32| {
            if let Some(pixel) = self.pixel(at, extent) {
                taps.push((pixel, weight));
            }
        };
        match self.interpolation {
            Interpolation::Nearest => push(at.round_ties_even(), 1.0),
            Interpolation::Linear => {
                push(floor, 1.0 - t);
                push(floor + 1.0, t);
            }
            Interpolation::Cubic => {
                for step in [-1.0, 0.0, 1.0, 2.0] {
                    push(floor + step, keys((step - t).abs()));
                }
            }
        }
        taps
    }
}

/// Keys' cubic convolution kernel at distance `d`.
fn keys(d: f32) -> f32 {
    const A: f32 = -0.75;
    if d <= 1.0 {
        ((A + 2.0) * d - (A + 3.0)) * d * d + 1.0
    } else if d < 2.0 {
        ((A * d - 5.0 * A) * d + 8.0 * A) * d - 4.0 * A
    } else {
        0.0
    }
}

/// Samples of a picture at the points of a grid. Inputs: x, NHWC; grid, N by OH by OW by 2.
#[derive(Debug)]
pub struct GridSampleF32 {
    rule: GridRule,
    picture: Nhwc,
    ld: usize,
    ld_grid: usize,
    ld_out: usize,
    /// Points of the grid of one picture.
    points: usize,
    chunks: usize,
    input_bytes: [usize; 2],
    output_bytes: [usize; 1],
}

impl GridSampleF32 {
    /// The operator for these views.
    ///
    /// # Errors
    /// [`KernelError::Invalid`] where the shapes do not go together, or a view cannot be.
    pub fn new(
        rule: GridRule,
        input: View,
        grid: View,
        out: View,
        threads: usize,
    ) -> Result<GridSampleF32, KernelError> {
        let invalid = |reason| KernelError::Invalid { kernel: FAMILY, reason };
        for view in [&input, &grid, &out] {
            view.check(FAMILY)?;
        }
        let fits = match (input.shape.nhwc(), &grid.shape[..]) {
            (Some(x), &[n, oh, ow, 2]) => {
                let want = Shape::new(&[n, oh, ow, x.c]).map_err(|e| invalid(e.to_string()))?;
                let is_there = x.h * x.w > 0 || n * oh * ow == 0;
                (x.n == n && out.shape == want && is_there).then_some((x, oh * ow))
            }
            _ => None,
        };
        let Some((picture, points)) = fits else {
            let reason = format!("{} at {} cannot give {}", input.shape, grid.shape, out.shape);
            return Err(invalid(reason));
        };
        let samples = picture.n * points;
        Ok(GridSampleF32 {
            rule,
            picture,
            ld: input.ld,
            ld_grid: grid.ld,
            ld_out: out.ld,
            points,
            chunks: chunks_for(out.len() * size_of::<f32>(), threads).min(samples).max(1),
            input_bytes: [input.len() * size_of::<f32>(), grid.len() * size_of::<f32>()],
            output_bytes: [out.len() * size_of::<f32>()],
        })
    }
}

// SAFETY: pixels lie in the picture, by `GridRule::pixel`; points and samples in their views, whose
// lengths are declared. Chunks write different samples.
unsafe impl Operator for GridSampleF32 {
    fn kernel(&self) -> &'static str {
        FAMILY
    }

    fn input_bytes(&self) -> &[usize] {
        &self.input_bytes
    }

    fn output_bytes(&self) -> &[usize] {
        &self.output_bytes
    }

    fn chunks(&self) -> usize {
        self.chunks
    }

    unsafe fn run_chunk(&self, io: &Io<'_>, chunk: usize) {
        let Nhwc { h, w, c, .. } = self.picture;
        for sample in part(self.picture.n * self.points, 1, self.chunks, chunk) {
            let start = sample / self.points * h * w;
            // SAFETY: the point lies in the grid, the sample in the output.
            let (column, row, y) = unsafe {
                let point = io.input::<f32>(1).add(sample * self.ld_grid);
                (*point, *point.add(1), io.output_slice::<f32>(0, sample * self.ld_out, c))
            };
            let (rows, columns) = (self.rule.taps(row, h), self.rule.taps(column, w));
            y.fill(0.0);
            for &(h, across) in rows.iter() {
                for &(column, along) in columns.iter() {
                    let place = (start + h * w + column) * self.ld;
                    // SAFETY: the pixel lies in the picture, which nothing writes.
                    let x = unsafe { std::slice::from_raw_parts(io.input::<f32>(0).add(place), c) };
                    let weight = across * along;
                    for (y, x) in y.iter_mut().zip(x) {
                        *y += weight * x;
                    }
                }
            }
        }
    }
}
