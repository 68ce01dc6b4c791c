//! The register tiles, at any vector width.
#![expect(
    clippy::needless_range_loop,
    reason = "`r` and `v` name rows and vectors of all operands"
)]

use super::gather::{GatherArgs, Source};
use super::{Finish, TileArgs};
use crate::arch::dot::SimdDot;
use crate::quant::Quant8;
use depthwise_tensor::ConvGeometry;
use std::ops::Range;

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
            // Two pairs a turn, so that the addresses of rows are computed half as often.
            for p in (0..args.pairs).step_by(2) {
                for pair in p..p + 2 {
                    let mut bv = [simd.splat_pair(rows[0]); NV];
                    for v in 0..NV {
                        bv[v] = if WIDE {
                            simd.load_pairs(b.cast::<i16>().add(2 * v * S::LANES))
                        } else {
                            simd.load_narrow(b.cast::<i8>().add(2 * v * S::LANES))
                        };
                    }
                    for r in 0..MR {
                        let x = simd.splat_pair(rows[r].add(2 * pair));
                        for v in 0..NV {
                            acc[r][v] = simd.dot(acc[r][v], x, bv[v]);
                        }
                    }
                    b = b.add((2 * NV * S::LANES) << usize::from(WIDE));
                }
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
    // SAFETY: as the caller promises.
    unsafe {
        match args.source {
            Source::Rows { lda, .. } => {
                let channels = args.channels.len();
                for (i, row) in args.rows.clone().enumerate() {
                    let from = args.from.wrapping_add(row * lda + args.channels.start);
                    let to = args.to.wrapping_add(i * args.ld);
                    widen_run(simd, from, to, channels, args.end, args.quant);
                    zero(to.add(channels), 3);
                }
            }
            Source::Window { geometry, ld } => windows(simd, args, geometry, *ld),
        }
    }
}

/// `count` zeros.
///
/// # Safety
/// - The elements are valid for writes.
#[inline(always)]
unsafe fn zero(to: *mut i16, count: usize) {
    for i in 0..count {
        // SAFETY: as the caller promises.
        unsafe { *to.add(i) = 0 };
    }
}

/// The windows of output pixels, 0 in the padding.
///
/// # Safety
/// As [`gather`].
#[inline(always)]
unsafe fn windows<S: SimdDot>(simd: S, args: &GatherArgs<'_>, g: &ConvGeometry, ld: usize) {
    let mut at = args.rows.start;
    while at < args.rows.end {
        let (row, first) = (at / g.output.w, at % g.output.w);
        let columns = first..g.output.w.min(first + args.rows.end - at);
        let to = args.to.wrapping_add((at - args.rows.start) * args.ld);
        at += columns.len();
        // SAFETY: these outputs are rows `at ..` of the source.
        unsafe { windows_of_row(simd, args, (g, ld), row, columns, to) };
    }
}

/// The windows of some output columns of row `row`, counted over all pictures: one row of taps of all
/// of them, then the next. What is written behind a run is written again.
///
/// # Safety
/// As [`gather`], for these outputs.
#[inline(always)]
unsafe fn windows_of_row<S: SimdDot>(
    simd: S,
    args: &GatherArgs<'_>,
    (g, ld): (&ConvGeometry, usize),
    row: usize,
    columns: Range<usize>,
    to: *mut i16,
) {
    let line = g.kernel.w * args.channels.len();
    let (n, oh) = (row / g.output.h, row % g.output.h);
    let rows = g.rows();
    let (top, bottom) = rows.taps(oh);
    for kh in 0..g.kernel.h {
        let to = to.wrapping_add(kh * line);
        // SAFETY: taps of rows `top .. bottom` lie in the picture; each line has room for its taps.
        unsafe {
            if kh < top || kh >= bottom {
                for i in 0..columns.len() {
                    zero(to.add(i * args.ld), line);
                }
                continue;
            }
            let ih = n * g.input.h + rows.position(oh, kh);
            let picture = args.from.wrapping_add(ih * g.input.w * ld + args.channels.start);
            line_of_taps(simd, args, (g, ld), picture, columns.clone(), to);
        }
    }
    for i in 0..columns.len() {
        // SAFETY: a row has room for that much more.
        unsafe { zero(to.add(i * args.ld + g.kernel.h * line), 3) };
    }
}

/// The taps of some output columns in an input row.
///
/// # Safety
/// As [`gather`], for these outputs.
#[inline(always)]
unsafe fn line_of_taps<S: SimdDot>(
    simd: S,
    args: &GatherArgs<'_>,
    (g, ld): (&ConvGeometry, usize),
    picture: *const u8,
    columns: Range<usize>,
    to: *mut i16,
) {
    let channels = args.channels.len();
    // Outputs whose taps all lie in the picture.
    let reach = (g.kernel.w - 1) * g.dilation.w + 1;
    let end = (g.input.w + g.pad.left).checked_sub(reach).map_or(0, |last| last / g.stride.w + 1);
    let whole = g.pad.left.div_ceil(g.stride.w)..end;
    // Neighbouring taps are one run where pixels are dense.
    let joined = g.dilation.w == 1 && ld == channels;
    let (runs, run) = if joined { (1, g.kernel.w * channels) } else { (g.kernel.w, channels) };
    for (i, ow) in columns.enumerate() {
        let to = to.wrapping_add(i * args.ld);
        // SAFETY: the taps that are read lie in the row.
        unsafe {
            if whole.contains(&ow) {
                let from = picture.add((ow * g.stride.w - g.pad.left) * ld);
                for k in 0..runs {
                    let from = from.wrapping_add(k * g.dilation.w * ld);
                    widen_run(simd, from, to.add(k * run), run, args.end, args.quant);
                }
                continue;
            }
            let (left, right) = g.cols().taps(ow);
            zero(to, left * channels);
            for kw in left..right {
                let from = picture.add(g.cols().position(ow, kw) * ld);
                widen_run(simd, from, to.add(kw * channels), channels, args.end, args.quant);
            }
            zero(to.add(right * channels), (g.kernel.w - right) * channels);
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
    // SAFETY: whole vectors end before `end`, the rest is read byte by byte.
    unsafe {
        if len <= 16 && readable >= 16 {
            simd.widen(from, to, quant);
            return;
        }
        let mut i = 0;
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
