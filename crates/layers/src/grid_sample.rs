//! Samples of a picture anywhere.

use crate::check::{Inputs, invalid, nhwc};
use crate::reference::{Operands, collect, from_f64, position};
use crate::resize::keys;
use crate::{Arg, Layer, LayerError, TensorType};
use depthwise_tensor::Tensor;

/// How a sample between pixels is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SampleMode {
    /// The nearest pixel, halves to the even one.
    Nearest,
    /// Linear between neighbours, along each axis.
    Linear,
    /// Cubic convolution with coefficient -0.75, along each axis.
    Cubic,
}

/// What lies outside a picture. Each pixel that a sample is made of is brought inside by itself, as
/// PyTorch does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outside {
    /// Zeros.
    Zeros,
    /// The pixels of the border.
    Border,
    /// The picture mirrored at its border, again and again.
    Reflection,
}

/// `y[n, oh, ow, c]`: the picture `x[n, :, :, c]` at the point `grid[n, oh, ow]`.
///
/// Inputs: x, NHWC; grid, N by OH by OW by 2, with the column of each point first, then its row; -1
/// is the first end of an axis, 1 the last.
#[derive(Clone, Debug, PartialEq)]
pub struct GridSample {
    /// The interpolation.
    pub mode: SampleMode,
    /// What is outside.
    pub outside: Outside,
    /// Whether an axis ends in the middle of its last pixel; else at the edge of it.
    pub align_corners: bool,
}

/// One axis of a picture.
struct Axis<'a> {
    layer: &'a GridSample,
    extent: usize,
}

impl Axis<'_> {
    /// Where the first and the last pixel end.
    fn ends(&self) -> (f64, f64) {
        let last = self.extent as f64 - 1.0;
        if self.layer.align_corners { (0.0, last) } else { (-0.5, last + 0.5) }
    }

    /// The position of a point between -1 and 1, in pixels.
    fn pixels(&self, point: f64) -> f64 {
        let (first, last) = self.ends();
        first + (point + 1.0) / 2.0 * (last - first)
    }

    /// A position mirrored until it lies between the ends.
    fn reflect(&self, at: f64) -> f64 {
        let (first, last) = self.ends();
        let length = last - first;
        if length <= 0.0 || !at.is_finite() {
            return first;
        }
        let turned = (at - first).rem_euclid(2.0 * length);
        first + if turned > length { 2.0 * length - turned } else { turned }
    }

    /// The pixel at a whole position; `None` where there are zeros.
    fn pixel(&self, at: f64) -> Option<usize> {
        let last = self.extent as f64 - 1.0;
        match self.layer.outside {
            Outside::Zeros => (0.0..=last).contains(&at).then_some(at as usize),
            Outside::Border => Some(at.clamp(0.0, last) as usize),
            Outside::Reflection => Some(self.reflect(at).round().clamp(0.0, last) as usize),
        }
    }

    /// The pixels that make up a point, with their weights.
    fn taps(&self, point: f64) -> Vec<(usize, f64)> {
        let at = self.pixels(point);
        let t = at - at.floor();
        let tap = |step: f64, weight: f64| (at.floor() + step, weight);
        let taps = match self.layer.mode {
            SampleMode::Nearest => vec![(at.round_ties_even(), 1.0)],
            SampleMode::Linear => vec![tap(0.0, 1.0 - t), tap(1.0, t)],
            SampleMode::Cubic => [-1.0, 0.0, 1.0, 2.0]
                .map(|step: f64| tap(step, keys(-0.75, (step - t).abs())))
                .to_vec(),
        };
        taps.into_iter().filter_map(|(at, weight)| Some((self.pixel(at)?, weight))).collect()
    }
}

impl Layer for GridSample {
    fn kind(&self) -> &'static str {
        "GridSample"
    }

    fn infer(&self, inputs: &[Option<Arg<'_>>]) -> Result<Vec<TensorType>, LayerError> {
        let inputs = Inputs::new(self.kind(), inputs, "2", &[0, 1], 2)?;
        let (x, grid) = (inputs.float(0)?.ty, inputs.float(1)?.ty);
        let picture = nhwc(self.kind(), 0, &x.shape)?;
        let [n, oh, ow, 2] = grid.shape[..] else {
            return Err(invalid!(self.kind(), "the grid is {}, not N,H,W,2", grid.shape));
        };
        if n != picture.n || (picture.h * picture.w == 0 && n * oh * ow > 0) {
            return Err(invalid!(self.kind(), "a grid of {} for {}", grid.shape, x.shape));
        }
        Ok(vec![TensorType::new(x.dtype, &[n, oh, ow, picture.c])?])
    }

    fn reference(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, LayerError> {
        let operands = Operands::new(self, inputs)?;
        let (x, grid) = (operands.get(0), operands.get(1));
        let (pixels, points) = (x.to_f64(), grid.to_f64());
        let rows = Axis { layer: self, extent: x.shape()[1] };
        let columns = Axis { layer: self, extent: x.shape()[2] };
        let ty = operands.output();
        let y = collect(&ty.shape, |index| {
            let &[n, oh, ow, c] = index else { unreachable!("a picture has four dimensions") };
            let at = position(grid.shape(), &[n, oh, ow, 0]);
            let (column, row) = (points[at], points[at + 1]);
            let columns = columns.taps(column);
            let mut sum = 0.0;
            for (h, across) in rows.taps(row) {
                for &(w, along) in &columns {
                    sum += across * along * pixels[position(x.shape(), &[n, h, w, c])];
                }
            }
            sum
        })?;
        Ok(vec![from_f64(ty, y)?])
    }
}
