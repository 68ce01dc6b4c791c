//! Bodies for any vector width.
//!
//! Two of them: [`tiled`] for one kernel size and stride, fixed at compile time, and [`any`] for
//! the rest. Both sum the taps of an output in the same order (rows, then columns) wherever the
//! output lies, so a result does not depend on how rows and channels are split.

use super::task::Task;
use crate::arch::SimdF32;
use crate::spatial::BLOCK;

/// Input rows that the tallest tile sees: 5x5, stride 2, two output rows.
const MAX_ROWS: usize = 7;

/// Input columns that the widest tile sees: 5x5, stride 2, four output columns.
const MAX_COLUMNS: usize = 11;

/// Computes a task with register tiles of `TH` x `TW` outputs, for kernels of `KH` x `KW` taps and
/// stride `ST` both ways.
///
/// ```text
///              TW outputs                 every input vector is loaded once per tile and
///            +---+---+---+---+            multiplied into all outputs whose window holds it;
///     TH     | acc in registers |         the KH x KW weights stay in registers (or in L1)
///            +---+---+---+---+            along the whole row
/// ```
/// The last tile of a row, and the last rows of the task, overlap their neighbours.
///
/// # Safety
/// - The pointers of the task are valid as [`Task`] says.
/// - `task.oh >= TH`, `task.ow >= TW`, kernel, stride and dilation are those of the tile.
/// - Every window of a row begins before the end of the input and ends after its start.
#[inline(always)]
pub(super) unsafe fn tiled<
    S: SimdF32,
    const KH: usize,
    const KW: usize,
    const ST: usize,
    const TH: usize,
    const TW: usize,
>(
    simd: S,
    task: &Task,
) {
    debug_assert!(task.oh >= TH && task.ow >= TW);
    debug_assert!(task.kernel.h == KH && task.kernel.w == KW);
    debug_assert!(task.stride.h == ST && task.stride.w == ST && task.dilation_w == 1);
    debug_assert!(task.pad_left < KW);
    let row_tiles = task.oh.div_ceil(TH);
    let vectors = (task.c1 - task.c0).div_ceil(S::F32_LANES);
    let (outer, inner) =
        if task.channels_outer { (vectors, row_tiles) } else { (row_tiles, vectors) };
    for o in 0..outer {
        for i in 0..inner {
            let (row_tile, vector) = if task.channels_outer { (i, o) } else { (o, i) };
            let oh = (row_tile * TH).min(task.oh - TH);
            let c = task.c0 + vector * S::F32_LANES;
            // SAFETY: `oh + TH <= task.oh` and `c < task.c1`.
            unsafe { row_of_tiles::<S, KH, KW, ST, TH, TW>(simd, task, oh, c) };
            if let Some(post) = task.post {
                // SAFETY: the rows `oh .. oh + TH` of these channels were just written.
                unsafe { post.run(task, oh, TH, c, S::F32_LANES) };
            }
        }
    }
}

/// Output rows `oh .. oh + TH` of the vector of channels at `c`.
///
/// # Safety
/// As [`tiled`], with `oh + TH <= task.oh` and `c < task.c1`.
#[inline(always)]
unsafe fn row_of_tiles<
    S: SimdF32,
    const KH: usize,
    const KW: usize,
    const ST: usize,
    const TH: usize,
    const TW: usize,
>(
    simd: S,
    task: &Task,
    oh: usize,
    c: usize,
) {
    // SAFETY: the packed weights hold the block of `c` (Task).
    let (weights, bias) = unsafe { weights::<S, KH, KW>(simd, task.weights, c) };
    let mut rows = [std::ptr::null(); MAX_ROWS];
    for (r, row) in rows.iter_mut().enumerate().take((TH - 1) * ST + KH) {
        // SAFETY: the table has `(task.oh - 1) * ST + KH` rows.
        *row = unsafe { task.row(oh * ST + r, c) };
    }
    let tile = Tile::<S, KH, KW> { simd, task, rows, weights, bias, oh, c };
    let columns = (TW - 1) * ST + KW;
    let border = KW / 2;
    let mut ow = 0;
    loop {
        // First input column of the tile, counted from `pad_left` columns before the picture.
        let start = ow * ST;
        let lo = task.pad_left.saturating_sub(start);
        let hi = (task.pad_left + task.iw - start).min(columns);
        // The usual borders are constants, so that their tiles have no branch.
        // SAFETY: the columns `lo .. hi` of the tile lie in the picture; `ow + TW <= task.ow`.
        unsafe {
            if lo == 0 && hi == columns {
                tile.run::<ST, TH, TW, false>(ow, 0, columns);
            } else if lo == border && hi == columns {
                tile.run::<ST, TH, TW, false>(ow, border, columns);
            } else if lo == 0 && hi == columns - border {
                tile.run::<ST, TH, TW, false>(ow, 0, columns - border);
            } else {
                tile.run::<ST, TH, TW, true>(ow, lo, hi);
            }
        }
        if ow + TW == task.ow {
            return;
        }
        ow = (ow + TW).min(task.ow - TW);
    }
}

/// The weights and bias of the vector of channels at `c`.
///
/// # Safety
/// - `packed` holds the block of `c` for a kernel of `KH` x `KW` taps.
#[inline(always)]
unsafe fn weights<S: SimdF32, const KH: usize, const KW: usize>(
    simd: S,
    packed: *const f32,
    c: usize,
) -> ([[S::f32s; KW]; KH], S::f32s) {
    // SAFETY: a block is the bias and `KH * KW` taps, `BLOCK` elements each.
    unsafe {
        let block = packed.add((c / BLOCK) * (1 + KH * KW) * BLOCK + c % BLOCK);
        let bias = simd.load(block);
        let mut weights = [[bias; KW]; KH];
        for (kh, row) in weights.iter_mut().enumerate() {
            for (kw, w) in row.iter_mut().enumerate() {
                *w = simd.load(block.add((1 + kh * KW + kw) * BLOCK));
            }
        }
        (weights, bias)
    }
}

/// What the tiles of a row share.
struct Tile<'a, S: SimdF32, const KH: usize, const KW: usize> {
    simd: S,
    task: &'a Task,
    /// Input rows at channel `c`, null where outside the picture.
    rows: [*const f32; MAX_ROWS],
    weights: [[S::f32s; KW]; KH],
    bias: S::f32s,
    oh: usize,
    c: usize,
}

impl<S: SimdF32, const KH: usize, const KW: usize> Tile<'_, S, KH, KW> {
    /// Outputs `ow .. ow + TW` of the rows, from the input columns `lo .. hi` of the tile.
    /// `VARIABLE` where these are not constants of the caller.
    ///
    /// # Safety
    /// - `ow + TW <= task.ow`, and the columns `lo .. hi` of the tile lie in the picture.
    #[inline(always)]
    unsafe fn run<const ST: usize, const TH: usize, const TW: usize, const VARIABLE: bool>(
        &self,
        ow: usize,
        lo: usize,
        hi: usize,
    ) {
        let (simd, task) = (self.simd, self.task);
        let columns = (TW - 1) * ST + KW;
        let mut acc = [[self.bias; TW]; TH];
        let left = (ow * ST).wrapping_sub(task.pad_left).wrapping_mul(task.ld_in);
        for r in 0..(TH - 1) * ST + KH {
            let row = self.rows[r];
            if row.is_null() {
                continue;
            }
            let row = row.wrapping_add(left);
            // SAFETY: only called for columns in the picture.
            let load = |j: usize| unsafe { simd.load(row.wrapping_add(j * task.ld_in)) };
            if VARIABLE {
                // One branch per column, then all its products.
                for j in 0..columns {
                    if j >= lo && j < hi {
                        self.add_column::<ST, TH, TW>(&mut acc, r, j, load(j));
                    }
                }
            } else {
                // Tap by tap, so that neighbouring multiply-adds are independent.
                let mut x = [self.bias; MAX_COLUMNS];
                for (j, x) in x.iter_mut().enumerate().take(columns) {
                    if j >= lo && j < hi {
                        *x = load(j);
                    }
                }
                for kw in 0..KW {
                    self.add_tap::<ST, TH, TW>(&mut acc, r, kw, &x, (lo, hi));
                }
            }
        }
        // SAFETY: rows `oh ..` and columns `ow ..` of the tile lie in the output.
        unsafe { finish::<S, TH, TW>(simd, task, acc, self.oh, ow, self.c) };
    }

    /// Adds column `j` of input row `r` to all outputs that see it.
    #[inline(always)]
    fn add_column<const ST: usize, const TH: usize, const TW: usize>(
        &self,
        acc: &mut [[S::f32s; TW]; TH],
        r: usize,
        j: usize,
        x: S::f32s,
    ) {
        for (th, sums) in acc.iter_mut().enumerate() {
            for (tw, sum) in sums.iter_mut().enumerate() {
                if r >= th * ST && r < th * ST + KH && j >= tw * ST && j < tw * ST + KW {
                    *sum = self.simd.fma(x, self.weights[r - th * ST][j - tw * ST], *sum);
                }
            }
        }
    }

    /// Adds tap `kw` of input row `r` to all outputs, from those of the columns `x` that lie in
    /// `lo .. hi`.
    #[inline(always)]
    fn add_tap<const ST: usize, const TH: usize, const TW: usize>(
        &self,
        acc: &mut [[S::f32s; TW]; TH],
        r: usize,
        kw: usize,
        x: &[S::f32s; MAX_COLUMNS],
        (lo, hi): (usize, usize),
    ) {
        for (th, sums) in acc.iter_mut().enumerate() {
            if r >= th * ST && r < th * ST + KH {
                for (tw, sum) in sums.iter_mut().enumerate() {
                    let j = tw * ST + kw;
                    if j >= lo && j < hi {
                        *sum = self.simd.fma(x[j], self.weights[r - th * ST][kw], *sum);
                    }
                }
            }
        }
    }
}

/// Applies clamp or hard-swish to the sums of a tile and stores them.
///
/// # Safety
/// - The tile of outputs lies in the task.
#[inline(always)]
unsafe fn finish<S: SimdF32, const TH: usize, const TW: usize>(
    simd: S,
    task: &Task,
    mut acc: [[S::f32s; TW]; TH],
    oh: usize,
    ow: usize,
    c: usize,
) {
    if task.hard_swish {
        for sum in acc.as_flattened_mut() {
            *sum = simd.hard_swish(*sum);
        }
    } else {
        let (min, max) = (simd.splat_f32s(task.min), simd.splat_f32s(task.max));
        for sum in acc.as_flattened_mut() {
            *sum = simd.clamp(*sum, min, max);
        }
    }
    for (th, row) in acc.iter().enumerate() {
        for (tw, &sum) in row.iter().enumerate() {
            let at = ((oh + th) * task.ow + ow + tw) * task.ld_out + c;
            // SAFETY: the output has a vector for every output pixel.
            unsafe { simd.store(task.output.add(at), sum) };
        }
    }
}

/// Computes a task of any kernel size, stride and dilation, `TW` outputs of a row at a time.
///
/// # Safety
/// - The pointers of the task are valid as [`Task`] says.
#[inline(always)]
pub(super) unsafe fn any<S: SimdF32, const TW: usize>(simd: S, task: &Task) {
    let vectors = (task.c1 - task.c0).div_ceil(S::F32_LANES);
    let (outer, inner) = if task.channels_outer { (vectors, task.oh) } else { (task.oh, vectors) };
    for o in 0..outer {
        for i in 0..inner {
            let (oh, vector) = if task.channels_outer { (i, o) } else { (o, i) };
            let c = task.c0 + vector * S::F32_LANES;
            // SAFETY: `oh < task.oh` and `c < task.c1`.
            unsafe { any_row::<S, TW>(simd, task, oh, c) };
            if let Some(post) = task.post {
                // SAFETY: the row of these channels was just written.
                unsafe { post.run(task, oh, 1, c, S::F32_LANES) };
            }
        }
    }
}

/// Output row `oh` of the vector of channels at `c`.
///
/// # Safety
/// As [`any`], with `oh < task.oh` and `c < task.c1`.
#[inline(always)]
unsafe fn any_row<S: SimdF32, const TW: usize>(simd: S, task: &Task, oh: usize, c: usize) {
    let inside = task.inside();
    let mut ow = 0;
    while ow < task.ow {
        if inside.contains(&ow) && inside.len() >= TW {
            let at = ow.min(inside.end - TW);
            // SAFETY: the windows of `at .. at + TW` lie in the picture.
            unsafe { any_tile::<S, TW>(simd, task, oh, at, c, 0, task.kernel.w) };
            ow = at + TW;
        } else {
            let (lo, hi) = task.columns().taps(ow);
            // SAFETY: the taps `lo .. hi` of the window lie in the picture.
            unsafe { any_tile::<S, 1>(simd, task, oh, ow, c, lo, hi) };
            ow += 1;
        }
    }
}

/// Outputs `ow .. ow + TW` of row `oh`, from the tap columns `lo .. hi`.
///
/// # Safety
/// - `ow + TW <= task.ow`, and the tap columns `lo .. hi` of all windows lie in the picture.
#[inline(always)]
unsafe fn any_tile<S: SimdF32, const TW: usize>(
    simd: S,
    task: &Task,
    oh: usize,
    ow: usize,
    c: usize,
    lo: usize,
    hi: usize,
) {
    let taps = task.kernel.area();
    let step = task.stride.w * task.ld_in;
    // SAFETY: the packed weights hold the block of `c`.
    let block = unsafe { task.weights.add((c / BLOCK) * (1 + taps) * BLOCK + c % BLOCK) };
    // SAFETY: a block begins with the bias.
    let mut acc = [[unsafe { simd.load(block) }; TW]];
    for kh in 0..task.kernel.h {
        // SAFETY: the table has a row per output row and tap row.
        let row = unsafe { task.row(oh * task.kernel.h + kh, c) };
        if row.is_null() {
            continue;
        }
        for kw in lo..hi {
            let iw = ow * task.stride.w + kw * task.dilation_w - task.pad_left;
            // SAFETY: these taps lie in the picture and in the block.
            unsafe {
                let w = simd.load(block.add((1 + kh * task.kernel.w + kw) * BLOCK));
                let column = row.add(iw * task.ld_in);
                for (tw, sum) in acc[0].iter_mut().enumerate() {
                    *sum = simd.fma(simd.load(column.add(tw * step)), w, *sum);
                }
            }
        }
    }
    // SAFETY: the outputs lie in the task.
    unsafe { finish::<S, 1, TW>(simd, task, acc, oh, ow, c) };
}

/// Adds the residual and applies the activation of `post` to the written outputs of one row
/// tile and vector of channels.
///
/// # Safety
/// - `count` vectors, `ld` elements apart, are valid at `y` for reads and writes; and at
///   `residual`, `ld_residual` apart, for reads, unless that is null.
#[inline(always)]
pub(super) unsafe fn post<S: SimdF32>(
    simd: S,
    act: depthwise_tensor::Activation,
    (y, ld): (*mut f32, usize),
    (residual, ld_residual): (*const f32, usize),
    count: usize,
) {
    for i in 0..count {
        // SAFETY: as the caller promises.
        unsafe {
            let at = y.add(i * ld);
            let mut v = simd.load(at);
            if !residual.is_null() {
                v = simd.add_f32s(v, simd.load(residual.add(i * ld_residual)));
            }
            simd.store(at, simd.activate(act, v));
        }
    }
}
