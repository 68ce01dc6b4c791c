//! Depthwise convolution of bytes.
//!
//! `sum[n,oh,ow,ic*m + j] = b[ic*m + j] + sum over kh,kw of
//! (x[n, oh*sh + kh*dh - pt, ow*sw + kw*dw - pl, ic] - z_x) * (w[kh,kw,ic*m + j] - z_w[ic*m + j])`,
//! exact in `i32`; then the rule of [`quant`](crate::quant).
//!
//! # How
//! Input rows go in groups, with the same channel of all of them side by side, into a ring in scratch
//! memory: two rows widened to 16 bits, less the zero point, or four rows of bytes where the CPU sums
//! products of four bytes exactly (`vpdpbusd`, `sdot`). Padding is in the ring too, so tiles know no
//! border. One product then does two taps of a channel (or four, three of them used with a kernel of
//! three rows):
//!
//! ```text
//!   rows 2i, 2i+1 --widen--> (x[2i], x[2i+1]) of channel c, c+1, ..     16 channels are one line
//!   output row 2i   sums x[2i]*k0 + x[2i+1]*k1, then x[2i+2]*k2 + x[2i+3]*0
//!   output row 2i+1 sums x[2i]*0  + x[2i+1]*k0, then x[2i+2]*k1 + x[2i+3]*k2
//! ```
//! With a stride of 1 two output rows share groups, and all of a picture's pairs are made once; groups
//! of four are made anew for every step, which is cheaper than products with more rows of zeros.
//! Channels go 16 at a time through a band of rows, so that the ring stays in L1. A depth multiplier
//! repeats channels on their way into the ring. One body serves every kernel size, stride and dilation.
//!
//! The zero point of bytes in groups of four, `z_x * sum over kh,kw of (w - z_w)`, is taken off the bias.
//! Weights that less their zero points take 16 bits go in pairs.

mod generic;
mod pack;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;
#[cfg(test)]
mod tests;

pub use pack::PackedDwQs8;

use crate::gemm_qs8::Form;
use crate::isa::{Extension, Isa};
use crate::operator::{Io, KernelError, KernelInfo, Operator};
use crate::quant::{Out8, Quant8, Tail8, check_multipliers};
use crate::spatial::{BLOCK, check_ld, check_picture, check_window, invalid, share, unsupported};
use depthwise_tensor::buf::ALIGN;
use depthwise_tensor::{ConvGeometry, Rows};
use std::ops::Range;
use std::sync::Arc;

const FAMILY: &str = "dwconv_qs8";

/// Bytes of a pixel of a ring row: those of a group, 16 channels.
const PIXEL: usize = 4 * BLOCK;

/// The functions of a level.
#[derive(Debug)]
pub struct Kernel {
    name: &'static str,
    isa: Isa,
    extension: Option<Extension>,
    form: Form,
    /// A row of outputs, and two of them.
    rows: [unsafe fn(&RowTask); 2],
    /// A group of input rows.
    fill: unsafe fn(&FillTask),
}

/// All kernels, best first.
pub static KERNELS: &[&Kernel] = &[
    #[cfg(target_arch = "x86_64")]
    &avx512::BYTES,
    #[cfg(target_arch = "x86_64")]
    &avx512::VNNI,
    #[cfg(target_arch = "x86_64")]
    &avx512::ZMM,
    #[cfg(target_arch = "x86_64")]
    &avx2::BYTES,
    #[cfg(target_arch = "x86_64")]
    &avx2::VNNI,
    #[cfg(target_arch = "x86_64")]
    &avx2::YMM,
    #[cfg(target_arch = "aarch64")]
    &neon::BYTES,
    #[cfg(target_arch = "aarch64")]
    &neon::QUAD,
    &scalar::QUAD,
];

impl Kernel {
    /// Name and level.
    pub fn info(&self) -> KernelInfo {
        KernelInfo { extension: self.extension, ..KernelInfo::new(self.name, self.isa) }
    }

    /// Whether weights that less their zero points take 16 bits can be packed for it.
    pub fn takes_wide(&self) -> bool {
        self.form == Form::Words
    }

    /// Input rows of a group.
    fn group(&self) -> usize {
        self.form.in_32_bits()
    }
}

/// One or two output rows of 16 channels.
///
/// # Safety
/// For those who call a kernel:
/// - `groups` has `count` pointers, each to a ring row of `(ow - 1) * step + (kw - 1) * tap + PIXEL`
///   bytes that are valid for reads.
/// - `weights` is a block of [`PackedDwQs8`]; of `bias` and `multipliers` there are 16.
/// - 16 bytes from `output[i] + ow * ld_out` on are valid for writes, for every column `ow`.
#[derive(Clone, Copy)]
struct RowTask {
    groups: *const *const u8,
    count: usize,
    kw: usize,
    /// Bytes from one output column, and from one tap, to the next.
    step: usize,
    tap: usize,
    weights: *const u8,
    bias: *const i32,
    multipliers: *const f32,
    output: [*mut u8; 2],
    ld_out: usize,
    ow: usize,
    tail: Tail8,
}

/// A group of input rows to a ring row.
///
/// # Safety
/// For those who call a kernel:
/// - 16 bytes (with a depth multiplier: `channels.1`) from `rows[i] + j * steps[i]` on are valid for
///   reads, for the rows of a group and `j < inside`.
/// - `PIXEL * (left + inside + right)` bytes from `to` on are valid for writes.
#[derive(Clone, Copy)]
struct FillTask {
    /// The last two are not read by kernels of pairs.
    rows: [*const u8; 4],
    steps: [usize; 4],
    /// Columns of padding, of the picture, and of padding again.
    left: usize,
    inside: usize,
    right: usize,
    to: *mut u8,
    quant: Quant8,
    /// Depth multiplier; where above 1, the first output channel and the number of input channels.
    multiplier: usize,
    channels: (usize, usize),
}

/// A depthwise convolution of resolved shapes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DwQSpec {
    /// Extents, taps, strides, padding. `groups` is the number of input channels.
    pub geometry: ConvGeometry,
    /// Pixel stride of the input, a multiple of 16.
    pub ld_in: usize,
    /// Pixel stride of the output, a multiple of 16.
    pub ld_out: usize,
    /// Type and zero point of the input.
    pub input: Quant8,
    /// Type, zero point and bounds of the output.
    pub output: Out8,
}

/// Depthwise convolution of bytes. Input: x; output: y.
#[derive(Debug)]
pub struct DwConvQs8 {
    weights: Arc<PackedDwQs8>,
    /// What the sums of every channel start with, whole blocks.
    bias: Vec<i32>,
    /// One per channel, 0 past the last, whole blocks.
    multipliers: Vec<f32>,
    spec: DwQSpec,
    /// A pixel of zeros.
    padding: [u8; BLOCK],
    /// Output rows that share their groups.
    th: usize,
    /// Whether the groups of one step serve the next.
    rolling: bool,
    /// Columns of a ring row.
    columns: usize,
    /// Output rows that a block of channels passes before the next block.
    band: usize,
    by_rows: bool,
    chunks: usize,
    chunk_bytes: usize,
    input_bytes: [usize; 1],
    output_bytes: [usize; 1],
}

/// Input bytes of a band, a quarter of an L2 of 512 KiB. Not tuned.
const BAND_BYTES: usize = 128 * 1024;

/// Multiply-accumulate steps that are worth a thread.
const MACS_PER_CHUNK: u64 = 20_000;

impl DwConvQs8 {
    /// The operator of the kernel that the weights are packed for. There is one multiplier, or one for
    /// each output channel.
    ///
    /// # Errors
    /// [`KernelError::Invalid`] where weights, multipliers and shapes do not go together,
    /// [`KernelError::Unsupported`] where a pixel stride is not padded to vectors, or padding is out of
    /// all proportion to the picture.
    pub fn new(
        weights: Arc<PackedDwQs8>,
        multipliers: &[f32],
        spec: DwQSpec,
        threads: usize,
    ) -> Result<DwConvQs8, KernelError> {
        check(&weights, &spec)?;
        let (g, kernel) = (&spec.geometry, weights.kernel());
        check_multipliers(FAMILY, multipliers, g.output.c)?;
        let mut all = vec![0.0; g.output.c.next_multiple_of(BLOCK)];
        for (c, m) in all[..g.output.c].iter_mut().enumerate() {
            *m = multipliers[if multipliers.len() == 1 { 0 } else { c }];
        }
        let th = if g.stride.h == 1 && g.dilation.h == 1 { 2 } else { 1 };
        let row_bytes = (g.stride.h * g.input.w * spec.ld_in).max(1);
        let (by_rows, chunks) = split(g, threads);
        let columns = columns(g);
        let (input, output) = (g.input.pixels() * spec.ld_in, g.output.pixels() * spec.ld_out);
        let chunk_bytes = chunk_bytes(kernel, g, columns)
            .filter(|&bytes| bytes <= 64 * (input + output) + (1 << 20))
            .ok_or_else(|| unsupported(FAMILY, format!("a picture much smaller than {g:?}")))?;
        Ok(DwConvQs8 {
            bias: weights.bias(&spec.input),
            multipliers: all,
            padding: [spec.input.zero_byte(); BLOCK],
            th,
            rolling: g.dilation.h == 1 && (th * g.stride.h).is_multiple_of(kernel.group()),
            columns,
            band: (BAND_BYTES / row_bytes).max(8).next_multiple_of(2),
            by_rows,
            chunks,
            chunk_bytes,
            input_bytes: [input],
            output_bytes: [output],
            weights,
            spec,
        })
    }

    /// Shape and layout.
    pub(crate) fn spec(&self) -> &DwQSpec {
        &self.spec
    }

    /// Output rows that share the groups of rows that they are made of.
    pub(crate) fn rows_at_a_time(&self) -> usize {
        self.th
    }

    /// Bytes that [`DwConvQs8::run_band`] needs.
    pub(crate) fn band_scratch_bytes(&self) -> usize {
        self.chunk_bytes
    }

    /// Output rows `rows` of a picture, all channels, to `output`; `row` gives the address of an
    /// input row.
    ///
    /// # Safety
    /// - The rows lie in the output.
    /// - `scratch` is valid for [`DwConvQs8::band_scratch_bytes`].
    /// - `row` gives rows of `geometry.input.w` pixels of `ld_in` bytes that are valid for reads, of
    ///   any value where no window of these outputs sees them.
    /// - `output` is valid for writes of these rows, and nobody else touches them.
    pub(crate) unsafe fn run_band(
        &self,
        scratch: *mut u8,
        rows: Range<usize>,
        row: impl Fn(usize) -> *const u8,
        output: *mut u8,
    ) {
        debug_assert!(rows.end <= self.spec.geometry.output.h);
        for block in 0..self.spec.geometry.output.c.div_ceil(BLOCK) {
            // SAFETY: as the caller promises.
            unsafe { self.run_block(scratch, rows.clone(), block, &row, output) };
        }
    }

    /// Output rows `rows` of picture `n`, some blocks of channels.
    ///
    /// # Safety
    /// As [`Operator::run_chunk`]; nobody else writes these outputs or uses `scratch`, which has the
    /// bytes of one chunk.
    unsafe fn run_rows(
        &self,
        io: &Io<'_>,
        scratch: *mut u8,
        n: usize,
        rows: Range<usize>,
        blocks: Range<usize>,
    ) {
        let (spec, g) = (&self.spec, &self.spec.geometry);
        let row = |ih: usize| {
            let pixel = (n * g.input.h + ih) * g.input.w;
            io.input::<u8>(0).wrapping_add(pixel * spec.ld_in)
        };
        for start in rows.clone().step_by(self.band) {
            let band = start..rows.end.min(start + self.band);
            let pixel = (n * g.output.h + start) * g.output.w;
            let output = io.output::<u8>(0).wrapping_add(pixel * spec.ld_out);
            for block in blocks.clone() {
                // SAFETY: as the caller promises.
                unsafe { self.run_block(scratch, band.clone(), block, &row, output) };
            }
        }
    }

    /// One block of channels of a band.
    ///
    /// # Safety
    /// As [`DwConvQs8::run_band`].
    unsafe fn run_block(
        &self,
        scratch: *mut u8,
        band: Range<usize>,
        block: usize,
        row: &impl Fn(usize) -> *const u8,
        output: *mut u8,
    ) {
        let (spec, g) = (&self.spec, &self.spec.geometry);
        let (kernel, slots) = (self.weights.kernel(), self.weights.groups());
        let table = scratch.cast::<*const u8>();
        let ring = scratch.wrapping_add(table_bytes(slots));
        let mut next = 0;
        let mut oh = band.start;
        while oh < band.end {
            let height = self.th.min(band.end - oh);
            let count = if height == 2 { slots } else { g.kernel.h.div_ceil(kernel.group()) };
            for p in 0..count {
                let passed = (oh - band.start) * g.stride.h / kernel.group();
                let key = p + if self.rolling { passed } else { 0 };
                let slot = ring.wrapping_add(key % slots * self.columns * PIXEL);
                // SAFETY: the table and the ring have room for `slots` groups; those of this step lie
                // in different ones.
                unsafe {
                    if !self.rolling || key >= next {
                        let first = oh * g.stride.h + kernel.group() * p * g.dilation.h;
                        (kernel.fill)(&self.fill_task(row, block, first, slot));
                        next = key + 1;
                    }
                    *table.add(p) = slot;
                }
            }
            let line = g.output.w * spec.ld_out;
            let first = output.wrapping_add((oh - band.start) * line + block * BLOCK);
            let task = RowTask {
                groups: table.cast_const(),
                count,
                kw: g.kernel.w,
                step: g.stride.w * PIXEL,
                tap: g.dilation.w * PIXEL,
                weights: self.weights.block(block),
                bias: self.bias[block * BLOCK..].as_ptr(),
                multipliers: self.multipliers[block * BLOCK..].as_ptr(),
                output: [first, first.wrapping_add(line)],
                ld_out: spec.ld_out,
                ow: g.output.w,
                tail: spec.output.tail(),
            };
            // SAFETY: the groups were just filled, `columns` reach to the last tap of the last output,
            // and `height` rows lie in the output.
            unsafe { (kernel.rows[height - 1])(&task) };
            oh += height;
        }
    }

    /// Rows `first`, `first + dilation` .., counted from the top of the padding.
    fn fill_task(
        &self,
        row: &impl Fn(usize) -> *const u8,
        block: usize,
        first: usize,
        to: *mut u8,
    ) -> FillTask {
        let (spec, g) = (&self.spec, &self.spec.geometry);
        let multiplier = self.weights.multiplier();
        let channel = if multiplier == 1 { block * BLOCK } else { 0 };
        let at = |ih: usize| match ih.checked_sub(g.pad.top).filter(|&ih| ih < g.input.h) {
            Some(ih) => (row(ih).wrapping_add(channel), spec.ld_in),
            None => (self.padding.as_ptr(), 0),
        };
        let rows: [_; 4] =
            std::array::from_fn(|i| at(first.saturating_add(g.dilation.h.saturating_mul(i))));
        let left = g.pad.left.min(self.columns);
        let inside = g.input.w.min(self.columns - left);
        FillTask {
            rows: rows.map(|(row, _)| row),
            steps: rows.map(|(_, step)| step),
            left,
            inside,
            right: self.columns - left - inside,
            to,
            quant: spec.input,
            multiplier,
            channels: (block * BLOCK, g.input.c),
        }
    }
}

// SAFETY: `run_chunk` reads the pixels of the input and writes those of the output, whole blocks of
// 16 channels, which `check_ld` leaves room for; chunks have rows or blocks, and scratch, of their own.
unsafe impl Operator for DwConvQs8 {
    fn kernel(&self) -> &'static str {
        self.weights.kernel().name
    }

    fn input_bytes(&self) -> &[usize] {
        &self.input_bytes
    }

    fn output_bytes(&self) -> &[usize] {
        &self.output_bytes
    }

    fn scratch_bytes(&self) -> usize {
        self.chunk_bytes * self.chunks
    }

    fn chunks(&self) -> usize {
        self.chunks
    }

    fn macs(&self) -> u64 {
        self.spec.geometry.macs()
    }

    fn packed_bytes(&self) -> usize {
        self.weights.bytes()
    }

    unsafe fn run_chunk(&self, io: &Io<'_>, chunk: usize) {
        debug_assert!(chunk < self.chunks);
        let g = &self.spec.geometry;
        if g.output.pixels() == 0 {
            return;
        }
        let scratch = io.scratch::<u8>().wrapping_add(chunk * self.chunk_bytes);
        let blocks = 0..g.output.c.div_ceil(BLOCK);
        if !self.by_rows {
            let blocks = share(blocks.end, self.chunks, chunk);
            for n in 0..g.output.n {
                // SAFETY: no other chunk has these channels.
                unsafe { self.run_rows(io, scratch, n, 0..g.output.h, blocks.clone()) };
            }
            return;
        }
        // In steps of two rows, which share groups.
        let units = g.output.h.div_ceil(2);
        let mine = share(g.output.n * units, self.chunks, chunk);
        let mut at = mine.start;
        while at < mine.end {
            let n = at / units;
            let last = mine.end.min((n + 1) * units);
            let rows = (at - n * units) * 2..((last - n * units) * 2).min(g.output.h);
            // SAFETY: no other chunk has these rows.
            unsafe { self.run_rows(io, scratch, n, rows, blocks.clone()) };
            at = last;
        }
    }
}

/// Rows are shared out where there are enough, else channels.
fn split(g: &ConvGeometry, threads: usize) -> (bool, usize) {
    let worth = usize::try_from(g.macs() / MACS_PER_CHUNK).unwrap_or(usize::MAX);
    let threads = threads.min(worth).max(1);
    let (units, blocks) = (g.output.n * g.output.h.div_ceil(2), g.output.c.div_ceil(BLOCK));
    let by_rows = units >= 8 * threads || blocks < threads;
    (by_rows, threads.min(if by_rows { units } else { blocks }).max(1))
}

/// Columns of a ring row: from the first tap of the first output to the last tap of the last.
fn columns(g: &ConvGeometry) -> usize {
    g.output.w.saturating_sub(1) * g.stride.w + (g.kernel.w - 1) * g.dilation.w + 1
}

fn table_bytes(slots: usize) -> usize {
    (slots * size_of::<*const u8>()).next_multiple_of(ALIGN)
}

/// Bytes of the table and the ring of a chunk.
fn chunk_bytes(kernel: &Kernel, g: &ConvGeometry, columns: usize) -> Option<usize> {
    let slots = pack::groups(kernel, g.kernel.h);
    slots.checked_mul(columns)?.checked_mul(PIXEL)?.checked_add(table_bytes(slots))
}

fn check(weights: &PackedDwQs8, spec: &DwQSpec) -> Result<(), KernelError> {
    let g = &spec.geometry;
    let multiplier = weights.multiplier();
    let packed = (weights.in_channels(), weights.in_channels() * multiplier, weights.taps());
    if (g.input.c, g.output.c, g.kernel) != packed || g.groups != g.input.c {
        return Err(invalid(FAMILY, format!("{g:?}, but weights of {packed:?}")));
    }
    if g.input.n != g.output.n {
        return Err(invalid(FAMILY, format!("{} pictures in, {} out", g.input.n, g.output.n)));
    }
    check_picture(FAMILY, &g.input)?;
    check_picture(FAMILY, &g.output)?;
    check_window(FAMILY, &g.rows())?;
    check_window(FAMILY, &g.cols())?;
    for (picture, ld) in [(&g.input, spec.ld_in), (&g.output, spec.ld_out)] {
        check_ld(FAMILY, ld, picture.c)?;
        let rows = Rows { rows: picture.pixels(), c: picture.c, ld };
        if rows.rows.checked_mul(ld).is_none_or(|len| len > isize::MAX as usize / 128) {
            return Err(invalid(FAMILY, format!("{rows:?} are larger than memory")));
        }
    }
    Ok(())
}
