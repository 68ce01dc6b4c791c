//! The register tiles, at any vector width.
#![expect(
    clippy::needless_range_loop,
    reason = "`r` and `v` name rows and vectors of all operands"
)]

use super::gather::{GatherArgs, Source};
use super::{Finish, TileArgs};
use crate::arch::dot::SimdDot;
use crate::quant::Quant8;

/// `args.tiles` tiles of `MR` rows and `NV` vectors, one below the other; weights of 16 bits where
/// `WIDE`, else of 8.
///
/// # Safety
/// As [`TileArgs`] says, with `MR` rows and `NV * S::LANES` columns; the CPU has the level of the
/// token.
#[inline(always)]
pub(super) unsafe fn tiles<S: SimdDot, const MR: usize, const NV: usize, const WIDE: bool>(
    simd: S,
    args: &TileArgs,
) {
    let (mut a, mut c) = (args.a, args.c);
    for _ in 0..args.tiles {
        let mut rows = [a; MR];
        for r in 0..MR {
            rows[r] = a.wrapping_add(r * args.lda);
        }
        // SAFETY: the rows and columns of this tile, which the caller vouches for.
        unsafe {
            let mut acc = [[simd.zero(); NV]; MR];
            for v in 0..NV {
                let bias = simd.load_sums(args.bias.add(v * S::LANES));
                for r in 0..MR {
                    acc[r][v] = bias;
                }
            }
            let mut b = args.b;
            for p in 0..args.pairs {
                let mut bv = [simd.splat_pair(rows[0]); NV];
                for v in 0..NV {
                    bv[v] = if WIDE {
                        simd.load_pairs(b.cast::<i16>().add(2 * v * S::LANES))
                    } else {
                        simd.load_narrow(b.cast::<i8>().add(2 * v * S::LANES))
                    };
                }
                for r in 0..MR {
                    let x = simd.splat_pair(rows[r].add(2 * p));
                    for v in 0..NV {
                        acc[r][v] = simd.dot(acc[r][v], x, bv[v]);
                    }
                }
                b = b.add((2 * NV * S::LANES) << usize::from(WIDE));
            }
            finish(simd, &acc, args, c);
        }
        a = a.wrapping_add(MR * args.lda);
        c = c.wrapping_add(MR * args.ldc_bytes);
    }
}

/// Stores a tile.
///
/// # Safety
/// - As [`TileArgs`] says of `c`, `bias` and `multipliers`.
#[inline(always)]
unsafe fn finish<S: SimdDot, const MR: usize, const NV: usize>(
    simd: S,
    acc: &[[S::Sums; NV]; MR],
    args: &TileArgs,
    c: *mut u8,
) {
    // SAFETY: `NV` vectors of `MR` rows, which the caller vouches for.
    unsafe {
        let m = |v: usize| simd.load_scales(args.multipliers.add(v * S::LANES));
        let row = |r: usize| c.wrapping_add(r * args.ldc_bytes);
        match args.finish {
            Finish::Bytes(tail) if NV == 1 => {
                for r in (0..MR).step_by(2) {
                    // The last of an odd number of rows twice.
                    let next = (r + 1).min(MR - 1);
                    let y = [simd.scale(acc[r][0], m(0)), simd.scale(acc[next][0], m(0))];
                    simd.store_bytes([row(r), row(next)], y, &tail);
                }
            }
            Finish::Bytes(tail) => {
                for r in 0..MR {
                    for v in (0..NV).step_by(2) {
                        let y = [simd.scale(acc[r][v], m(v)), simd.scale(acc[r][v + 1], m(v + 1))];
                        let at = row(r).wrapping_add(v * S::LANES);
                        simd.store_bytes([at, at.wrapping_add(S::LANES)], y, &tail);
                    }
                }
            }
            Finish::F32 => {
                for r in 0..MR {
                    for v in 0..NV {
                        let at = row(r).cast::<f32>().add(v * S::LANES);
                        simd.store_scales(at, simd.scale(acc[r][v], m(v)));
                    }
                }
            }
            Finish::I32 => {
                for r in 0..MR {
                    for v in 0..NV {
                        simd.store_sums(row(r).cast::<i32>().add(v * S::LANES), acc[r][v]);
                    }
                }
            }
        }
    }
}

/// Rows of the widened matrix.
///
/// # Safety
/// As [`GatherArgs`] says.
#[inline(always)]
pub(super) unsafe fn gather<S: SimdDot>(simd: S, args: &GatherArgs<'_>) {
    let channels = args.channels.len();
    for (i, row) in args.rows.clone().enumerate() {
        let to = args.to.wrapping_add(i * args.ld);
        // SAFETY: the row lies in the source and has room behind `to`.
        unsafe {
            match args.source {
                Source::Rows { lda, .. } => {
                    let from = args.from.wrapping_add(row * lda + args.channels.start);
                    widen_run(simd, from, to, channels, args.end, args.quant);
                    *to.add(channels) = 0;
                }
                Source::Window { geometry, .. } => {
                    window(simd, args, row, to);
                    *to.add(geometry.kernel.area() * channels) = 0;
                }
            }
        }
    }
}

/// The taps of one output pixel, 0 in the padding.
///
/// # Safety
/// As [`gather`].
#[inline(always)]
unsafe fn window<S: SimdDot>(simd: S, args: &GatherArgs<'_>, row: usize, to: *mut i16) {
    let Source::Window { geometry: g, ld } = args.source else { return };
    let channels = args.channels.len();
    let (pixel, ow) = (row / g.output.w, row % g.output.w);
    let (n, oh) = (pixel / g.output.h, pixel % g.output.h);
    let (rows, cols) = (g.rows(), g.cols());
    let ((top, bottom), (left, right)) = (rows.taps(oh), cols.taps(ow));
    let line = g.kernel.w * channels;
    // Neighbouring taps are one run where pixels are dense.
    let joined = g.dilation.w == 1 && *ld == channels;
    for kh in 0..g.kernel.h {
        let to = to.wrapping_add(kh * line);
        // SAFETY: the taps `left .. right` of rows `top .. bottom` lie in the picture; each line has
        // room for its taps, and what is written behind a run is written again.
        unsafe {
            if kh < top || kh >= bottom || left == right {
                to.write_bytes(0, line);
                continue;
            }
            to.write_bytes(0, left * channels);
            let ih = n * g.input.h + rows.position(oh, kh);
            let first = ih * g.input.w + cols.position(ow, left);
            let from = args.from.wrapping_add(first * ld + args.channels.start);
            let to_first = to.wrapping_add(left * channels);
            if joined {
                let run = (right - left) * channels;
                widen_run(simd, from, to_first, run, args.end, args.quant);
            } else {
                for kw in 0..right - left {
                    let from = from.wrapping_add(kw * g.dilation.w * ld);
                    let to = to_first.wrapping_add(kw * channels);
                    widen_run(simd, from, to, channels, args.end, args.quant);
                }
            }
            to.wrapping_add(right * channels).write_bytes(0, (g.kernel.w - right) * channels);
        }
    }
}

/// `len` bytes, widened. Writes up to 15 elements more.
///
/// # Safety
/// - `len` bytes from `from` on are valid for reads, and so are all up to `end`.
/// - `len + 15` elements from `to` on are valid for writes.
#[inline(always)]
unsafe fn widen_run<S: SimdDot>(
    simd: S,
    from: *const u8,
    to: *mut i16,
    len: usize,
    end: *const u8,
    quant: Quant8,
) {
    let readable = end as usize - from as usize;
    let mut i = 0;
    // SAFETY: whole vectors end before `end`, the rest is read byte by byte.
    unsafe {
        while i < len && i + 16 <= readable {
            simd.widen(from.add(i), to.add(i), quant);
            i += 16;
        }
        while i < len {
            *to.add(i) = quant.centred(*from.add(i)) as i16;
            i += 1;
        }
    }
}
