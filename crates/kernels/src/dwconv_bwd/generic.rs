//! The bodies, at any vector width.
#![expect(
    clippy::needless_range_loop,
    reason = "`u`, `k` and `v` name pixels, taps and vectors of all operands"
)]

use crate::arch::SimdF32;
use crate::spatial::BLOCK;

/// Neighbouring windows of a row, and neighbouring taps that are inside the picture in all of them.
///
/// # Safety
/// For those who call a kernel of `KW` taps:
/// - 16 elements from `dy + o * ld_dy` on are valid for reads, `o < count`.
/// - Likewise from `x + o * step + k * tap` on, `k < KW`.
/// - `sums` is valid for reads and writes of a line per tap, and overlaps neither.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowArgs {
    pub(super) dy: *const f32,
    pub(super) ld_dy: usize,
    /// The cell of the first tap of the first window.
    pub(super) x: *const f32,
    /// From the cell of one window to that of the next.
    pub(super) step: usize,
    /// From one tap to the next.
    pub(super) tap: usize,
    pub(super) count: usize,
    pub(super) sums: *mut f32,
}

/// `sums[k] += sum over o of dy[o] * x[o, k]`; windows whose numbers differ modulo `U` are summed apart.
///
/// # Safety
/// As [`RowArgs`] says, with `NV` vectors in a line; the CPU has the level of the token.
#[inline(always)]
pub(super) unsafe fn row<S: SimdF32, const KW: usize, const NV: usize, const U: usize>(
    simd: S,
    args: &RowArgs,
) {
    debug_assert_eq!(NV * S::F32_LANES, BLOCK);
    let mut acc = [[[simd.splat_f32s(0.0); NV]; KW]; U];
    let (mut dy, mut x) = (args.dy, args.x);
    // SAFETY: as the caller promises, for `count` windows.
    unsafe {
        for k in 0..KW {
            for v in 0..NV {
                acc[0][k][v] = simd.load(args.sums.add(k * BLOCK + v * S::F32_LANES));
            }
        }
        let whole = args.count / U;
        for _ in 0..whole {
            for u in 0..U {
                acc[u] = window::<S, KW, NV>(simd, acc[u], dy, x, args.tap);
                dy = dy.wrapping_add(args.ld_dy);
                x = x.wrapping_add(args.step);
            }
        }
        for _ in whole * U..args.count {
            acc[0] = window::<S, KW, NV>(simd, acc[0], dy, x, args.tap);
            dy = dy.wrapping_add(args.ld_dy);
            x = x.wrapping_add(args.step);
        }
        for k in 0..KW {
            for v in 0..NV {
                let mut sum = acc[0][k][v];
                for u in 1..U {
                    sum = simd.add_f32s(sum, acc[u][k][v]);
                }
                simd.store(args.sums.add(k * BLOCK + v * S::F32_LANES), sum);
            }
        }
    }
}

/// One window.
///
/// # Safety
/// As [`RowArgs`] says, for one window.
#[inline(always)]
unsafe fn window<S: SimdF32, const KW: usize, const NV: usize>(
    simd: S,
    mut acc: [[S::f32s; NV]; KW],
    dy: *const f32,
    x: *const f32,
    tap: usize,
) -> [[S::f32s; NV]; KW] {
    for v in 0..NV {
        // SAFETY: a vector of the line.
        let factor = unsafe { simd.load(dy.add(v * S::F32_LANES)) };
        for k in 0..KW {
            // SAFETY: likewise, of tap `k`.
            let cell = unsafe { simd.load(x.add(k * tap + v * S::F32_LANES)) };
            acc[k][v] = simd.fma(factor, cell, acc[k][v]);
        }
    }
    acc
}

/// One cell of the picture and the windows that read it.
///
/// # Safety
/// For those who call a kernel:
/// - Each of `rows` and `columns` is a tap of the kernel and a window of the picture at `dy`, whose
///   pixels are valid for reads of whole vectors over the channels.
/// - `weights` are those of `PackDwF32`, with `taps` taps in rows of `kernel_w`.
/// - `dx` is valid for writes of whole vectors over the channels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CellArgs<'a> {
    pub(super) dy: *const f32,
    pub(super) ld_dy: usize,
    /// From one row of `dy` to the next.
    pub(super) row_dy: usize,
    pub(super) weights: *const f32,
    pub(super) kernel_w: usize,
    pub(super) taps: usize,
    pub(super) rows: &'a [(usize, usize)],
    pub(super) columns: &'a [(usize, usize)],
    pub(super) dx: *mut f32,
    pub(super) channels: usize,
}

/// `dx[c] = sum over rows and columns of dy[oh,ow,c] * w[kh,kw,c]`
///
/// # Safety
/// As [`CellArgs`] says; the CPU has the level of the token.
#[inline(always)]
pub(super) unsafe fn cell<S: SimdF32>(simd: S, args: &CellArgs<'_>) {
    let block = (args.taps + 1) * BLOCK;
    for c in (0..args.channels).step_by(S::F32_LANES) {
        // Behind the bias of the block.
        let weights = args.weights.wrapping_add(c / BLOCK * block + BLOCK + c % BLOCK);
        let mut sum = simd.splat_f32s(0.0);
        for &(kh, oh) in args.rows {
            for &(kw, ow) in args.columns {
                // SAFETY: the window lies in the picture, the tap in the kernel.
                unsafe {
                    let dy = simd.load(args.dy.add(oh * args.row_dy + ow * args.ld_dy + c));
                    let w = simd.load(weights.add((kh * args.kernel_w + kw) * BLOCK));
                    sum = simd.fma(dy, w, sum);
                }
            }
        }
        // SAFETY: the vector begins before the last channel.
        unsafe { simd.store(args.dx.add(c), sum) };
    }
}
