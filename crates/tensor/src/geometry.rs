//! Resolved integers of a sliding window: what is left of a convolution or pool once its padding
//! rule has met a picture.

use crate::{Hw, Nhwc, Pad2d};

/// One axis of a sliding window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WindowAxis {
    /// Extent of the input.
    pub input: usize,
    /// Extent of the output.
    pub output: usize,
    /// Taps of the kernel.
    pub kernel: usize,
    /// Step from one window to the next.
    pub stride: usize,
    /// Step from one tap to the next.
    pub dilation: usize,
    /// Padding in front.
    pub pad_before: usize,
}

impl WindowAxis {
    /// The taps of window `o` that fall inside the input, as a half-open range of tap numbers.
    /// Empty where the whole window lies in the padding.
    pub const fn taps(&self, o: usize) -> (usize, usize) {
        let start = o * self.stride;
        // First tap with start + k * dilation >= pad_before.
        let first = if start >= self.pad_before {
            0
        } else {
            (self.pad_before - start).div_ceil(self.dilation)
        };
        // First tap with start + k * dilation - pad_before >= input.
        let end = if self.input + self.pad_before > start {
            (self.input + self.pad_before - start).div_ceil(self.dilation)
        } else {
            0
        };
        let end = if end < self.kernel { end } else { self.kernel };
        if first >= end { (0, 0) } else { (first, end) }
    }

    /// Input position of tap `k` of window `o`. Only for taps inside [`WindowAxis::taps`].
    pub const fn position(&self, o: usize, k: usize) -> usize {
        o * self.stride + k * self.dilation - self.pad_before
    }
}

/// A convolution, all integers resolved. Depthwise where `groups == input.c`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConvGeometry {
    /// Extents of the input.
    pub input: Nhwc,
    /// Extents of the output.
    pub output: Nhwc,
    /// Taps.
    pub kernel: Hw,
    /// Step from one window to the next.
    pub stride: Hw,
    /// Step from one tap to the next.
    pub dilation: Hw,
    /// Zero padding of the input. Bottom and right follow from the output size; they are kept for
    /// messages and file formats.
    pub pad: Pad2d,
    /// Channel groups: output channels `g * oc / groups ..` see input channels `g * ic / groups ..`.
    pub groups: usize,
}

impl ConvGeometry {
    /// The window along the rows.
    pub const fn rows(&self) -> WindowAxis {
        WindowAxis {
            input: self.input.h,
            output: self.output.h,
            kernel: self.kernel.h,
            stride: self.stride.h,
            dilation: self.dilation.h,
            pad_before: self.pad.top,
        }
    }

    /// The window along the columns.
    pub const fn cols(&self) -> WindowAxis {
        WindowAxis {
            input: self.input.w,
            output: self.output.w,
            kernel: self.kernel.w,
            stride: self.stride.w,
            dilation: self.dilation.w,
            pad_before: self.pad.left,
        }
    }

    /// Multiply-accumulate steps, taps in the padding counted (the usual, nominal count).
    pub const fn macs(&self) -> u64 {
        let per_output = self.kernel.area() * (self.input.c / self.groups);
        let outputs = self.output.pixels() as u64 * self.output.c as u64;
        outputs.saturating_mul(per_output as u64)
    }

    /// Whether this is a 1x1 convolution with stride 1, no padding and one group: a matrix product.
    pub const fn is_pointwise(&self) -> bool {
        self.kernel.area() == 1
            && self.stride.area() == 1
            && self.groups == 1
            && self.output.h == self.input.h
            && self.output.w == self.input.w
            && self.pad.top == 0
            && self.pad.left == 0
    }
}

/// A pool, all integers resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PoolGeometry {
    /// Extents of the input.
    pub input: Nhwc,
    /// Extents of the output; `c` equals the input's.
    pub output: Nhwc,
    /// Taps.
    pub kernel: Hw,
    /// Step from one window to the next.
    pub stride: Hw,
    /// Step from one tap to the next.
    pub dilation: Hw,
    /// Declared padding. Where the output was rounded up (ceil mode) a window may reach past it;
    /// cells past the declared padding never count in an average.
    pub pad: Pad2d,
}

impl PoolGeometry {
    /// The window along the rows.
    pub const fn rows(&self) -> WindowAxis {
        WindowAxis {
            input: self.input.h,
            output: self.output.h,
            kernel: self.kernel.h,
            stride: self.stride.h,
            dilation: self.dilation.h,
            pad_before: self.pad.top,
        }
    }

    /// The window along the columns.
    pub const fn cols(&self) -> WindowAxis {
        WindowAxis {
            input: self.input.w,
            output: self.output.w,
            kernel: self.kernel.w,
            stride: self.stride.w,
            dilation: self.dilation.w,
            pad_before: self.pad.left,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(input: usize, kernel: usize, stride: usize, dilation: usize, pad: usize) -> WindowAxis {
        WindowAxis { input, output: 0, kernel, stride, dilation, pad_before: pad }
    }

    #[test]
    fn taps_in_the_padding_are_cut_on_both_sides() {
        let a = axis(4, 3, 2, 1, 1);
        assert_eq!(a.taps(0), (1, 3));
        assert_eq!(a.taps(1), (0, 3));
        assert_eq!(a.taps(2), (0, 1));
        assert_eq!(a.taps(3), (0, 0), "a window that starts past the input has no taps");
        assert_eq!(a.position(0, 1), 0);
    }

    #[test]
    fn dilated_taps_step_over_the_padding() {
        let a = axis(5, 3, 1, 2, 2);
        assert_eq!(a.taps(0), (1, 3));
        assert_eq!(a.taps(1), (1, 3));
        assert_eq!(a.taps(2), (0, 3));
        assert_eq!(a.taps(4), (0, 2));
        for o in 0..5 {
            let (first, end) = a.taps(o);
            for k in 0..3 {
                let p = o as i64 + 2 * k as i64 - 2;
                assert_eq!((first..end).contains(&k), (0..5).contains(&p), "o {o} k {k}");
            }
        }
    }

    #[test]
    fn a_window_wholly_in_front_has_no_taps() {
        assert_eq!(axis(4, 2, 1, 1, 5).taps(0), (0, 0));
    }
}
