//! What one call of a kernel computes.

use depthwise_tensor::{Activation, Hw, WindowAxis};
use std::ops::Range;

/// Some output rows of one picture, for some channels.
///
/// Input rows come as a table of pointers, so that they may lie in a picture, in a ring of rows,
/// or (null) in the padding.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Task {
    /// Input rows, each at pixel 0, channel 0; null where outside the picture. A tiled kernel
    /// reads row `r` of its window at `oh * stride.h + r`, the general one at `oh * kernel.h + r`.
    pub(crate) rows: *const *const f32,
    /// Pixels of an input row.
    pub(crate) iw: usize,
    /// Pixel stride of the input.
    pub(crate) ld_in: usize,
    /// The first output row, at pixel 0, channel 0; rows follow each other.
    pub(crate) output: *mut f32,
    /// Output rows.
    pub(crate) oh: usize,
    /// Pixels of an output row.
    pub(crate) ow: usize,
    /// Pixel stride of the output.
    pub(crate) ld_out: usize,
    /// Packed weights, of all channels.
    pub(crate) weights: *const f32,
    /// First channel; a multiple of 16.
    pub(crate) c0: usize,
    /// Past the last channel. Vectors that begin before it are read and written whole.
    pub(crate) c1: usize,
    /// Taps.
    pub(crate) kernel: Hw,
    /// Step from one window to the next.
    pub(crate) stride: Hw,
    /// Step from one tap to the next, along a row.
    pub(crate) dilation_w: usize,
    /// Columns of padding in front.
    pub(crate) pad_left: usize,
    /// Finish a vector of channels in all rows before the next one begins.
    pub(crate) channels_outer: bool,
    /// Hard-swish instead of the clamp.
    pub(crate) hard_swish: bool,
    /// Lower bound of the clamp.
    pub(crate) min: f32,
    /// Upper bound of the clamp.
    pub(crate) max: f32,
    /// What takes a pass of its own over the written rows.
    pub(crate) post: Option<Post>,
}

impl Task {
    /// Entry `index` of the row table, at channel `c`.
    ///
    /// # Safety
    /// - The table has more than `index` entries.
    #[inline(always)]
    pub(super) unsafe fn row(&self, index: usize, c: usize) -> *const f32 {
        // SAFETY: as the caller promises.
        let row = unsafe { *self.rows.add(index) };
        if row.is_null() { row } else { row.wrapping_add(c) }
    }

    /// The window along the columns.
    pub(super) fn columns(&self) -> WindowAxis {
        WindowAxis {
            input: self.iw,
            output: self.ow,
            kernel: self.kernel.w,
            stride: self.stride.w,
            dilation: self.dilation_w,
            pad_before: self.pad_left,
        }
    }

    /// Outputs of a row whose windows lie wholly inside the picture.
    pub(super) fn inside(&self) -> Range<usize> {
        let first = self.pad_left.div_ceil(self.stride.w).min(self.ow);
        let reach = (self.kernel.w - 1) * self.dilation_w + 1;
        let end = match (self.iw + self.pad_left).checked_sub(reach) {
            Some(last_start) => (last_start / self.stride.w + 1).min(self.ow),
            None => 0,
        };
        first..end.max(first)
    }
}

/// A second pass over outputs that were just written, while they are in the cache: for what is
/// too rare to cost every tile a branch and registers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Post {
    /// Added first: the row that belongs to the first output row, or null.
    pub(crate) residual: *const f32,
    /// Pixel stride of the residual.
    pub(crate) ld_residual: usize,
    /// Applied last.
    pub(crate) act: Activation,
    pub(super) apply: PostFn,
}

/// The activation; outputs and residual, each with its pixel stride; the number of vectors.
pub(super) type PostFn = unsafe fn(Activation, (*mut f32, usize), (*const f32, usize), usize);

impl Post {
    /// Finishes `rows` output rows from `oh` on, channels `c .. c + lanes`.
    ///
    /// # Safety
    /// - The rows lie in the task, their vectors are written, and `lanes` is the vector width of
    ///   `apply`.
    #[inline(always)]
    pub(super) unsafe fn run(self, task: &Task, oh: usize, rows: usize, c: usize, lanes: usize) {
        debug_assert!(oh + rows <= task.oh && c + lanes <= task.ld_out);
        let pixel = oh * task.ow;
        let mut residual = self.residual;
        if !residual.is_null() {
            residual = residual.wrapping_add(pixel * self.ld_residual + c);
        }
        // SAFETY: as the caller promises; output rows follow each other.
        unsafe {
            let y = task.output.add(pixel * task.ld_out + c);
            (self.apply)(self.act, (y, task.ld_out), (residual, self.ld_residual), rows * task.ow);
        }
    }
}
