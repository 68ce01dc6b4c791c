//! The register tile, at any vector width.
#![expect(
    clippy::needless_range_loop,
    reason = "`r` and `v` name rows and vectors of all operands"
)]

use crate::arch::SimdF32;

/// A tile of the weight gradient and the pixels to add to it.
///
/// # Safety
/// For those who call a tile of `MR` rows and `NV` vectors:
/// - `MR` elements from `dy + p * ld_dy` on are valid for reads, `p < pixels`.
/// - `NV` vectors from `x + p * ld_x` on are valid for reads; but only those that begin before
///   `columns`.
/// - `columns` elements from `dw + r * ld_dw` on are valid for writes (and, unless `first`, for reads),
///   `r < MR`; nobody else touches them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TileArgs {
    pub(super) pixels: usize,
    pub(super) dy: *const f32,
    pub(super) ld_dy: usize,
    pub(super) x: *const f32,
    pub(super) ld_x: usize,
    pub(super) dw: *mut f32,
    pub(super) ld_dw: usize,
    /// Columns that are written, at most those of the tile.
    pub(super) columns: usize,
    /// Start from 0 instead of `dw`.
    pub(super) first: bool,
}

/// `dw[r][i] += sum over p of dy[p][r] * x[p][i]`, `p` ascending.
///
/// # Safety
/// As [`TileArgs`] says; the CPU has the level of the token.
#[inline(always)]
pub(super) unsafe fn tile<S: SimdF32, const MR: usize, const NV: usize>(simd: S, args: &TileArgs) {
    debug_assert!(args.columns > (NV - 1) * S::F32_LANES && args.columns <= NV * S::F32_LANES);
    let lanes = |v: usize| S::F32_LANES.min(args.columns - v * S::F32_LANES);
    let mut acc = [[simd.splat_f32s(0.0); NV]; MR];
    let (mut dy, mut x) = (args.dy, args.x);
    // SAFETY: as the caller promises; every vector begins before `columns`.
    unsafe {
        if !args.first {
            for r in 0..MR {
                for v in 0..NV {
                    let from = args.dw.add(r * args.ld_dw + v * S::F32_LANES);
                    acc[r][v] = simd.load_first(from, lanes(v), 0.0);
                }
            }
        }
        for _ in 0..args.pixels {
            let mut xs = [simd.splat_f32s(0.0); NV];
            for v in 0..NV {
                xs[v] = simd.load(x.add(v * S::F32_LANES));
            }
            for r in 0..MR {
                let factor = simd.splat_f32s(*dy.add(r));
                for v in 0..NV {
                    acc[r][v] = simd.fma(factor, xs[v], acc[r][v]);
                }
            }
            dy = dy.wrapping_add(args.ld_dy);
            x = x.wrapping_add(args.ld_x);
        }
        for r in 0..MR {
            for v in 0..NV {
                let to = args.dw.add(r * args.ld_dw + v * S::F32_LANES);
                simd.store_first(to, lanes(v), acc[r][v]);
            }
        }
    }
}
