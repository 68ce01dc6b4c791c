//! Interpolation of pictures to another size, `f32`.
//!
//! `y[n,oh,ow,c] = sum over i,j of rows.weight[oh,i] * cols.weight[ow,j] *
//! x[n, rows.index[oh,i], cols.index[ow,j], c]`
//!
//! Where the samples lie and what they weigh is the caller's to say ([`AxisTaps`]): the kernel
//! serves every coordinate rule. Vectors go over channels. The taps of both axes are summed at
//! once, without an intermediate picture: the linear case with its four loads per store is bound
//! by memory anyway.
//!
//! A sample of weight zero takes no part, so NaN and infinity there do not matter; any other NaN
//! comes out as NaN. Lanes past the last channel hold anything.

mod generic;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;
#[cfg(test)]
mod tests;

use crate::isa::{Cpu, Isa};
use crate::operator::{Io, KernelError, KernelInfo, Operator};
use crate::spatial::{bytes_of, check_ld, check_picture, invalid, share, unsupported};
use depthwise_tensor::Nhwc;
use generic::{OutputRow, Taps};

const FAMILY: &str = "resize_f32";

/// An entry of [`KERNELS`].
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    name: &'static str,
    isa: Isa,
    run: unsafe fn(&OutputRow<'_>),
}

impl Kernel {
    /// Name and level.
    pub const fn info(&self) -> KernelInfo {
        KernelInfo::new(self.name, self.isa)
    }
}

/// All kernels, best level first.
pub const KERNELS: &[Kernel] = &[
    #[cfg(target_arch = "x86_64")]
    avx512::KERNEL,
    #[cfg(target_arch = "x86_64")]
    avx2::KERNEL,
    #[cfg(target_arch = "aarch64")]
    neon::KERNEL,
    scalar::KERNEL,
];

/// The best kernel that the CPU has.
pub fn select(cpu: &Cpu) -> &'static Kernel {
    KERNELS.iter().find(|k| cpu.supports(k.isa)).expect("the last kernel runs anywhere")
}

/// The entry of one instruction set.
macro_rules! kernel {
    ($name:literal, $isa:expr, $token:expr, $attribute:meta) => {
        /// The entry of this instruction set.
        pub(super) const KERNEL: super::Kernel = super::Kernel { name: $name, isa: $isa, run };

        /// # Safety
        /// - The CPU has the instruction set.
        /// - As [`super::generic::row`].
        #[$attribute]
        unsafe fn run(row: &super::generic::OutputRow<'_>) {
            // SAFETY: the CPU has the instruction set, which this function enables for the token;
            // the row is the caller's duty.
            unsafe { super::generic::row($token, row) }
        }
    };
}
use kernel;

/// The samples that make up each output position of an axis.
#[derive(Clone, Debug, PartialEq)]
pub struct AxisTaps {
    /// Samples per output position: 1 of nearest, 2 of linear, 4 of cubic.
    pub taps: usize,
    /// Input positions, `taps` for every output position; a position may stand twice.
    pub index: Vec<u32>,
    /// The weight of each.
    pub weight: Vec<f32>,
}

/// A resize of resolved shapes. Channels and the number of pictures stay.
#[derive(Clone, Debug, PartialEq)]
pub struct ResizeSpec {
    /// Extents of the input.
    pub input: Nhwc,
    /// Extents of the output.
    pub output: Nhwc,
    /// Pixel stride of the input, a multiple of 16.
    pub ld_in: usize,
    /// Pixel stride of the output, a multiple of 16.
    pub ld_out: usize,
    /// Samples along the rows.
    pub rows: AxisTaps,
    /// Samples along the columns.
    pub cols: AxisTaps,
}

/// Interpolation to another size. Input: x; output: y.
#[derive(Debug)]
pub struct ResizeF32 {
    kernel: &'static Kernel,
    input: Nhwc,
    output: Nhwc,
    ld_in: usize,
    ld_out: usize,
    rows: Taps,
    cols: Taps,
    chunks: usize,
    input_bytes: [usize; 1],
    output_bytes: [usize; 1],
}

impl ResizeF32 {
    /// The operator with the best kernel of the CPU.
    ///
    /// # Errors
    /// [`KernelError::Invalid`] where shapes and samples do not go together,
    /// [`KernelError::Unsupported`] where a pixel stride is not padded to vectors.
    pub fn new(cpu: &Cpu, spec: ResizeSpec, threads: usize) -> Result<ResizeF32, KernelError> {
        ResizeF32::with_kernel(select(cpu), spec, threads)
    }

    /// The operator with this kernel.
    ///
    /// # Errors
    /// As [`ResizeF32::new`]; and [`KernelError::Unsupported`] where the CPU lacks the kernel's
    /// level.
    pub fn with_kernel(
        kernel: &'static Kernel,
        spec: ResizeSpec,
        threads: usize,
    ) -> Result<ResizeF32, KernelError> {
        if !Cpu::detect().supports(kernel.isa) {
            return Err(unsupported(FAMILY, format!("{} on this CPU", kernel.name)));
        }
        let ResizeSpec { input, output, ld_in, ld_out, rows, cols } = spec;
        if (input.n, input.c) != (output.n, output.c) {
            let reason = format!(
                "{} pictures of {} channels in, {} of {} out",
                input.n, input.c, output.n, output.c
            );
            return Err(invalid(FAMILY, reason));
        }
        check_picture(FAMILY, &input)?;
        check_picture(FAMILY, &output)?;
        check_ld(FAMILY, ld_in, input.c)?;
        check_ld(FAMILY, ld_out, output.c)?;
        // Column indices become offsets into a row.
        let rows = compact(&rows, input.h, output.h, 1)?;
        let cols = compact(&cols, input.w, output.w, ld_in)?;
        let output_bytes = [bytes_of(FAMILY, output.pixels(), ld_out)?];
        let threads = if output_bytes[0] < SMALL_BYTES { 1 } else { threads.max(1) };
        Ok(ResizeF32 {
            kernel,
            input,
            output,
            ld_in,
            ld_out,
            rows,
            cols,
            chunks: threads.min(output.n * output.h).max(1),
            input_bytes: [bytes_of(FAMILY, input.pixels(), ld_in)?],
            output_bytes,
        })
    }
}

/// Bytes of output below which a second thread costs more than it saves.
const SMALL_BYTES: usize = 16 << 10;

/// The taps of an axis without those of weight zero, positions times `step`.
fn compact(axis: &AxisTaps, input: usize, output: usize, step: usize) -> Result<Taps, KernelError> {
    let want = output.checked_mul(axis.taps);
    if axis.taps == 0 || want != Some(axis.index.len()) || want != Some(axis.weight.len()) {
        let (indices, weights) = (axis.index.len(), axis.weight.len());
        let reason = format!(
            "{indices} positions and {weights} weights for {output} outputs of {} samples",
            axis.taps
        );
        return Err(invalid(FAMILY, reason));
    }
    if let Some(past) = axis.index.iter().find(|&&i| i as usize >= input) {
        return Err(invalid(FAMILY, format!("sample {past} of {input}")));
    }
    let mut taps = Taps { ends: Vec::with_capacity(output), samples: Vec::new() };
    let pairs = axis.index.chunks_exact(axis.taps).zip(axis.weight.chunks_exact(axis.taps));
    for (index, weight) in pairs {
        let used = index.iter().zip(weight).filter(|tap| *tap.1 != 0.0);
        taps.samples.extend(used.map(|(&i, &w)| (i as usize * step, w)));
        taps.ends.push(taps.samples.len());
    }
    Ok(taps)
}

// SAFETY: `run_chunk` reads the pixels of the input (`compact` has checked every position) and
// writes those of the output, `ld` elements each; chunks have rows of their own.
unsafe impl Operator for ResizeF32 {
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
        let (row_in, row_out) = (self.input.w * self.ld_in, self.output.w * self.ld_out);
        for row in share(self.output.n * self.output.h, self.chunks, chunk) {
            let (n, oh) = (row / self.output.h, row % self.output.h);
            let output_row = OutputRow {
                picture: io.input::<f32>(0).wrapping_add(n * self.input.h * row_in),
                row_step: row_in,
                rows: self.rows.of(oh),
                cols: &self.cols,
                output: io.output::<f32>(0).wrapping_add(row * row_out),
                ow: self.output.w,
                ld_out: self.ld_out,
                channels: self.output.c,
            };
            // SAFETY: all samples lie in picture `n`, which has a whole line for every 16
            // channels, as the row of the output has; no other chunk has this row.
            unsafe { (self.kernel.run)(&output_row) };
        }
    }
}
