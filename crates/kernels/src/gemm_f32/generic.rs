//! The register tiles, at any vector width.
#![expect(
    clippy::needless_range_loop,
    reason = "`r` and `v` name rows and vectors of all operands"
)]

use super::{IndirectArgs, RowsArgs, Tail, TileArgs};
use crate::arch::{Products, SimdF32};
use depthwise_tensor::Activation;

/// `MR x NV` vectors of sums.
type Sums<S, const MR: usize, const NV: usize> = [[<S as pulp::Simd>::f32s; NV]; MR];

/// `args.tiles` tiles of `MR` rows and `NV` vectors, one below the other:
/// `c[r][j] = tail(init[r][j] + sum_p a[r][p] * b[p][j])`, `p` ascending, `E` being what is multiplied.
///
/// # Safety
/// As [`TileArgs`] says, with `MR` rows and `NV * S::F32_LANES` columns; the CPU has the level of
/// the token, and what [`Products`] of `E` need.
#[inline(always)]
pub(crate) unsafe fn tiles<S: Products<E>, E: Copy, const MR: usize, const NV: usize>(
    simd: S,
    args: &TileArgs<E>,
) {
    // Apart, so that the loop without a residual has no branch and no pointer for it.
    // SAFETY: as the caller promises.
    unsafe {
        if args.residual.is_null() {
            column::<S, E, MR, NV, false>(simd, args);
        } else {
            column::<S, E, MR, NV, true>(simd, args);
        }
    }
}

/// See [`tiles`].
///
/// # Safety
/// As [`tiles`]; there is a residual where `RESIDUAL` says so.
#[inline(always)]
unsafe fn column<
    S: Products<E>,
    E: Copy,
    const MR: usize,
    const NV: usize,
    const RESIDUAL: bool,
>(
    simd: S,
    args: &TileArgs<E>,
) {
    let &TileArgs { k, lda, b, ldb, ldc, init_ld, residual_ld, .. } = args;
    let (mut a, mut init, mut c, mut residual) = (args.a, args.init, args.c, args.residual);
    let mut ahead = args.ahead;
    for _ in 0..args.tiles {
        let mut rows = [a; MR];
        for (r, row) in rows.iter_mut().enumerate() {
            *row = a.wrapping_add(r * lda);
        }
        // SAFETY: the rows and columns of this tile, which the caller vouches for.
        unsafe {
            let mut acc = start::<S, MR, NV>(simd, init, init_ld);
            if ahead == 0 {
                acc = accumulate::<S, E, MR, NV, false>(simd, acc, &rows, k, (b, ldb), 0);
            } else {
                acc = accumulate::<S, E, MR, NV, true>(simd, acc, &rows, k, (b, ldb), ahead);
                ahead = 0;
            }
            if RESIDUAL {
                acc = add(simd, acc, residual, residual_ld);
            }
            finish(simd, acc, &args.tail, c, ldc);
        }
        a = a.wrapping_add(MR * lda);
        init = init.wrapping_add(MR * init_ld);
        if RESIDUAL {
            residual = residual.wrapping_add(MR * residual_ld);
        }
        c = c.wrapping_add(MR * ldc);
    }
}

/// As [`tiles`], where each row of `a` comes in `taps` runs, whose starts stand in a table.
///
/// # Safety
/// As [`IndirectArgs`] says, with `MR` rows and `NV * S::F32_LANES` columns; the CPU has the level
/// of the token.
#[inline(always)]
pub(super) unsafe fn indirect<S: SimdF32, const MR: usize, const NV: usize>(
    simd: S,
    args: &IndirectArgs,
) {
    let &IndirectArgs { taps, run, table_ld, offset, ldb, ldc, init_ld, .. } = args;
    let (mut table, mut init, mut c) = (args.table, args.init, args.c);
    for _ in 0..args.tiles {
        // SAFETY: the rows and columns of this tile, which the caller vouches for.
        unsafe {
            let mut acc = start::<S, MR, NV>(simd, init, init_ld);
            let mut b = args.b;
            for tap in 0..taps {
                let starts = table.add(tap * table_ld);
                let mut rows = [std::ptr::null(); MR];
                for (r, row) in rows.iter_mut().enumerate() {
                    *row = (*starts.add(r)).add(offset);
                }
                acc = accumulate::<S, f32, MR, NV, false>(simd, acc, &rows, run, (b, ldb), 0);
                b = b.add(run * ldb);
            }
            finish(simd, acc, &args.tail, c, ldc);
        }
        table = table.wrapping_add(MR);
        init = init.wrapping_add(MR * init_ld);
        c = c.wrapping_add(MR * ldc);
    }
}

/// One row, for weights that stream from memory: even and odd `p` are summed apart, so that the
/// latency of the sums does not add to that of the loads.
///
/// # Safety
/// As [`TileArgs`] says, with one tile of one row and `NV * S::F32_LANES` columns; the CPU has the
/// level of the token, and what [`Products`] of `E` need.
#[inline(always)]
pub(crate) unsafe fn row<S: Products<E>, E: Copy, const NV: usize>(simd: S, args: &TileArgs<E>) {
    debug_assert_eq!(args.tiles, 1);
    let &TileArgs { k, a, ldb, .. } = args;
    let mut b = args.b;
    // SAFETY: the row and the columns, which the caller vouches for.
    unsafe {
        let mut even = start::<S, 1, NV>(simd, args.init, 0);
        let mut odd = [[simd.splat_f32s(0.0); NV]];
        for p in 0..k / 2 {
            let pair = a.add(2 * p);
            even = accumulate::<S, E, 1, NV, false>(simd, even, &[pair], 1, (b, ldb), 0);
            let next = (b.add(ldb), ldb);
            odd = accumulate::<S, E, 1, NV, false>(simd, odd, &[pair.add(1)], 1, next, 0);
            b = b.add(2 * ldb);
        }
        even = accumulate::<S, E, 1, NV, false>(simd, even, &[a.add(k & !1)], k & 1, (b, ldb), 0);
        for v in 0..NV {
            even[0][v] = simd.add_f32s(even[0][v], odd[0][v]);
        }
        if !args.residual.is_null() {
            even = add(simd, even, args.residual, args.residual_ld);
        }
        finish(simd, even, &args.tail, args.c, args.ldc);
    }
}

/// The sums before the first product.
///
/// # Safety
/// - `NV * S::F32_LANES` elements from `init + r * init_ld` on are valid for reads, `r < MR`.
#[inline(always)]
unsafe fn start<S: SimdF32, const MR: usize, const NV: usize>(
    simd: S,
    init: *const f32,
    init_ld: usize,
) -> Sums<S, MR, NV> {
    let mut acc = [[simd.splat_f32s(0.0); NV]; MR];
    for r in 0..MR {
        for v in 0..NV {
            // SAFETY: as the caller promises.
            acc[r][v] = unsafe { simd.load(init.add(r * init_ld + v * S::F32_LANES)) };
        }
    }
    acc
}

/// `acc[r][j] += sum_p rows[r][p] * b[p * ldb + j]`; where `AHEAD`, asks for what lies `ahead`
/// elements behind each row of `b`.
///
/// # Safety
/// - `k` elements of each row are valid for reads.
/// - `NV * S::F32_LANES` elements from `b + p * ldb` on are valid for reads, `p < k`.
/// - The CPU has what the products need.
#[inline(always)]
unsafe fn accumulate<
    S: Products<E>,
    E: Copy,
    const MR: usize,
    const NV: usize,
    const AHEAD: bool,
>(
    simd: S,
    mut acc: Sums<S, MR, NV>,
    rows: &[*const E; MR],
    k: usize,
    (b, ldb): (*const E, usize),
    ahead: usize,
) -> Sums<S, MR, NV> {
    let mut b = b;
    for p in 0..k {
        if AHEAD {
            simd.prefetch(b.wrapping_add(ahead).cast());
        }
        // SAFETY: as the caller promises.
        unsafe {
            let mut bv = [simd.zero_elements(); NV];
            for v in 0..NV {
                bv[v] = simd.load_elements(b.add(v * S::F32_LANES));
            }
            for r in 0..MR {
                let x = simd.splat_element(rows[r].add(p));
                for v in 0..NV {
                    acc[r][v] = simd.add_product(x, bv[v], acc[r][v]);
                }
            }
        }
        b = b.wrapping_add(ldb);
    }
    acc
}

/// `acc[r][j] + residual[r][j]`
///
/// # Safety
/// - `NV * S::F32_LANES` elements from `residual + r * ld` on are valid for reads, `r < MR`.
#[inline(always)]
unsafe fn add<S: SimdF32, const MR: usize, const NV: usize>(
    simd: S,
    mut acc: Sums<S, MR, NV>,
    residual: *const f32,
    ld: usize,
) -> Sums<S, MR, NV> {
    for r in 0..MR {
        for v in 0..NV {
            // SAFETY: as the caller promises.
            let x = unsafe { simd.load(residual.add(r * ld + v * S::F32_LANES)) };
            acc[r][v] = simd.add_f32s(acc[r][v], x);
        }
    }
    acc
}

/// Stores `tail(acc)`.
///
/// # Safety
/// - `NV * S::F32_LANES` elements from `c + r * ldc` on are valid for writes, `r < MR`.
#[inline(always)]
pub(crate) unsafe fn finish<S: SimdF32, const MR: usize, const NV: usize>(
    simd: S,
    mut acc: Sums<S, MR, NV>,
    tail: &Tail,
    c: *mut f32,
    ldc: usize,
) {
    if tail.hard_swish {
        for r in 0..MR {
            for v in 0..NV {
                acc[r][v] = simd.hard_swish(acc[r][v]);
            }
        }
    } else {
        let (min, max) = (simd.splat_f32s(tail.min), simd.splat_f32s(tail.max));
        for r in 0..MR {
            for v in 0..NV {
                acc[r][v] = simd.clamp(acc[r][v], min, max);
            }
        }
    }
    for r in 0..MR {
        for v in 0..NV {
            // SAFETY: as the caller promises.
            unsafe { simd.store(c.add(r * ldc + v * S::F32_LANES), acc[r][v]) };
        }
    }
}

/// `c[r][j] = x[r][j] * bias[r]` over whole vectors.
///
/// # Safety
/// - `width` is a multiple of `S::F32_LANES`.
/// - `rows` elements of `bias`, and `width` of each row of `x`, are valid for reads; as many of each
///   row of `c` for writes.
#[inline(always)]
pub(super) unsafe fn scale<S: SimdF32>(simd: S, args: &RowsArgs) {
    debug_assert!(args.width.is_multiple_of(S::F32_LANES));
    for r in 0..args.rows {
        // SAFETY: as the caller promises.
        let factor = simd.splat_f32s(unsafe { *args.bias.add(r) });
        for j in (0..args.width).step_by(S::F32_LANES) {
            // SAFETY: as the caller promises.
            unsafe {
                let x = simd.load(args.x.add(r * args.ldx + j));
                simd.store(args.c.add(r * args.ldc + j), simd.mul_f32s(x, factor));
            }
        }
    }
}

/// `c[0][j] = (sum over r of x[r][j]) / rows` over whole vectors, in the order of the rows.
///
/// # Safety
/// - `width` is a multiple of `S::F32_LANES`.
/// - `width` elements of each row of `x` are valid for reads, of the first row of `c` for writes.
#[inline(always)]
pub(super) unsafe fn mean<S: SimdF32>(simd: S, args: &RowsArgs) {
    debug_assert!(args.width.is_multiple_of(S::F32_LANES));
    let count = simd.splat_f32s(args.rows as f32);
    for j in (0..args.width).step_by(S::F32_LANES) {
        let mut sum = simd.splat_f32s(0.0);
        for r in 0..args.rows {
            // SAFETY: as the caller promises.
            sum = simd.add_f32s(sum, unsafe { simd.load(args.x.add(r * args.ldx + j)) });
        }
        // SAFETY: as the caller promises.
        unsafe { simd.store(args.c.add(j), simd.div_f32s(sum, count)) };
    }
}

/// `c[r][j] = residual[r][j] + bias[j]` over whole vectors. `residual` may be `c`.
///
/// # Safety
/// - `width` is a multiple of `S::F32_LANES`.
/// - `width` elements of `bias`, of each row of `residual` (valid for reads) and of each row of
///   `c` (valid for writes).
#[inline(always)]
pub(super) unsafe fn add_bias<S: SimdF32>(simd: S, args: &RowsArgs) {
    debug_assert!(args.width.is_multiple_of(S::F32_LANES));
    for r in 0..args.rows {
        for j in (0..args.width).step_by(S::F32_LANES) {
            // SAFETY: as the caller promises.
            unsafe {
                let x = simd.load(args.x.add(r * args.ldx + j));
                let sum = simd.add_f32s(x, simd.load(args.bias.add(j)));
                simd.store(args.c.add(r * args.ldc + j), sum);
            }
        }
    }
}

/// `c[r][j] = act(c[r][j])` over whole vectors.
///
/// # Safety
/// - `width` is a multiple of `S::F32_LANES`.
/// - `width` elements of each row of `c` are valid for reads and writes.
#[inline(always)]
pub(super) unsafe fn activate<S: SimdF32>(simd: S, args: &RowsArgs, act: Activation) {
    debug_assert!(args.width.is_multiple_of(S::F32_LANES));
    for r in 0..args.rows {
        for j in (0..args.width).step_by(S::F32_LANES) {
            // SAFETY: as the caller promises.
            unsafe {
                let p = args.c.add(r * args.ldc + j);
                simd.store(p, simd.activate(act, simd.load(p)));
            }
        }
    }
}
