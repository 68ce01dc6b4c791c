//! The driver of products: blocks of rows, panels, chunks.

use super::pack::{PackedPanels, Panel};
use super::{Finish, TileArgs};
use crate::gather::{GatherArgs, Source, row_stride, span};
use crate::gemm_f32::split::chunks_for_macs;
use crate::operator::{Io, KernelError};
use crate::quant::{Output, Quant8, check_multipliers};
use crate::spatial::{invalid, share, unsupported};
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
    finish: Finish,
    ldc_bytes: usize,
    element: usize,
    /// Whether chunks divide rows, else panels.
    by_rows: bool,
    chunks: usize,
    /// Rows made at a time, elements from one to the next, and bytes of an element.
    block: usize,
    ld: usize,
    size: usize,
    input_bytes: [usize; 1],
    output_bytes: [usize; 1],
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
        let product = Product {
            multipliers: all,
            bias: packed.bias(&input),
            source,
            input,
            finish: Finish::of(&output),
            ldc_bytes: ldc * output.size(),
            element: output.size(),
            by_rows,
            chunks,
            block,
            ld,
            size,
            input_bytes,
            output_bytes,
            weights,
            family,
        };
        product.chunk_bytes().and_then(|bytes| bytes.checked_mul(chunks)).ok_or_else(|| {
            invalid(family, format!("{chunks} blocks of {block} rows of {ld} elements"))
        })?;
        Ok(product)
    }

    fn packed(&self) -> &PackedPanels {
        self.weights.as_ref().as_ref()
    }

    /// Bytes of the rows of a chunk in the kernel's form.
    fn chunk_bytes(&self) -> Option<usize> {
        self.block
            .checked_mul(self.ld)?
            .checked_add(16)?
            .checked_mul(self.size)?
            .checked_next_multiple_of(ALIGN)
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
        // `new` has checked that it does not overflow.
        self.chunk_bytes().unwrap_or(0) * self.chunks
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
        let offset = chunk * (self.scratch_bytes() / self.chunks);
        let scratch = io.scratch::<u8>().wrapping_add(offset);
        for start in rows.clone().step_by(self.block) {
            let block = start..rows.end.min(start + self.block);
            let mut gathered = 0..0;
            for panel in panels {
                // SAFETY: rows and panels of this chunk alone; the scratch has room for a block of
                // rows of the deepest panel, which the first of these calls fills.
                unsafe {
                    if gathered != panel.channels {
                        self.gather(io, panel, block.clone(), scratch);
                        gathered = panel.channels.clone();
                    }
                    self.run_panel(io, panel, block.clone(), scratch);
                }
            }
        }
    }

    /// # Safety
    /// As [`Product::run_chunk`], and `scratch` has room for these rows.
    unsafe fn gather(&self, io: &Io<'_>, panel: &Panel, rows: Range<usize>, scratch: *mut u8) {
        let from = io.input::<u8>(0);
        let args = GatherArgs {
            source: &self.source,
            from,
            end: from.wrapping_add(self.input_bytes[0]),
            rows,
            channels: panel.channels.clone(),
            to: scratch,
            ld: self.ld,
        };
        // SAFETY: as the caller promises; `input_bytes` reach to the last row.
        unsafe { (panel.kernel.gather)(&args, self.input) };
    }

    /// # Safety
    /// As [`Product::run_chunk`], and `scratch` holds these rows, made for this panel.
    unsafe fn run_panel(&self, io: &Io<'_>, panel: &Panel, rows: Range<usize>, scratch: *mut u8) {
        let packed = self.packed();
        let c = rows.start * self.ldc_bytes + panel.col * self.element;
        let args = TileArgs {
            tiles: 0,
            quads: panel.quads,
            a: scratch.cast_const(),
            lda_bytes: self.ld * self.size,
            b: packed.panel(panel),
            bias: self.bias[panel.col..].as_ptr(),
            multipliers: self.multipliers[panel.col..].as_ptr(),
            c: io.output::<u8>(0).wrapping_add(c),
            ldc_bytes: self.ldc_bytes,
            finish: self.finish,
        };
        // SAFETY: `output_bytes` and the widths of the panels make room for whole panels in each row;
        // bias and multipliers have a value for each column of each panel.
        unsafe { panel.kernel.run(args, rows.len(), packed.is_wide()) };
    }
}

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
