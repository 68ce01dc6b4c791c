//! Interpolation to another size.

use crate::check::{Inputs, extents, invalid};
use crate::reference::{Operands, collect, from_f64, position, rearrange};
use crate::{Arg, Layer, LayerError, TensorType};
use depthwise_tensor::{DType, Shape, Tensor};

/// How values between samples are found.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum ResizeMode {
    /// The nearest sample.
    Nearest(NearestRounding),
    /// Linear between neighbours, along each axis.
    Linear,
    /// Cubic convolution with this coefficient (Keys 1981; ONNX default -0.75).
    Cubic {
        /// Keys' `a`.
        a: f32,
        /// Weights of samples outside are dropped and the rest renormalised.
        exclude_outside: bool,
    },
    /// As [`ResizeMode::Linear`]; along an axis that shrinks the weights are stretched over what an
    /// output position covers, and sum to 1.
    LinearAntialias {
        /// Weights of samples outside are dropped and the rest renormalised.
        exclude_outside: bool,
    },
    /// As [`ResizeMode::Cubic`], stretched like [`ResizeMode::LinearAntialias`].
    CubicAntialias {
        /// Keys' `a`.
        a: f32,
        /// Weights of samples outside are dropped and the rest renormalised.
        exclude_outside: bool,
    },
}

/// Which sample is nearest where a coordinate falls between two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NearestRounding {
    /// Half goes down.
    RoundPreferFloor,
    /// Half goes up.
    RoundPreferCeil,
    /// Always down.
    Floor,
    /// Always up.
    Ceil,
}

/// From output position `o` to input coordinate, with `s = output / input` (or the given scale).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coordinates {
    /// `(o + 0.5) / s - 0.5`
    HalfPixel,
    /// As [`Coordinates::HalfPixel`], but with the centre kept where the output size was rounded
    /// (ONNX `half_pixel_symmetric`).
    HalfPixelSymmetric,
    /// As [`Coordinates::HalfPixel`], but 0 where the output has one element (PyTorch).
    PytorchHalfPixel,
    /// `o * (input - 1) / (output - 1)`, 0 where the output has one element.
    AlignCorners,
    /// `o / s`
    Asymmetric,
}

/// Interpolation along every axis whose size changes.
///
/// Inputs: x; sizes, `i64` of the rank of x, may be left out; scales, `f32` of the rank of x, may
/// be left out. From scales alone the output is `floor(input * scale)`; of both, the sizes are those
/// of the output, and the scales map positions.
#[derive(Clone, Debug, PartialEq)]
pub struct Resize {
    /// The interpolation.
    pub mode: ResizeMode,
    /// The mapping of positions.
    pub coordinates: Coordinates,
}

/// One axis of a [`Resize`], its sizes resolved.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ResizeAxis {
    /// Extent of x.
    pub input: usize,
    /// Extent of y.
    pub output: usize,
    /// The scale that was given, or `output / input`.
    pub scale: f64,
}

impl ResizeAxis {
    /// Whether nothing changes along the axis.
    pub fn is_identity(&self) -> bool {
        self.input == self.output && self.scale == 1.0
    }

    /// `o / scale`, without the rounding of the scale where that is a ratio of the extents.
    fn shrink(&self, o: f64) -> f64 {
        let (input, output) = (self.input as f64, self.output as f64);
        if self.scale == output / input { o * input / output } else { o / self.scale }
    }
}

impl Resize {
    /// Every axis of `x`, with sizes, scales, or both given. The product `input * scale`
    /// is rounded to `f32` before the floor, as ONNX Runtime does: 3 at scale 1.6666666 makes 5.
    ///
    /// # Errors
    /// [`LayerError::Invalid`] where the list does not fit the rank, a scale is not positive, or
    /// there is nothing to interpolate.
    pub fn resolve(
        &self,
        x: &Shape,
        sizes: Option<&[i64]>,
        scales: Option<&[f32]>,
    ) -> Result<Vec<ResizeAxis>, LayerError> {
        let kind = KIND;
        if let Some(scale) = scales.and_then(|s| s.iter().find(|s| !(s.is_finite() && **s > 0.0))) {
            return Err(invalid!(kind, "scale {scale} is not positive"));
        }
        let (count, axes): (usize, Vec<ResizeAxis>) = match (sizes, scales) {
            (Some(sizes), None) => {
                let axis = |(&input, output): (&usize, usize)| {
                    let scale = output as f64 / input as f64;
                    ResizeAxis { input, output, scale }
                };
                (sizes.len(), x.iter().zip(extents(kind, sizes)?).map(axis).collect())
            }
            (None, Some(scales)) => {
                let axis = |(&input, &scale): (&usize, &f32)| {
                    let output = (input as f32 * scale).floor() as usize;
                    ResizeAxis { input, output, scale: scale.into() }
                };
                (scales.len(), x.iter().zip(scales).map(axis).collect())
            }
            (Some(sizes), Some(scales)) => {
                if sizes.len() != scales.len() {
                    let (sizes, scales) = (sizes.len(), scales.len());
                    return Err(invalid!(kind, "{sizes} sizes and {scales} scales"));
                }
                let axis = |((&input, output), &scale): ((&usize, usize), &f32)| ResizeAxis {
                    input,
                    output,
                    scale: scale.into(),
                };
                (sizes.len(), x.iter().zip(extents(kind, sizes)?).zip(scales).map(axis).collect())
            }
            (None, None) => return Err(invalid!(kind, "takes sizes or scales")),
        };
        if count != x.rank() {
            return Err(invalid!(kind, "{count} sizes or scales for {} dimensions", x.rank()));
        }
        // Sizes may be rounded, no more.
        let differs = |a: &&ResizeAxis| (a.input as f64 * a.scale - a.output as f64).abs() > 1.0;
        if let Some(ResizeAxis { input, output, scale }) = axes.iter().find(differs) {
            return Err(invalid!(kind, "{input} at scale {scale} cannot give {output}"));
        }
        match axes.iter().find(|a| a.input == 0 && a.output > 0) {
            Some(axis) => Err(invalid!(kind, "no elements to make {} of", axis.output)),
            None => Ok(axes),
        }
    }

    /// The input coordinate of output position `o`, not clamped to the input.
    pub fn coordinate(&self, axis: &ResizeAxis, o: usize) -> f64 {
        let (input, output) = (axis.input as f64, axis.output as f64);
        let o = o as f64;
        let half_pixel = axis.shrink(o + 0.5) - 0.5;
        match self.coordinates {
            Coordinates::HalfPixel => half_pixel,
            Coordinates::HalfPixelSymmetric => {
                // The exact output size and the rounded one share their centre.
                let adjustment = output / (axis.scale * input);
                input / 2.0 * (1.0 - adjustment) + half_pixel
            }
            Coordinates::PytorchHalfPixel if axis.output == 1 => 0.0,
            Coordinates::PytorchHalfPixel => half_pixel,
            Coordinates::AlignCorners if axis.output == 1 => 0.0,
            Coordinates::AlignCorners => o * (input - 1.0) / (output - 1.0),
            Coordinates::Asymmetric => axis.shrink(o),
        }
    }

    /// The samples that make up output position `o` of an axis ([`ResizeMode::taps`]).
    pub fn taps(&self, axis: &ResizeAxis, o: usize) -> Vec<(usize, f64)> {
        self.mode.taps(axis, self.coordinate(axis, o))
    }
}

impl ResizeMode {
    /// The samples that make up the value at coordinate `x` of an axis, with their weights: 1 of
    /// nearest, 2 of linear, 4 of cubic, more where those are stretched, the same number for every
    /// coordinate. Samples past an end are those of the end; a sample may stand twice.
    pub fn taps(&self, axis: &ResizeAxis, x: f64) -> Vec<(usize, f64)> {
        let last = axis.input as f64 - 1.0;
        let sample = |at: f64| at.clamp(0.0, last) as usize;
        match *self {
            ResizeMode::Nearest(rounding) => vec![(sample(rounding.round(x)), 1.0)],
            ResizeMode::Linear => {
                let x = x.clamp(0.0, last);
                let t = x - x.floor();
                vec![(sample(x), 1.0 - t), (sample(x.floor() + 1.0), t)]
            }
            ResizeMode::Cubic { a, exclude_outside } => {
                ResizeMode::spread(axis, x, 2.0, 1.0, exclude_outside, |d| keys(a.into(), d))
            }
            ResizeMode::LinearAntialias { exclude_outside } => {
                let triangle = |d: f64| (1.0 - d).max(0.0);
                ResizeMode::spread(axis, x, 1.0, axis.scale.min(1.0), exclude_outside, triangle)
            }
            ResizeMode::CubicAntialias { a, exclude_outside } => {
                let cubic = |d| keys(a.into(), d);
                ResizeMode::spread(axis, x, 2.0, axis.scale.min(1.0), exclude_outside, cubic)
            }
        }
    }

    /// The samples about coordinate `x` with the weights that `filter` has at their distances times
    /// `scale`; it is zero from `radius` on. Weights are made to sum to 1 where that changes them.
    fn spread(
        axis: &ResizeAxis,
        x: f64,
        radius: f64,
        scale: f64,
        exclude_outside: bool,
        filter: impl Fn(f64) -> f64,
    ) -> Vec<(usize, f64)> {
        let last = axis.input as f64 - 1.0;
        // Positions past those that the filter reaches from any position in the input.
        let reach = (radius / scale).ceil().min(2.0 * axis.input as f64 + 2.0);
        let first = x.floor() - reach + 1.0;
        let mut taps: Vec<(usize, f64)> = (0..2 * reach as usize)
            .map(|step| {
                let at = first + step as f64;
                let inside = (0.0..=last).contains(&at) || !exclude_outside;
                let weight = if inside { filter((at - x).abs() * scale) } else { 0.0 };
                (at.clamp(0.0, last) as usize, weight)
            })
            .collect();
        if exclude_outside || scale < 1.0 {
            let sum: f64 = taps.iter().map(|tap| tap.1).sum();
            taps.iter_mut().for_each(|tap| tap.1 /= sum);
        }
        taps
    }
}

impl NearestRounding {
    fn round(self, x: f64) -> f64 {
        match self {
            NearestRounding::RoundPreferFloor => (x - 0.5).ceil(),
            NearestRounding::RoundPreferCeil => (x + 0.5).floor(),
            NearestRounding::Floor => x.floor(),
            NearestRounding::Ceil => x.ceil(),
        }
    }
}

/// Keys' cubic convolution kernel at distance `d`.
pub(crate) fn keys(a: f64, d: f64) -> f64 {
    if d <= 1.0 {
        ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0
    } else if d < 2.0 {
        ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a
    } else {
        0.0
    }
}

const KIND: &str = "Resize";

impl Layer for Resize {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn infer(&self, inputs: &[Option<Arg<'_>>]) -> Result<Vec<TensorType>, LayerError> {
        let inputs = Inputs::new(KIND, inputs, "2 or 3", &[0], 3)?;
        let x = match self.mode {
            ResizeMode::Nearest(_) => inputs.any(0)?.ty,
            _ => inputs.float(0)?.ty,
        };
        let sizes = inputs.opt_ints(1)?;
        let scales = match inputs.opt(2) {
            None => None,
            Some(_) => {
                let arg = inputs.typed(2, "f32", |d| d == DType::F32)?;
                Some(arg.value.ok_or(LayerError::NotConstant { layer: KIND, input: 2 })?.to_f32())
            }
        };
        let axes = self.resolve(&x.shape, sizes.as_deref(), scales.as_deref())?;
        let dims: Vec<usize> = axes.iter().map(|a| a.output).collect();
        Ok(vec![TensorType::new(x.dtype, &dims)?])
    }

    fn reference(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, LayerError> {
        let operands = Operands::new(self, inputs)?;
        let (x, ty) = (operands.get(0), operands.output());
        let sizes = operands.opt(1).map(Tensor::to_i64);
        let scales = operands.opt(2).map(Tensor::to_f32);
        let axes = self.resolve(x.shape(), sizes.as_deref(), scales.as_deref())?;
        if let ResizeMode::Nearest(_) = self.mode {
            let y = rearrange(x, ty.shape, &[], |index| {
                let sources = axes.iter().zip(index).map(|(axis, &o)| self.taps(axis, o)[0].0);
                Some(position(x.shape(), &sources.collect::<Vec<_>>()))
            })?;
            return Ok(vec![y]);
        }
        let mut shape = *x.shape();
        let mut values = x.to_f64().into_owned();
        let mut order: Vec<usize> = (0..axes.len()).filter(|&at| !axes[at].is_identity()).collect();
        // Those that shrink most first: nothing between is larger than both x and y.
        let growth = |at: &usize| axes[*at].output as f64 / axes[*at].input as f64;
        order.sort_by(|a, b| growth(a).total_cmp(&growth(b)));
        for at in order {
            let axis = &axes[at];
            let mut dims = shape.to_vec();
            dims[at] = axis.output;
            let next = Shape::new(&dims)?;
            values = collect(&next, |index| {
                let mut source = index.to_vec();
                let taps = self.taps(axis, index[at]).into_iter();
                taps.filter(|tap| tap.1 != 0.0)
                    .map(|(i, weight)| {
                        source[at] = i;
                        weight * values[position(&shape, &source)]
                    })
                    .sum()
            })?;
            shape = next;
        }
        Ok(vec![from_f64(ty, values)?])
    }
}
