//! The register tiles, at any vector width.
#![expect(
    clippy::needless_range_loop,
    reason = "`r` and `v` name rows and vectors of all operands"
)]

use super::{Finish, Form, TileArgs};
use crate::arch::dot::{SimdDot, SimdDot4};
use crate::gather::{self, Convert, GatherArgs};
use crate::quant::Quant8;

/// What a tile multiplies.
pub(super) trait Terms<S: SimdDot> {
    /// Makes the elements of a row.
    type Rows: Convert<From = u8>;
    /// Steps of a quad: two of pairs of products, or one of all four.
    const STEPS: usize;
    /// Bytes of a weight.
    const WEIGHT: usize;
    /// The same, for those who make rows.
    const FORM: Form;

    /// How bytes of `a` become elements.
    fn rows(simd: S, quant: Quant8) -> Self::Rows;

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
    type Rows = ToWords<S>;
    const STEPS: usize = 2;
    const WEIGHT: usize = 1;
    const FORM: Form = Form::Words;

    #[inline(always)]
    fn rows(simd: S, quant: Quant8) -> ToWords<S> {
        ToWords(simd, quant)
    }

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
    type Rows = ToWords<S>;
    const STEPS: usize = 2;
    const WEIGHT: usize = 2;
    const FORM: Form = Form::Words;

    #[inline(always)]
    fn rows(simd: S, quant: Quant8) -> ToWords<S> {
        ToWords(simd, quant)
    }

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
    type Rows = ToBytes<S>;
    const STEPS: usize = 1;
    const WEIGHT: usize = 1;
    const FORM: Form = Form::Bytes { signed: S::SIGNED };

    #[inline(always)]
    fn rows(simd: S, quant: Quant8) -> ToBytes<S> {
        ToBytes(simd, quant)
    }

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
pub(super) unsafe fn start<S: SimdDot, const MR: usize, const NV: usize>(
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
pub(super) unsafe fn finish<S: SimdDot, const MR: usize, const NV: usize>(
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

/// Bytes of `a` as numbers of 16 bits above the zero point.
#[derive(Clone, Copy)]
pub(super) struct ToWords<S>(S, Quant8);

impl<S: SimdDot> Convert for ToWords<S> {
    type From = u8;
    type To = i16;

    #[inline(always)]
    fn zero(self) -> i16 {
        0
    }

    #[inline(always)]
    fn one(self, byte: u8) -> i16 {
        self.1.centred(byte) as i16
    }

    #[inline(always)]
    unsafe fn sixteen(self, from: *const u8, to: *mut i16) {
        // SAFETY: as the caller promises.
        unsafe { self.0.widen(from, to, self.1) };
    }
}

/// Bytes of `a` as the products of the level take them.
#[derive(Clone, Copy)]
pub(super) struct ToBytes<S>(S, Quant8);

impl<S: SimdDot4> ToBytes<S> {
    /// What makes bytes in memory those.
    #[inline(always)]
    fn flip(self) -> u8 {
        (Form::Bytes { signed: S::SIGNED }).flip(&self.1)
    }
}

impl<S: SimdDot4> Convert for ToBytes<S> {
    type From = u8;
    type To = u8;

    #[inline(always)]
    fn zero(self) -> u8 {
        self.one(self.1.zero_byte())
    }

    #[inline(always)]
    fn one(self, byte: u8) -> u8 {
        byte ^ self.flip()
    }

    #[inline(always)]
    unsafe fn sixteen(self, from: *const u8, to: *mut u8) {
        let flip = self.flip();
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
pub(super) unsafe fn gather<S: SimdDot, T: Terms<S>>(
    simd: S,
    args: &GatherArgs<'_>,
    quant: Quant8,
) {
    // SAFETY: as the caller promises.
    unsafe { gather::gather(T::rows(simd, quant), args) };
}
