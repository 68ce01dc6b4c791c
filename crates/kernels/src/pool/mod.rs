//! Average and maximum over windows, `f32`.
//!
//! `y[n,oh,ow,c] = max or mean over kh,kw of x[n, oh*sh + kh*dh - pt, ow*sw + kw*dw - pl, c]`
//!
//! Taps in the padding take no part. A mean divides by the taps inside the picture, or (with
//! `include_pad`) by those inside the picture and its declared padding; a window without such a
//! tap gives 0. A maximum over no tap gives the lowest finite number.
//!
//! Four vectors of channels are summed at a time: a pool is bound by its loads, and four chains
//! hide the latency of the maximum with its test for NaN. A global pool is a pool whose window is
//! the picture.
//!
//! NaN in a window gives NaN, of either kind. Lanes past the last channel hold anything.

mod generic;
mod positions;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;
#[cfg(test)]
mod tests;

pub use positions::MaxPositionsF32;

use crate::isa::{Cpu, Isa};
use crate::operator::{Io, KernelError, KernelInfo, Operator};
use crate::spatial::{
    BLOCK, bytes_of, check_ld, check_picture, check_window, invalid, share, share_channels,
    unsupported,
};
use depthwise_tensor::{PoolGeometry, WindowAxis};
use generic::Window;
use std::ops::Range;

const FAMILY: &str = "pool_f32";

/// An entry of [`KERNELS`].
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    name: &'static str,
    isa: Isa,
    max: unsafe fn(&Window),
    average: unsafe fn(&Window),
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

/// The entry of one instruction set and its two functions.
macro_rules! kernel {
    ($name:literal, $isa:expr, $token:expr, $attribute:meta) => {
        /// The entry of this instruction set.
        pub(super) const KERNEL: super::Kernel =
            super::Kernel { name: $name, isa: $isa, max, average };

        /// # Safety
        /// - The CPU has the instruction set.
        /// - As [`super::generic::window`].
        #[$attribute]
        unsafe fn max(window: &super::generic::Window) {
            // SAFETY: the CPU has the instruction set, which this function enables for the token;
            // the window is the caller's duty.
            unsafe { super::generic::window::<_, true>($token, window) }
        }

        /// # Safety
        /// - The CPU has the instruction set.
        /// - As [`super::generic::window`].
        #[$attribute]
        unsafe fn average(window: &super::generic::Window) {
            // SAFETY: as above.
            unsafe { super::generic::window::<_, false>($token, window) }
        }
    };
}
use kernel;

/// What a pool computes of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolKind {
    /// The largest element.
    Max,
    /// The mean.
    Average {
        /// Whether cells of the declared padding count in the divisor.
        include_pad: bool,
    },
}

/// A pool of resolved shapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolSpec {
    /// Extents, taps, strides, padding.
    pub geometry: PoolGeometry,
    /// Maximum or mean.
    pub kind: PoolKind,
    /// Pixel stride of the input, a multiple of 16.
    pub ld_in: usize,
    /// Pixel stride of the output, a multiple of 16.
    pub ld_out: usize,
}

/// Average or maximum over windows. Input: x; output: y.
#[derive(Debug)]
pub struct PoolF32 {
    kernel: &'static Kernel,
    spec: PoolSpec,
    /// Whether chunks divide channels, instead of output rows of all pictures.
    by_channels: bool,
    chunks: usize,
    input_bytes: [usize; 1],
    output_bytes: [usize; 1],
}

impl PoolF32 {
    /// The operator with the best kernel of the CPU.
    ///
    /// # Errors
    /// [`KernelError::Invalid`] where shapes do not go together, [`KernelError::Unsupported`]
    /// where a pixel stride is not padded to vectors.
    pub fn new(cpu: &Cpu, spec: PoolSpec, threads: usize) -> Result<PoolF32, KernelError> {
        PoolF32::with_kernel(select(cpu), spec, threads)
    }

    /// The operator with this kernel.
    ///
    /// # Errors
    /// As [`PoolF32::new`]; and [`KernelError::Unsupported`] where the CPU lacks the kernel's level.
    pub fn with_kernel(
        kernel: &'static Kernel,
        spec: PoolSpec,
        threads: usize,
    ) -> Result<PoolF32, KernelError> {
        if !Cpu::detect().supports(kernel.isa) {
            return Err(unsupported(FAMILY, format!("{} on this CPU", kernel.name)));
        }
        spec.check(FAMILY)?;
        let g = &spec.geometry;
        let taps = g.kernel.h.saturating_mul(g.kernel.w).min(g.input.h * g.input.w);
        let work = (g.output.pixels() * g.output.c).saturating_mul(taps);
        let threads = if work < SMALL_WORK { 1 } else { threads.max(1) };
        let rows = g.output.n * g.output.h;
        let by_channels = rows < threads && rows < g.output.c.div_ceil(BLOCK);
        let parts = if by_channels { g.output.c.div_ceil(BLOCK) } else { rows };
        Ok(PoolF32 {
            kernel,
            spec,
            by_channels,
            chunks: threads.min(parts).max(1),
            input_bytes: [bytes_of(FAMILY, g.input.pixels(), spec.ld_in)?],
            output_bytes: [bytes_of(FAMILY, g.output.pixels(), spec.ld_out)?],
        })
    }

    /// Output rows `rows`, counted over all pictures, of these channels.
    ///
    /// # Safety
    /// - As [`Operator::run_chunk`]; nobody else writes these outputs.
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
                let window = Window {
                    input: io.input::<f32>(0).wrapping_add(place.first + channels.start),
                    rows: place.rows,
                    cols: place.cols,
                    row_step: g.dilation.h * g.input.w * spec.ld_in,
                    col_step: g.dilation.w * spec.ld_in,
                    output: io.output::<f32>(0).wrapping_add(pixel + channels.start),
                    channels: channels.len(),
                    divisor: place.divisor as f32,
                };
                // SAFETY: the taps lie in the picture, the pixel in the output; both have a whole
                // line for every 16 channels.
                unsafe { run(&window) };
            }
        }
    }
}

/// Additions or comparisons below which a second thread costs more than it saves.
const SMALL_WORK: usize = 20_000;

/// Taps of window `o` inside the input and its declared padding.
fn declared(axis: &WindowAxis, pad_after: usize, o: usize) -> usize {
    let padded = axis.input + axis.pad_before + pad_after;
    padded.saturating_sub(o * axis.stride).div_ceil(axis.dilation).min(axis.kernel)
}

impl PoolSpec {
    /// The window of output column `ow` of row `row`, counted over all pictures.
    // Inlined, so that what depends on the row alone is computed once per row.
    #[inline(always)]
    pub(crate) fn place(&self, row: usize, ow: usize) -> Place {
        let g = &self.geometry;
        let (row_axis, col_axis) = (g.rows(), g.cols());
        let (n, oh) = (row / g.output.h, row % g.output.h);
        let (kh, kw) = (row_axis.taps(oh), col_axis.taps(ow));
        let divisor = match self.kind {
            PoolKind::Average { include_pad: true } => {
                declared(&row_axis, g.pad.bottom, oh) * declared(&col_axis, g.pad.right, ow)
            }
            _ => (kh.1 - kh.0) * (kw.1 - kw.0),
        };
        let first = match (kh.0 < kh.1, kw.0 < kw.1) {
            (true, true) => {
                let ih = n * g.input.h + row_axis.position(oh, kh.0);
                (ih * g.input.w + col_axis.position(ow, kw.0)) * self.ld_in
            }
            _ => 0,
        };
        Place { first, rows: kh.1 - kh.0, cols: kw.1 - kw.0, divisor: divisor.max(1) }
    }

    /// Refuses shapes that do not go together and strides that are not padded to vectors.
    pub(crate) fn check(&self, family: &'static str) -> Result<(), KernelError> {
        check(self, family)
    }
}

/// The part of a window that lies in the picture.
pub(crate) struct Place {
    /// Elements from the start of the input to the first tap.
    pub(crate) first: usize,
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    /// What a sum is divided by.
    pub(crate) divisor: usize,
}

fn check(spec: &PoolSpec, family: &'static str) -> Result<(), KernelError> {
    let g = &spec.geometry;
    if (g.input.n, g.input.c) != (g.output.n, g.output.c) {
        let reason = format!(
            "{} pictures of {} channels in, {} of {} out",
            g.input.n, g.input.c, g.output.n, g.output.c
        );
        return Err(invalid(family, reason));
    }
    check_picture(family, &g.input)?;
    check_picture(family, &g.output)?;
    for (mut axis, after) in [(g.rows(), g.pad.bottom), (g.cols(), g.pad.right)] {
        axis.pad_before = axis.pad_before.saturating_add(after);
        check_window(family, &axis)?;
    }
    check_ld(family, spec.ld_in, g.input.c)?;
    check_ld(family, spec.ld_out, g.output.c)
}

// SAFETY: `run_chunk` reads the pixels of the input and writes those of the output, `ld` elements
// each; chunks have rows, or channels of whole lines, of their own.
unsafe impl Operator for PoolF32 {
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
