//! The register tiles, at any vector width.
#![expect(
    clippy::needless_range_loop,
    reason = "`r` and `v` name rows and vectors of all operands"
)]

use super::TileArgs;
use crate::arch::SimdF32;
use crate::gemm_f32::finish;
use depthwise_tensor::Activation;

/// `MR x NV` vectors of sums.
type Sums<S, const MR: usize, const NV: usize> = [[<S as pulp::Simd>::f32s; NV]; MR];

/// `args.tiles` tiles of `MR` rows and `NV` vectors, one below the other:
/// `c[r][j] = tail(bias[j] + sum_p a[r][p] * b[p][j])`, `p` ascending.
///
/// # Safety
/// As [`TileArgs`] says, with `MR` rows and `NV * S::F32_LANES` columns; the CPU has the level of
/// the token.
#[inline(always)]
pub(super) unsafe fn tiles<S: SimdF32, const MR: usize, const NV: usize>(simd: S, args: &TileArgs) {
    for tile in 0..args.tiles {
        let mut rows = [args.a; MR];
        for (r, row) in rows.iter_mut().enumerate() {
            *row = args.a.wrapping_add((tile * MR + r) * args.lda);
        }
        // SAFETY: the rows and columns of this tile, which the caller vouches for.
        unsafe {
            let mut sums = start::<S, MR, NV>(simd, args.bias);
            for p in 0..args.k {
                let b = args.b.add(p * NV * S::F32_LANES);
                sums = step::<S, MR, NV>(simd, sums, &rows, p, b);
            }
            let c = args.c.wrapping_add(tile * MR * args.ldc);
            finish(simd, sums, &args.tail, c, args.ldc);
        }
    }
}

/// One row, for weights that stream from memory: even and odd `p` are summed apart, so that the
/// latency of the sums does not add to that of the loads.
///
/// # Safety
/// As [`TileArgs`] says, with one tile of one row and `NV * S::F32_LANES` columns; the CPU has the
/// level of the token.
#[inline(always)]
pub(super) unsafe fn row<S: SimdF32, const NV: usize>(simd: S, args: &TileArgs) {
    debug_assert_eq!(args.tiles, 1);
    let (k, rows) = (args.k, [args.a]);
    let nr = NV * S::F32_LANES;
    // SAFETY: the row and the columns, which the caller vouches for.
    unsafe {
        let mut even = start::<S, 1, NV>(simd, args.bias);
        let mut odd = [[simd.splat_f32s(0.0); NV]];
        let mut b = args.b;
        for pair in 0..k / 2 {
            even = step::<S, 1, NV>(simd, even, &rows, 2 * pair, b);
            odd = step::<S, 1, NV>(simd, odd, &rows, 2 * pair + 1, b.add(nr));
            b = b.add(2 * nr);
        }
        if k % 2 == 1 {
            even = step::<S, 1, NV>(simd, even, &rows, k - 1, b);
        }
        for v in 0..NV {
            even[0][v] = simd.add_f32s(even[0][v], odd[0][v]);
        }
        finish(simd, even, &args.tail, args.c, args.ldc);
    }
}

/// The sums before the first product.
///
/// # Safety
/// - `NV * S::F32_LANES` elements from `bias` on are valid for reads.
#[inline(always)]
unsafe fn start<S: SimdF32, const MR: usize, const NV: usize>(
    simd: S,
    bias: *const f32,
) -> Sums<S, MR, NV> {
    let mut sums = [[simd.splat_f32s(0.0); NV]; MR];
    for row in &mut sums {
        for v in 0..NV {
            // SAFETY: as the caller promises.
            row[v] = unsafe { simd.load(bias.add(v * S::F32_LANES)) };
        }
    }
    sums
}

/// `sums[r][j] += rows[r][p] * b[j]`
///
/// # Safety
/// - Element `p` of each row is valid for reads, and `NV * S::F32_LANES` elements from `b` on.
#[inline(always)]
unsafe fn step<S: SimdF32, const MR: usize, const NV: usize>(
    simd: S,
    mut sums: Sums<S, MR, NV>,
    rows: &[*const f32; MR],
    p: usize,
    b: *const u16,
) -> Sums<S, MR, NV> {
    let mut weights = [simd.splat_f32s(0.0); NV];
    for v in 0..NV {
        // SAFETY: as the caller promises.
        weights[v] = unsafe { simd.load_f16(b.add(v * S::F32_LANES)) };
    }
    for r in 0..MR {
        // SAFETY: as the caller promises.
        let x = simd.splat_f32s(unsafe { *rows[r].add(p) });
        for v in 0..NV {
            sums[r][v] = simd.fma(x, weights[v], sums[r][v]);
        }
    }
    sums
}

/// `c[r][j] = act(c[r][j])` over the columns of the panel.
///
/// # Safety
/// - `NV * S::F32_LANES` elements from `c + r * ldc` on are valid for reads and writes,
///   `r < rows`; the CPU has the level of the token.
#[inline(always)]
pub(super) unsafe fn activate<S: SimdF32, const NV: usize>(
    simd: S,
    args: &TileArgs,
    rows: usize,
    act: Activation,
) {
    for r in 0..rows {
        for v in 0..NV {
            let p = args.c.wrapping_add(r * args.ldc + v * S::F32_LANES);
            // SAFETY: as the caller promises.
            unsafe { simd.store(p, simd.activate(act, simd.load(p))) };
        }
    }
}
