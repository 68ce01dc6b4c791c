//! The register tiles, at any vector width.
#![expect(
    clippy::needless_range_loop,
    reason = "`r` and `v` name rows and vectors of all operands"
)]

use super::{Finish, TileArgs};
use crate::arch::dot::{SimdDot, SimdDot4};
use crate::gather::{Convert, GatherArgs, gather};
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
        let rows = rows_of::<MR>(args, a);
        // SAFETY: the rows and columns of this tile, which the caller vouches for.
        unsafe {
            let mut acc = start::<S, MR, NV>(simd, args);
            let mut b = args.b;
            // Two pairs a turn, so that the addresses of rows are computed half as often.
            for quad in 0..args.quads {
                for pair in 2 * quad..2 * quad + 2 {
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
        a = a.wrapping_add(MR * args.lda_bytes);
        c = c.wrapping_add(MR * args.ldc_bytes);
    }
}

/// As [`tiles`], from rows of bytes.
///
/// # Safety
/// As [`tiles`].
#[inline(always)]
pub(super) unsafe fn byte_tiles<S: SimdDot4, const MR: usize, const NV: usize>(
    simd: S,
    args: &TileArgs,
) {
    let (mut a, mut c) = (args.a, args.c);
    for _ in 0..args.tiles {
        let rows = rows_of::<MR>(args, a);
        // SAFETY: the rows and columns of this tile, which the caller vouches for.
        unsafe {
            let mut acc = start::<S, MR, NV>(simd, args);
            // A pair of 16 bits is four bytes.
            let mut b = args.b.cast::<i16>();
            for quad in 0..args.quads {
                let mut bv = [simd.load_pairs(b); NV];
                for v in 1..NV {
                    bv[v] = simd.load_pairs(b.add(2 * v * S::LANES));
                }
                for r in 0..MR {
                    let x = simd.splat_pair(rows[r].add(2 * quad));
                    for v in 0..NV {
                        acc[r][v] = simd.dot4(acc[r][v], x, bv[v]);
                    }
                }
                b = b.add(2 * NV * S::LANES);
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

/// Bytes of `a` as numbers of 16 bits above the zero point.
#[derive(Clone, Copy)]
struct Words<S>(S, Quant8);

impl<S: SimdDot> Convert for Words<S> {
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
struct Bytes<S>(S, Quant8);

impl<S: SimdDot4> Bytes<S> {
    /// What makes bytes in memory those.
    #[inline(always)]
    fn flip(self) -> u8 {
        self.1.flip() ^ if S::SIGNED { 0x80 } else { 0 }
    }
}

impl<S: SimdDot4> Convert for Bytes<S> {
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

/// Rows of 16-bit numbers.
///
/// # Safety
/// As [`GatherArgs`] says; the CPU has the level of the token.
#[inline(always)]
pub(super) unsafe fn gather_words<S: SimdDot>(simd: S, args: &GatherArgs<'_>, quant: Quant8) {
    // SAFETY: as the caller promises.
    unsafe { gather(Words(simd, quant), args) };
}

/// Rows of bytes.
///
/// # Safety
/// As [`GatherArgs`] says; the CPU has the level of the token.
#[inline(always)]
pub(super) unsafe fn gather_bytes<S: SimdDot4>(simd: S, args: &GatherArgs<'_>, quant: Quant8) {
    // SAFETY: as the caller promises.
    unsafe { gather(Bytes(simd, quant), args) };
}
