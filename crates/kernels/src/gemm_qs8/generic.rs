//! The register tiles, at any vector width.
#![expect(
    clippy::needless_range_loop,
    reason = "`r` and `v` name rows and vectors of all operands"
)]

use super::gather::{GatherArgs, Source};
use super::{Finish, Form, TileArgs};
use crate::arch::dot::{SimdDot, SimdDot4};
use crate::quant::Quant8;
use depthwise_tensor::ConvGeometry;
use std::ops::Range;

/// What a tile multiplies.
pub(super) trait Terms<S: SimdDot> {
    /// An element of a row.
    type Row: Element<S>;
    /// Steps of a quad: two of pairs of products, or one of all four.
    const STEPS: usize;
    /// Bytes of a weight.
    const WEIGHT: usize;
    /// The same, for those who make rows.
    const FORM: Form;

    /// The weights of a step, a vector of columns.
    ///
    /// # Safety
    /// - As many bytes from `b` on are valid for reads.
    unsafe fn load(simd: S, b: *const u8) -> S::Pairs;

    /// A step, added to sums.
    fn dot(simd: S, sum: S::Sums, row: S::Pairs, weights: S::Pairs) -> S::Sums;
}

/// Rows of 16 bits, weights of 8.
pub(super) struct Words;
/// Rows and weights of 16 bits.
pub(super) struct WideWords;
/// Rows and weights of 8 bits.
pub(super) struct Bytes;

impl<S: SimdDot> Terms<S> for Words {
    type Row = i16;
    const STEPS: usize = 2;
    const WEIGHT: usize = 1;
    const FORM: Form = Form::Words;

    #[inline(always)]
    unsafe fn load(simd: S, b: *const u8) -> S::Pairs {
        // SAFETY: as the caller promises.
        unsafe { simd.load_narrow(b.cast()) }
    }

    #[inline(always)]
    fn dot(simd: S, sum: S::Sums, row: S::Pairs, weights: S::Pairs) -> S::Sums {
        simd.dot(sum, row, weights)
    }
}

impl<S: SimdDot> Terms<S> for WideWords {
    type Row = i16;
    const STEPS: usize = 2;
    const WEIGHT: usize = 2;
    const FORM: Form = Form::Words;

    #[inline(always)]
    unsafe fn load(simd: S, b: *const u8) -> S::Pairs {
        // SAFETY: as the caller promises.
        unsafe { simd.load_pairs(b.cast()) }
    }

    #[inline(always)]
    fn dot(simd: S, sum: S::Sums, row: S::Pairs, weights: S::Pairs) -> S::Sums {
        simd.dot(sum, row, weights)
    }
}

impl<S: SimdDot4> Terms<S> for Bytes {
    type Row = u8;
    const STEPS: usize = 1;
    const WEIGHT: usize = 1;
    const FORM: Form = Form::Bytes { signed: S::SIGNED };

    #[inline(always)]
    unsafe fn load(simd: S, b: *const u8) -> S::Pairs {
        // SAFETY: as the caller promises; a pair of 16 bits is four bytes.
        unsafe { simd.load_pairs(b.cast()) }
    }

    #[inline(always)]
    fn dot(simd: S, sum: S::Sums, row: S::Pairs, weights: S::Pairs) -> S::Sums {
        simd.dot4(sum, row, weights)
    }
}

/// `args.tiles` tiles of `MR` rows and `NV` vectors, one below the other.
///
/// # Safety
/// As [`TileArgs`] says, with `MR` rows and `NV * S::LANES` columns; the CPU has the level of the
/// token.
#[inline(always)]
pub(super) unsafe fn tiles<S: SimdDot, T: Terms<S>, const MR: usize, const NV: usize>(
    simd: S,
    args: &TileArgs,
) {
    let (mut a, mut c) = (args.a, args.c);
    // A step takes 4 / STEPS weights of each column, and as many elements of a row: 32 bits.
    let vector = 4 / T::STEPS * T::WEIGHT * S::LANES;
    for _ in 0..args.tiles {
        let rows = rows_of::<MR>(args, a);
        // SAFETY: the rows and columns of this tile, which the caller vouches for.
        unsafe {
            let mut acc = start::<S, MR, NV>(simd, args);
            let mut b = args.b;
            for step in 0..T::STEPS * args.quads {
                let mut bv = [T::load(simd, b); NV];
                for v in 1..NV {
                    bv[v] = T::load(simd, b.add(v * vector));
                }
                for r in 0..MR {
                    let x = simd.splat_pair(rows[r].add(2 * step));
                    for v in 0..NV {
                        acc[r][v] = T::dot(simd, acc[r][v], x, bv[v]);
                    }
                }
                b = b.add(NV * vector);
            }
            finish(simd, &acc, args, c);
        }
        a = a.wrapping_add(MR * args.lda_bytes);
        c = c.wrapping_add(MR * args.ldc_bytes);
    }
}

/// The rows of a tile.
#[inline(always)]
fn rows_of<const MR: usize>(args: &TileArgs, a: *const u8) -> [*const i16; MR] {
    let mut rows = [a.cast(); MR];
    for r in 0..MR {
        rows[r] = a.wrapping_add(r * args.lda_bytes).cast();
    }
    rows
}

/// The sums of a tile before the first product: the bias.
///
/// # Safety
/// - As [`TileArgs`] says of `bias`.
#[inline(always)]
unsafe fn start<S: SimdDot, const MR: usize, const NV: usize>(
    simd: S,
    args: &TileArgs,
) -> [[S::Sums; NV]; MR] {
    let mut acc = [[simd.zero(); NV]; MR];
    for v in 0..NV {
        // SAFETY: `NV` vectors, which the caller vouches for.
        let bias = unsafe { simd.load_sums(args.bias.add(v * S::LANES)) };
        for r in 0..MR {
            acc[r][v] = bias;
        }
    }
    acc
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

/// How bytes of `a` become elements of a block.
pub(super) trait Element<S>: Copy {
    /// Any byte.
    fn of(quant: Quant8, byte: u8) -> Self;

    /// 16 bytes.
    ///
    /// # Safety
    /// - 16 bytes from `from` on are valid for reads, 16 elements from `to` on for writes.
    unsafe fn convert(simd: S, from: *const u8, to: *mut Self, quant: Quant8);
}

impl<S: SimdDot> Element<S> for i16 {
    #[inline(always)]
    fn of(quant: Quant8, byte: u8) -> i16 {
        quant.centred(byte) as i16
    }

    #[inline(always)]
    unsafe fn convert(simd: S, from: *const u8, to: *mut i16, quant: Quant8) {
        // SAFETY: as the caller promises.
        unsafe { simd.widen(from, to, quant) };
    }
}

/// What makes bytes in memory those that the level's products take.
#[inline(always)]
const fn flip_of<S: SimdDot4>(quant: Quant8) -> u8 {
    quant.flip() ^ if S::SIGNED { 0x80 } else { 0 }
}

impl<S: SimdDot4> Element<S> for u8 {
    #[inline(always)]
    fn of(quant: Quant8, byte: u8) -> u8 {
        byte ^ flip_of::<S>(quant)
    }

    #[inline(always)]
    unsafe fn convert(_: S, from: *const u8, to: *mut u8, quant: Quant8) {
        let flip = flip_of::<S>(quant);
        // SAFETY: as the caller promises.
        unsafe {
            let bytes = from.cast::<[u8; 16]>().read_unaligned();
            to.cast::<[u8; 16]>().write_unaligned(bytes.map(|byte| byte ^ flip));
        }
    }
}

/// Rows of the matrix, as elements of `T`.
///
/// # Safety
/// As [`GatherArgs`] says; the CPU has the level of the token.
#[inline(always)]
pub(super) unsafe fn gather<S: SimdDot, T: Terms<S>>(simd: S, args: &GatherArgs<'_>) {
    // SAFETY: as the caller promises.
    unsafe {
        match args.source {
            Source::Rows { lda, .. } => {
                let channels = args.channels.len();
                let zero = T::Row::of(args.quant, args.quant.zero_byte());
                for (i, row) in args.rows.clone().enumerate() {
                    let from = args.from.wrapping_add(row * lda + args.channels.start);
                    let to = args.to.cast::<T::Row>().wrapping_add(i * args.ld);
                    convert_run(simd, from, to, channels, args.end, args.quant);
                    fill(to.add(channels), 3, zero);
                }
            }
            Source::Window { geometry, ld } => windows::<S, T::Row>(simd, args, geometry, *ld),
        }
    }
}

/// `count` times `element`.
///
/// # Safety
/// - The elements are valid for writes.
#[inline(always)]
unsafe fn fill<E: Copy>(to: *mut E, count: usize, element: E) {
    for i in 0..count {
        // SAFETY: as the caller promises.
        unsafe { *to.add(i) = element };
    }
}

/// The windows of output pixels, 0 in the padding.
///
/// # Safety
/// As [`gather`].
#[inline(always)]
unsafe fn windows<S: SimdDot, E: Element<S>>(
    simd: S,
    args: &GatherArgs<'_>,
    g: &ConvGeometry,
    ld: usize,
) {
    let mut at = args.rows.start;
    while at < args.rows.end {
        let (row, first) = (at / g.output.w, at % g.output.w);
        let columns = first..g.output.w.min(first + args.rows.end - at);
        let to = args.to.cast::<E>().wrapping_add((at - args.rows.start) * args.ld);
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
unsafe fn windows_of_row<S: SimdDot, E: Element<S>>(
    simd: S,
    args: &GatherArgs<'_>,
    (g, ld): (&ConvGeometry, usize),
    row: usize,
    columns: Range<usize>,
    to: *mut E,
) {
    let zero = E::of(args.quant, args.quant.zero_byte());
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
                    fill(to.add(i * args.ld), line, zero);
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
        unsafe { fill(to.add(i * args.ld + g.kernel.h * line), 3, zero) };
    }
}

/// The taps of some output columns in an input row.
///
/// # Safety
/// As [`gather`], for these outputs.
#[inline(always)]
unsafe fn line_of_taps<S: SimdDot, E: Element<S>>(
    simd: S,
    args: &GatherArgs<'_>,
    (g, ld): (&ConvGeometry, usize),
    picture: *const u8,
    columns: Range<usize>,
    to: *mut E,
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
                    convert_run(simd, from, to.add(k * run), run, args.end, args.quant);
                }
                continue;
            }
            let (left, right) = g.cols().taps(ow);
            let zero = E::of(args.quant, args.quant.zero_byte());
            fill(to, left * channels, zero);
            for kw in left..right {
                let from = picture.add(g.cols().position(ow, kw) * ld);
                convert_run(simd, from, to.add(kw * channels), channels, args.end, args.quant);
            }
            fill(to.add(right * channels), (g.kernel.w - right) * channels, zero);
        }
    }
}

/// `len` bytes, converted. Writes up to 15 elements more.
///
/// # Safety
/// - `len` bytes from `from` on are valid for reads, and so are all up to `end`.
/// - `len + 15` elements from `to` on are valid for writes.
#[inline(always)]
unsafe fn convert_run<S: Copy, E: Element<S>>(
    simd: S,
    from: *const u8,
    to: *mut E,
    len: usize,
    end: *const u8,
    quant: Quant8,
) {
    let readable = end as usize - from as usize;
    // SAFETY: whole vectors end before `end`, the rest is read byte by byte.
    unsafe {
        if len <= 16 && readable >= 16 {
            E::convert(simd, from, to, quant);
            return;
        }
        let mut i = 0;
        while i < len && i + 16 <= readable {
            E::convert(simd, from.add(i), to.add(i), quant);
            i += 16;
        }
        while i < len {
            *to.add(i) = E::of(quant, *from.add(i));
            i += 1;
        }
    }
}
