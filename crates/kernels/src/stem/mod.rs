//! The first convolution of a picture network: few input channels, a fixed pixel step.
//!
//! The function of [`conv2d`](crate::conv2d) with one group and no dilation, on the same packed
//! weights, for the pixel steps (`stride * input channels`) of [`STEPS`].
//!
//! # How
//! In a dense NHWC picture the taps of one kernel row are one run of `kw * ic` elements, and the
//! runs of neighbouring outputs start `stride * ic` elements apart. With that step a compile-time
//! constant a tile needs no pointer per row, so that tiles may be taller: 3x3x3 is 27 deep, in three
//! runs of 9.
//!
//! Tiles that touch the padding, and all tiles of a picture whose pixels are not dense, get their
//! lines copied, with zeros where the padding is. The last tile of a line overlaps the one before.
//!
//! A picture of bytes is never a picture of numbers in memory: the lines that a line of the output
//! sees are converted into scratch memory, padding included, and read from there.
//!
//! # Why these tiles
//! AVX-512 14x32 divides lines of 112 and holds 28 sums (95% of the FMA peak on Zen 4 in a
//! prototype, 8x32: 91%). AVX2 6x16 as in [`gemm_f32`](crate::gemm_f32).
//!
//! # Numerics
//! As [`conv2d`](crate::conv2d), bit for bit where both use FMA on the same panels.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod bodies;
mod bytes;
mod generic;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;
#[cfg(test)]
mod tests;

use crate::conv2d::{ConvSpec, PackedConvF32, operand_bytes, position, saturating_macs};
use crate::gemm_f32::split::{chunks_for_macs, share};
use crate::gemm_f32::{RowsArgs, Tail};
use crate::isa::Isa;
use crate::operator::{Io, KernelError, KernelInfo, Operator};
use depthwise_tensor::{Activation, ConvGeometry};
use std::fmt;
use std::sync::Arc;

pub use bytes::Pixels;
use bytes::{LineArgs, Lines};

const FAMILY: &str = "stem_f32";

/// Elements between the windows of neighbouring outputs that kernels exist for: 1 and 3 channels
/// at stride 1 and 2.
pub const STEPS: [usize; 4] = [1, 2, 3, 6];

/// A register tile of pixels of one line.
pub struct Kernel {
    name: &'static str,
    isa: Isa,
    /// Pixels of a tile.
    mr: usize,
    /// Columns: output channels of a tile.
    nr: usize,
    /// One per entry of [`STEPS`].
    tiles: [unsafe fn(&TileArgs); STEPS.len()],
    /// Makes numbers of a line of bytes.
    convert: unsafe fn(&LineArgs<'_>),
}

/// All kernels, best first.
pub static KERNELS: &[Kernel] = &[
    #[cfg(target_arch = "x86_64")]
    avx512::K8X48,
    #[cfg(target_arch = "x86_64")]
    avx512::K14X32,
    #[cfg(target_arch = "x86_64")]
    avx512::K14X16,
    #[cfg(target_arch = "x86_64")]
    avx512::K9X24,
    #[cfg(target_arch = "x86_64")]
    avx512::K14X8,
    #[cfg(target_arch = "x86_64")]
    avx2::K6X16,
    #[cfg(target_arch = "x86_64")]
    avx2::K3X24,
    #[cfg(target_arch = "x86_64")]
    avx2::K10X8,
    #[cfg(target_arch = "aarch64")]
    neon::K8X8,
    #[cfg(target_arch = "aarch64")]
    neon::K8X4,
    scalar::K4X8,
    scalar::K4X4,
];

impl Kernel {
    /// Name and level.
    pub fn info(&self) -> KernelInfo {
        KernelInfo::new(self.name, self.isa)
    }

    /// Pixels of a tile.
    pub fn mr(&self) -> usize {
        self.mr
    }

    /// Columns of a tile.
    pub fn nr(&self) -> usize {
        self.nr
    }

    /// The kernel for panels of this level and width.
    fn find(isa: Isa, nr: usize) -> Option<&'static Kernel> {
        KERNELS.iter().find(|kernel| kernel.isa == isa && kernel.nr == nr)
    }
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// One tile of one panel.
///
/// # Safety
/// For those who call a tile of `mr` pixels and `nr` columns with step `step`:
/// - `lines` has `count` pointers, each with `(mr - 1) * step + run` elements behind it that are
///   valid for reads.
/// - `count * run * nr` elements of `b` and `nr` of `bias` are valid for reads.
/// - `nr` elements from `y + r * ld` on are valid for writes, `r < mr`, and overlap no input.
pub(crate) struct TileArgs {
    lines: *const *const f32,
    /// Kernel rows.
    count: usize,
    /// Elements of a kernel row.
    run: usize,
    b: *const f32,
    bias: *const f32,
    y: *mut f32,
    ld: usize,
    tail: Tail,
}

/// The first convolution of a picture network. Input `[x]`, output `[y]`.
#[derive(Debug)]
pub struct StemF32 {
    weights: Arc<PackedConvF32>,
    /// One per panel.
    kernels: Vec<&'static Kernel>,
    geometry: ConvGeometry,
    ld_in: usize,
    ld_out: usize,
    /// Position in [`STEPS`].
    step: usize,
    tail: Tail,
    /// An activation too long for the registers of a tile.
    pass: Option<Activation>,
    chunks: usize,
    macs: u64,
    /// How lines of bytes are converted; `None` of a picture of numbers.
    bytes: Option<Lines>,
    /// Elements of one copied line: of the widest tile, or a whole one of bytes.
    line: usize,
    /// A line of the picture outside the picture.
    zeros: Vec<f32>,
    scratch_bytes: usize,
    input_bytes: Vec<usize>,
    output_bytes: [usize; 1],
}

impl StemF32 {
    /// Whether this family computes the convolution: one group, no dilation, no residual, a pixel
    /// step of [`STEPS`], and lines at least as long as a tile.
    pub fn applies(weights: &PackedConvF32, spec: &ConvSpec) -> bool {
        let g = &spec.geometry;
        let kernels = find_kernels(weights);
        g.groups == 1
            && weights.groups() == 1
            && g.dilation.area() == 1
            && spec.residual_ld.is_none()
            && step_index(g).is_some()
            && kernels.is_some_and(|all| all.iter().all(|kernel| kernel.mr <= g.output.w))
    }

    /// A convolution in up to `threads` chunks.
    ///
    /// # Errors
    /// As [`ConvF32::new`](crate::conv2d::ConvF32::new), and [`KernelError::Unsupported`] where
    /// [`StemF32::applies`] is false.
    pub fn new(
        weights: Arc<PackedConvF32>,
        spec: ConvSpec,
        threads: usize,
    ) -> Result<StemF32, KernelError> {
        StemF32::build(weights, spec, None, threads)
    }

    /// As [`StemF32::new`], of a dense picture of bytes.
    ///
    /// # Errors
    /// As [`StemF32::new`], and where `pixels` does not fit the channels or the pixels are not dense.
    pub fn of_bytes(
        weights: Arc<PackedConvF32>,
        spec: ConvSpec,
        pixels: &Pixels,
        threads: usize,
    ) -> Result<StemF32, KernelError> {
        StemF32::build(weights, spec, Some(pixels), threads)
    }

    fn build(
        weights: Arc<PackedConvF32>,
        spec: ConvSpec,
        pixels: Option<&Pixels>,
        threads: usize,
    ) -> Result<StemF32, KernelError> {
        let (mut input_bytes, output_bytes) = operand_bytes(&weights, &spec)?;
        let unsupported =
            || KernelError::Unsupported { kernel: FAMILY, reason: format!("{:?}", spec.geometry) };
        if !StemF32::applies(&weights, &spec) {
            return Err(unsupported());
        }
        let g = spec.geometry;
        let step = step_index(&g).ok_or_else(unsupported)?;
        let kernels = find_kernels(&weights).ok_or_else(unsupported)?;
        let widest = kernels.iter().map(|kernel| kernel.mr).max().unwrap_or(1);
        // At most as wide as the padded picture, whose positions `operand_bytes` has bounded.
        let mut line = (widest - 1) * STEPS[step] + g.kernel.w * g.input.c;
        let bytes = pixels.map(|pixels| Lines::new(pixels, &g)).transpose()?;
        if let Some(bytes) = &bytes {
            if spec.ld_in != g.input.c {
                return Err(unsupported());
            }
            line = bytes.elements;
            input_bytes[0] /= size_of::<f32>();
        }
        let lines = line.checked_mul(g.kernel.h * size_of::<f32>()).ok_or_else(unsupported)?;
        let table_bytes = g.kernel.h * size_of::<*const f32>();
        let macs = saturating_macs(&g);
        let chunks = chunks_for_macs(macs, threads).min((g.output.n * g.output.h).max(1));
        let (tail, pass) = Tail::of(spec.activation);
        Ok(StemF32 {
            weights,
            kernels,
            geometry: g,
            ld_in: spec.ld_in,
            ld_out: spec.ld_out,
            step,
            tail,
            pass,
            chunks,
            macs,
            zeros: if bytes.is_some() { Vec::new() } else { vec![0.0; line] },
            bytes,
            line,
            scratch_bytes: lines
                .checked_add(table_bytes + 63)
                .ok_or_else(unsupported)?
                .next_multiple_of(64),
            input_bytes,
            output_bytes,
        })
    }

    /// Extents, and the strides of input and output.
    pub(crate) fn layout(&self) -> (&ConvGeometry, usize, usize) {
        (&self.geometry, self.ld_in, self.ld_out)
    }

    /// Bytes that [`StemF32::run_line`] needs.
    pub(crate) fn line_scratch_bytes(&self) -> usize {
        self.scratch_bytes
    }

    /// Computes one line of the output.
    ///
    /// # Safety
    /// As [`Operator::run_chunk`], for this line of the output alone; nobody else writes it or
    /// uses `scratch`, which has [`StemF32::line_scratch_bytes`].
    pub(crate) unsafe fn run_line(&self, io: &Io<'_>, scratch: *mut u8, line: usize) {
        let g = &self.geometry;
        let y = io.output::<f32>(0).wrapping_add(line * g.output.w * self.ld_out);
        let table = scratch.cast::<*const f32>();
        let copies = table.wrapping_add(g.kernel.h).cast::<f32>();
        let matrix = self.weights.group(0);
        if let Some(bytes) = &self.bytes {
            // SAFETY: the copies lie in the chunk's scratch memory.
            unsafe { self.convert_lines(bytes, io.input(0), copies, line) };
        }
        for (panel, kernel) in matrix.panels().iter().zip(&self.kernels) {
            let mut args = TileArgs {
                lines: table,
                count: g.kernel.h,
                run: g.kernel.w * g.input.c,
                b: matrix.panel(panel),
                bias: matrix.bias(panel),
                y,
                ld: self.ld_out,
                tail: self.tail,
            };
            for start in (0..g.output.w).step_by(kernel.mr) {
                // The last tile overlaps its neighbour: lines are at least as long as a tile.
                let ow = start.min(g.output.w - kernel.mr);
                args.y = y.wrapping_add(ow * self.ld_out + panel.col);
                // SAFETY: the table and the copies lie in the chunk's scratch memory; then every
                // line holds what a tile reads; the tile's pixels and panel lie in the output.
                unsafe {
                    match self.bytes {
                        None => self.fill(io.input(0), (table, copies), line, ow, kernel.mr),
                        Some(_) => self.point(table, copies, ow),
                    }
                    (kernel.tiles[self.step])(&args);
                }
            }
            if let Some(act) = self.pass {
                let c = y.wrapping_add(panel.col);
                let (rows, width, ld) = (g.output.w, kernel.nr, self.ld_out);
                let args = RowsArgs { rows, width, x: c, ldx: ld, bias: args.bias, c, ldc: ld };
                // SAFETY: this panel of the pixels of this line, just written.
                unsafe { (panel.kernel.row_ops().activate)(&args, act) };
            }
        }
    }

    /// Says where the kernel rows of the tile of `mr` pixels from `ow` on start: in the picture
    /// where they lie inside it, else in zeros or in a copy.
    ///
    /// # Safety
    /// - `table` is valid for writes of a pointer per kernel row, `copies` of a line per kernel row.
    /// - The first input of [`Operator::input_bytes`] is valid for reads from `x` on.
    #[inline(always)]
    unsafe fn fill(
        &self,
        x: *const f32,
        (table, copies): (*mut *const f32, *mut f32),
        line: usize,
        ow: usize,
        mr: usize,
    ) {
        let g = &self.geometry;
        let (n, oh) = (line / g.output.h, line % g.output.h);
        let first = position(&g.cols(), ow, 0);
        // Pixels that the tile reads of each line.
        let span = (mr - 1) * g.stride.w + g.kernel.w;
        let inside = first < g.input.w && span <= g.input.w - first;
        for kh in 0..g.kernel.h {
            let ih = position(&g.rows(), oh, kh);
            let start = if ih >= g.input.h {
                self.zeros.as_ptr()
            } else {
                let row = x.wrapping_add((n * g.input.h + ih) * g.input.w * self.ld_in);
                if inside && self.ld_in == g.input.c {
                    row.wrapping_add(first * self.ld_in)
                } else {
                    let copy = copies.wrapping_add(kh * self.line);
                    // SAFETY: row `ih` of the picture; the copy's line.
                    unsafe { self.copy_line(row, copy, first, span) };
                    copy
                }
            };
            // SAFETY: entry `kh` of the table.
            unsafe { *table.add(kh) = start };
        }
    }

    /// Converts the lines that a line of the output sees.
    ///
    /// # Safety
    /// - The first input of [`Operator::input_bytes`] is valid for reads from `x` on.
    /// - `copies` is valid for writes of a line per kernel row.
    unsafe fn convert_lines(&self, bytes: &Lines, x: *const u8, copies: *mut f32, line: usize) {
        let g = &self.geometry;
        let (n, oh) = (line / g.output.h, line % g.output.h);
        for kh in 0..g.kernel.h {
            let ih = position(&g.rows(), oh, kh);
            let row = x.wrapping_add((n * g.input.h + ih.min(g.input.h)) * g.input.w * g.input.c);
            let copy = copies.wrapping_add(kh * self.line);
            // SAFETY: row `ih` of the picture, if it is one; the copy's line; packing has checked
            // that the CPU has the level of the kernels.
            unsafe { bytes.fill((ih < g.input.h).then_some(row), copy, self.kernels[0].convert) };
        }
    }

    /// Says where the kernel rows of the tile from `ow` on start in lines that were converted.
    ///
    /// # Safety
    /// - `table` is valid for writes of a pointer per kernel row.
    unsafe fn point(&self, table: *mut *const f32, copies: *const f32, ow: usize) {
        for kh in 0..self.geometry.kernel.h {
            // SAFETY: entry `kh` of the table.
            unsafe { *table.add(kh) = copies.wrapping_add(kh * self.line + ow * STEPS[self.step]) };
        }
    }

    /// Copies `span` pixels from `first` on, densely; zeros for those outside the picture.
    ///
    /// # Safety
    /// - `row` is a line of the input, `copy` valid for writes of `span` pixels.
    unsafe fn copy_line(&self, row: *const f32, copy: *mut f32, first: usize, span: usize) {
        let (width, c) = (self.geometry.input.w, self.geometry.input.c);
        debug_assert!(span * c <= self.line);
        for i in 0..span {
            let iw = first.wrapping_add(i);
            for ic in 0..c {
                // SAFETY: a pixel of the line; element `i * c + ic` of the copy.
                unsafe {
                    let value = if iw < width { *row.add(iw * self.ld_in + ic) } else { 0.0 };
                    *copy.add(i * c + ic) = value;
                }
            }
        }
    }
}

fn step_index(g: &ConvGeometry) -> Option<usize> {
    let step = g.stride.w.checked_mul(g.input.c)?;
    STEPS.iter().position(|&s| s == step)
}

/// A kernel for each panel of the only group.
fn find_kernels(weights: &PackedConvF32) -> Option<Vec<&'static Kernel>> {
    let panels = weights.group(0).panels().iter();
    panels.map(|panel| Kernel::find(panel.kernel.info().isa, panel.kernel.nr())).collect()
}

// SAFETY: `operand_bytes` sizes the operands for whole pixels; each chunk writes whole lines of its
// own. `fill` reads inside the picture.
unsafe impl Operator for StemF32 {
    fn kernel(&self) -> &'static str {
        self.kernels.first().map_or(FAMILY, |kernel| kernel.name)
    }

    fn input_bytes(&self) -> &[usize] {
        &self.input_bytes
    }

    fn output_bytes(&self) -> &[usize] {
        &self.output_bytes
    }

    fn scratch_bytes(&self) -> usize {
        self.scratch_bytes * self.chunks
    }

    fn chunks(&self) -> usize {
        self.chunks
    }

    fn macs(&self) -> u64 {
        self.macs
    }

    fn packed_bytes(&self) -> usize {
        self.weights.bytes()
    }

    unsafe fn run_chunk(&self, io: &Io<'_>, chunk: usize) {
        debug_assert!(chunk < self.chunks);
        let scratch = io.scratch::<u8>().wrapping_add(chunk * self.scratch_bytes);
        for line in share(self.geometry.output.n * self.geometry.output.h, self.chunks, chunk) {
            // SAFETY: as the caller promises; the line belongs to this chunk.
            unsafe { self.run_line(io, scratch, line) };
        }
    }
}
