//! Interpolation to another size.

use super::{FAMILY, Kernel, Rescale, Samples, select};
use crate::isa::Cpu;
use crate::operator::{Io, KernelError, Operator};
use crate::quant::Tail8;
use crate::resize::{AxisTaps, ResizeSpec};
use crate::spatial::{check_ld, check_picture, invalid, share, unsupported};

/// Nearest, linear or cubic interpolation of bytes. Input: x; output: y.
#[derive(Debug)]
pub struct ResizeQs8 {
    kernel: &'static Kernel,
    spec: ResizeSpec,
    rescale: Rescale,
    tail: Tail8,
    /// Offsets and weights, `spec.rows.taps` and `spec.cols.taps` for each output.
    rows: Vec<(usize, f32)>,
    cols: Vec<(usize, f32)>,
    chunks: usize,
    input_bytes: [usize; 1],
    output_bytes: [usize; 1],
}

impl ResizeQs8 {
    /// The operator with the best kernel of the CPU.
    ///
    /// # Errors
    /// [`KernelError::Invalid`] where shapes and samples do not go together,
    /// [`KernelError::Unsupported`] where a pixel stride is not padded to vectors.
    pub fn new(
        cpu: &Cpu,
        spec: ResizeSpec,
        rescale: Rescale,
        threads: usize,
    ) -> Result<ResizeQs8, KernelError> {
        ResizeQs8::with_kernel(select(cpu), spec, rescale, threads)
    }

    /// The operator with this kernel.
    ///
    /// # Errors
    /// As [`ResizeQs8::new`]; and [`KernelError::Unsupported`] where the CPU lacks the kernel's level.
    pub fn with_kernel(
        kernel: &'static Kernel,
        spec: ResizeSpec,
        rescale: Rescale,
        threads: usize,
    ) -> Result<ResizeQs8, KernelError> {
        if !kernel.info().is_supported(&Cpu::detect()) {
            return Err(unsupported(FAMILY, format!("{} on this CPU", kernel.name)));
        }
        rescale.check()?;
        let (x, y) = (&spec.input, &spec.output);
        if (x.n, x.c) != (y.n, y.c) {
            return Err(invalid(FAMILY, format!("{x:?} to {y:?}")));
        }
        for (picture, ld) in [(x, spec.ld_in), (y, spec.ld_out)] {
            check_picture(FAMILY, picture)?;
            check_ld(FAMILY, ld, picture.c)?;
            if picture.pixels().checked_mul(ld).is_none_or(|len| len > isize::MAX as usize / 8) {
                return Err(invalid(FAMILY, format!("{picture:?} {ld} apart")));
            }
        }
        let rows = offsets(&spec.rows, (x.h, y.h), x.w * spec.ld_in)?;
        let cols = offsets(&spec.cols, (x.w, y.w), spec.ld_in)?;
        let output = y.pixels() * spec.ld_out;
        let threads = if output < super::SMALL_WORK / 4 { 1 } else { threads.max(1) };
        Ok(ResizeQs8 {
            kernel,
            tail: rescale.output.tail(),
            rows,
            cols,
            chunks: threads.min(y.n * y.h).max(1),
            input_bytes: [x.pixels() * spec.ld_in],
            output_bytes: [output],
            rescale,
            spec,
        })
    }
}

/// Positions times `step`, with their weights.
fn offsets(
    axis: &AxisTaps,
    (input, output): (usize, usize),
    step: usize,
) -> Result<Vec<(usize, f32)>, KernelError> {
    let want = output.checked_mul(axis.taps);
    let lengths = (Some(axis.index.len()), Some(axis.weight.len()));
    if axis.taps == 0 || lengths != (want, want) {
        let reason = format!("{lengths:?} samples for {output} outputs of {}", axis.taps);
        return Err(invalid(FAMILY, reason));
    }
    if let Some(past) = axis.index.iter().find(|&&i| i as usize >= input) {
        return Err(invalid(FAMILY, format!("sample {past} of {input}")));
    }
    if let Some(weight) = axis.weight.iter().find(|w| !w.is_finite()) {
        return Err(invalid(FAMILY, format!("a weight of {weight}")));
    }
    Ok(axis.index.iter().map(|&i| i as usize * step).zip(axis.weight.iter().copied()).collect())
}

// SAFETY: `run_chunk` reads the pixels of the input (`offsets` has checked every position) and writes
// those of the output, whole blocks of channels; chunks have rows of their own.
unsafe impl Operator for ResizeQs8 {
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
        let (x, y) = (&self.spec.input, &self.spec.output);
        for row in share(y.n * y.h, self.chunks, chunk) {
            let (n, oh) = (row / y.h, row % y.h);
            let taps = self.spec.rows.taps;
            let samples = Samples {
                picture: io.input::<u8>(0).wrapping_add(n * x.h * x.w * self.spec.ld_in),
                rows: &self.rows[oh * taps..][..taps],
                cols: &self.cols,
                per_column: self.spec.cols.taps,
                output: io.output::<u8>(0).wrapping_add(row * y.w * self.spec.ld_out),
                ld_out: self.spec.ld_out,
                channels: y.c,
                quant: self.rescale.input,
                multiplier: self.rescale.ratio as f32,
                tail: self.tail,
            };
            // SAFETY: all samples lie in picture `n`, the outputs in the row, which no other chunk has.
            unsafe { (self.kernel.resize)(&samples) };
        }
    }
}
