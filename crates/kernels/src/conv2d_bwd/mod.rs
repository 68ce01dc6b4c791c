//! Gradients of convolutions and dense layers, `f32`.
//!
//! A convolution is a matrix product of its patches (for 1x1 the picture as it lies) with its weights,
//! and so are its gradients:
//!
//! | gradient | product | operator |
//! |---|---|---|
//! | of the picture | `dx = dy . w`, patches added up where they overlap | [`MatMulF32`](crate::gemm_f32::MatMulF32), [`FoldF32`] |
//! | of the weights | `dw = dy^T . x` | [`PatchesF32`], [`WeightGradF32`] |
//!
//! The weight gradient sums over pixels, so it is an outer product per pixel: a register tile of `dw`
//! takes a few elements of `dy` and vectors of `x` of the same pixel. Pixels come in blocks, so that
//! the columns of `x` of a tile stay in L1 while all tiles beside it read them.
//!
//! # Numerics
//! Pixels are summed in ascending order, each step a fused multiply-add where the level has one. Bits
//! depend on the kernel, never on the number of threads.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod generic;
#[cfg(target_arch = "aarch64")]
mod neon;
mod patches;
mod scalar;
#[cfg(test)]
mod tests;

pub use patches::{FoldF32, PatchesF32};

use crate::isa::{Cpu, Isa};
use crate::operator::{Io, KernelError, KernelInfo, Operator};
use crate::spatial::{bytes_of, invalid, share};
use generic::TileArgs;
use std::fmt;
use std::ops::Range;

const FAMILY: &str = "conv2d_bwd";

/// An entry of [`KERNELS`].
pub struct Kernel {
    name: &'static str,
    isa: Isa,
    /// Columns of a tile.
    nr: usize,
    /// Columns of a narrow tile: one vector.
    narrow: usize,
    /// Entry `i` computes a tile of `i + 1` rows.
    tiles: &'static [unsafe fn(&TileArgs)],
    /// Likewise, narrow tiles.
    narrow_tiles: &'static [unsafe fn(&TileArgs)],
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Kernel {
    /// Name and level.
    pub const fn info(&self) -> KernelInfo {
        KernelInfo::new(self.name, self.isa)
    }
}

/// All kernels, best level first.
pub static KERNELS: &[&Kernel] = &[
    #[cfg(target_arch = "x86_64")]
    &avx512::KERNEL,
    #[cfg(target_arch = "x86_64")]
    &avx2::KERNEL,
    #[cfg(target_arch = "aarch64")]
    &neon::KERNEL,
    &scalar::KERNEL,
];

/// The best kernel that the CPU has.
pub fn select(cpu: &Cpu) -> &'static Kernel {
    KERNELS.iter().find(|k| cpu.supports(k.isa)).expect("the last kernel runs anywhere")
}

/// The entry of one instruction set: tiles of 1, 2, .. rows.
macro_rules! kernel {
    ($name:literal, $isa:expr, $token:expr, $level:ty, $lanes:literal, $nv:literal,
     rows $($mr:literal)*, $attribute:meta) => {
        /// The entry of this instruction set.
        pub(super) static KERNEL: super::Kernel = super::Kernel {
            name: $name,
            isa: $isa,
            nr: $lanes * $nv,
            narrow: $lanes,
            tiles: &[$(tile::<$mr, $nv>),*],
            narrow_tiles: &[$(tile::<$mr, 1>),*],
        };

        /// # Safety
        /// - The CPU has the instruction set.
        /// - As [`super::generic::tile`].
        #[$attribute]
        unsafe fn tile<const MR: usize, const NV: usize>(args: &super::generic::TileArgs) {
            // SAFETY: the CPU has the instruction set, which this function enables for the token;
            // the rest is the caller's duty.
            unsafe { super::generic::tile::<$level, MR, NV>($token, args) }
        }
    };
}
use kernel;

/// Shape and layout of `dw[j][i] = sum over p of dy[p][j] * x[p][i]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeightGradSpec {
    /// Pixels: rows of `dy` and `x`.
    pub pixels: usize,
    /// Columns of `dy`, rows of `dw`: output channels.
    pub outputs: usize,
    /// Columns of `x` and `dw`: input channels times taps.
    pub depth: usize,
    /// Elements from one row of `dy` to the next, at least `outputs`.
    pub ld_dy: usize,
    /// Elements from one row of `x` to the next: a multiple of 16, at least `depth`.
    pub ld_x: usize,
    /// Elements from one row of `dw` to the next, at least `depth`.
    pub ld_dw: usize,
}

/// Gradient of the weights of a product. Inputs: dy, x; output: dw.
#[derive(Debug)]
pub struct WeightGradF32 {
    kernel: &'static Kernel,
    spec: WeightGradSpec,
    /// Panels of columns: first column, and whether the panel is narrow.
    panels: Vec<(usize, bool)>,
    chunks: usize,
    input_bytes: [usize; 2],
    output_bytes: [usize; 1],
}

/// Pixels between two visits of a tile: its columns of `x` and of `dy`, a line or two of each per pixel,
/// then fit an L1 of 32 KiB. Not tuned.
const BLOCK: usize = 128;

/// Multiply-adds below which a second thread costs more than it saves.
const SMALL_WORK: usize = 100_000;

impl WeightGradF32 {
    /// The operator with the best kernel of the CPU.
    ///
    /// # Errors
    /// [`KernelError::Invalid`] for strides below the number of columns and sizes that overflow.
    pub fn new(
        cpu: &Cpu,
        spec: WeightGradSpec,
        threads: usize,
    ) -> Result<WeightGradF32, KernelError> {
        WeightGradF32::with_kernel(select(cpu), spec, threads)
    }

    /// The operator with this kernel.
    ///
    /// # Errors
    /// As [`WeightGradF32::new`]; and where the CPU lacks the kernel's level.
    pub fn with_kernel(
        kernel: &'static Kernel,
        spec: WeightGradSpec,
        threads: usize,
    ) -> Result<WeightGradF32, KernelError> {
        if !Cpu::detect().supports(kernel.isa) {
            return Err(invalid(FAMILY, format!("no {} on this CPU", kernel.name)));
        }
        let WeightGradSpec { pixels, outputs, depth, ld_dy, ld_x, ld_dw } = spec;
        if ld_dy < outputs || ld_dw < depth || ld_x < depth || !ld_x.is_multiple_of(16) {
            let reason = format!("strides {ld_dy}, {ld_x}, {ld_dw} for {outputs} by {depth}");
            return Err(invalid(FAMILY, reason));
        }
        let mut panels = Vec::new();
        let mut column = 0;
        while column < depth {
            let narrow = depth - column <= kernel.narrow;
            panels.push((column, narrow));
            column += if narrow { kernel.narrow } else { kernel.nr };
        }
        let work = pixels.saturating_mul(outputs).saturating_mul(depth);
        let tiles = panels.len() * outputs.div_ceil(kernel.tiles.len());
        let threads = if work < SMALL_WORK { 1 } else { threads.max(1) };
        Ok(WeightGradF32 {
            kernel,
            spec,
            panels,
            chunks: threads.min(tiles).max(1),
            input_bytes: [bytes_of(FAMILY, pixels, ld_dy)?, bytes_of(FAMILY, pixels, ld_x)?],
            output_bytes: [bytes_of(FAMILY, outputs, ld_dw)?],
        })
    }

    /// Rows of tile `tile` of `tiles`: heights differ by one at most.
    fn rows(&self, tile: usize, tiles: usize) -> Range<usize> {
        share(self.spec.outputs, tiles, tile)
    }
}

// SAFETY: `run_chunk` reads `pixels` rows of dy (its columns) and of x (whole vectors within `ld_x`,
// a multiple of the widest), and writes the columns of the rows of dw; each tile belongs to one chunk.
unsafe impl Operator for WeightGradF32 {
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

    fn macs(&self) -> u64 {
        let WeightGradSpec { pixels, outputs, depth, .. } = self.spec;
        (pixels as u64).saturating_mul(outputs as u64).saturating_mul(depth as u64)
    }

    unsafe fn run_chunk(&self, io: &Io<'_>, chunk: usize) {
        let spec = &self.spec;
        let tiles = spec.outputs.div_ceil(self.kernel.tiles.len());
        let mine = share(self.panels.len() * tiles, self.chunks, chunk);
        let mut first = 0;
        // Once at least: without pixels the gradient is 0.
        loop {
            let count = BLOCK.min(spec.pixels - first);
            for index in mine.clone() {
                let (column, narrow) = self.panels[index / tiles];
                let rows = self.rows(index % tiles, tiles);
                let width = if narrow { self.kernel.narrow } else { self.kernel.nr };
                let args = TileArgs {
                    pixels: count,
                    dy: io.input::<f32>(0).wrapping_add(first * spec.ld_dy + rows.start),
                    ld_dy: spec.ld_dy,
                    x: io.input::<f32>(1).wrapping_add(first * spec.ld_x + column),
                    ld_x: spec.ld_x,
                    dw: io.output::<f32>(0).wrapping_add(rows.start * spec.ld_dw + column),
                    ld_dw: spec.ld_dw,
                    columns: width.min(spec.depth - column),
                    first: first == 0,
                };
                let kernels = if narrow { self.kernel.narrow_tiles } else { self.kernel.tiles };
                // SAFETY: pixels, rows and columns lie in the operands; vectors past the last
                // column stay within `ld_x`.
                unsafe { kernels[rows.len() - 1](&args) };
            }
            first += count;
            if first >= spec.pixels {
                return;
            }
        }
    }
}
