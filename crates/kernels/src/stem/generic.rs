//! The register tile, at any vector width.
#![expect(
    clippy::needless_range_loop,
    reason = "`r` and `v` name rows and vectors of all operands"
)]

use super::TileArgs;
use crate::arch::SimdF32;
use crate::gemm_f32::finish;

/// `y[r][j] = tail(bias[j] + sum_{l, p} lines[l][r * STEP + p] * b[l * run + p][j])`, `l` and `p`
/// ascending.
///
/// # Safety
/// As [`TileArgs`] says, with `MR` pixels and `NV * S::F32_LANES` columns; the CPU has the level of
/// the token.
#[inline(always)]
pub(super) unsafe fn tile<S: SimdF32, const MR: usize, const NV: usize, const STEP: usize>(
    simd: S,
    args: &TileArgs,
) {
    let nr = NV * S::F32_LANES;
    let mut acc = [[simd.splat_f32s(0.0); NV]; MR];
    for r in 0..MR {
        for v in 0..NV {
            // SAFETY: `nr` biases.
            acc[r][v] = unsafe { simd.load(args.bias.add(v * S::F32_LANES)) };
        }
    }
    let mut b = args.b;
    for l in 0..args.count {
        // SAFETY: `count` lines.
        let mut x = unsafe { *args.lines.add(l) };
        for _ in 0..args.run {
            let mut bv = [simd.splat_f32s(0.0); NV];
            for v in 0..NV {
                // SAFETY: `count * run * nr` weights.
                bv[v] = unsafe { simd.load(b.add(v * S::F32_LANES)) };
            }
            for r in 0..MR {
                // SAFETY: `(MR - 1) * STEP + run` elements of each line.
                let value = simd.splat_f32s(unsafe { *x.add(r * STEP) });
                for v in 0..NV {
                    acc[r][v] = simd.fma(value, bv[v], acc[r][v]);
                }
            }
            x = x.wrapping_add(1);
            b = b.wrapping_add(nr);
        }
    }
    // SAFETY: the pixels and columns of this tile.
    unsafe { finish(simd, acc, &args.tail, args.y, args.ld) };
}
