//! How a window treats the border of a picture, before a picture is known.

use depthwise_tensor::{Hw, Pad2d};

/// The padding rule of a convolution or pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// These rows and columns of zeros, which may differ from side to side.
    Explicit(Pad2d),
    /// Output of `ceil(input / stride)`; the odd row or column goes to the end. TensorFlow and
    /// TFLite `SAME`, ONNX `SAME_UPPER`.
    Same,
    /// As [`Padding::Same`], but the odd row or column goes to the start: ONNX `SAME_LOWER`.
    SameLower,
    /// No padding; the same as explicit zeros.
    Valid,
}

impl Padding {
    /// The rule with explicit padding of `pad` on all four sides.
    pub const fn all(pad: usize) -> Padding {
        Padding::Explicit(Pad2d::all(pad))
    }

    /// The rows and columns to add to a picture of extents `input`.
    ///
    /// For the `Same` rules the total per axis is
    /// `max((ceil(input / stride) - 1) * stride + dilation * (kernel - 1) + 1 - input, 0)`
    /// (TensorFlow's definition).
    pub fn resolve(self, input: Hw, kernel: Hw, stride: Hw, dilation: Hw) -> Pad2d {
        let lower = match self {
            Padding::Explicit(pad) => return pad,
            Padding::Valid => return Pad2d::ZERO,
            Padding::Same => false,
            Padding::SameLower => true,
        };
        let axis = |input: usize, kernel: usize, stride: usize, dilation: usize| {
            let stride = stride.max(1);
            let last = input.div_ceil(stride).saturating_sub(1).saturating_mul(stride);
            let reach = dilation.saturating_mul(kernel.saturating_sub(1)).saturating_add(1);
            let reach = last.saturating_add(reach);
            let total = reach.saturating_sub(input);
            let small = total / 2;
            if lower { (total - small, small) } else { (small, total - small) }
        };
        let (top, bottom) = axis(input.h, kernel.h, stride.h, dilation.h);
        let (left, right) = axis(input.w, kernel.w, stride.w, dilation.w);
        Pad2d { top, left, bottom, right }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_odd_row_goes_to_the_end_or_the_start() {
        let of =
            |p: Padding, side| p.resolve(Hw::square(side), Hw::square(3), Hw::square(2), Hw::ONE);
        assert_eq!(of(Padding::Same, 4), Pad2d { top: 0, left: 0, bottom: 1, right: 1 });
        assert_eq!(of(Padding::SameLower, 4), Pad2d { top: 1, left: 1, bottom: 0, right: 0 });
        assert_eq!(of(Padding::Same, 5), Pad2d::all(1));
    }

    #[test]
    fn dilation_widens_the_padding() {
        let pad = Padding::Same.resolve(Hw::square(5), Hw::square(3), Hw::ONE, Hw::square(2));
        assert_eq!(pad, Pad2d::all(2));
    }

    #[test]
    fn a_stride_past_the_kernel_needs_none() {
        let pad = Padding::Same.resolve(Hw::square(7), Hw::ONE, Hw::square(2), Hw::ONE);
        assert_eq!(pad, Pad2d::ZERO);
    }
}
