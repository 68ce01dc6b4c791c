//! Matrix product of bfloat16, summed in `f32`: pointwise convolutions, dense layers, convolutions of any
//! window.
//!
//! `c[i][j] = act(bias[j] + sum_p bf16(a[i][p]) * bf16(b[j][p]) + residual[i][j])`, `i < m`, `j < n`, `p < k`.
//!
//! | operand | layout |
//! |---|---|
//! | `a` | `f32`: `m` rows of `k`, `lda >= k` apart, or an NHWC picture, a row being the window of an output pixel |
//! | `b` | weights `[n][k]`, rounded and packed once into panels of [`PackedGemmBf16`] |
//! | `residual`, `c` | `f32`: `m` rows of `n`, vector-padded strides |
//!
//! # How
//! A block of rows of `a` is rounded into scratch memory; then every panel of `b` meets it, by the register
//! tiles of [`gemm_f32`](crate::gemm_f32) with a pair of bfloat16 in the place of a number:
//!
//! ```text
//!                        b[p..p+2][0..]  b[p..p+2][16..]    1 load each
//!   a[0][p..p+2]  ---->  sums            sums               1 broadcast per row, 1 vdpbf16ps per sum
//! ```
//! That is half the instructions and half the bytes of weights. Tensors stay `f32`: what stands between
//! the products (depthwise layers, residuals, activations) computes in `f32`, and to round a block costs
//! one product per column. A window is gathered while it is rounded; no matrix of patches is built.
//!
//! # Numerics
//! `a` and `b` are rounded to nearest even, with 8 significant bits; a relative error of 2^-9 each.
//! Denormals of both, and of the sums, count as zeros. Each product is added by a fused multiply-add, from
//! the bias on: pairs in ascending order, the second of a pair first. The residual comes last. A
//! product of one row sums even and odd pairs apart. Every kernel gives the same bits, the scalar one
//! too, which spells the instructions out: it is there to see on any CPU what they do to a network, and
//! slow. NaN passes through as in `gemm_f32`; a finite number above 3.39e38 becomes infinite.

#[cfg(target_arch = "x86_64")]
mod avx512;
mod bodies;
mod generic;
mod pack;
mod scalar;
#[cfg(test)]
mod tests;

use crate::arch::bf16::Pair;
use crate::conv2d::ConvSpec;
use crate::gather::{GatherArgs, Source, row_stride};
use crate::gemm_f32::split::chunks_for_macs;
use crate::gemm_f32::{
    BLOCK, FEW_ROWS, GemmSpec, RowOps, RowsArgs, Tail, TileArgs, padded_bytes, run_tiles,
};
use crate::isa::{Extension, Isa};
use crate::operator::{Io, KernelError, KernelInfo, Operator};
use crate::spatial::{invalid, share};
use depthwise_tensor::Activation;
use depthwise_tensor::buf::ALIGN;
pub use pack::PackedGemmBf16;
use pack::Panel;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

const FAMILY: &str = "gemm_bf16";

/// A register tile with the functions that compute it.
pub struct Kernel {
    name: &'static str,
    isa: Isa,
    extension: Option<Extension>,
    /// Columns of a tile.
    nr: usize,
    /// Entry `i` computes tiles of `i + 1` rows.
    tiles: &'static [unsafe fn(&TileArgs<Pair>)],
    /// A single row, bound by the reading of `b`.
    row: unsafe fn(&TileArgs<Pair>),
    /// Rounds rows of `a`.
    gather: unsafe fn(&GatherArgs<'_>),
    ops: &'static RowOps,
}

/// All kernels, best first.
pub static KERNELS: &[&Kernel] = &[
    #[cfg(target_arch = "x86_64")]
    &avx512::K8X48,
    #[cfg(target_arch = "x86_64")]
    &avx512::K8X32,
    #[cfg(target_arch = "x86_64")]
    &avx512::K8X16,
    #[cfg(target_arch = "x86_64")]
    &avx512::K9X24,
    #[cfg(target_arch = "x86_64")]
    &avx512::K9X8,
    &scalar::K4X8,
    &scalar::K4X4,
];

impl Kernel {
    /// Name and level.
    pub fn info(&self) -> KernelInfo {
        KernelInfo { extension: self.extension, ..KernelInfo::new(self.name, self.isa) }
    }

    /// Rows of the tallest tile.
    pub fn mr(&self) -> usize {
        self.tiles.len()
    }

    /// Columns of a tile.
    pub fn nr(&self) -> usize {
        self.nr
    }
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Bytes of rounded rows that every panel meets before the next ones are made: they stay in L2 beside a
/// panel. Not tuned.
const BLOCK_BYTES: usize = 48 * 1024;

/// Matrix product of bfloat16 with packed weights. Inputs `[a]` or `[a, residual]`, output `[c]`.
#[derive(Debug)]
pub struct GemmBf16 {
    weights: Arc<PackedGemmBf16>,
    source: Source,
    ldc: usize,
    residual_ld: Option<usize>,
    tail: Tail,
    /// An activation too long for the registers of a tile.
    pass: Option<Activation>,
    /// Whether chunks divide rows, else panels.
    by_rows: bool,
    chunks: usize,
    /// Rows rounded at a time, and elements from one to the next.
    block: usize,
    ld: usize,
    /// Scratch memory of a chunk: a block.
    chunk_bytes: usize,
    input_bytes: Vec<usize>,
    output_bytes: [usize; 1],
}

impl GemmBf16 {
    /// A product of `spec.m` rows, in up to `threads` chunks.
    ///
    /// # Errors
    /// [`KernelError::Invalid`] for strides below the number of columns and for sizes that overflow,
    /// [`KernelError::Unsupported`] for a stride of `c` or of the residual that is not a multiple of 16.
    pub fn new(
        weights: Arc<PackedGemmBf16>,
        spec: GemmSpec,
        threads: usize,
    ) -> Result<GemmBf16, KernelError> {
        let GemmSpec { m, lda, ldc, residual_ld, activation } = spec;
        let channels = weights.k();
        let source = Source::Rows { rows: m, lda };
        GemmBf16::of(weights, (source, channels), (ldc, residual_ld), activation, threads)
    }

    /// A convolution of one group, in up to `threads` chunks: weights `[oc][kh][kw][ic]` are `[n][k]`.
    ///
    /// # Errors
    /// As [`GemmBf16::new`], and [`KernelError::Invalid`] where the geometry is not that of the weights.
    pub fn convolution(
        weights: Arc<PackedGemmBf16>,
        spec: ConvSpec,
        threads: usize,
    ) -> Result<GemmBf16, KernelError> {
        let ConvSpec { geometry: g, ld_in, ld_out, residual_ld, activation } = spec;
        let depth = g.kernel.h.checked_mul(g.kernel.w).and_then(|taps| taps.checked_mul(g.input.c));
        let fits = depth == Some(weights.k()) && g.output.c == weights.n();
        if !fits || g.groups != 1 || g.input.n != g.output.n {
            let (k, n) = (weights.k(), weights.n());
            return Err(invalid(FAMILY, format!("{g:?}, but weights of {n} x {k}")));
        }
        let source = Source::Window { geometry: g, ld: ld_in };
        let outputs = (ld_out, residual_ld);
        GemmBf16::of(weights, (source, g.input.c), outputs, activation, threads)
    }

    fn of(
        weights: Arc<PackedGemmBf16>,
        (source, channels): (Source, usize),
        (ldc, residual_ld): (usize, Option<usize>),
        activation: Activation,
        threads: usize,
    ) -> Result<GemmBf16, KernelError> {
        let (k, n, width) = (weights.k(), weights.n(), weights.width());
        let mut input_bytes = vec![source.bytes(FAMILY, channels, size_of::<f32>())?];
        let rows = source.rows();
        let output_bytes = [padded_bytes(FAMILY, "c", rows, n, width, ldc)?];
        if let Some(ld) = residual_ld {
            input_bytes.push(padded_bytes(FAMILY, "the residual", rows, n, width, ld)?);
        }
        let (tail, pass) = Tail::of(activation);
        let ld = row_stride(k, size_of::<u16>());
        let mr = weights.panels().first().map_or(1, |panel| panel.kernel.mr());
        let block = (BLOCK_BYTES / (size_of::<u16>() * ld)).max(1).next_multiple_of(mr);
        // With an activation of its own, what was just written should still be in L1.
        let block = if pass.is_some() { block.min(BLOCK) } else { block }.min(rows.max(1));
        let panels = weights.panels().len();
        let chunks = chunks_for_macs(macs(&weights, rows) / 2, threads);
        let by_rows = rows >= 64 * chunks || panels < chunks;
        let chunks = chunks.min(if by_rows { rows } else { panels }).max(1);
        // A block is no larger than `BLOCK_BYTES` and `mr` rows of a length that is in memory.
        let chunk_bytes = (block * ld * size_of::<u16>()).next_multiple_of(ALIGN);
        Ok(GemmBf16 {
            weights,
            source,
            ldc,
            residual_ld,
            tail,
            pass,
            by_rows,
            chunks,
            block,
            ld,
            chunk_bytes,
            input_bytes,
            output_bytes,
        })
    }

    /// Computes rows of one panel.
    ///
    /// # Safety
    /// As [`Operator::run_chunk`]; the rows of this panel belong to the chunk, and `rounded` holds them.
    unsafe fn run_panel(
        &self,
        io: &Io<'_>,
        panel: &Panel,
        rows: Range<usize>,
        rounded: *const Pair,
    ) {
        let (kernel, pairs) = (panel.kernel, self.weights.pairs());
        let bias = self.weights.bias(panel);
        // Offsets stay inside the operands: the rows exist, and the panel lies inside a row.
        let c = io.output::<f32>(0).wrapping_add(rows.start * self.ldc + panel.col);
        let mut args = TileArgs {
            tiles: 1,
            k: pairs,
            a: rounded,
            lda: self.ld / 2,
            b: self.weights.panel(panel),
            ldb: kernel.nr,
            ahead: if self.source.rows() <= FEW_ROWS { pairs * kernel.nr } else { 0 },
            init: bias,
            init_ld: 0,
            residual: std::ptr::null(),
            residual_ld: 0,
            c,
            ldc: self.ldc,
            tail: self.tail,
        };
        if let Some(ld) = self.residual_ld {
            args.residual = io.input::<f32>(1).wrapping_add(rows.start * ld + panel.col);
            args.residual_ld = ld;
        }
        // SAFETY: these rows of `c` and (if given) of the residual lie in the operands, whose lengths
        // follow from the same strides; the panel lies in the weights; packing has chosen kernels that the
        // CPU supports.
        unsafe {
            if self.source.rows() == 1 {
                (kernel.row)(&args);
            } else {
                run_tiles(kernel.tiles, args, rows.len());
            }
            if let Some(act) = self.pass {
                let (rows, width, ldc) = (rows.len(), kernel.nr, self.ldc);
                (kernel.ops.activate)(&RowsArgs { rows, width, x: c, ldx: ldc, bias, c, ldc }, act);
            }
        }
    }
}

fn macs(weights: &PackedGemmBf16, rows: usize) -> u64 {
    (rows as u64).saturating_mul(weights.n() as u64).saturating_mul(weights.k() as u64)
}

// SAFETY: `Source::bytes` and `padded_bytes` size the operands for all rows and for whole panels of each;
// chunks divide rows or panels, and panels do not overlap. Each chunk has its own part of the scratch
// memory, room for a block. A chunk reads the residual only where it writes.
unsafe impl Operator for GemmBf16 {
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
        self.chunk_bytes * self.chunks
    }

    fn in_place(&self, i: usize) -> bool {
        i == 1 && self.residual_ld == Some(self.ldc)
    }

    fn chunks(&self) -> usize {
        self.chunks
    }

    fn macs(&self) -> u64 {
        macs(&self.weights, self.source.rows())
    }

    fn packed_bytes(&self) -> usize {
        self.weights.bytes()
    }

    unsafe fn run_chunk(&self, io: &Io<'_>, chunk: usize) {
        debug_assert!(chunk < self.chunks);
        let (all, panels) = (self.source.rows(), self.weights.panels());
        let (rows, panels) = if self.by_rows {
            (share(all, self.chunks, chunk), panels)
        } else {
            (0..all, &panels[share(panels.len(), self.chunks, chunk)])
        };
        let Some(first) = panels.first() else { return };
        let scratch = io.scratch::<u8>().wrapping_add(chunk * self.chunk_bytes);
        let from = io.input::<u8>(0);
        for start in rows.clone().step_by(self.block) {
            let block = start..rows.end.min(start + self.block);
            let args = GatherArgs {
                source: &self.source,
                from,
                end: from.wrapping_add(self.input_bytes[0]),
                rows: block.clone(),
                channels: 0..self.source.channels(self.weights.k()),
                to: scratch,
                ld: self.ld,
            };
            // SAFETY: `input_bytes` reach to the last row; the scratch memory has room for a block. Rows
            // and panels are those of this chunk.
            unsafe {
                (first.kernel.gather)(&args);
                for panel in panels {
                    self.run_panel(io, panel, block.clone(), scratch.cast());
                }
            }
        }
    }
}
