//! The bodies for any vector width.

use crate::arch::SimdF32;

/// Elements along an axis, and how many such lines lie side by side.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    /// The first element of the first line.
    pub(super) y: *mut f32,
    /// Likewise.
    pub(super) x: *const f32,
    /// Elements of a line, not 0.
    pub(super) extent: usize,
    /// Along a line: output, input.
    pub(super) strides: [usize; 2],
    /// Lines, one element apart.
    pub(super) run: usize,
    /// Give the logarithm.
    pub(super) log: bool,
}

/// One line of contiguous elements.
///
/// # Safety
/// - `x` and `y` are valid for `extent` elements, and are apart or the same.
/// - The caller is compiled for the instructions of the token.
#[inline(always)]
pub(super) unsafe fn along<S: SimdF32>(simd: S, line: &Line) {
    let Line { y, x, extent, log, .. } = *line;
    let lanes = S::F32_LANES;
    let whole = extent / lanes * lanes;
    debug_assert!(extent > 0);
    // SAFETY: vectors before `whole` lie in the line, and the tail of fewer lanes behind it.
    unsafe {
        // Negative infinity leaves the maximum alone, and its exponential the sum.
        let tail = simd.load_first(x.add(whole), extent - whole, f32::NEG_INFINITY);
        let mut top = tail;
        for i in (0..whole).step_by(lanes) {
            top = simd.max_or_nan(top, simd.load(x.add(i)));
        }
        let top = simd.splat_f32s(fold_lanes::<S>(top, larger));
        let mut sums = [simd.exp(simd.sub_f32s(tail, top)), simd.splat_f32s(0.0)];
        for (k, i) in (0..whole).step_by(lanes).enumerate() {
            let e = simd.exp(simd.sub_f32s(simd.load(x.add(i)), top));
            sums[k % 2] = simd.add_f32s(sums[k % 2], e);
            if !log {
                simd.store(y.add(i), e);
            }
        }
        let sum = fold_lanes::<S>(simd.add_f32s(sums[0], sums[1]), |a, b| a + b);
        let (scale, shift) = (simd.splat_f32s(1.0 / sum), simd.splat_f32s(sum.ln()));
        let finish = |x: S::f32s| simd.sub_f32s(simd.sub_f32s(x, top), shift);
        for i in (0..whole).step_by(lanes) {
            let value = if log {
                finish(simd.load(x.add(i)))
            } else {
                simd.mul_f32s(simd.load(y.add(i)), scale)
            };
            simd.store(y.add(i), value);
        }
        let last = if log {
            finish(tail)
        } else {
            simd.mul_f32s(simd.exp(simd.sub_f32s(tail, top)), scale)
        };
        simd.store_first(y.add(whole), extent - whole, last);
    }
}

/// Lines side by side, a vector of them at a time.
///
/// # Safety
/// - Element `i` of every line is valid: `run` elements from `i * strides` on. `x` and `y` are
///   apart or the same.
/// - The caller is compiled for the instructions of the token.
#[inline(always)]
pub(super) unsafe fn across<S: SimdF32>(simd: S, line: &Line) {
    let Line { y, x, extent, strides, run, log } = *line;
    for start in (0..run).step_by(S::F32_LANES) {
        let count = (run - start).min(S::F32_LANES);
        // SAFETY: `count` elements from here on lie in the lines.
        let load = |i: usize| unsafe { simd.load_first(x.add(i * strides[1] + start), count, 0.0) };
        let mut top = load(0);
        for i in 1..extent {
            top = simd.max_or_nan(top, load(i));
        }
        let mut sum = simd.splat_f32s(0.0);
        for i in 0..extent {
            let e = simd.exp(simd.sub_f32s(load(i), top));
            sum = simd.add_f32s(sum, e);
            if !log {
                // SAFETY: as above. In place, this element is not read as an input again.
                unsafe { simd.store_first(y.add(i * strides[0] + start), count, e) };
            }
        }
        let shift = map_lanes::<S>(sum, f32::ln);
        for i in 0..extent {
            // SAFETY: as above.
            unsafe {
                let y = y.add(i * strides[0] + start);
                let value = if log {
                    simd.sub_f32s(simd.sub_f32s(load(i), top), shift)
                } else {
                    simd.div_f32s(simd.load_first(y, count, 0.0), sum)
                };
                simd.store_first(y, count, value);
            }
        }
    }
}

/// `f` of every lane.
#[inline(always)]
fn map_lanes<S: SimdF32>(v: S::f32s, f: fn(f32) -> f32) -> S::f32s {
    let mut lanes = [v];
    for lane in bytemuck::cast_slice_mut::<S::f32s, f32>(&mut lanes) {
        *lane = f(*lane);
    }
    lanes[0]
}

/// `f` over all lanes, from the first on.
#[inline(always)]
fn fold_lanes<S: SimdF32>(v: S::f32s, f: fn(f32, f32) -> f32) -> f32 {
    let lanes = [v];
    let lanes = bytemuck::cast_slice::<S::f32s, f32>(&lanes);
    lanes[1..].iter().fold(lanes[0], |a, &b| f(a, b))
}

/// The larger, NaN if either is.
fn larger(a: f32, b: f32) -> f32 {
    if a > b || a.is_nan() { a } else { b }
}
