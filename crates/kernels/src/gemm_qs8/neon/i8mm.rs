//! Advanced SIMD with the matrix product of Armv8.6: 2 x 8 bytes by 8 x 2. Run in an emulator, not on
//! hardware.
//!
//! ```text
//!   rows r, r+1, 8 bytes each  x  columns j, j+1, 8 bytes each  ->  [r,j] [r,j+1] [r+1,j] [r+1,j+1]
//! ```
//! Panels are those of `sdot`, of which two quads together make the columns.
#![expect(
    clippy::needless_range_loop,
    reason = "`p` and `v` name rows and vectors of all operands"
)]

use super::dot;
use crate::arch::dot::DotNeonDot;
use crate::gemm_qs8::{Form, Kernel, TileArgs, generic};
use crate::isa::{Extension, Isa};
use std::arch::aarch64::*;

/// 8 rows of two vectors: 16 registers of 2 x 2 sums.
pub(crate) static K8X8: Kernel = kernel(
    "gemm_qs8_8x8_neoni8mm",
    8,
    &[
        tiles::<1, 2>,
        tiles::<2, 2>,
        tiles::<3, 2>,
        tiles::<4, 2>,
        tiles::<5, 2>,
        tiles::<6, 2>,
        tiles::<7, 2>,
        tiles::<8, 2>,
    ],
);
/// Up to 4 columns.
pub(crate) static K8X4: Kernel = kernel(
    "gemm_qs8_8x4_neoni8mm",
    4,
    &[
        tiles::<1, 1>,
        tiles::<2, 1>,
        tiles::<3, 1>,
        tiles::<4, 1>,
        tiles::<5, 1>,
        tiles::<6, 1>,
        tiles::<7, 1>,
        tiles::<8, 1>,
    ],
);

const fn kernel(name: &'static str, nr: usize, narrow: &'static [unsafe fn(&TileArgs)]) -> Kernel {
    Kernel {
        name,
        isa: Isa::Neon,
        extension: Some(Extension::I8mm),
        nr,
        form: Form::Bytes { signed: true },
        narrow,
        wide: &[],
        gather: dot::gather::<generic::Bytes>,
    }
}

/// Most pairs of rows of a tile.
const PAIRS: usize = 4;

/// `args.tiles` tiles of `MR` rows and `NV` vectors, one below the other.
///
/// # Safety
/// As [`TileArgs`] says, with `MR` rows and `4 * NV` columns; the CPU has the extension.
#[target_feature(enable = "neon,dotprod,i8mm")]
unsafe fn tiles<const MR: usize, const NV: usize>(args: &TileArgs) {
    let (mut a, mut c) = (args.a, args.c);
    for _ in 0..args.tiles {
        // SAFETY: the rows and columns of this tile, which the caller vouches for.
        unsafe { tile::<MR, NV>(args, a, c) };
        a = a.wrapping_add(MR * args.lda_bytes);
        c = c.wrapping_add(MR * args.ldc_bytes);
    }
}

/// # Safety
/// As [`tiles`], one of them at `a` and `c`.
#[inline]
#[target_feature(enable = "neon,dotprod,i8mm")]
unsafe fn tile<const MR: usize, const NV: usize>(args: &TileArgs, a: *const u8, c: *mut u8) {
    let partner = |p: usize| second_row(MR, p);
    // SAFETY: `quads` of every row and column, which the caller vouches for.
    unsafe {
        let mut sums = generic::start::<_, MR, NV>(DotNeonDot, args);
        let mut blocks = [[[vdupq_n_s32(0); 2]; NV]; PAIRS];
        for p in 0..MR.div_ceil(2) {
            for v in 0..NV {
                blocks[p][v] = halves(sums[2 * p][v], sums[partner(p)][v]);
            }
        }
        let (mut a, mut b) = (a, args.b);
        for _ in 0..args.quads / 2 {
            products::<MR, NV>(&mut blocks, a, args.lda_bytes, b, true);
            (a, b) = (a.wrapping_add(8), b.wrapping_add(32 * NV));
        }
        if args.quads % 2 == 1 {
            products::<MR, NV>(&mut blocks, a, args.lda_bytes, b, false);
        }
        for p in 0..MR.div_ceil(2) {
            for v in 0..NV {
                let [first, second] = halves(blocks[p][v][0], blocks[p][v][1]);
                sums[partner(p)][v] = second;
                sums[2 * p][v] = first;
            }
        }
        generic::finish::<_, MR, NV>(DotNeonDot, &sums, args, c);
    }
}

/// The second row of a pair; the last of an odd number of rows is its own partner.
#[inline(always)]
fn second_row(mr: usize, pair: usize) -> usize {
    (2 * pair + 1).min(mr - 1)
}

/// Two quads of all rows and columns, or the last one.
///
/// # Safety
/// - They are valid for reads: as many bytes from `a` on in each row, `16 * NV` from `b` on for each quad.
#[inline]
#[target_feature(enable = "neon,i8mm")]
unsafe fn products<const MR: usize, const NV: usize>(
    blocks: &mut [[[int32x4_t; 2]; NV]; PAIRS],
    a: *const u8,
    lda_bytes: usize,
    b: *const u8,
    is_whole: bool,
) {
    let row = |r: usize| a.wrapping_add(r * lda_bytes).cast::<i8>();
    // SAFETY: as the caller promises.
    unsafe {
        let mut columns = [[vdupq_n_s8(0); 2]; NV];
        for v in 0..NV {
            let first = vld1q_s32(b.add(16 * v).cast());
            let second =
                if is_whole { vld1q_s32(b.add(16 * (NV + v)).cast()) } else { vdupq_n_s32(0) };
            columns[v] = [vzip1q_s32(first, second), vzip2q_s32(first, second)]
                .map(|columns| vreinterpretq_s8_s32(columns));
        }
        for p in 0..MR.div_ceil(2) {
            let [first, second] = [2 * p, second_row(MR, p)].map(|r| eight(row(r), is_whole));
            let rows = vcombine_s8(first, second);
            for v in 0..NV {
                for half in 0..2 {
                    blocks[p][v][half] = smmla(blocks[p][v][half], rows, columns[v][half]);
                }
            }
        }
    }
}

/// The low halves of two vectors, and the high ones: turns two rows into 2 x 2 blocks, and back.
#[inline]
#[target_feature(enable = "neon")]
fn halves(a: int32x4_t, b: int32x4_t) -> [int32x4_t; 2] {
    let (a, b) = (vreinterpretq_s64_s32(a), vreinterpretq_s64_s32(b));
    [vzip1q_s64(a, b), vzip2q_s64(a, b)].map(|v| vreinterpretq_s32_s64(v))
}

/// Eight bytes of a row, or the last four and zeros.
///
/// # Safety
/// - As many from `p` on are valid for reads.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn eight(p: *const i8, is_whole: bool) -> int8x8_t {
    // SAFETY: as the caller promises.
    unsafe {
        match is_whole {
            true => vld1_s8(p),
            false => vcreate_s8(u64::from(p.cast::<u32>().read_unaligned())),
        }
    }
}

/// `sums[i][j] + rows[i][..] * columns[j][..]`, modulo 2^32.
#[inline]
#[target_feature(enable = "neon,i8mm")]
fn smmla(sums: int32x4_t, rows: int8x16_t, columns: int8x16_t) -> int32x4_t {
    let mut out = sums;
    // The intrinsic is not stable yet.
    // SAFETY: the function has the instruction, which only writes `out`.
    unsafe {
        std::arch::asm!(
            "smmla {s:v}.4s, {a:v}.16b, {b:v}.16b",
            s = inout(vreg) out,
            a = in(vreg) rows,
            b = in(vreg) columns,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    out
}
