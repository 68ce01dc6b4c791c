//! Convolution of any kernel size, as an implicit matrix product.
//!
//! `y[n,oh,ow,oc] = act(bias[oc] + residual[n,oh,ow,oc] + sum over kh,kw,ic of x[n,ih,iw,ic] *
//! w[oc,kh,kw,ic])` with `ih = oh * stride + kh * dilation - pad` and likewise `iw`; `ic` runs over
//! the channels of the group of `oc`; positions outside the input count as 0.
//!
//! | operand | layout |
//! |---|---|
//! | `x` | NHWC, any pixel stride `ld_in >= ic` |
//! | `w` | OHWI `[oc][kh][kw][ic / groups]`, packed once by [`PackedConvF32`] |
//! | `residual`, `y` | NHWC, vector-padded pixel strides |
//!
//! # How
//! The tiles of [`gemm_f32`], an output pixel per row, `kh * kw * ic` deep. No
//! matrix of patches is built: a table says for each pixel of a block of 64 and for each tap where
//! its channels start; taps in the padding start in a row of zeros. One table serves all columns.
//! Per pixel, tap and panel that is one load of an address for `ic` rows of FMAs. Layers with few
//! input channels go to [`stem`](crate::stem) instead; [`operator`] chooses.
//!
//! Each group is a product of its own. Where the columns of a group are no whole panels, tiles are
//! stored apart and their valid columns copied.
//!
//! # Numerics
//! As [`gemm_f32`], with `(kh, kw, ic)` ascending. Taps in the padding are
//! multiplied as zeros, so infinite weights give NaN there. NaN in `x` comes out in every output of
//! its group whose window holds it, and nowhere else.

mod pack;
#[cfg(test)]
pub(crate) mod tests;

#[cfg(target_arch = "aarch64")]
use crate::gemm_f32::neon;
use crate::gemm_f32::split::{Split, chunks_for_macs};
use crate::gemm_f32::{
    self, IndirectArgs, Panel, RowsArgs, Tail, padded_bytes, rows_bytes, scalar,
};
#[cfg(target_arch = "x86_64")]
use crate::gemm_f32::{avx2, avx512};
use crate::operator::{Io, KernelError, KernelInfo, Operator};
use crate::stem::StemF32;
use depthwise_tensor::{Activation, ConvGeometry, WindowAxis};
pub use pack::PackedConvF32;
use std::ops::Range;
use std::sync::Arc;

pub(crate) const FAMILY: &str = "conv2d_f32";

/// A register tile of [`gemm_f32`] that reads its rows through a table.
#[derive(Debug)]
pub struct Kernel {
    name: &'static str,
    pub(crate) tile: &'static gemm_f32::Kernel,
}

/// All kernels, best first.
pub static KERNELS: &[Kernel] = &[
    #[cfg(target_arch = "x86_64")]
    Kernel { name: "conv2d_f32_8x48_avx512", tile: &avx512::K8X48 },
    #[cfg(target_arch = "x86_64")]
    Kernel { name: "conv2d_f32_8x32_avx512", tile: &avx512::K8X32 },
    #[cfg(target_arch = "x86_64")]
    Kernel { name: "conv2d_f32_8x16_avx512", tile: &avx512::K8X16 },
    #[cfg(target_arch = "x86_64")]
    Kernel { name: "conv2d_f32_9x24_avx512", tile: &avx512::K9X24 },
    #[cfg(target_arch = "x86_64")]
    Kernel { name: "conv2d_f32_9x8_avx512", tile: &avx512::K9X8 },
    #[cfg(target_arch = "x86_64")]
    Kernel { name: "conv2d_f32_6x16_avx2", tile: &avx2::K6X16 },
    #[cfg(target_arch = "x86_64")]
    Kernel { name: "conv2d_f32_3x24_avx2", tile: &avx2::K3X24 },
    #[cfg(target_arch = "x86_64")]
    Kernel { name: "conv2d_f32_10x8_avx2", tile: &avx2::K10X8 },
    #[cfg(target_arch = "aarch64")]
    Kernel { name: "conv2d_f32_8x8_neon", tile: &neon::K8X8 },
    #[cfg(target_arch = "aarch64")]
    Kernel { name: "conv2d_f32_8x4_neon", tile: &neon::K8X4 },
    Kernel { name: "conv2d_f32_4x8_scalar", tile: &scalar::K4X8 },
    Kernel { name: "conv2d_f32_4x4_scalar", tile: &scalar::K4X4 },
];

impl Kernel {
    /// Name and level.
    pub fn info(&self) -> KernelInfo {
        KernelInfo { name: self.name, ..self.tile.info() }
    }

    /// Rows of the tallest tile.
    pub fn mr(&self) -> usize {
        self.tile.mr()
    }

    /// Columns of a tile.
    pub fn nr(&self) -> usize {
        self.tile.nr()
    }
}

/// Shape and layout of one convolution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConvSpec {
    /// Extents, kernel, stride, dilation, padding and groups.
    pub geometry: ConvGeometry,
    /// Elements from one input pixel to the next, at least the input channels.
    pub ld_in: usize,
    /// Elements from one output pixel to the next: a multiple of 16, at least the output channels.
    pub ld_out: usize,
    /// Elements from one pixel of the residual to the next, where there is one: as `ld_out`.
    pub residual_ld: Option<usize>,
    /// Applied last, after bias and residual.
    pub activation: Activation,
}

/// The best operator for this convolution: [`StemF32`] where it applies, else [`ConvF32`].
///
/// # Errors
/// As [`ConvF32::new`].
pub fn operator(
    weights: Arc<PackedConvF32>,
    spec: ConvSpec,
    threads: usize,
) -> Result<Arc<dyn Operator>, KernelError> {
    if StemF32::applies(&weights, &spec) {
        return Ok(Arc::new(StemF32::new(weights, spec, threads)?));
    }
    Ok(Arc::new(ConvF32::new(weights, spec, threads)?))
}

/// Convolution with packed weights. Inputs `[x]` or `[x, residual]`, output `[y]`.
#[derive(Debug)]
pub struct ConvF32 {
    weights: Arc<PackedConvF32>,
    geometry: ConvGeometry,
    ld_in: usize,
    ld_out: usize,
    residual_ld: Option<usize>,
    tail: Tail,
    /// An activation too long for the registers of a tile.
    pass: Option<Activation>,
    split: Split,
    macs: u64,
    /// Pixels that share a table.
    block: usize,
    /// What taps in the padding read: zeros for all channels.
    zeros: Vec<f32>,
    /// Bytes of scratch memory of each chunk: the table, then tiles that are stored apart.
    scratch_bytes: usize,
    table_bytes: usize,
    input_bytes: Vec<usize>,
    output_bytes: [usize; 1],
}

/// Boundaries between chunks lie on multiples of this many pixels, close to every tile's height.
const GRAIN: usize = 8;

impl ConvF32 {
    /// A convolution in up to `threads` chunks.
    ///
    /// # Errors
    /// [`KernelError::Invalid`] where the geometry is not that of the weights, for strides below
    /// the number of channels, and for sizes that overflow; [`KernelError::Unsupported`] for a
    /// stride of the output or residual that is not a multiple of 16.
    pub fn new(
        weights: Arc<PackedConvF32>,
        spec: ConvSpec,
        threads: usize,
    ) -> Result<ConvF32, KernelError> {
        let (input_bytes, output_bytes) = operand_bytes(&weights, &spec)?;
        let ConvSpec { geometry, ld_in, ld_out, residual_ld, activation } = spec;
        let taps = geometry.kernel.area();
        let pixels = geometry.output.pixels();
        let macs = saturating_macs(&geometry);
        let chunks = chunks_for_macs(macs, threads);
        let split = Split::new(pixels, weights.width() * weights.groups(), chunks);
        let (tail, pass) = Tail::of(activation);
        // Large kernels get smaller blocks, so that the table stays in L1.
        let block = (4096 / taps.max(1)).clamp(GRAIN, gemm_f32::BLOCK);
        let table_bytes = (taps * block * size_of::<*const f32>()).next_multiple_of(64);
        let apart = if weights.is_staged() { block * weights.widest_panel() } else { 0 };
        let scratch_bytes = (table_bytes + apart * size_of::<f32>()).next_multiple_of(64);
        Ok(ConvF32 {
            zeros: vec![0.0; geometry.input.c],
            weights,
            geometry,
            ld_in,
            ld_out,
            residual_ld,
            tail,
            pass,
            split,
            macs,
            block,
            scratch_bytes,
            table_bytes,
            input_bytes,
            output_bytes,
        })
    }

    /// The panels with the columns that they have in the split: groups side by side.
    fn panels(&self) -> impl Iterator<Item = (usize, &Panel, usize)> {
        (0..self.weights.groups()).flat_map(move |group| {
            let panels = self.weights.group(group).panels().iter();
            panels.map(move |panel| (group, panel, group * self.weights.width() + panel.col))
        })
    }

    fn rows(&self, chunk: usize, panel: &Panel, col: usize) -> Range<usize> {
        self.split.rows(chunk, col, panel.kernel.nr(), GRAIN)
    }

    /// Fills the table `[tap][pixel of the block]` with where each tap of each pixel starts.
    ///
    /// # Safety
    /// - `table` is valid for writes of `taps * block` pointers.
    /// - `pixels` are at most `block` pixels of the output.
    unsafe fn fill(&self, x: *const f32, table: *mut *const f32, pixels: Range<usize>) {
        debug_assert!(pixels.len() <= self.block);
        let g = &self.geometry;
        let (rows, cols) = (g.rows(), g.cols());
        for (i, pixel) in pixels.enumerate() {
            let (ow, line) = (pixel % g.output.w, pixel / g.output.w);
            let (oh, n) = (line % g.output.h, line / g.output.h);
            let mut entry = table.wrapping_add(i);
            for kh in 0..g.kernel.h {
                let ih = position(&rows, oh, kh);
                for kw in 0..g.kernel.w {
                    let iw = position(&cols, ow, kw);
                    let start = if ih < g.input.h && iw < g.input.w {
                        x.wrapping_add(((n * g.input.h + ih) * g.input.w + iw) * self.ld_in)
                    } else {
                        self.zeros.as_ptr()
                    };
                    // SAFETY: entry `tap * block + i` of the table.
                    unsafe { *entry = start };
                    entry = entry.wrapping_add(self.block);
                }
            }
        }
    }

    /// Computes rows of one panel whose table starts at pixel `first`.
    ///
    /// # Safety
    /// As [`Operator::run_chunk`]; the rows of this panel belong to the chunk and lie in the block
    /// that the table was filled for.
    unsafe fn run_panel(
        &self,
        io: &Io<'_>,
        scratch: *mut u8,
        (group, panel): (usize, &Panel),
        rows: Range<usize>,
        first: usize,
    ) {
        let weights = self.weights.group(group);
        let (kernel, ops) = (panel.kernel, panel.kernel.row_ops());
        let per_group = self.geometry.input.c / self.weights.groups();
        let col = group * weights.n() + panel.col;
        let y = io.output::<f32>(0).wrapping_add(rows.start * self.ld_out + col);
        let staged = self.weights.is_staged();
        let (c, ldc) = if staged {
            (scratch.wrapping_add(self.table_bytes).cast::<f32>(), kernel.nr())
        } else {
            (y, self.ld_out)
        };
        // Columns of the panel that are channels of this group.
        let valid = kernel.nr().min(weights.n() - panel.col);
        let bias = weights.bias(panel);
        let mut args = IndirectArgs {
            tiles: 0,
            taps: self.geometry.kernel.area(),
            run: per_group,
            table: scratch.cast::<*const f32>().wrapping_add(rows.start - first),
            table_ld: self.block,
            offset: group * per_group,
            b: weights.panel(panel),
            ldb: kernel.nr(),
            init: bias,
            init_ld: 0,
            c,
            ldc,
            tail: self.tail,
        };
        let mut of_rows =
            RowsArgs { rows: rows.len(), width: kernel.nr(), x: c, ldx: ldc, bias, c, ldc };
        // SAFETY: the table holds pointers to `ic` elements of the input or of the zeros; `c` is
        // the block's memory of whole panels, or rows of the output that hold whole panels (as
        // `operand_bytes` and `is_staged` have it); the residual likewise; packing has chosen
        // kernels that the CPU supports.
        unsafe {
            if let Some(ldx) = self.residual_ld {
                let residual = io.input::<f32>(1).wrapping_add(rows.start * ldx + col);
                if staged {
                    copy_columns(residual, ldx, c, ldc, rows.len(), valid);
                } else {
                    (of_rows.x, of_rows.ldx) = (residual, ldx);
                }
                (ops.add_bias)(&of_rows);
                (args.init, args.init_ld) = (c.cast_const(), ldc);
            }
            kernel.run_indirect(args, rows.len());
            if let Some(act) = self.pass {
                (ops.activate)(&of_rows, act);
            }
            if staged {
                copy_columns(c, ldc, y, self.ld_out, rows.len(), valid);
            }
        }
    }
}

/// Where tap `k` of window `o` falls on this axis; outside the input, a number at least its extent.
#[inline]
pub(crate) fn position(axis: &WindowAxis, o: usize, k: usize) -> usize {
    (o * axis.stride + k * axis.dilation).wrapping_sub(axis.pad_before)
}

/// [`ConvGeometry::macs`] of extents that may not fit.
pub(crate) fn saturating_macs(g: &ConvGeometry) -> u64 {
    let per_output = g.kernel.area() * (g.input.c / g.groups);
    [g.output.h, g.output.w, g.output.c, per_output]
        .into_iter()
        .fold(g.output.n as u64, |product, factor| product.saturating_mul(factor as u64))
}

/// Copies the first `count` elements of each row.
///
/// # Safety
/// - `count` elements of each row of `from` are valid for reads, of `to` for writes; they do not
///   overlap.
unsafe fn copy_columns(
    from: *const f32,
    ld_from: usize,
    to: *mut f32,
    ld_to: usize,
    rows: usize,
    count: usize,
) {
    for r in 0..rows {
        // SAFETY: as the caller promises.
        unsafe { from.add(r * ld_from).copy_to_nonoverlapping(to.add(r * ld_to), count) };
    }
}

/// Checks a specification against the weights; bytes of the inputs and of the output.
pub(crate) fn operand_bytes(
    weights: &PackedConvF32,
    spec: &ConvSpec,
) -> Result<(Vec<usize>, [usize; 1]), KernelError> {
    let g = &spec.geometry;
    let invalid = |reason| Err(KernelError::Invalid { kernel: FAMILY, reason });
    let got = (g.kernel, g.input.c, g.output.c, g.groups);
    let want = (weights.kernel(), weights.in_channels(), weights.out_channels(), weights.groups());
    if got != want {
        return invalid(format!(
            "weights are (kernel, in, out, groups) {want:?}, the geometry has {got:?}"
        ));
    }
    for axis in [g.rows(), g.cols()] {
        let reach = axis.output.checked_mul(axis.stride).and_then(|start| {
            axis.kernel.checked_mul(axis.dilation).and_then(|span| start.checked_add(span))
        });
        // An `isize` at most, so that positions in front of the input wrap to large numbers.
        if reach.is_none_or(|reach| reach > isize::MAX as usize)
            || axis.pad_before > isize::MAX as usize
        {
            return invalid(format!("a window of {axis:?} overflows"));
        }
    }
    let pixels = |what, n: usize, h: usize, w: usize| {
        n.checked_mul(h).and_then(|lines| lines.checked_mul(w)).ok_or_else(|| {
            let reason = format!("{what} of {n} x {h} x {w} pixels overflows");
            KernelError::Invalid { kernel: FAMILY, reason }
        })
    };
    let rows = pixels("an output", g.output.n, g.output.h, g.output.w)?;
    let in_rows = pixels("an input", g.input.n, g.input.h, g.input.w)?;
    let oc = weights.out_channels();
    let width = if weights.is_staged() { oc } else { weights.width() * weights.groups() };
    let mut inputs = vec![rows_bytes(FAMILY, "the input", in_rows, g.input.c, spec.ld_in)?];
    if let Some(ld) = spec.residual_ld {
        inputs.push(padded_bytes(FAMILY, "the residual", rows, oc, width, ld)?);
    }
    let output = padded_bytes(FAMILY, "the output", rows, oc, width, spec.ld_out)?;
    if g.input.n != g.output.n {
        return invalid(format!("{} pictures in, {} out", g.input.n, g.output.n));
    }
    Ok((inputs, [output]))
}

// SAFETY: `operand_bytes` sizes the operands for whole pixels; `split` gives each pixel of each
// panel to one chunk, and panels write disjoint columns (whole panels of the one group, or the
// valid columns of staged ones). Each chunk has its own part of the scratch memory. A chunk reads
// the residual only where it writes.
unsafe impl Operator for ConvF32 {
    fn kernel(&self) -> &'static str {
        self.weights.kernel_name()
    }

    fn input_bytes(&self) -> &[usize] {
        &self.input_bytes
    }

    fn output_bytes(&self) -> &[usize] {
        &self.output_bytes
    }

    fn scratch_bytes(&self) -> usize {
        self.scratch_bytes * self.chunks()
    }

    fn in_place(&self, i: usize) -> bool {
        i == 1 && self.residual_ld == Some(self.ld_out)
    }

    fn chunks(&self) -> usize {
        self.split.chunks()
    }

    fn macs(&self) -> u64 {
        self.macs
    }

    fn packed_bytes(&self) -> usize {
        self.weights.bytes()
    }

    unsafe fn run_chunk(&self, io: &Io<'_>, chunk: usize) {
        debug_assert!(chunk < self.chunks());
        let scratch = io.scratch::<u8>().wrapping_add(chunk * self.scratch_bytes);
        let of = |panel, col| self.rows(chunk, panel, col);
        let ranges = || self.panels().map(|(_, panel, col)| of(panel, col));
        let busy = || ranges().filter(|rows| !rows.is_empty());
        let Some(start) = busy().map(|rows| rows.start).min() else { return };
        let end = busy().map(|rows| rows.end).max().unwrap_or(start);
        for first in (start..end).step_by(self.block) {
            let last = end.min(first + self.block);
            // SAFETY: the chunk's scratch memory starts with a table of `taps * block` pointers.
            unsafe { self.fill(io.input(0), scratch.cast(), first..last) };
            for (group, panel, col) in self.panels() {
                let rows = of(panel, col);
                let rows = rows.start.max(first)..rows.end.min(last);
                if !rows.is_empty() {
                    // SAFETY: as the caller promises; `split` gives these pixels to this chunk.
                    unsafe { self.run_panel(io, scratch, (group, panel), rows, first) };
                }
            }
        }
    }
}
