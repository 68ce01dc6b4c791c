//! Output sizes of sliding windows, with every product checked.

use crate::LayerError;
use crate::Padding;
use crate::check::invalid;
use depthwise_tensor::{Hw, Nhwc, Pad2d, WindowAxis};

/// Largest extent of a padded picture, and largest kernel, stride and dilation. Sums and products
/// of two of them stay within `usize`.
const MAX_EXTENT: usize = i32::MAX as usize;

/// A sliding window over a picture whose padding rule is not resolved yet.
pub(crate) struct Window {
    pub(crate) layer: &'static str,
    pub(crate) input: Hw,
    pub(crate) kernel: Hw,
    pub(crate) stride: Hw,
    pub(crate) dilation: Hw,
    pub(crate) padding: Padding,
    pub(crate) ceil_mode: bool,
}

impl Window {
    /// The padding in rows and columns, and the output size.
    pub(crate) fn resolve(&self) -> Result<(Pad2d, Hw), LayerError> {
        let sizes = [("kernel", self.kernel), ("stride", self.stride), ("dilation", self.dilation)];
        for (what, size) in sizes {
            if !(1..=MAX_EXTENT).contains(&size.h) || !(1..=MAX_EXTENT).contains(&size.w) {
                return Err(invalid!(
                    self.layer,
                    "{what} {size} must be between 1 and {MAX_EXTENT} both ways"
                ));
            }
        }
        if self.input.h > MAX_EXTENT || self.input.w > MAX_EXTENT {
            return Err(invalid!(self.layer, "picture {} exceeds {MAX_EXTENT}", self.input));
        }
        let pad = self.padding.resolve(self.input, self.kernel, self.stride, self.dilation);
        let rows = Axis {
            name: "rows",
            input: self.input.h,
            kernel: self.kernel.h,
            stride: self.stride.h,
            dilation: self.dilation.h,
            pad: (pad.top, pad.bottom),
        };
        let cols = Axis {
            name: "columns",
            input: self.input.w,
            kernel: self.kernel.w,
            stride: self.stride.w,
            dilation: self.dilation.w,
            pad: (pad.left, pad.right),
        };
        Ok((pad, Hw { h: self.output(&rows)?, w: self.output(&cols)? }))
    }

    fn output(&self, axis: &Axis) -> Result<usize, LayerError> {
        let Axis { name, input, kernel, stride, dilation, pad: (before, after) } = *axis;
        let padded = before.checked_add(after).and_then(|p| p.checked_add(input));
        let Some(padded) = padded.filter(|&p| p <= MAX_EXTENT) else {
            return Err(invalid!(
                self.layer,
                "{name}: {input} with padding {before} and {after} exceeds {MAX_EXTENT}"
            ));
        };
        if matches!(self.padding, Padding::Same | Padding::SameLower) {
            return Ok(input.div_ceil(stride));
        }
        // Below 2^62 by the limits above.
        let reach = dilation * (kernel - 1) + 1;
        let windows = if !self.ceil_mode {
            padded.checked_sub(reach).map_or(0, |room| room / stride + 1)
        } else {
            let all = match padded.checked_sub(reach) {
                Some(room) => room.div_ceil(stride) + 1,
                None => usize::from(reach - padded < stride),
            };
            // The last window must start inside the picture or its leading padding.
            all.min((input + before).div_ceil(stride))
        };
        if windows == 0 {
            return Err(invalid!(
                self.layer,
                "{name}: a window of {reach} ({kernel} taps, dilation {dilation}) does not fit \
                 {input} with padding {before} and {after}"
            ));
        }
        Ok(windows)
    }
}

struct Axis {
    name: &'static str,
    input: usize,
    kernel: usize,
    stride: usize,
    dilation: usize,
    pad: (usize, usize),
}

/// Calls `f` for every tap of every window that lies inside the picture: the number of the picture,
/// the window, the tap, and the cell that it reads.
pub(crate) fn each_tap(
    output: Nhwc,
    rows: WindowAxis,
    cols: WindowAxis,
    mut f: impl FnMut(usize, (usize, usize), (usize, usize), (usize, usize)),
) {
    for pixel in 0..output.n * output.h * output.w {
        let (oh, ow) = (pixel / output.w % output.h, pixel % output.w);
        let n = pixel / output.w / output.h;
        let (down, across) = (rows.taps(oh), cols.taps(ow));
        for kh in down.0..down.1 {
            for kw in across.0..across.1 {
                let cell = (rows.position(oh, kh), cols.position(ow, kw));
                f(n, (oh, ow), (kh, kw), cell);
            }
        }
    }
}
