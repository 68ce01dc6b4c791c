//! The bodies, at any vector width.

use crate::arch::SimdF32;

/// Rows whose sums per channel are wanted.
///
/// # Safety
/// For those who call a kernel:
/// - `rows` rows of `a` and `b` are valid for reads, whole vectors over the channels.
/// - `c` elements of `shift` are valid for reads.
/// - Two rows of `sums`, `ld_sums` (a multiple of the widest vector) elements each, are valid for writes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SumArgs {
    pub(super) a: *const f32,
    pub(super) ld_a: usize,
    pub(super) b: *const f32,
    pub(super) ld_b: usize,
    pub(super) shift: *const f32,
    /// Sum `b - shift` and its square, instead of `a` and `a * (b - shift)`.
    pub(super) squares: bool,
    pub(super) rows: usize,
    pub(super) c: usize,
    pub(super) sums: *mut f32,
    pub(super) ld_sums: usize,
}

/// Vectors of channels that are summed at a time.
const GROUP: usize = 4;

/// Rows between two visits of a group: what is read of them stays in L2 for the groups beside it, and
/// sums of sums lose little.
const ROWS: usize = 64;

/// See [`SumArgs`].
///
/// # Safety
/// As [`SumArgs`] says; the CPU has the level of the token.
#[inline(always)]
pub(super) unsafe fn sums<S: SimdF32>(simd: S, args: &SumArgs) {
    let step = GROUP * S::F32_LANES;
    // SAFETY: as the caller promises; vectors begin before the last channel, of which `ld_sums` holds
    // whole ones.
    unsafe {
        args.sums.write_bytes(0, 2 * args.ld_sums);
        for first in (0..args.rows).step_by(ROWS) {
            let rows = first..args.rows.min(first + ROWS);
            let mut c = 0;
            while c + step <= args.c {
                group::<S, GROUP>(simd, args, c, rows.clone());
                c += step;
            }
            while c < args.c {
                group::<S, 1>(simd, args, c, rows.clone());
                c += S::F32_LANES;
            }
        }
    }
}

/// Adds these rows to the sums of `N` vectors from channel `c` on.
///
/// # Safety
/// As [`SumArgs`] says, for these vectors.
#[inline(always)]
unsafe fn group<S: SimdF32, const N: usize>(
    simd: S,
    args: &SumArgs,
    c: usize,
    rows: std::ops::Range<usize>,
) {
    let zero = simd.splat_f32s(0.0);
    let (mut first, mut second, mut shift) = ([zero; N], [zero; N], [zero; N]);
    // SAFETY: as the caller promises.
    unsafe {
        for (v, shift) in shift.iter_mut().enumerate() {
            let at = c + v * S::F32_LANES;
            let lanes = S::F32_LANES.min(args.c - at);
            *shift = simd.load_first(args.shift.add(at), lanes, 0.0);
        }
        for row in rows {
            for v in 0..N {
                let at = c + v * S::F32_LANES;
                let b = simd.load(args.b.add(row * args.ld_b + at));
                let d = simd.sub_f32s(b, shift[v]);
                let a = match args.squares {
                    true => d,
                    false => simd.load(args.a.add(row * args.ld_a + at)),
                };
                first[v] = simd.add_f32s(first[v], a);
                second[v] = simd.fma(a, d, second[v]);
            }
        }
        for v in 0..N {
            let to = args.sums.add(c + v * S::F32_LANES);
            simd.store(to, simd.add_f32s(simd.load(to), first[v]));
            let to = to.add(args.ld_sums);
            simd.store(to, simd.add_f32s(simd.load(to), second[v]));
        }
    }
}

/// Rows to transform channel by channel.
///
/// # Safety
/// For those who call a kernel:
/// - `rows` rows of `a`, and of `b` unless that is null, are valid for reads, whole vectors over the
///   channels; likewise `out` for writes, which may be `a`.
/// - Three rows of `ld_factors` elements of `factors` are valid for reads of such vectors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AffineArgs {
    pub(super) a: *const f32,
    pub(super) ld_a: usize,
    pub(super) b: *const f32,
    pub(super) ld_b: usize,
    pub(super) factors: *const f32,
    pub(super) ld_factors: usize,
    pub(super) out: *mut f32,
    pub(super) ld_out: usize,
    pub(super) rows: usize,
    pub(super) c: usize,
}

/// `out = a * factors[0] + b * factors[1] + factors[2]`
///
/// # Safety
/// As [`AffineArgs`] says; the CPU has the level of the token.
#[inline(always)]
pub(super) unsafe fn affine<S: SimdF32>(simd: S, args: &AffineArgs) {
    for row in 0..args.rows {
        for c in (0..args.c).step_by(S::F32_LANES) {
            // SAFETY: as the caller promises; the vector begins before the last channel.
            unsafe {
                let of_a = simd.load(args.factors.add(c));
                let rest = simd.load(args.factors.add(2 * args.ld_factors + c));
                let mut y = simd.fma(simd.load(args.a.add(row * args.ld_a + c)), of_a, rest);
                if !args.b.is_null() {
                    let of_b = simd.load(args.factors.add(args.ld_factors + c));
                    y = simd.fma(simd.load(args.b.add(row * args.ld_b + c)), of_b, y);
                }
                simd.store(args.out.add(row * args.ld_out + c), y);
            }
        }
    }
}
