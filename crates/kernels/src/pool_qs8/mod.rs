//! Average and maximum over windows, and interpolation, of bytes.
//!
//! | operator | `y` |
//! |---|---|
//! | [`PoolQs8`], maximum | `(max - z) * m` |
//! | [`PoolQs8`], average | `sum(x - z) as f32 * (m / taps)` |
//! | [`ResizeQs8`] | `sum over i of wr[i] * (sum over j of wc[j] * (x - z)) * m`, in `f32`, one rounding a step |
//!
//! each rounded by the rule of [`quant`](crate::quant), `m = s_in / s_out`. Sums of a window are exact in
//! `i32`; `m / taps` is computed in `f64` and rounded once. Taps in the padding take no part; with
//! `include_pad` those of the declared padding count. A window without a tap gives 0.
//!
//! Channels go 16 at a time, in loops that the compiler vectorizes for each level.

mod generic;
mod resize;

#[cfg(target_arch = "x86_64")]
mod avx2;
mod scalar;
#[cfg(test)]
mod tests;

pub use resize::ResizeQs8;

use crate::isa::{Cpu, Isa};
use crate::operator::{Io, KernelError, KernelInfo, Operator};
use crate::pool::{PoolKind, PoolSpec};
use crate::quant::{Out8, Quant8, Tail8};
use crate::spatial::{BLOCK, invalid, share, share_channels, unsupported};
use generic::{Samples, Window};
use std::ops::Range;

const FAMILY: &str = "pool_qs8";

/// The functions of a level.
#[derive(Debug)]
pub struct Kernel {
    name: &'static str,
    isa: Isa,
    max: unsafe fn(&Window),
    average: unsafe fn(&Window),
    resize: unsafe fn(&Samples<'_>),
}

/// All kernels, best first.
pub static KERNELS: &[&Kernel] = &[
    #[cfg(target_arch = "x86_64")]
    &avx2::KERNEL,
    &scalar::KERNEL,
];

impl Kernel {
    /// Name and level.
    pub fn info(&self) -> KernelInfo {
        KernelInfo::new(self.name, self.isa)
    }
}

/// The best kernel that the CPU has.
pub fn select(cpu: &Cpu) -> &'static Kernel {
    KERNELS.iter().copied().find(|k| cpu.supports(k.isa)).unwrap_or(&scalar::KERNEL)
}

/// From one type and scale to another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rescale {
    /// Type and zero point of the input.
    pub input: Quant8,
    /// Type, zero point and bounds of the output.
    pub output: Out8,
    /// `s_in / s_out`
    pub ratio: f64,
}

impl Rescale {
    fn check(&self) -> Result<(), KernelError> {
        if (self.ratio as f32).is_finite() {
            return Ok(());
        }
        Err(invalid(FAMILY, format!("a ratio of scales of {}", self.ratio)))
    }
}

/// Average or maximum over windows. Input: x; output: y.
#[derive(Debug)]
pub struct PoolQs8 {
    kernel: &'static Kernel,
    spec: PoolSpec,
    rescale: Rescale,
    tail: Tail8,
    by_channels: bool,
    chunks: usize,
    input_bytes: [usize; 1],
    output_bytes: [usize; 1],
}

impl PoolQs8 {
    /// The operator with the best kernel of the CPU.
    ///
    /// # Errors
    /// [`KernelError::Invalid`] where shapes do not go together or a sum may leave 32 bits,
    /// [`KernelError::Unsupported`] where a pixel stride is not padded to vectors.
    pub fn new(
        cpu: &Cpu,
        spec: PoolSpec,
        rescale: Rescale,
        threads: usize,
    ) -> Result<PoolQs8, KernelError> {
        PoolQs8::with_kernel(select(cpu), spec, rescale, threads)
    }

    /// The operator with this kernel.
    ///
    /// # Errors
    /// As [`PoolQs8::new`]; and [`KernelError::Unsupported`] where the CPU lacks the kernel's level.
    pub fn with_kernel(
        kernel: &'static Kernel,
        spec: PoolSpec,
        rescale: Rescale,
        threads: usize,
    ) -> Result<PoolQs8, KernelError> {
        if !kernel.info().is_supported(&Cpu::detect()) {
            return Err(unsupported(FAMILY, format!("{} on this CPU", kernel.name)));
        }
        spec.check(FAMILY)?;
        rescale.check()?;
        let g = &spec.geometry;
        let taps = g.kernel.h.saturating_mul(g.kernel.w).min(g.input.h * g.input.w);
        if taps > i32::MAX as usize / 255 {
            return Err(invalid(FAMILY, format!("sums of {taps} bytes")));
        }
        let work = (g.output.pixels() * g.output.c).saturating_mul(taps);
        let threads = if work < SMALL_WORK { 1 } else { threads.max(1) };
        let rows = g.output.n * g.output.h;
        let blocks = g.output.c.div_ceil(BLOCK);
        let by_channels = rows < threads && rows < blocks;
        Ok(PoolQs8 {
            kernel,
            tail: rescale.output.tail(),
            by_channels,
            chunks: threads.min(if by_channels { blocks } else { rows }).max(1),
            input_bytes: [g.input.pixels() * spec.ld_in],
            output_bytes: [g.output.pixels() * spec.ld_out],
            spec,
            rescale,
        })
    }

    /// Output rows `rows`, counted over all pictures, of these channels.
    ///
    /// # Safety
    /// As [`Operator::run_chunk`]; nobody else writes these outputs.
    unsafe fn run_rows(&self, io: &Io<'_>, rows: Range<usize>, channels: Range<usize>) {
        let (spec, g) = (&self.spec, &self.spec.geometry);
        let run = match spec.kind {
            PoolKind::Max => self.kernel.max,
            PoolKind::Average { .. } => self.kernel.average,
        };
        for row in rows {
            for ow in 0..g.output.w {
                let place = spec.place(row, ow);
                let pixel = (row * g.output.w + ow) * spec.ld_out;
                let divisor = match spec.kind {
                    PoolKind::Max => 1,
                    PoolKind::Average { .. } => place.divisor,
                };
                let window = Window {
                    input: io.input::<u8>(0).wrapping_add(place.first + channels.start),
                    rows: place.rows,
                    cols: place.cols,
                    row_step: g.dilation.h * g.input.w * spec.ld_in,
                    col_step: g.dilation.w * spec.ld_in,
                    output: io.output::<u8>(0).wrapping_add(pixel + channels.start),
                    channels: channels.len(),
                    quant: self.rescale.input,
                    multiplier: (self.rescale.ratio / divisor as f64) as f32,
                    tail: self.tail,
                };
                // SAFETY: the taps lie in the picture, the pixel in the output; both have a whole
                // block for every 16 channels.
                unsafe { run(&window) };
            }
        }
    }
}

/// Additions or comparisons below which a second thread costs more than it saves.
const SMALL_WORK: usize = 80_000;

// SAFETY: `run_chunk` reads the pixels of the input and writes those of the output, whole blocks of
// channels, for which strides have room; chunks have rows, or channels of whole blocks, of their own.
unsafe impl Operator for PoolQs8 {
    fn kernel(&self) -> &'static str {
        self.kernel.name
    }

    fn input_bytes(&self) -> &[usize] {
        &self.input_bytes
    }

    fn output_bytes(&self) -> &[usize] {
        &self.output_bytes
    }

    fn chunks(&self) -> usize {
        self.chunks
    }

    unsafe fn run_chunk(&self, io: &Io<'_>, chunk: usize) {
        let g = &self.spec.geometry;
        let rows = g.output.n * g.output.h;
        let (rows, channels) = if self.by_channels {
            (0..rows, share_channels(g.output.c, self.chunks, chunk))
        } else {
            (share(rows, self.chunks, chunk), 0..g.output.c)
        };
        // SAFETY: no other chunk has these rows of these channels.
        unsafe { self.run_rows(io, rows, channels) };
    }
}
