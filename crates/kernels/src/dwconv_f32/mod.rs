//! Depthwise convolution, `f32`.
//!
//! `y[n,oh,ow,ic*m + j] = act(b[ic*m + j] + residual[n,oh,ow,ic*m + j] + sum over kh,kw of
//! x[n, oh*sh + kh*dh - pt, ow*sw + kw*dw - pl, ic] * w[kh,kw,ic*m + j])`
//!
//! One vector holds the same pixel of neighbouring channels. A register tile computes a few
//! outputs of two rows (or one) from input vectors that are loaded once, with the weights of the
//! channels held along the row. Taps in the padding are skipped, never multiplied by zero.
//!
//! Rows are outermost in large pictures; in small ones a vector of channels is finished in all
//! rows first, so that its weights and its column of the picture stay close.
//!
//! Kernels without a tile of their own (7x7, 13x1, dilation) take 8 outputs of a row at a time, and at
//! the border one output of 4 vectors of channels. Zen 3, AVX2: 56x56x64 7x7 at 48% of the FMA peak,
//! 3x3 at 51 to 64%, per tap as fast within a tenth.
//!
//! A depth multiplier above one repeats the channels of an input row in a ring of rows in scratch
//! memory, from where the same kernels read them.
//!
//! NaN: an output is NaN where a tap inside the picture or a weight on it is, through every
//! activation. Lanes past the last channel hold anything.

mod generic;
mod list;
mod pack;
mod task;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;
#[cfg(test)]
mod tests;

use list::kernels;
pub use list::{KERNELS, Kernel, select};
use pack::packed_bytes;
pub use pack::{PackDwF32, PackedDwF32};

use crate::isa::Cpu;
use crate::operator::{Io, KernelError, Operator};
use crate::spatial::{
    BLOCK, bytes_of, check_ld, check_picture, check_window, invalid, share, share_channels,
    unsupported,
};
use depthwise_tensor::buf::ALIGN;
use depthwise_tensor::{Activation, ConvGeometry, padded_ld};
use std::ops::Range;
use std::sync::Arc;
use task::{Post, Task};

const FAMILY: &str = "dwconv_f32";

/// A depthwise convolution of resolved shapes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DwSpec {
    /// Extents, taps, strides, padding. `groups` is the number of input channels.
    pub geometry: ConvGeometry,
    /// Pixel stride of the input, a multiple of 16.
    pub ld_in: usize,
    /// Pixel stride of the output, a multiple of 16.
    pub ld_out: usize,
    /// Pixel stride of a second input of the shape of the output that is added before the
    /// activation, a multiple of 16.
    pub residual_ld: Option<usize>,
    /// Applied last.
    pub activation: Activation,
}

/// Depthwise convolution. Inputs: x, and the residual if there is one; output: y.
#[derive(Debug)]
pub struct DwConvF32 {
    kernel: &'static Kernel,
    weights: Arc<PackedDwF32>,
    spec: DwSpec,
    split: Split,
    chunks: usize,
    input_bytes: Vec<usize>,
    output_bytes: [usize; 1],
    /// Bytes of the row table of a chunk, a multiple of a line.
    table_bytes: usize,
    /// Where a chunk repeats channels; none without a depth multiplier.
    ring: Option<Ring>,
    scratch_bytes: usize,
    /// The weights are the last input, instead of those packed before.
    streamed: bool,
}

/// What the chunks divide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Split {
    /// Output rows of all pictures, in units of this many.
    Rows {
        /// Rows; the last unit of a picture has the remainder, too.
        unit: usize,
    },
    /// Blocks of channels.
    Channels,
}

impl DwConvF32 {
    /// The operator for the CPU that this process runs on, with the kernel of [`select`].
    ///
    /// # Errors
    /// [`KernelError::Invalid`] where weights and shapes do not go together,
    /// [`KernelError::Unsupported`] where a pixel stride is not padded to vectors.
    pub fn new(
        weights: Arc<PackedDwF32>,
        spec: DwSpec,
        threads: usize,
    ) -> Result<DwConvF32, KernelError> {
        check(&weights, &spec)?;
        let kernel = select(&weights.cpu(), &spec.geometry);
        DwConvF32::with_kernel(kernel, weights, spec, threads)
    }

    /// The operator for weights that come with every run: its last input, packed by [`PackDwF32`].
    ///
    /// # Errors
    /// As [`DwConvF32::new`].
    pub fn streamed(cpu: &Cpu, spec: DwSpec, threads: usize) -> Result<DwConvF32, KernelError> {
        let g = &spec.geometry;
        let multiplier = g.output.c.checked_div(g.input.c).unwrap_or(0);
        let weights = Arc::new(PackedDwF32::streamed(cpu, g.kernel, g.input.c, multiplier)?);
        let bytes = packed_bytes(g.kernel.h.saturating_mul(g.kernel.w), g.output.c)?;
        let mut op = DwConvF32::new(weights, spec, threads)?;
        op.input_bytes.push(bytes);
        op.streamed = true;
        Ok(op)
    }

    /// The operator with this kernel.
    ///
    /// # Errors
    /// As [`DwConvF32::new`]; and [`KernelError::Unsupported`] where the kernel does not compute
    /// this convolution, or not on this CPU.
    pub fn with_kernel(
        kernel: &'static Kernel,
        weights: Arc<PackedDwF32>,
        spec: DwSpec,
        threads: usize,
    ) -> Result<DwConvF32, KernelError> {
        check(&weights, &spec)?;
        let g = &spec.geometry;
        if !kernel.fits(g) || !Cpu::detect().supports(kernel.isa) {
            return Err(unsupported(
                FAMILY,
                format!("{} for this convolution or CPU", kernel.name),
            ));
        }
        let mut input_bytes = vec![bytes_of(FAMILY, g.input.pixels(), spec.ld_in)?];
        if let Some(ld) = spec.residual_ld {
            input_bytes.push(bytes_of(FAMILY, g.output.pixels(), ld)?);
        }
        let output_bytes = [bytes_of(FAMILY, g.output.pixels(), spec.ld_out)?];
        let (split, chunks) = plan_split(kernel, g, weights.multiplier(), threads);
        let table_bytes = size_of::<*const f32>()
            .checked_mul(table_len(kernel, g, g.output.h))
            .and_then(|bytes| bytes.checked_next_multiple_of(ALIGN))
            .ok_or_else(|| invalid(FAMILY, "row table too large".into()))?;
        let ring = (weights.multiplier() > 1).then(|| Ring::new(kernel, g)).transpose()?;
        let scratch_bytes = table_bytes
            .checked_add(ring.map_or(0, |ring| ring.bytes))
            .and_then(|bytes| bytes.checked_mul(chunks))
            .ok_or_else(|| invalid(FAMILY, "scratch too large".into()))?;
        Ok(DwConvF32 {
            kernel,
            weights,
            spec,
            split,
            chunks,
            input_bytes,
            output_bytes,
            table_bytes,
            ring,
            scratch_bytes,
            streamed: false,
        })
    }

    /// Shape and layout.
    pub(crate) fn spec(&self) -> &DwSpec {
        &self.spec
    }

    /// Fewest output rows that [`DwConvF32::run_band`] computes.
    pub(crate) fn band_unit(&self) -> usize {
        self.kernel.tile.h
    }

    /// Bytes that [`DwConvF32::run_band`] needs for a band of `rows` output rows, a multiple of a
    /// line.
    pub(crate) fn band_scratch_bytes(&self, rows: usize) -> usize {
        let entries = table_len(self.kernel, &self.spec.geometry, rows);
        (entries * size_of::<*const f32>()).next_multiple_of(ALIGN)
    }

    /// Output rows `rows` of a picture, all channels, to `output`; `row` gives the address of an
    /// input row.
    ///
    /// # Safety
    /// - There is no depth multiplier and no residual.
    /// - The rows lie in the output, and are [`DwConvF32::band_unit`] at least.
    /// - `scratch` is valid for [`DwConvF32::band_scratch_bytes`] of `rows.len()`.
    /// - `row` gives rows of `geometry.input.w` pixels that are valid for reads.
    /// - `output` is valid for writes of these rows, and nobody else touches them.
    pub(crate) unsafe fn run_band(
        &self,
        scratch: *mut u8,
        rows: Range<usize>,
        row: impl Fn(usize) -> *const f32,
        output: *mut f32,
    ) {
        debug_assert!(self.ring.is_none() && self.spec.residual_ld.is_none() && !self.streamed);
        debug_assert!(rows.len() >= self.band_unit() && rows.end <= self.spec.geometry.output.h);
        let (g, table) = (&self.spec.geometry, scratch.cast::<*const f32>());
        let task = self.task(table, output, None, rows.len(), 0..g.output.c);
        // SAFETY: as the caller promises; `fits` has checked the kernel.
        unsafe {
            fill_table(self.kernel, g, table, rows, row);
            (self.kernel.run)(&task);
        }
    }

    /// Output rows `rows` of picture `n`, channels `channels`.
    ///
    /// # Safety
    /// - As [`Operator::run_chunk`]; nobody else writes these outputs or uses `scratch`, which has
    ///   the bytes of one chunk.
    unsafe fn run_rows(
        &self,
        io: &Io<'_>,
        scratch: *mut u8,
        n: usize,
        rows: Range<usize>,
        channels: Range<usize>,
    ) {
        let g = &self.spec.geometry;
        let table = scratch.cast::<*const f32>();
        // SAFETY: picture `n` lies in the input.
        let picture =
            unsafe { io.input::<f32>(0).add(n * g.input.h * g.input.w * self.spec.ld_in) };
        let pixel = (n * g.output.h + rows.start) * g.output.w;
        let output = io.output::<f32>(0).wrapping_add(pixel * self.spec.ld_out);
        let residual = self.spec.residual_ld.map(|ld| io.input::<f32>(1).wrapping_add(pixel * ld));
        let mut task = self.task(table, output, residual, rows.len(), channels);
        if self.streamed {
            task.weights = io.input(self.input_bytes.len() - 1);
        }
        let Some(ring) = self.ring else {
            let row = |ih: usize| picture.wrapping_add(ih * g.input.w * self.spec.ld_in);
            // SAFETY: the table has room for all rows of the output, `task` describes memory
            // that `io` holds, and `fits` has checked the kernel.
            unsafe {
                fill_table(self.kernel, g, table, rows, row);
                (self.kernel.run)(&task);
            }
            return;
        };
        // SAFETY: the ring follows the table.
        let data = unsafe { scratch.add(self.table_bytes) }.cast::<f32>();
        let row_len = g.input.w * ring.ld;
        let slot = |ih: usize| data.wrapping_add(ih % ring.rows * row_len);
        (task.ld_in, task.oh) = (ring.ld, self.kernel.tile.h);
        let mut next = 0;
        let mut done = rows.start;
        while done < rows.end {
            // The last tile overlaps the one before.
            let oh = done.min(rows.end - task.oh);
            let needed = ring.input_rows(g, oh..oh + task.oh);
            for ih in needed.start.max(next)..needed.end {
                // SAFETY: row `ih` lies in the picture; its slot holds no row that is still
                // needed, since the ring has room for all rows of a tile.
                unsafe {
                    let source = picture.add(ih * g.input.w * self.spec.ld_in);
                    self.expand_row(source, slot(ih), ring.ld);
                }
            }
            next = next.max(needed.end);
            let before = (oh - rows.start) * g.output.w;
            let mut tile = task;
            tile.output = task.output.wrapping_add(before * self.spec.ld_out);
            if let Some(post) = &mut tile.post
                && !post.residual.is_null()
            {
                post.residual = post.residual.wrapping_add(before * post.ld_residual);
            }
            // SAFETY: as without a ring.
            unsafe {
                fill_table(self.kernel, g, table, oh..oh + task.oh, |ih| slot(ih).cast_const());
                (self.kernel.run)(&tile);
            }
            done = oh + task.oh;
        }
    }

    /// The task of `oh` output rows from `output` on, with the rows of the residual that belong
    /// to them.
    fn task(
        &self,
        rows: *const *const f32,
        output: *mut f32,
        residual: Option<*const f32>,
        oh: usize,
        channels: Range<usize>,
    ) -> Task {
        let (spec, g) = (&self.spec, &self.spec.geometry);
        let ld_residual = spec.residual_ld.unwrap_or(0);
        let residual = residual.unwrap_or(std::ptr::null());
        let clamp = spec.activation.as_clamp();
        let hard_swish = spec.activation == Activation::HardSwish;
        let in_registers = residual.is_null() && (clamp.is_some() || hard_swish);
        let (act, apply) = (spec.activation, self.kernel.post);
        let post = Post { residual, ld_residual, act, apply };
        let no_clamp = (f32::NEG_INFINITY, f32::INFINITY);
        let (min, max) = clamp.filter(|_| in_registers).unwrap_or(no_clamp);
        Task {
            rows,
            iw: g.input.w,
            ld_in: spec.ld_in,
            output,
            oh,
            ow: g.output.w,
            ld_out: spec.ld_out,
            weights: self.weights.as_ptr(),
            c0: channels.start,
            c1: channels.end,
            kernel: g.kernel,
            stride: g.stride,
            dilation_w: g.dilation.w,
            pad_left: g.pad.left,
            channels_outer: g.output.h <= SMALL && g.output.w <= SMALL,
            hard_swish: hard_swish && in_registers,
            min,
            max,
            post: (!in_registers).then_some(post),
        }
    }

    /// Repeats every channel of an input row `multiplier` times.
    ///
    /// # Safety
    /// - `source` is a row of the input, `row` a slot of the ring that nothing else reads.
    unsafe fn expand_row(&self, source: *const f32, row: *mut f32, ld: usize) {
        let m = self.weights.multiplier();
        let (ic, oc) = (self.weights.in_channels(), self.weights.out_channels());
        for iw in 0..self.spec.geometry.input.w {
            // SAFETY: pixel `iw` lies in both rows; an input pixel has `ic` channels, a pixel of
            // the ring `ld`. The ring may be uninitialised: it is written through the pointer
            // before a slice of it exists.
            unsafe {
                let x = std::slice::from_raw_parts(source.add(iw * self.spec.ld_in), ic);
                let pixel = row.add(iw * ld);
                pixel.write_bytes(0, ld);
                let y = std::slice::from_raw_parts_mut(pixel, oc);
                for (y, &x) in y.chunks_exact_mut(m).zip(x) {
                    y.fill(x);
                }
            }
        }
    }
}

/// Largest output side where a vector of channels is finished in all rows before the next one.
/// On Zen 4 the row order is up to 5% slower at 14x14 and 7x7, and faster above.
const SMALL: usize = 14;

// SAFETY: `run_chunk` reads the pixels of the inputs and writes those of the output, `ld` elements
// each; chunks have rows, or channel blocks of whole lines, of their own, and scratch of their own.
unsafe impl Operator for DwConvF32 {
    fn kernel(&self) -> &'static str {
        self.kernel.name
    }

    fn input_bytes(&self) -> &[usize] {
        &self.input_bytes
    }

    fn output_bytes(&self) -> &[usize] {
        &self.output_bytes
    }

    fn scratch_bytes(&self) -> usize {
        self.scratch_bytes
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
        let g = &self.spec.geometry;
        if g.output.pixels() == 0 {
            return;
        }
        let channels = g.output.c;
        // SAFETY: every chunk has `scratch_bytes / chunks` bytes.
        let scratch = unsafe { io.scratch::<u8>().add(chunk * (self.scratch_bytes / self.chunks)) };
        match self.split {
            Split::Rows { unit } => {
                let per_picture = units(g.output.h, unit);
                let share = share(g.output.n * per_picture, self.chunks, chunk);
                let mut at = share.start;
                while at < share.end {
                    let n = at / per_picture;
                    let last = share.end.min((n + 1) * per_picture);
                    let end = if last == (n + 1) * per_picture {
                        g.output.h
                    } else {
                        (last - n * per_picture) * unit
                    };
                    let rows = (at - n * per_picture) * unit..end;
                    // SAFETY: no other chunk has these rows.
                    unsafe { self.run_rows(io, scratch, n, rows, 0..channels) };
                    at = last;
                }
            }
            Split::Channels => {
                let channels = share_channels(channels, self.chunks, chunk);
                for n in 0..g.output.n {
                    // SAFETY: no other chunk has these channels.
                    unsafe { self.run_rows(io, scratch, n, 0..g.output.h, channels.clone()) };
                }
            }
        }
    }
}

/// Rows of input whose channels are repeated.
#[derive(Clone, Copy, Debug)]
struct Ring {
    rows: usize,
    /// Pixel stride.
    ld: usize,
    bytes: usize,
}

impl Ring {
    fn new(kernel: &Kernel, g: &ConvGeometry) -> Result<Ring, KernelError> {
        let window = (kernel.tile.h - 1)
            .checked_mul(g.stride.h)
            .and_then(|rows| rows.checked_add((g.kernel.h - 1) * g.dilation.h + 1));
        let rows = window.map_or(g.input.h, |window| window.min(g.input.h)).max(1);
        let ld = padded_ld(g.output.c);
        Ok(Ring { rows, ld, bytes: bytes_of(FAMILY, rows.saturating_mul(g.input.w), ld)? })
    }

    /// Input rows that these output rows see.
    fn input_rows(&self, g: &ConvGeometry, rows: Range<usize>) -> Range<usize> {
        let start = (rows.start * g.stride.h).saturating_sub(g.pad.top);
        let reach = (rows.end - 1) * g.stride.h + (g.kernel.h - 1) * g.dilation.h + 1;
        let end = reach.saturating_sub(g.pad.top).min(g.input.h);
        start.min(end)..end
    }
}

/// Entries of the row table of `rows` output rows.
fn table_len(kernel: &Kernel, g: &ConvGeometry, rows: usize) -> usize {
    match (kernel.window, rows) {
        (_, 0) => 0,
        (Some(window), rows) => (rows - 1) * window.stride + window.kernel.h,
        (None, rows) => rows.saturating_mul(g.kernel.h),
    }
}

/// Writes the row table of output rows `rows`; `row` gives the address of an input row.
///
/// # Safety
/// - `table` has room for [`table_len`] entries.
unsafe fn fill_table(
    kernel: &Kernel,
    g: &ConvGeometry,
    table: *mut *const f32,
    rows: Range<usize>,
    row: impl Fn(usize) -> *const f32,
) {
    for entry in 0..table_len(kernel, g, rows.len()) {
        // Rows below the padding in front.
        let at = match kernel.window {
            Some(_) => rows.start * g.stride.h + entry,
            None => {
                let (oh, kh) = (rows.start + entry / g.kernel.h, entry % g.kernel.h);
                oh * g.stride.h + kh * g.dilation.h
            }
        };
        let inside = at.checked_sub(g.pad.top).filter(|&ih| ih < g.input.h);
        // SAFETY: as the caller promises.
        unsafe { *table.add(entry) = inside.map_or(std::ptr::null(), &row) };
    }
}

/// Units of `unit` rows in a picture; the last one has the remainder, too.
fn units(rows: usize, unit: usize) -> usize {
    (rows / unit).max(1)
}

/// Rows are shared out where there are enough, else channels.
fn plan_split(kernel: &Kernel, g: &ConvGeometry, m: usize, threads: usize) -> (Split, usize) {
    let threads = if 2 * g.macs() < SMALL_WORK { 1 } else { threads.max(1) };
    let unit = kernel.tile.h;
    let by_rows = (Split::Rows { unit }, threads.min(g.output.n * units(g.output.h, unit)).max(1));
    let by_channels = (Split::Channels, threads.min(g.output.c.div_ceil(BLOCK)).max(1));
    let rows = m > 1 || g.output.n >= threads || g.output.h >= SMALL;
    if rows || by_channels.1 < by_rows.1 { by_rows } else { by_channels }
}

/// Floating point operations below which a second thread costs more than it saves.
const SMALL_WORK: u64 = 20_000;

fn check(weights: &PackedDwF32, spec: &DwSpec) -> Result<(), KernelError> {
    let g = &spec.geometry;
    let channels = (g.input.c, g.output.c, g.groups, g.kernel);
    let packed = (weights.in_channels(), weights.out_channels(), weights.in_channels());
    if channels != (packed.0, packed.1, packed.2, weights.kernel()) {
        return Err(invalid(
            FAMILY,
            format!(
                "kernel {} of {} to {} channels in {} groups, but weights of {}, {} to {}",
                g.kernel,
                g.input.c,
                g.output.c,
                g.groups,
                weights.kernel(),
                packed.0,
                packed.1
            ),
        ));
    }
    if g.input.n != g.output.n {
        return Err(invalid(FAMILY, format!("{} pictures in, {} out", g.input.n, g.output.n)));
    }
    check_picture(FAMILY, &g.input)?;
    check_picture(FAMILY, &g.output)?;
    check_window(FAMILY, &g.rows())?;
    check_window(FAMILY, &g.cols())?;
    check_ld(FAMILY, spec.ld_in, g.input.c)?;
    check_ld(FAMILY, spec.ld_out, g.output.c)?;
    spec.residual_ld.map_or(Ok(()), |ld| check_ld(FAMILY, ld, g.output.c))
}
