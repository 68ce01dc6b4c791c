//! Interpolation to another size.

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
/// be left out. Exactly one of the two is given; from scales the output is `floor(input * scale)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Resize {
    /// The interpolation.
    pub mode: ResizeMode,
    /// The mapping of positions.
    pub coordinates: Coordinates,
}
