//! The body for any vector width.

use crate::arch::SimdF32;

/// Samples of weight other than zero, for every output position of an axis.
#[derive(Clone, Debug)]
pub(crate) struct Taps {
    /// Past the last sample of each output position.
    pub(super) ends: Vec<usize>,
    /// Position (or offset) and weight.
    pub(super) samples: Vec<(usize, f32)>,
}

impl Taps {
    /// The samples of output position `o`.
    pub(super) fn of(&self, o: usize) -> &[(usize, f32)] {
        let start = if o == 0 { 0 } else { self.ends[o - 1] };
        &self.samples[start..self.ends[o]]
    }
}

/// An output row and where its samples are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OutputRow<'a> {
    /// The first pixel of the picture.
    pub(super) picture: *const f32,
    /// Elements from an input row to the next.
    pub(super) row_step: usize,
    /// Input rows and their weights.
    pub(super) rows: &'a [(usize, f32)],
    /// Element offsets of input pixels in a row, and their weights.
    pub(super) cols: &'a Taps,
    /// The first pixel of the output row.
    pub(super) output: *mut f32,
    /// Pixels of the output row.
    pub(super) ow: usize,
    /// Pixel stride of the output.
    pub(super) ld_out: usize,
    /// Channels; vectors that begin before the last one are read and written whole.
    pub(super) channels: usize,
}

/// Computes an output row.
///
/// # Safety
/// - All samples, and the pixels of the output row, are valid for whole vectors over the channels.
#[inline(always)]
pub(super) unsafe fn row<S: SimdF32>(simd: S, row: &OutputRow<'_>) {
    debug_assert_eq!(row.cols.ends.len(), row.ow);
    for ow in 0..row.ow {
        let cols = row.cols.of(ow);
        // The usual numbers of samples as constants: their loops unroll.
        // SAFETY: `ow` is a pixel of the row.
        unsafe {
            match (row.rows, cols) {
                ([a], [p]) => pixel(simd, row, &[*a], &[*p], ow),
                ([a], [p, q]) => pixel(simd, row, &[*a], &[*p, *q], ow),
                ([a, b], [p]) => pixel(simd, row, &[*a, *b], &[*p], ow),
                ([a, b], [p, q]) => pixel(simd, row, &[*a, *b], &[*p, *q], ow),
                (rows, cols) => pixel(simd, row, rows, cols, ow),
            }
        }
    }
}

/// Computes output pixel `ow` from these input rows and columns.
///
/// # Safety
/// - As [`row`], with `ow < row.ow`.
#[inline(always)]
unsafe fn pixel<S: SimdF32>(
    simd: S,
    row: &OutputRow<'_>,
    rows: &[(usize, f32)],
    cols: &[(usize, f32)],
    ow: usize,
) {
    for c in (0..row.channels).step_by(S::F32_LANES) {
        let mut sum = simd.splat_f32s(0.0);
        for (i, &(ih, row_weight)) in rows.iter().enumerate() {
            let mut across = simd.splat_f32s(0.0);
            for (j, &(offset, weight)) in cols.iter().enumerate() {
                // SAFETY: the sample lies in the picture.
                let x = unsafe { simd.load(row.picture.add(ih * row.row_step + offset + c)) };
                let weight = simd.splat_f32s(weight);
                // A first product alone keeps the sign of zero.
                across =
                    if j == 0 { simd.mul_f32s(x, weight) } else { simd.fma(x, weight, across) };
            }
            let weight = simd.splat_f32s(row_weight);
            sum =
                if i == 0 { simd.mul_f32s(across, weight) } else { simd.fma(across, weight, sum) };
        }
        // SAFETY: the pixel lies in the output row.
        unsafe { simd.store(row.output.add(ow * row.ld_out + c), sum) };
    }
}
