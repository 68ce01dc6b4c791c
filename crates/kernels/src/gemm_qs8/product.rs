//! The driver of products: blocks of rows, panels, chunks.

use super::pack::{PackedPanels, Panel};
use super::{Finish, TileArgs};
use crate::gather::{GatherArgs, Source, row_stride, span};
use crate::gemm_f32::split::chunks_for_macs;
use crate::operator::{Io, KernelError};
use crate::quant::{Output, Quant8, check_multipliers};
use crate::spatial::{invalid, share, unsupported};
use depthwise_tensor::DType;
use depthwise_tensor::buf::ALIGN;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// Bytes of rows in the kernel's form that every panel meets before the next ones are made: they stay
/// in L2 beside a panel. Not tuned.
const BLOCK_BYTES: usize = 48 * 1024;

/// A product of bytes, from rows or windows to rows.
pub(crate) struct Product {
    family: &'static str,
    weights: Arc<dyn AsRef<PackedPanels> + Send + Sync>,
    /// One per column, 0 past the last.
    multipliers: Vec<f32>,
    /// Likewise.
    bias: Vec<i32>,
    source: Source,
    input: Quant8,
    output: Output,
    /// Elements from one row of the result to the next.
    ldc: usize,
    /// Whether chunks divide rows, else panels.
    by_rows: bool,
    chunks: usize,
    /// Rows made at a time, elements from one to the next, and bytes of an element.
    block: usize,
    ld: usize,
    size: usize,
    /// Bytes of the rows of a chunk in the kernel's form.
    block_bytes: usize,
    input_bytes: [usize; 1],
    output_bytes: [usize; 1],
}

/// Where the rows of a product come from and go to.
#[derive(Clone, Copy)]
pub(crate) struct Operands {
    /// The first row of the source, or its picture.
    pub input: *const u8,
    /// All from `input` to here is valid for reads.
    pub end: *const u8,
    /// The first row of the result.
    pub output: *mut u8,
    /// Room for [`Product::block_bytes`].
    pub scratch: *mut u8,
}

impl Product {
    pub(crate) fn new(
        family: &'static str,
        weights: Arc<dyn AsRef<PackedPanels> + Send + Sync>,
        multipliers: &[f32],
        (source, input): (Source, Quant8),
        (ldc, output): (usize, Output),
        threads: usize,
    ) -> Result<Product, KernelError> {
        let packed = weights.as_ref().as_ref();
        let shape = packed.shape();
        check_multipliers(family, multipliers, shape.n)?;
        let input_bytes = [source.bytes(family, shape.ic, 1)?];
        let rows = source.rows();
        span(family, rows, shape.n, ldc, output.size())?;
        if !ldc.is_multiple_of(16) || ldc < packed.width() {
            let width = packed.width();
            let reason = format!(
                "an output stride of {ldc}, no multiple of 16 or below the panels' {width},"
            );
            return Err(unsupported(family, reason));
        }
        let output_bytes = [span(family, rows, ldc, ldc, output.size())?];
        let depth = packed.panels().iter().map(|p| 4 * p.quads).max().unwrap_or(0);
        let (mr, size) =
            packed.panels().first().map_or((1, 2), |p| (p.kernel.mr(), p.kernel.form.size()));
        let ld = row_stride(depth, size);
        let block = (BLOCK_BYTES / (size * ld)).max(1).next_multiple_of(mr).min(rows.max(1));
        let macs = macs(packed, rows);
        let panels = packed.panels().len();
        let chunks = chunks_for_macs(macs / 2, threads);
        let by_rows = rows >= 64 * chunks || panels < chunks;
        let chunks = chunks.min(if by_rows { rows } else { panels }).max(1);
        let mut all = vec![0.0; packed.width().max(shape.n)];
        for (j, m) in all[..shape.n].iter_mut().enumerate() {
            *m = multipliers[if multipliers.len() == 1 { 0 } else { j }];
        }
        let overflow = || invalid(family, format!("{chunks} blocks of {block} rows of {ld}"));
        let block_bytes = block
            .checked_mul(ld)
            .and_then(|n| n.checked_add(16)?.checked_mul(size)?.checked_next_multiple_of(ALIGN))
            .filter(|bytes| bytes.checked_mul(chunks).is_some())
            .ok_or_else(overflow)?;
        Ok(Product {
            multipliers: all,
            bias: packed.bias(&input),
            source,
            input,
            output,
            ldc,
            by_rows,
            chunks,
            block,
            ld,
            size,
            block_bytes,
            input_bytes,
            output_bytes,
            weights,
            family,
        })
    }

    fn packed(&self) -> &PackedPanels {
        self.weights.as_ref().as_ref()
    }

    /// Where the rows of the left matrix lie.
    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    /// Channels and types of input and output.
    pub(crate) fn ends(&self) -> [(usize, DType); 2] {
        let shape = self.packed().shape();
        [(shape.ic, self.input.dtype()), (shape.n, self.output.dtype())]
    }

    /// Elements from one row of the result to the next.
    pub(crate) fn ldc(&self) -> usize {
        self.ldc
    }

    /// Bytes that [`Product::run_rows`] needs.
    pub(crate) fn block_bytes(&self) -> usize {
        self.block_bytes
    }

    pub(crate) fn kernel_name(&self) -> &'static str {
        self.packed().kernel_name()
    }

    pub(crate) fn input_bytes(&self) -> &[usize] {
        &self.input_bytes
    }

    pub(crate) fn output_bytes(&self) -> &[usize] {
        &self.output_bytes
    }

    pub(crate) fn scratch_bytes(&self) -> usize {
        self.block_bytes * self.chunks
    }

    pub(crate) fn chunks(&self) -> usize {
        self.chunks
    }

    pub(crate) fn macs(&self) -> u64 {
        macs(self.packed(), self.source.rows())
    }

    pub(crate) fn packed_bytes(&self) -> usize {
        self.packed().bytes()
    }

    /// Computes the rows or panels of a chunk.
    ///
    /// # Safety
    /// As [`Operator::run_chunk`](crate::Operator::run_chunk).
    pub(crate) unsafe fn run_chunk(&self, io: &Io<'_>, chunk: usize) {
        debug_assert!(chunk < self.chunks);
        let panels = self.packed().panels();
        let (rows, panels) = if self.by_rows {
            (share(self.source.rows(), self.chunks, chunk), panels)
        } else {
            (0..self.source.rows(), &panels[share(panels.len(), self.chunks, chunk)])
        };
        let input = io.input::<u8>(0);
        let at = Operands {
            input,
            end: input.wrapping_add(self.input_bytes[0]),
            output: io.output(0),
            scratch: io.scratch::<u8>().wrapping_add(chunk * self.block_bytes),
        };
        // SAFETY: rows and panels of this chunk alone, and scratch memory of its own.
        unsafe { self.run_panels(at, rows, panels) };
    }

    /// Computes rows of all panels.
    ///
    /// # Safety
    /// - `at` describes memory that holds what these rows are made of, and rows of the result, `ldc`
    ///   elements each, that are valid for writes; nobody else uses them or the scratch memory.
    pub(crate) unsafe fn run_rows(&self, at: Operands, rows: Range<usize>) {
        // SAFETY: as the caller promises.
        unsafe { self.run_panels(at, rows, self.packed().panels()) };
    }

    /// # Safety
    /// As [`Product::run_rows`], for the columns of these panels.
    unsafe fn run_panels(&self, at: Operands, rows: Range<usize>, panels: &[Panel]) {
        for start in rows.clone().step_by(self.block) {
            let block = start..rows.end.min(start + self.block);
            let mut gathered = 0..0;
            for panel in panels {
                // SAFETY: the scratch has room for a block of rows of the deepest panel, which the
                // first of these calls fills.
                unsafe {
                    if gathered != panel.channels {
                        self.gather(at, panel, block.clone());
                        gathered = panel.channels.clone();
                    }
                    self.run_panel(at, panel, block.clone());
                }
            }
        }
    }

    /// # Safety
    /// As [`Product::run_rows`]; there are [`Product::block`] rows at most.
    unsafe fn gather(&self, at: Operands, panel: &Panel, rows: Range<usize>) {
        debug_assert!(rows.len() <= self.block);
        let args = GatherArgs {
            source: &self.source,
            from: at.input,
            end: at.end,
            rows,
            channels: panel.channels.clone(),
            to: at.scratch,
            ld: self.ld,
        };
        // SAFETY: as the caller promises.
        unsafe { (panel.kernel.gather)(&args, self.input) };
    }

    /// # Safety
    /// As [`Product::run_rows`], and the scratch memory holds these rows, made for this panel.
    unsafe fn run_panel(&self, at: Operands, panel: &Panel, rows: Range<usize>) {
        let (packed, element) = (self.packed(), self.output.size());
        let args = TileArgs {
            tiles: 0,
            quads: panel.quads,
            a: at.scratch.cast_const(),
            lda_bytes: self.ld * self.size,
            b: packed.panel(panel),
            bias: self.bias[panel.col..].as_ptr(),
            multipliers: self.multipliers[panel.col..].as_ptr(),
            c: at.output.wrapping_add((rows.start * self.ldc + panel.col) * element),
            ldc_bytes: self.ldc * element,
            finish: Finish::of(&self.output),
        };
        // SAFETY: `ldc` and the widths of the panels make room for whole panels in each row; bias
        // and multipliers have a value for each column of each panel.
        unsafe { panel.kernel.run(args, rows.len(), packed.is_wide()) };
    }
}

/// Makes an operator of a struct of one [`Product`].
macro_rules! product_operator {
    ($wrapper:ty) => {
        impl $wrapper {
            pub(crate) fn product(&self) -> &$crate::gemm_qs8::Product {
                &self.0
            }
        }

        // SAFETY: as `Product` says of its methods.
        unsafe impl $crate::operator::Operator for $wrapper {
            fn kernel(&self) -> &'static str {
                self.0.kernel_name()
            }

            fn input_bytes(&self) -> &[usize] {
                self.0.input_bytes()
            }

            fn output_bytes(&self) -> &[usize] {
                self.0.output_bytes()
            }

            fn scratch_bytes(&self) -> usize {
                self.0.scratch_bytes()
            }

            fn chunks(&self) -> usize {
                self.0.chunks()
            }

            fn macs(&self) -> u64 {
                self.0.macs()
            }

            fn packed_bytes(&self) -> usize {
                self.0.packed_bytes()
            }

            unsafe fn run_chunk(&self, io: &$crate::operator::Io<'_>, chunk: usize) {
                // SAFETY: as the caller promises.
                unsafe { self.0.run_chunk(io, chunk) };
            }
        }
    };
}
pub(crate) use product_operator;

fn macs(packed: &PackedPanels, rows: usize) -> u64 {
    let shape = packed.shape();
    let depth = (shape.taps * (shape.ic / shape.groups)) as u64;
    (rows as u64).saturating_mul(shape.n as u64).saturating_mul(depth)
}

impl fmt::Debug for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(self.family)
            .field("kernel", &self.kernel_name())
            .field("source", &self.source)
            .field("shape", &self.packed().shape())
            .finish_non_exhaustive()
    }
}
