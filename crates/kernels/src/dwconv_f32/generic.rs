//! Bodies for any vector width.
//!
//! Two of them: [`tiled`] for one kernel size and stride, fixed at compile time, and [`any`] for
//! the rest. Both sum the taps of an output in the same order (rows, then columns) wherever the
//! output lies, so a result does not depend on how rows and channels are split.

use super::task::Task;
use crate::arch::SimdF32;
use crate::spatial::BLOCK;
use std::ops::Range;

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
///     TH     | acc in registers |         the KH x KW weights stay in registers where they
///            +---+---+---+---+            fit beside the sums, else they are operands in L1
/// ```
/// The last tile of a row, and the last rows of the task, overlap their neighbours.
///
/// # Order
/// Small pictures go line by line (16 channels) through all their rows. In large ones all tiles of a
/// row come before the next vector of channels, whose weights are then loaded once per row. But a
/// vector narrower than a line comes back for the rest of each line, and where the pixel stride
/// crowds the lines into few sets of L1 they are gone by then: 3x3 kernels then take the tiles of a
/// row in groups whose input stays in L1, all channels of one group before the next (Zen 3,
/// 112x112x32: 123 us for 149).
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
    let columns = (TW - 1) * ST + KW;
    let whole = whole_tiles(task, columns, TW);
    let tiles = task.ow.div_ceil(TW);
    let lines = task.channels_outer;
    let per_block = if lines { BLOCK } else { task.c1 - task.c0 };
    // Pixels an even number of lines apart fill half of the sets of L1 or fewer.
    let crowded = task.ld_in.is_multiple_of(2 * BLOCK);
    let group = if lines || S::F32_LANES >= BLOCK || KH * KW > 9 || !crowded {
        tiles
    } else {
        group_of_tiles((TH - 1) * ST + KH, TW * ST, task.c1 - task.c0)
    };
    for c0 in (task.c0..task.c1).step_by(per_block) {
        let c1 = task.c1.min(c0 + per_block);
        for first_row in (0..task.oh).step_by(TH) {
            let oh = first_row.min(task.oh - TH);
            for first in (0..tiles).step_by(group) {
                let last = tiles.min(first + group);
                for c in (c0..c1).step_by(S::F32_LANES) {
                    // SAFETY: `oh + TH <= task.oh`, `c < task.c1`, and the row has these tiles.
                    unsafe {
                        let tile = Tile::<S, KH, KW>::new::<ST, TH>(simd, task, oh, c);
                        tile.some::<ST, TH, TW>(first..last, &whole);
                    }
                }
            }
            if let Some(post) = task.post {
                for c in (c0..c1).step_by(S::F32_LANES) {
                    // SAFETY: the rows `oh .. oh + TH` of these channels were just written.
                    unsafe { post.run(task, oh, TH, c, S::F32_LANES) };
                }
            }
        }
    }
}

/// Elements of the input that a group of tiles may see: half of an L1 of 32 KiB.
const GROUP: usize = 4096;

/// Tiles whose input, `rows` rows of `step` new columns per tile, stays in L1.
fn group_of_tiles(rows: usize, step: usize, channels: usize) -> usize {
    (GROUP / (rows * step * channels)).max(1)
}

/// The tiles of a row, counted from the left, whose `columns` input columns all lie in the
/// picture. The last tile of a row is moved left to end with the row.
#[inline(always)]
fn whole_tiles(task: &Task, columns: usize, width: usize) -> Range<usize> {
    let (st, last) = (task.stride.w, task.ow - width);
    let Some(last_start) = (task.iw + task.pad_left).checked_sub(columns) else {
        return 0..0;
    };
    // All but the last stand at multiples of their width.
    let regular = task.ow.div_ceil(width) - 1;
    let first = task.pad_left.div_ceil(width * st).min(regular);
    let end = (last_start / (width * st) + 1).clamp(first, regular);
    let last_is_whole = last * st >= task.pad_left && last * st <= last_start;
    if end == regular && last_is_whole { first..regular + 1 } else { first..end }
}

/// What the tiles of a row share.
struct Tile<'a, S: SimdF32, const KH: usize, const KW: usize> {
    simd: S,
    task: &'a Task,
    /// Input rows, null where outside the picture.
    rows: [*const f32; MAX_ROWS],
    /// Weights of the channels, held in registers (or on the stack) along the row.
    weights: [[S::f32s; KW]; KH],
    /// The same in packed memory.
    block: *const f32,
    bias: S::f32s,
    /// The first output row at channel `c`.
    output: *mut f32,
    c: usize,
}

impl<'a, S: SimdF32, const KH: usize, const KW: usize> Tile<'a, S, KH, KW> {
    /// The tiles of output rows `oh .. oh + TH` for the vector of channels at `c`.
    ///
    /// # Safety
    /// - `oh + TH <= task.oh` and `c < task.c1`; the packed weights are of `KH` x `KW` taps.
    #[inline(always)]
    unsafe fn new<const ST: usize, const TH: usize>(
        simd: S,
        task: &'a Task,
        oh: usize,
        c: usize,
    ) -> Self {
        let rows = std::array::from_fn(|r| {
            if r < (TH - 1) * ST + KH {
                // SAFETY: the table has `(task.oh - 1) * ST + KH` rows.
                unsafe { *task.rows.add(oh * ST + r) }
            } else {
                std::ptr::null()
            }
        });
        // SAFETY: a block is the bias and `KH * KW` taps, `BLOCK` elements each; the output has
        // row `oh`.
        unsafe {
            let block = task.weights.add((c / BLOCK) * (1 + KH * KW) * BLOCK + c % BLOCK);
            Tile {
                simd,
                task,
                rows,
                weights: std::array::from_fn(|kh| {
                    std::array::from_fn(|kw| simd.load(block.add((1 + kh * KW + kw) * BLOCK)))
                }),
                block,
                bias: simd.load(block),
                output: task.output.add(oh * task.ow * task.ld_out + c),
                c,
            }
        }
    }

    /// The tiles numbered `tiles` of the row; those numbered `whole` need no care for the border.
    ///
    /// # Safety
    /// - The task has the rows of the tiles, `task.ow >= TW`, and the row has these tiles.
    #[inline(always)]
    unsafe fn some<const ST: usize, const TH: usize, const TW: usize>(
        &self,
        tiles: Range<usize>,
        whole: &Range<usize>,
    ) {
        let task = self.task;
        let columns = (TW - 1) * ST + KW;
        // The usual border, as a constant: its tiles have no branch.
        let border = KW / 2;
        let last = task.ow - TW;
        let mut tile = tiles.start;
        // SAFETY: the columns `lo .. hi` of every tile lie in the picture; `last + TW == task.ow`.
        unsafe {
            while tile < whole.start.min(tiles.end) {
                let ow = (tile * TW).min(last);
                let (lo, hi) = self.inside::<ST>(ow, columns);
                if lo == border && hi == columns {
                    self.run::<ST, TH, TW, false>(ow, border, columns);
                } else if lo == border && hi == columns - border {
                    self.run::<ST, TH, TW, false>(ow, border, columns - border);
                } else {
                    self.run::<ST, TH, TW, true>(ow, lo, hi);
                }
                tile += 1;
            }
            while tile < whole.end.min(tiles.end) {
                self.run::<ST, TH, TW, false>((tile * TW).min(last), 0, columns);
                tile += 1;
            }
            while tile < tiles.end {
                let ow = (tile * TW).min(last);
                let (lo, hi) = self.inside::<ST>(ow, columns);
                if lo == 0 && hi == columns - border {
                    self.run::<ST, TH, TW, false>(ow, 0, columns - border);
                } else {
                    self.run::<ST, TH, TW, true>(ow, lo, hi);
                }
                tile += 1;
            }
        }
    }

    /// The input columns of the tile at `ow` that lie in the picture.
    #[inline(always)]
    fn inside<const ST: usize>(&self, ow: usize, columns: usize) -> (usize, usize) {
        // Counted from `pad_left` columns before the picture.
        let start = ow * ST;
        let end = self.task.pad_left + self.task.iw;
        (self.task.pad_left.saturating_sub(start), (end - start).min(columns))
    }

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
        let left =
            (ow * ST).wrapping_sub(task.pad_left).wrapping_mul(task.ld_in).wrapping_add(self.c);
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
        // SAFETY: rows of the tile and columns `ow ..` lie in the output.
        unsafe { finish::<S, TH, TW>(simd, task, acc, self.output.add(ow * task.ld_out)) };
    }

    /// The weights of a tap: held where they fit beside the sums, else read again.
    #[inline(always)]
    fn weight<const TH: usize, const TW: usize>(&self, kh: usize, kw: usize) -> S::f32s {
        if KH * KW + TH * TW + 3 <= S::REGISTER_COUNT {
            self.weights[kh][kw]
        } else {
            // SAFETY: the packed block holds the bias and all taps.
            unsafe { self.simd.load(self.block.add((1 + kh * KW + kw) * BLOCK)) }
        }
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
                    *sum = self.simd.fma(x, self.weight::<TH, TW>(r - th * ST, j - tw * ST), *sum);
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
                let w = self.weight::<TH, TW>(r - th * ST, kw);
                for (tw, sum) in sums.iter_mut().enumerate() {
                    let j = tw * ST + kw;
                    if j >= lo && j < hi {
                        *sum = self.simd.fma(x[j], w, *sum);
                    }
                }
            }
        }
    }
}

/// Applies clamp or hard-swish to the sums of a tile and stores them, the first at `output`.
///
/// # Safety
/// - The tile of outputs lies in the task.
#[inline(always)]
unsafe fn finish<S: SimdF32, const TH: usize, const TW: usize>(
    simd: S,
    task: &Task,
    mut acc: [[S::f32s; TW]; TH],
    output: *mut f32,
) {
    tail(simd, task, &mut acc);
    for (th, row) in acc.iter().enumerate() {
        for (tw, &sum) in row.iter().enumerate() {
            let at = (th * task.ow + tw) * task.ld_out;
            // SAFETY: the output has a vector for every pixel of the tile.
            unsafe { simd.store(output.add(at), sum) };
        }
    }
}

/// Clamp or hard-swish.
#[inline(always)]
fn tail<S: SimdF32, const TH: usize, const TW: usize>(
    simd: S,
    task: &Task,
    acc: &mut [[S::f32s; TW]; TH],
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
}

/// Vectors of channels that [`any`] takes together at the border.
const GROUPED: usize = 4;

/// Computes a task of any kernel size, stride and dilation, `TW` outputs of a row at a time; where
/// windows leave the picture, one output of [`GROUPED`] vectors of channels at a time, so that as many
/// sums are under way.
///
/// # Safety
/// - The pointers of the task are valid as [`Task`] says.
#[inline(always)]
pub(super) unsafe fn any<S: SimdF32, const TW: usize>(simd: S, task: &Task) {
    let vectors = (task.c1 - task.c0).div_ceil(S::F32_LANES);
    let groups = vectors.div_ceil(GROUPED);
    let (outer, inner) = if task.channels_outer { (groups, task.oh) } else { (task.oh, groups) };
    for o in 0..outer {
        for i in 0..inner {
            let (oh, group) = if task.channels_outer { (i, o) } else { (o, i) };
            let of_group = group * GROUPED..vectors.min((group + 1) * GROUPED);
            let channels = of_group.map(|vector| task.c0 + vector * S::F32_LANES);
            // SAFETY: `oh < task.oh`; the channels lie in the task.
            unsafe { any_row::<S, TW>(simd, task, oh, channels.clone()) };
            if let Some(post) = task.post {
                for c in channels {
                    // SAFETY: the row of these channels was just written.
                    unsafe { post.run(task, oh, 1, c, S::F32_LANES) };
                }
            }
        }
    }
}

/// Output row `oh` of the vectors of channels at each of `channels`, at most [`GROUPED`].
///
/// # Safety
/// As [`any`], with `oh < task.oh` and every `c < task.c1`.
#[inline(always)]
unsafe fn any_row<S: SimdF32, const TW: usize>(
    simd: S,
    task: &Task,
    oh: usize,
    channels: impl ExactSizeIterator<Item = usize> + Clone,
) {
    let mut inside = task.inside();
    if inside.len() < TW {
        inside = task.ow..task.ow;
    }
    for c in channels.clone() {
        let mut ow = inside.start;
        while ow < inside.end {
            let at = ow.min(inside.end - TW);
            // SAFETY: the windows of `at .. at + TW` lie in the picture.
            unsafe { any_tile::<S, TW>(simd, task, oh, at, c) };
            ow = at + TW;
        }
    }
    for ow in (0..inside.start).chain(inside.end..task.ow) {
        let taps = task.columns().taps(ow);
        let mut rest = channels.clone();
        // SAFETY: the taps of the window lie in the picture.
        unsafe {
            if rest.len() == GROUPED {
                let mut next = || rest.next().unwrap_or(task.c0);
                let group: [usize; GROUPED] = std::array::from_fn(|_| next());
                any_column(simd, task, oh, ow, group, taps);
            } else {
                rest.for_each(|c| any_column(simd, task, oh, ow, [c], taps));
            }
        }
    }
}

/// Outputs `ow .. ow + TW` of row `oh`, whose windows lie wholly inside the picture.
///
/// # Safety
/// - `ow + TW <= task.ow`, and all taps of these windows lie in the picture along the columns.
#[inline(always)]
unsafe fn any_tile<S: SimdF32, const TW: usize>(
    simd: S,
    task: &Task,
    oh: usize,
    ow: usize,
    c: usize,
) {
    let step = task.stride.w * task.ld_in;
    // SAFETY: the task holds the block of `c`.
    let (block, bias) = unsafe { any_block(simd, task, c) };
    let mut acc = [[bias; TW]];
    for kh in 0..task.kernel.h {
        // SAFETY: the table has a row per output row and tap row.
        let row = unsafe { task.row(oh * task.kernel.h + kh, c) };
        if row.is_null() {
            continue;
        }
        for kw in 0..task.kernel.w {
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
    unsafe {
        finish::<S, 1, TW>(simd, task, acc, task.output.add((oh * task.ow + ow) * task.ld_out + c));
    }
}

/// Output `ow` of row `oh` of the vectors of channels at `channels`, from the tap columns `lo .. hi`, in
/// the order of [`any_tile`].
///
/// # Safety
/// - Every `c < task.c1`, `ow < task.ow`, and these taps of the window lie in the picture along the
///   columns.
#[inline(always)]
unsafe fn any_column<S: SimdF32, const NV: usize>(
    simd: S,
    task: &Task,
    oh: usize,
    ow: usize,
    channels: [usize; NV],
    (lo, hi): (usize, usize),
) {
    // SAFETY: the task holds the blocks of these channels.
    let blocks = channels.map(|c| unsafe { any_block(simd, task, c) });
    let mut acc = [blocks.map(|(_, bias)| bias)];
    for kh in 0..task.kernel.h {
        // SAFETY: the table has a row per output row and tap row.
        let row = unsafe { task.row(oh * task.kernel.h + kh, 0) };
        if row.is_null() {
            continue;
        }
        for kw in lo..hi {
            let iw = ow * task.stride.w + kw * task.dilation_w - task.pad_left;
            let tap = (1 + kh * task.kernel.w + kw) * BLOCK;
            for (v, sum) in acc[0].iter_mut().enumerate() {
                // SAFETY: the tap lies in the picture and in the block.
                unsafe {
                    let x = simd.load(row.add(iw * task.ld_in + channels[v]));
                    *sum = simd.fma(x, simd.load(blocks[v].0.add(tap)), *sum);
                }
            }
        }
    }
    tail(simd, task, &mut acc);
    for (c, sum) in channels.into_iter().zip(acc[0]) {
        // SAFETY: the output lies in the task.
        unsafe { simd.store(task.output.add((oh * task.ow + ow) * task.ld_out + c), sum) };
    }
}

/// The packed weights of the vector of channels at `c`, and its bias.
///
/// # Safety
/// - `c < task.c1`.
#[inline(always)]
unsafe fn any_block<S: SimdF32>(simd: S, task: &Task, c: usize) -> (*const f32, S::f32s) {
    let taps = task.kernel.area();
    // SAFETY: the packed weights hold the block of `c`, which begins with the bias.
    unsafe {
        let block = task.weights.add((c / BLOCK) * (1 + taps) * BLOCK + c % BLOCK);
        (block, simd.load(block))
    }
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
