//! A product of which only the mean over the rows is wanted: the last 1x1 convolution of a network and
//! the global pool behind it.
//!
//! Each chunk has panels of its own. The rows of one panel go to scratch memory, where they stay in
//! the L1 cache, and are summed in order from there.

use super::split::{chunks_for_macs, share};
use super::{FAMILY, GemmF32, GemmSpec, PackedGemmF32, Place, RowsArgs, padded_bytes};
use crate::operator::{Io, KernelError, Operator};
use std::sync::Arc;

/// `y[picture] = mean over its rows i of act(b * a[i] + bias)`. Input `[a]`, output `[y]`.
#[derive(Debug)]
pub struct MeanGemmF32 {
    gemm: GemmF32,
    /// Rows of `a` per picture.
    pixels: usize,
    ld_out: usize,
    chunks: usize,
    /// Scratch memory of one chunk.
    chunk_bytes: usize,
    output_bytes: [usize; 1],
}

impl MeanGemmF32 {
    /// A product of pictures of `pixels` rows, in up to `threads` chunks; `spec.ldc` is from one row of
    /// `y` to the next.
    ///
    /// # Errors
    /// As [`GemmF32::new`], [`KernelError::Invalid`] where the rows are no whole pictures, and
    /// [`KernelError::Unsupported`] for a residual.
    pub fn new(
        weights: Arc<PackedGemmF32>,
        spec: GemmSpec,
        pixels: usize,
        threads: usize,
    ) -> Result<MeanGemmF32, KernelError> {
        if pixels == 0 || !spec.m.is_multiple_of(pixels) {
            let reason = format!("{} rows of pictures of {pixels}", spec.m);
            return Err(KernelError::Invalid { kernel: FAMILY, reason });
        }
        if spec.residual_ld.is_some() {
            let reason = "a residual before a mean".into();
            return Err(KernelError::Unsupported { kernel: FAMILY, reason });
        }
        let (n, width) = (weights.n(), weights.width());
        let output = padded_bytes(FAMILY, "y", spec.m / pixels, n, width, spec.ldc)?;
        let widest = weights.panels().iter().map(|panel| panel.kernel.nr).max().unwrap_or(0);
        let too_large = || {
            let reason = format!("{pixels} rows of {widest} columns overflow the address space");
            KernelError::Invalid { kernel: FAMILY, reason }
        };
        let rows = pixels.checked_mul(widest * size_of::<f32>());
        let chunk_bytes = rows.filter(|&n| n < isize::MAX as usize).ok_or_else(too_large)?;
        let chunk_bytes = chunk_bytes.next_multiple_of(64);
        let gemm = GemmF32::new(weights, spec, threads)?;
        let chunks = chunks_for_macs(gemm.macs(), threads).min(gemm.weights.panels().len()).max(1);
        chunk_bytes.checked_mul(chunks).ok_or_else(too_large)?;
        let (ld_out, output_bytes) = (spec.ldc, [output]);
        Ok(MeanGemmF32 { gemm, pixels, ld_out, chunks, chunk_bytes, output_bytes })
    }
}

// SAFETY: `a` is read as by `GemmF32`; `c` of that product is the chunk's own scratch memory, which holds
// the rows of one panel; `padded_bytes` sizes `y` for whole panels, and a panel belongs to one chunk.
unsafe impl Operator for MeanGemmF32 {
    fn kernel(&self) -> &'static str {
        self.gemm.kernel()
    }

    fn input_bytes(&self) -> &[usize] {
        self.gemm.input_bytes()
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
        self.gemm.macs()
    }

    fn packed_bytes(&self) -> usize {
        self.gemm.packed_bytes()
    }

    unsafe fn run_chunk(&self, io: &Io<'_>, chunk: usize) {
        let (weights, pixels) = (&self.gemm.weights, self.pixels);
        let scratch = io.scratch::<u8>().wrapping_add(chunk * self.chunk_bytes).cast::<f32>();
        for panel in &weights.panels()[share(weights.panels().len(), self.chunks, chunk)] {
            let nr = panel.kernel.nr;
            for picture in 0..self.gemm.m / pixels {
                let at = Place {
                    a: io.input::<f32>(0).wrapping_add(picture * pixels * self.gemm.lda),
                    b: weights.panel(panel),
                    ahead: if picture == 0 { weights.k() * nr } else { 0 },
                    residual: std::ptr::null(),
                    c: scratch,
                    ldc: nr,
                };
                let mean = RowsArgs {
                    rows: pixels,
                    width: nr,
                    x: scratch,
                    ldx: nr,
                    bias: std::ptr::null(),
                    c: io.output::<f32>(0).wrapping_add(picture * self.ld_out + panel.col),
                    ldc: nr,
                };
                // SAFETY: the rows of the picture are read, the chunk's own scratch memory and the
                // panel of the picture's row of `y` are written.
                unsafe {
                    self.gemm.run_panel_at(panel, at, pixels);
                    (panel.kernel.row_ops().mean)(&mean);
                }
            }
        }
    }
}
