//! The body for any vector width.

use crate::arch::SimdF32;

/// One output pixel and the part of its window that lies in the picture.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    /// The first tap, at the first channel.
    pub(super) input: *const f32,
    /// Tap rows.
    pub(super) rows: usize,
    /// Tap columns.
    pub(super) cols: usize,
    /// Elements from a tap row to the next.
    pub(super) row_step: usize,
    /// Elements from a tap column to the next.
    pub(super) col_step: usize,
    /// The output pixel, at the first channel.
    pub(super) output: *mut f32,
    /// Channels; vectors that begin before the last one are read and written whole.
    pub(super) channels: usize,
    /// What a sum is divided by.
    pub(super) divisor: f32,
}

/// Vectors of channels that are reduced at a time.
const GROUP: usize = 4;

/// The maximum, or the sum divided by the divisor.
///
/// # Safety
/// - All taps, and the output, are valid for whole vectors over the channels.
#[inline(always)]
pub(super) unsafe fn window<S: SimdF32, const MAX: bool>(simd: S, w: &Window) {
    debug_assert!(w.divisor >= 1.0);
    let vectors = w.channels.div_ceil(S::F32_LANES);
    let mut v = 0;
    while v + GROUP <= vectors {
        // SAFETY: these vectors begin before the last channel.
        unsafe { group::<S, MAX, GROUP>(simd, w, v * S::F32_LANES) };
        v += GROUP;
    }
    while v < vectors {
        // SAFETY: as above.
        unsafe { group::<S, MAX, 1>(simd, w, v * S::F32_LANES) };
        v += 1;
    }
}

/// `N` vectors of channels from `c` on.
///
/// # Safety
/// - All taps, and the output, are valid for `N` vectors from channel `c` on.
#[inline(always)]
unsafe fn group<S: SimdF32, const MAX: bool, const N: usize>(simd: S, w: &Window, c: usize) {
    let mut acc = [simd.splat_f32s(if MAX { f32::MIN } else { 0.0 }); N];
    for kh in 0..w.rows {
        for kw in 0..w.cols {
            // SAFETY: the tap lies in the input.
            let tap = unsafe { w.input.add(kh * w.row_step + kw * w.col_step + c) };
            for (i, acc) in acc.iter_mut().enumerate() {
                // SAFETY: so do these vectors of it.
                let x = unsafe { simd.load(tap.add(i * S::F32_LANES)) };
                *acc = if MAX { simd.max_or_nan(*acc, x) } else { simd.add_f32s(*acc, x) };
            }
        }
    }
    let divisor = simd.splat_f32s(w.divisor);
    for (i, &acc) in acc.iter().enumerate() {
        let y = if MAX { acc } else { simd.div_f32s(acc, divisor) };
        // SAFETY: the output is valid for these vectors.
        unsafe { simd.store(w.output.add(c + i * S::F32_LANES), y) };
    }
}
