//! Bodies for any vector width.
//!
//! Two of them: [`tiled`] for one kernel size and stride, fixed at compile time, and [`any`] for
//! the rest. Both sum the taps of an output in the same order (rows, then columns) wherever the
//! output lies, so a result does not depend on how rows and channels are split.

use super::task::{BLOCK, Task};
use crate::arch::SimdF32;

/// Input rows that the tallest tile sees: 5x5, stride 2, two output rows.
const MAX_ROWS: usize = 7;

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
    let mut ow = 0;
    loop {
        // First input column of the tile, counted from `pad_left` columns before the picture.
        let start = ow * ST;
        if start >= task.pad_left && start + columns <= task.pad_left + task.iw {
            // SAFETY: all columns of the tile lie in the picture; `ow + TW <= task.ow`.
            unsafe { tile.run::<ST, TH, TW, false>(ow, 0, columns) };
        } else {
            let lo = task.pad_left.saturating_sub(start);
            let hi = (task.pad_left + task.iw - start).min(columns);
            // SAFETY: the columns `lo .. hi` of the tile lie in the picture.
            unsafe { tile.run::<ST, TH, TW, true>(ow, lo, hi) };
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
    /// Outputs `ow .. ow + TW` of the rows. `CUT` tiles leave out the input columns outside
    /// `lo .. hi`.
    ///
    /// # Safety
    /// - `ow + TW <= task.ow`, and the columns `lo .. hi` of the tile lie in the picture.
    #[inline(always)]
    unsafe fn run<const ST: usize, const TH: usize, const TW: usize, const CUT: bool>(
        &self,
        ow: usize,
        lo: usize,
        hi: usize,
    ) {
        let (simd, task) = (self.simd, self.task);
        // SAFETY: rows `oh ..` and columns `ow ..` of the tile lie in the output.
        let mut acc = unsafe { init::<S, TH, TW>(simd, task, self.bias, self.oh, ow, self.c) };
        let left = (ow * ST).wrapping_sub(task.pad_left).wrapping_mul(task.ld_in);
        for r in 0..(TH - 1) * ST + KH {
            let row = self.rows[r];
            if row.is_null() {
                continue;
            }
            let row = row.wrapping_add(left);
            for j in 0..(TW - 1) * ST + KW {
                if CUT && (j < lo || j >= hi) {
                    continue;
                }
                // SAFETY: column `j` lies in the picture.
                let x = unsafe { simd.load(row.wrapping_add(j * task.ld_in)) };
                for (th, sums) in acc.iter_mut().enumerate() {
                    for (tw, sum) in sums.iter_mut().enumerate() {
                        if r >= th * ST && r < th * ST + KH && j >= tw * ST && j < tw * ST + KW {
                            let w = self.weights[r - th * ST][j - tw * ST];
                            *sum = simd.fma(x, w, *sum);
                        }
                    }
                }
            }
        }
        // SAFETY: as above.
        unsafe { finish::<S, TH, TW>(simd, task, acc, self.oh, ow, self.c) };
    }
}

/// The initial sums of a tile: the bias, and the residual where there is one.
///
/// # Safety
/// - The tile of outputs lies in the task.
#[inline(always)]
unsafe fn init<S: SimdF32, const TH: usize, const TW: usize>(
    simd: S,
    task: &Task,
    bias: S::f32s,
    oh: usize,
    ow: usize,
    c: usize,
) -> [[S::f32s; TW]; TH] {
    let mut acc = [[bias; TW]; TH];
    if !task.residual.is_null() {
        for (th, row) in acc.iter_mut().enumerate() {
            for (tw, sum) in row.iter_mut().enumerate() {
                let at = ((oh + th) * task.ow + ow + tw) * task.ld_residual + c;
                // SAFETY: the residual has a vector for every output.
                *sum = simd.add_f32s(*sum, unsafe { simd.load(task.residual.add(at)) });
            }
        }
    }
    acc
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
    // SAFETY: a block begins with the bias; the outputs lie in the task.
    let mut acc = unsafe { init::<S, 1, TW>(simd, task, simd.load(block), oh, ow, c) };
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

/// Applies an activation to the vectors at `p`, `p + ld`, ...
///
/// # Safety
/// - `count` vectors, `ld` elements apart, are valid for reads and writes.
#[inline(always)]
pub(super) unsafe fn activate<S: SimdF32>(
    simd: S,
    act: depthwise_tensor::Activation,
    p: *mut f32,
    count: usize,
    ld: usize,
) {
    for i in 0..count {
        // SAFETY: as the caller promises.
        unsafe {
            let at = p.add(i * ld);
            simd.store(at, simd.activate(act, simd.load(at)));
        }
    }
}
