//! Loops over 16 channels that the compiler vectorizes at each level.

use crate::quant::{Quant8, Tail8};
use crate::spatial::BLOCK;

/// One output pixel and the part of its window that lies in the picture.
///
/// # Safety
/// For those who call a kernel: all taps, and the output, are valid for whole blocks of 16 channels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    /// The first tap, at the first channel.
    pub input: *const u8,
    pub rows: usize,
    pub cols: usize,
    pub row_step: usize,
    pub col_step: usize,
    pub output: *mut u8,
    pub channels: usize,
    pub quant: Quant8,
    pub multiplier: f32,
    pub tail: Tail8,
}

/// The largest byte, or the sum.
///
/// # Safety
/// As [`Window`] says.
#[inline(always)]
pub(super) unsafe fn window<const MAX: bool>(w: &Window) {
    let flip = w.quant.flip();
    let taps = (w.rows * w.cols) as i32;
    for c in (0..w.channels).step_by(BLOCK) {
        let mut most = [0u8; BLOCK];
        let mut sum = [0i32; BLOCK];
        for row in 0..w.rows {
            for col in 0..w.cols {
                let at = w.input.wrapping_add(row * w.row_step + col * w.col_step + c);
                // SAFETY: as the caller promises.
                let x = unsafe { at.cast::<[u8; BLOCK]>().read_unaligned() };
                for lane in 0..BLOCK {
                    if MAX {
                        most[lane] = most[lane].max(x[lane] ^ flip);
                    } else {
                        sum[lane] += i32::from(x[lane] ^ flip);
                    }
                }
            }
        }
        let zero = i32::from(w.quant.zero());
        let mut y = [0; BLOCK];
        for lane in 0..BLOCK {
            let sum = match (MAX, taps) {
                (_, 0) => 0,
                (true, _) => i32::from(most[lane]) - zero,
                (false, taps) => sum[lane] - taps * zero,
            };
            y[lane] = w.tail.round(sum as f32 * w.multiplier);
        }
        // SAFETY: as the caller promises.
        unsafe { w.output.add(c).cast::<[u8; BLOCK]>().write_unaligned(y) };
    }
}

/// A row of outputs and the samples that make it up.
///
/// # Safety
/// For those who call a kernel: all samples, and the outputs, are valid for whole blocks of 16 channels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Samples<'a> {
    pub picture: *const u8,
    /// Offsets of rows, with their weights.
    pub rows: &'a [(usize, f32)],
    /// For each output column, offsets in a row with their weights, `per_column` each.
    pub cols: &'a [(usize, f32)],
    pub per_column: usize,
    pub output: *mut u8,
    pub ld_out: usize,
    pub channels: usize,
    pub quant: Quant8,
    pub multiplier: f32,
    pub tail: Tail8,
}

/// Interpolates a row.
///
/// # Safety
/// As [`Samples`] says.
#[inline(always)]
pub(super) unsafe fn resize(s: &Samples<'_>) {
    for (ow, cols) in s.cols.chunks_exact(s.per_column).enumerate() {
        for c in (0..s.channels).step_by(BLOCK) {
            let mut sum = [0f32; BLOCK];
            for &(row, row_weight) in s.rows {
                let mut part = [0f32; BLOCK];
                for &(col, weight) in cols {
                    let at = s.picture.wrapping_add(row + col + c);
                    // SAFETY: as the caller promises.
                    let x = unsafe { at.cast::<[u8; BLOCK]>().read_unaligned() };
                    for lane in 0..BLOCK {
                        part[lane] += weight * s.quant.centred(x[lane]) as f32;
                    }
                }
                for lane in 0..BLOCK {
                    sum[lane] += row_weight * part[lane];
                }
            }
            let mut y = [0; BLOCK];
            for lane in 0..BLOCK {
                y[lane] = s.tail.round(sum[lane] * s.multiplier);
            }
            let at = s.output.wrapping_add(ow * s.ld_out + c);
            // SAFETY: as the caller promises.
            unsafe { at.cast::<[u8; BLOCK]>().write_unaligned(y) };
        }
    }
}

/// The entry of one instruction set.
macro_rules! kernel {
    ($name:literal, $isa:expr $(, $feature:meta)*) => {
        pub(super) static KERNEL: super::Kernel =
            super::Kernel { name: $name, isa: $isa, max, average, resize };

        /// # Safety
        /// - The CPU has the instruction set.
        /// - As [`super::Window`] says.
        $(#[$feature])*
        unsafe fn max(window: &super::Window) {
            // SAFETY: the window is the caller's duty.
            unsafe { super::generic::window::<true>(window) }
        }

        /// # Safety
        /// - The CPU has the instruction set.
        /// - As [`super::Window`] says.
        $(#[$feature])*
        unsafe fn average(window: &super::Window) {
            // SAFETY: the window is the caller's duty.
            unsafe { super::generic::window::<false>(window) }
        }

        /// # Safety
        /// - The CPU has the instruction set.
        /// - As [`super::Samples`] says.
        $(#[$feature])*
        unsafe fn resize(samples: &super::Samples<'_>) {
            // SAFETY: the samples are the caller's duty.
            unsafe { super::generic::resize(samples) }
        }
    };
}
pub(super) use kernel;
