//! The bodies for any vector width.

use super::functions::{Fold, Max, NegatedMax, Product, ReduceOp, Sum, SumAbs, SumExp, SumSquare};
use crate::arch::SimdF32;
use crate::layout::walk::Dim;

/// Vectors that are reduced at a time.
const GROUP: usize = 4;

/// Terms that are added to one number before it goes to a total.
const TERMS: usize = 64;

/// One result, or `run` neighbouring ones: where their elements are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cell<'a> {
    pub(super) function: ReduceOp,
    /// The first result.
    pub(super) y: *mut f32,
    /// The first element of the first result.
    pub(super) x: *const f32,
    /// Results; their elements are neighbours as well.
    pub(super) run: usize,
    /// Loops over the elements of a result.
    pub(super) loops: &'a [Dim<1>],
    /// Contiguous elements of a result at each trip.
    pub(super) along: usize,
    /// Elements of a result.
    pub(super) count: usize,
}

/// The rows of a loop nest, in pieces of at most [`TERMS`] that are evenly spaced.
struct Pieces<'a> {
    outer: &'a [Dim<1>],
    inner: Dim<1>,
    total: usize,
    /// Trip of the outer loops, and of the inner one.
    at: (usize, usize),
}

impl<'a> Pieces<'a> {
    #[inline(always)]
    fn new(loops: &'a [Dim<1>]) -> Pieces<'a> {
        let one = Dim { extent: 1, strides: [0] };
        let (inner, outer) = loops.split_last().map_or((one, loops), |(last, rest)| (*last, rest));
        let total = if inner.extent == 0 { 0 } else { outer.iter().map(|d| d.extent).product() };
        Pieces { outer, inner, total, at: (0, 0) }
    }
}

impl Iterator for Pieces<'_> {
    /// Elements from the first row of the nest, rows, elements from one to the next.
    type Item = (isize, usize, isize);

    #[inline(always)]
    fn next(&mut self) -> Option<(isize, usize, isize)> {
        let (mut index, first) = self.at;
        if index >= self.total {
            return None;
        }
        let rows = (self.inner.extent - first).min(TERMS);
        self.at.1 += rows;
        if self.at.1 == self.inner.extent {
            self.at = (index + 1, 0);
        }
        let step = self.inner.strides[0];
        let mut offset = first as isize * step;
        for dim in self.outer.iter().rev() {
            offset += (index % dim.extent) as isize * dim.strides[0];
            index /= dim.extent;
        }
        Some((offset, rows, step))
    }
}

/// Neighbouring results, a group of vectors at a time.
///
/// # Safety
/// - Every trip of the loops leads to `run` valid elements; `y` has room for as many, and no
///   element of the input.
/// - The caller is compiled for the instructions of the token.
#[inline(always)]
pub(super) unsafe fn down<S: SimdF32>(simd: S, cell: &Cell<'_>) {
    debug_assert_eq!(cell.along, 1);
    // SAFETY: as the caller promises.
    unsafe {
        match cell.function {
            ReduceOp::Mean | ReduceOp::Sum | ReduceOp::LogSum => down_all::<S, Sum>(simd, cell),
            ReduceOp::L1 => down_all::<S, SumAbs>(simd, cell),
            ReduceOp::L2 | ReduceOp::SumSquare => down_all::<S, SumSquare>(simd, cell),
            ReduceOp::Prod => down_all::<S, Product>(simd, cell),
            ReduceOp::Max => down_all::<S, Max>(simd, cell),
            ReduceOp::Min => down_all::<S, NegatedMax>(simd, cell),
            ReduceOp::LogSumExp => down_all::<S, SumExp>(simd, cell),
        }
    }
}

/// # Safety
/// As [`down`].
#[inline(always)]
unsafe fn down_all<S: SimdF32, F: Fold>(simd: S, cell: &Cell<'_>) {
    let lanes = S::F32_LANES;
    let mut start = 0;
    // SAFETY: the vectors lie in the run, and the tail has what is left of it.
    unsafe {
        while start + GROUP * lanes <= cell.run {
            down_group::<S, F, GROUP>(simd, cell, start, lanes);
            start += GROUP * lanes;
        }
        if start + 2 * lanes <= cell.run {
            down_group::<S, F, 2>(simd, cell, start, lanes);
            start += 2 * lanes;
        }
        while start < cell.run {
            let width = lanes.min(cell.run - start);
            down_group::<S, F, 1>(simd, cell, start, width);
            start += width;
        }
    }
}

/// `N` vectors of results from `start` on, of `width` lanes each (all of them where `N` is not 1).
///
/// # Safety
/// As [`down`]; the results lie in the run.
#[inline(always)]
unsafe fn down_group<S: SimdF32, F: Fold, const N: usize>(
    simd: S,
    cell: &Cell<'_>,
    start: usize,
    width: usize,
) {
    debug_assert!(start + (N - 1) * S::F32_LANES + width <= cell.run);
    // SAFETY: as the caller promises.
    let (x, y) = unsafe { (cell.x.add(start), cell.y.add(start)) };
    let mut tops = [simd.splat_f32s(0.0); N];
    if cell.function == ReduceOp::LogSumExp {
        // SAFETY: as the caller promises.
        tops = unsafe { down_total::<S, Max, N>(simd, cell.loops, x, width, tops) };
    }
    // SAFETY: as the caller promises.
    let totals = unsafe { down_total::<S, F, N>(simd, cell.loops, x, width, tops) };
    for (i, (&total, &top)) in totals.iter().zip(&tops).enumerate() {
        let y_vector = finish::<S>(cell, total, top);
        // SAFETY: these results lie in the run.
        unsafe { simd.store_first(y.add(i * S::F32_LANES), width, y_vector) };
    }
}

/// # Safety
/// As [`down_group`].
#[inline(always)]
unsafe fn down_total<S: SimdF32, F: Fold, const N: usize>(
    simd: S,
    loops: &[Dim<1>],
    x: *const f32,
    width: usize,
    tops: [S::f32s; N],
) -> [S::f32s; N] {
    let mut totals = [simd.splat_f32s(F::START); N];
    for (offset, rows, step) in Pieces::new(loops) {
        let mut sums = [simd.splat_f32s(F::START); N];
        for row in 0..rows as isize {
            // SAFETY: the trip leads to these vectors of the run.
            let x = unsafe { x.offset(offset + row * step) };
            for (i, (sum, &top)) in sums.iter_mut().zip(&tops).enumerate() {
                // SAFETY: likewise.
                let v = unsafe {
                    let at = x.add(i * S::F32_LANES);
                    if N > 1 { simd.load(at) } else { simd.load_first(at, width, F::NEUTRAL) }
                };
                *sum = F::step(simd, *sum, v, top);
            }
        }
        for (total, &sum) in totals.iter_mut().zip(&sums) {
            *total = F::join(simd, *total, sum);
        }
    }
    totals
}

/// One result whose elements lie along contiguous runs.
///
/// # Safety
/// - Every trip of the loops leads to `along` valid elements; `y` has room for one result, and is
///   no element of the input.
/// - The caller is compiled for the instructions of the token.
#[inline(always)]
pub(super) unsafe fn along<S: SimdF32>(simd: S, cell: &Cell<'_>) {
    debug_assert_eq!(cell.run, 1);
    // SAFETY: as the caller promises.
    unsafe {
        match cell.function {
            ReduceOp::Mean | ReduceOp::Sum | ReduceOp::LogSum => along_all::<S, Sum>(simd, cell),
            ReduceOp::L1 => along_all::<S, SumAbs>(simd, cell),
            ReduceOp::L2 | ReduceOp::SumSquare => along_all::<S, SumSquare>(simd, cell),
            ReduceOp::Prod => along_all::<S, Product>(simd, cell),
            ReduceOp::Max => along_all::<S, Max>(simd, cell),
            ReduceOp::Min => along_all::<S, NegatedMax>(simd, cell),
            ReduceOp::LogSumExp => along_all::<S, SumExp>(simd, cell),
        }
    }
}

/// # Safety
/// As [`along`].
#[inline(always)]
unsafe fn along_all<S: SimdF32, F: Fold>(simd: S, cell: &Cell<'_>) {
    let mut top = simd.splat_f32s(0.0);
    if cell.function == ReduceOp::LogSumExp {
        // SAFETY: as the caller promises.
        top = unsafe { along_total::<S, Max>(simd, cell, top) };
    }
    // SAFETY: as the caller promises.
    unsafe {
        let total = along_total::<S, F>(simd, cell, top);
        simd.store_first(cell.y, 1, finish::<S>(cell, total, top));
    }
}

/// The total of all elements, in every lane.
///
/// # Safety
/// As [`along`].
#[inline(always)]
unsafe fn along_total<S: SimdF32, F: Fold>(simd: S, cell: &Cell<'_>, top: S::f32s) -> S::f32s {
    let (lanes, start) = (S::F32_LANES, simd.splat_f32s(F::START));
    let mut totals = [start; GROUP];
    for (offset, rows, step) in Pieces::new(cell.loops) {
        let mut sums = [start; GROUP];
        for row in 0..rows as isize {
            // SAFETY: the trip leads to `along` elements.
            let x = unsafe { cell.x.offset(offset + row * step) };
            let mut i = 0;
            while i + GROUP * lanes <= cell.along {
                for (k, sum) in sums.iter_mut().enumerate() {
                    // SAFETY: these vectors are among them.
                    let v = unsafe { simd.load(x.add(i + k * lanes)) };
                    *sum = F::step(simd, *sum, v, top);
                }
                i += GROUP * lanes;
                if i % (TERMS * GROUP * lanes) == 0 {
                    join_into::<S, F>(simd, &mut totals, &mut sums);
                }
            }
            while i < cell.along {
                let width = lanes.min(cell.along - i);
                // SAFETY: these are what is left of them.
                let v = unsafe { simd.load_first(x.add(i), width, F::NEUTRAL) };
                sums[0] = F::step(simd, sums[0], v, top);
                i += width;
            }
        }
        join_into::<S, F>(simd, &mut totals, &mut sums);
    }
    let [a, b, c, d] = totals;
    let joined = F::join(simd, F::join(simd, a, b), F::join(simd, c, d));
    let joined = [joined];
    let mut total = start;
    for &lane in bytemuck::cast_slice::<S::f32s, f32>(&joined) {
        total = F::join(simd, total, simd.splat_f32s(lane));
    }
    total
}

/// Adds `sums` to `totals` and starts them anew.
#[inline(always)]
fn join_into<S: SimdF32, F: Fold>(
    simd: S,
    totals: &mut [S::f32s; GROUP],
    sums: &mut [S::f32s; GROUP],
) {
    for (total, sum) in totals.iter_mut().zip(sums) {
        *total = F::join(simd, *total, *sum);
        *sum = simd.splat_f32s(F::START);
    }
}

/// The results of a vector of totals.
#[inline(always)]
fn finish<S: SimdF32>(cell: &Cell<'_>, total: S::f32s, top: S::f32s) -> S::f32s {
    let (mut totals, tops) = ([total], [top]);
    let tops = bytemuck::cast_slice::<S::f32s, f32>(&tops);
    let lanes = bytemuck::cast_slice_mut::<S::f32s, f32>(&mut totals);
    for (total, &top) in lanes.iter_mut().zip(tops) {
        *total = match cell.function {
            ReduceOp::Min => -*total,
            function => function.finish(*total, top, cell.count),
        };
    }
    totals[0]
}
