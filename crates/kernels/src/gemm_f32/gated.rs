//! A product whose columns of `a` have factors of their own: a squeeze-excite gate and the layer
//! behind it.
//!
//! `(a * diag(gate)) * b = a * (diag(gate) * b)`: instead of a pass over all pixels of `a`, each chunk
//! multiplies a panel of the weights by the gate, in scratch memory, before it is used. That is less
//! work where there are more pixels than columns of `c`.

use super::{FAMILY, GemmF32, GemmSpec, PackedGemmF32, RowsArgs, rows_bytes};
use crate::operator::{Io, KernelError, Operator};
use std::ops::Range;
use std::sync::Arc;

/// `c[i] = act(b * (gate[picture of i] * a[i]) + bias + residual[i])`. Inputs `[a, gate]` or
/// `[a, gate, residual]`, output `[c]`; the gate has a row of `k` factors for each picture.
#[derive(Debug)]
pub struct GatedGemmF32 {
    gemm: GemmF32,
    /// Rows of `a` and `c` per picture.
    pixels: usize,
    /// Elements from one picture's factors to those of the next.
    gate_ld: usize,
    /// Scratch memory of one chunk.
    chunk_bytes: usize,
    input_bytes: Vec<usize>,
}

impl GatedGemmF32 {
    /// A product of pictures of `pixels` rows, in up to `threads` chunks.
    ///
    /// # Errors
    /// As [`GemmF32::new`], and [`KernelError::Invalid`] where the rows are no whole pictures or the
    /// rows of factors overlap.
    pub fn new(
        weights: Arc<PackedGemmF32>,
        spec: GemmSpec,
        (pixels, gate_ld): (usize, usize),
        threads: usize,
    ) -> Result<GatedGemmF32, KernelError> {
        if pixels == 0 || !spec.m.is_multiple_of(pixels) {
            let reason = format!("{} rows of pictures of {pixels}", spec.m);
            return Err(KernelError::Invalid { kernel: FAMILY, reason });
        }
        let gate = rows_bytes(FAMILY, "the gate", spec.m / pixels, weights.k(), gate_ld)?;
        let widest = weights.panels().iter().map(|panel| panel.kernel.nr).max().unwrap_or(0);
        // No larger than the weights.
        let chunk_bytes = (weights.k() * widest * size_of::<f32>()).next_multiple_of(64);
        let gemm = GemmF32::new(weights, spec, threads)?;
        let mut input_bytes = gemm.input_bytes.clone();
        input_bytes.insert(1, gate);
        Ok(GatedGemmF32 { gemm, pixels, gate_ld, chunk_bytes, input_bytes })
    }

    /// The parts of these rows that belong to one picture each.
    fn pictures(&self, rows: Range<usize>) -> impl Iterator<Item = (usize, Range<usize>)> {
        let pixels = self.pixels;
        let last = rows.end.div_ceil(pixels);
        (rows.start / pixels..last).map(move |picture| {
            let own = picture * pixels..(picture + 1) * pixels;
            (picture, rows.start.max(own.start)..rows.end.min(own.end))
        })
    }
}

// SAFETY: reads and writes are those of `GemmF32`, but for the weights, of which every chunk has a copy
// of one panel in its own part of the scratch memory, and the gate, whose rows `rows_bytes` counts.
unsafe impl Operator for GatedGemmF32 {
    fn kernel(&self) -> &'static str {
        self.gemm.kernel()
    }

    fn input_bytes(&self) -> &[usize] {
        &self.input_bytes
    }

    fn output_bytes(&self) -> &[usize] {
        self.gemm.output_bytes()
    }

    fn scratch_bytes(&self) -> usize {
        self.chunk_bytes * self.chunks()
    }

    fn in_place(&self, i: usize) -> bool {
        i == 2 && self.gemm.in_place(1)
    }

    fn chunks(&self) -> usize {
        self.gemm.chunks()
    }

    fn macs(&self) -> u64 {
        self.gemm.macs()
    }

    fn packed_bytes(&self) -> usize {
        self.gemm.packed_bytes()
    }

    unsafe fn run_chunk(&self, io: &Io<'_>, chunk: usize) {
        let weights = &self.gemm.weights;
        let k = weights.k();
        let scratch = io.scratch::<u8>().wrapping_add(chunk * self.chunk_bytes).cast::<f32>();
        let residual = match self.gemm.residual_ld {
            Some(_) => io.input::<u8>(2),
            None => std::ptr::null(),
        };
        let (inputs, outputs) = ([io.input::<u8>(0), residual], [io.output::<u8>(0)]);
        let of_gemm = Io::new(&inputs, &outputs, std::ptr::null_mut());
        for panel in weights.panels() {
            let nr = panel.kernel.nr;
            let rows = self.gemm.split.rows(chunk, panel.col, nr, panel.kernel.mr());
            for (picture, rows) in self.pictures(rows) {
                let scaled = RowsArgs {
                    rows: k,
                    width: nr,
                    x: weights.panel(panel),
                    ldx: nr,
                    bias: io.input::<f32>(1).wrapping_add(picture * self.gate_ld),
                    c: scratch,
                    ldc: nr,
                };
                let at = self.gemm.place(&of_gemm, panel, rows.clone());
                let at = super::Place { b: scratch.cast_const(), ahead: 0, ..at };
                // SAFETY: the panel and the factors of the picture are read, the chunk's own scratch
                // memory is written; then as `GemmF32::run_panel`.
                unsafe {
                    (panel.kernel.row_ops().scale)(&scaled);
                    self.gemm.run_panel_at(panel, at, rows.len());
                }
            }
        }
    }
}
