//! Gradients of depthwise convolutions, `f32`.
//!
//! | gradient | formula | operator |
//! |---|---|---|
//! | of the picture, stride 1 | a depthwise convolution of `dy` with the taps turned round | [`DwConvF32`](crate::dwconv_f32::DwConvF32) with [`PackDwF32`](crate::dwconv_f32::PackDwF32) |
//! | of the picture, else | each cell gathers the windows that read it | [`DwInputGradF32`] |
//! | of the weights | `dw[kh,kw,c] = sum over n,oh,ow of dy[n,oh,ow,c] * x[n,ih,iw,c]` | [`DwWeightGradF32`] |
//!
//! One vector holds the same pixel of neighbouring channels. The weight gradient takes 16 channels (a
//! line) through all pictures, row by row, with the sums of up to three taps of a kernel row in
//! registers along the row. Chunks divide the channels, so that sums do not depend on the threads.

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
use crate::spatial::{
    BLOCK, bytes_of, check_ld, check_picture, check_window, invalid, share, unsupported,
};
use depthwise_tensor::ConvGeometry;
use generic::{CellArgs, RowArgs};
use std::ops::Range;

const FAMILY: &str = "dwconv_bwd";

/// Adds the products of a row to the sums of neighbouring taps.
type RowFn = unsafe fn(&RowArgs);

/// An entry of [`KERNELS`].
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    name: &'static str,
    isa: Isa,
    /// Entry `i` takes `i + 1` taps.
    rows: [RowFn; 3],
    cell: unsafe fn(&CellArgs<'_>),
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

/// The entry of one instruction set: vectors of a line, and pixels taken at a time.
macro_rules! kernel {
    ($name:literal, $isa:expr, $token:expr, $level:ty, $nv:literal, $unroll:literal,
     $attribute:meta) => {
        /// The entry of this instruction set.
        pub(super) const KERNEL: super::Kernel =
            super::Kernel { name: $name, isa: $isa, rows: [row::<1>, row::<2>, row::<3>], cell };

        /// # Safety
        /// - The CPU has the instruction set.
        /// - As [`super::generic::row`].
        #[$attribute]
        unsafe fn row<const KW: usize>(args: &super::generic::RowArgs) {
            // SAFETY: the CPU has the instruction set, which this function enables for the token;
            // the rest is the caller's duty.
            unsafe { super::generic::row::<$level, KW, $nv, $unroll>($token, args) }
        }

        /// # Safety
        /// - The CPU has the instruction set.
        /// - As [`super::generic::cell`].
        #[$attribute]
        unsafe fn cell(args: &super::generic::CellArgs<'_>) {
            // SAFETY: as above.
            unsafe { super::generic::cell::<$level>($token, args) }
        }
    };
}
use kernel;

/// A depthwise convolution whose gradients are wanted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DwGradSpec {
    /// Extents, taps, strides, padding of the convolution; one output channel per input channel.
    pub geometry: ConvGeometry,
    /// Pixel stride of the picture (`x` or `dx`), a multiple of 16.
    pub ld_x: usize,
    /// Pixel stride of `dy`, a multiple of 16.
    pub ld_dy: usize,
}

fn check(spec: &DwGradSpec) -> Result<(), KernelError> {
    let g = &spec.geometry;
    if g.input.c != g.output.c || g.input.n != g.output.n {
        let (got, want) = (g.output.c, g.input.c);
        return Err(unsupported(FAMILY, format!("{got} output channels of {want}")));
    }
    check_picture(FAMILY, &g.input)?;
    check_picture(FAMILY, &g.output)?;
    check_window(FAMILY, &g.rows())?;
    check_window(FAMILY, &g.cols())?;
    check_ld(FAMILY, spec.ld_x, g.input.c)?;
    check_ld(FAMILY, spec.ld_dy, g.output.c)
}

/// Multiply-adds below which a second thread costs more than it saves.
const SMALL_WORK: u64 = 50_000;

/// Gradient of the weights. Inputs: x, dy; output: dw, dense `[kh][kw][c]`.
#[derive(Debug)]
pub struct DwWeightGradF32 {
    kernel: &'static Kernel,
    spec: DwGradSpec,
    chunks: usize,
    input_bytes: [usize; 2],
    output_bytes: [usize; 1],
}

impl DwWeightGradF32 {
    /// The operator with the best kernel of the CPU.
    ///
    /// # Errors
    /// [`KernelError::Invalid`] where shapes do not go together, [`KernelError::Unsupported`] for a
    /// depth multiplier and where a pixel stride is not padded to vectors.
    pub fn new(
        cpu: &Cpu,
        spec: DwGradSpec,
        threads: usize,
    ) -> Result<DwWeightGradF32, KernelError> {
        DwWeightGradF32::with_kernel(select(cpu), spec, threads)
    }

    /// The operator with this kernel.
    ///
    /// # Errors
    /// As [`DwWeightGradF32::new`]; and where the CPU lacks the kernel's level.
    pub fn with_kernel(
        kernel: &'static Kernel,
        spec: DwGradSpec,
        threads: usize,
    ) -> Result<DwWeightGradF32, KernelError> {
        check(&spec)?;
        if !Cpu::detect().supports(kernel.isa) {
            return Err(invalid(FAMILY, format!("no {} on this CPU", kernel.name)));
        }
        let g = &spec.geometry;
        let taps = g.kernel.h.checked_mul(g.kernel.w);
        let taps = taps.ok_or_else(|| invalid(FAMILY, format!("kernel {}", g.kernel)))?;
        let threads = if g.macs() < SMALL_WORK { 1 } else { threads.max(1) };
        Ok(DwWeightGradF32 {
            kernel,
            spec,
            chunks: threads.min(g.input.c.div_ceil(BLOCK)).max(1),
            input_bytes: [
                bytes_of(FAMILY, g.input.pixels(), spec.ld_x)?,
                bytes_of(FAMILY, g.output.pixels(), spec.ld_dy)?,
            ],
            output_bytes: [bytes_of(FAMILY, taps, g.input.c)?],
        })
    }

    /// Bytes of the sums of a chunk: a line per tap.
    fn sums_bytes(&self) -> usize {
        self.spec.geometry.kernel.area() * BLOCK * size_of::<f32>()
    }

    /// Adds the products of row `oh` of picture `n`, 16 channels from `c` on, to `sums`.
    ///
    /// # Safety
    /// - The row lies in the picture, `c` is a multiple of 16 below its channels.
    /// - `sums` is valid for a line per tap, and nobody else uses it.
    unsafe fn add_row(&self, io: &Io<'_>, (n, oh, c): (usize, usize, usize), sums: *mut f32) {
        let (spec, g) = (&self.spec, &self.spec.geometry);
        let (rows, cols) = (g.rows(), g.cols());
        let dy =
            io.input::<f32>(1).wrapping_add((n * g.output.h + oh) * g.output.w * spec.ld_dy + c);
        let taps = rows.taps(oh);
        for kh in taps.0..taps.1 {
            let ih = n * g.input.h + rows.position(oh, kh);
            let x = io.input::<f32>(0).wrapping_add(ih * g.input.w * spec.ld_x + c);
            let mut kw = 0;
            while kw < g.kernel.w {
                let taps = (g.kernel.w - kw).min(self.kernel.rows.len());
                let to = sums.wrapping_add((kh * g.kernel.w + kw) * BLOCK);
                // All taps of the group are inside from `whole.start` to `whole.end`.
                let whole = windows(&cols, kw + taps - 1).start.max(windows(&cols, kw).start)
                    ..windows(&cols, kw + taps - 1).end.min(windows(&cols, kw).end);
                let args = |kw: usize, ow: Range<usize>, to: *mut f32| RowArgs {
                    dy: dy.wrapping_add(ow.start * spec.ld_dy),
                    ld_dy: spec.ld_dy,
                    x: x.wrapping_add(cols.position(ow.start, kw) * spec.ld_x),
                    step: g.stride.w * spec.ld_x,
                    tap: g.dilation.w * spec.ld_x,
                    count: ow.len(),
                    sums: to,
                };
                if !whole.is_empty() {
                    // SAFETY: the windows lie in the row, their taps in the picture.
                    unsafe { self.kernel.rows[taps - 1](&args(kw, whole.clone(), to)) };
                }
                for i in 0..taps {
                    let own = windows(&cols, kw + i);
                    let to = to.wrapping_add(i * BLOCK);
                    let (before, after) = match whole.is_empty() {
                        true => (own, 0..0),
                        false => (own.start..whole.start, whole.end..own.end),
                    };
                    for part in [before, after].into_iter().filter(|part| !part.is_empty()) {
                        // SAFETY: as above, of one tap.
                        unsafe { self.kernel.rows[0](&args(kw + i, part, to)) };
                    }
                }
                kw += taps;
            }
        }
    }
}

/// The windows of a row whose tap `k` lies inside the picture.
fn windows(axis: &depthwise_tensor::WindowAxis, k: usize) -> Range<usize> {
    let at = k * axis.dilation;
    let first = axis.pad_before.saturating_sub(at).div_ceil(axis.stride).min(axis.output);
    let end = (axis.input + axis.pad_before).saturating_sub(at).div_ceil(axis.stride);
    first..end.min(axis.output).max(first)
}

// SAFETY: `run_chunk` reads pixels of x and dy, `ld` elements each at most, and writes the weights of
// its own channels; chunks have scratch of their own.
unsafe impl Operator for DwWeightGradF32 {
    fn kernel(&self) -> &'static str {
        self.kernel.name
    }

    fn input_bytes(&self) -> &[usize] {
        &self.input_bytes
    }

    fn output_bytes(&self) -> &[usize] {
        &self.output_bytes
    }

    fn scratch_bytes(&self) -> usize {
        self.sums_bytes() * self.chunks
    }

    fn chunks(&self) -> usize {
        self.chunks
    }

    fn macs(&self) -> u64 {
        self.spec.geometry.macs()
    }

    unsafe fn run_chunk(&self, io: &Io<'_>, chunk: usize) {
        let g = &self.spec.geometry;
        let taps = g.kernel.area();
        // SAFETY: every chunk has `sums_bytes`.
        let sums = unsafe { io.scratch::<u8>().add(chunk * self.sums_bytes()) }.cast::<f32>();
        for block in share(g.input.c.div_ceil(BLOCK), self.chunks, chunk) {
            let c = block * BLOCK;
            let lanes = BLOCK.min(g.input.c - c);
            // SAFETY: the sums are this chunk's; rows and channels lie in the pictures; the weights of
            // these channels are this chunk's.
            unsafe {
                sums.write_bytes(0, taps * BLOCK);
                for row in 0..g.output.n * g.output.h {
                    self.add_row(io, (row / g.output.h, row % g.output.h, c), sums);
                }
                for tap in 0..taps {
                    let to = io.output::<f32>(0).add(tap * g.input.c + c);
                    sums.add(tap * BLOCK).copy_to_nonoverlapping(to, lanes);
                }
            }
        }
    }
}

/// Gradient of the picture, any stride. Inputs: dy, weights as
/// [`PackDwF32`](crate::dwconv_f32::PackDwF32) packs them; output: dx.
#[derive(Debug)]
pub struct DwInputGradF32 {
    kernel: &'static Kernel,
    spec: DwGradSpec,
    /// Per column of the picture, its taps and the windows that read it with them.
    columns: Vec<Vec<(usize, usize)>>,
    /// Likewise per row.
    rows: Vec<Vec<(usize, usize)>>,
    chunks: usize,
    input_bytes: [usize; 2],
    output_bytes: [usize; 1],
}

impl DwInputGradF32 {
    /// The operator with the best kernel of the CPU.
    ///
    /// # Errors
    /// As [`DwWeightGradF32::new`].
    pub fn new(cpu: &Cpu, spec: DwGradSpec, threads: usize) -> Result<DwInputGradF32, KernelError> {
        DwInputGradF32::with_kernel(select(cpu), spec, threads)
    }

    /// The operator with this kernel.
    ///
    /// # Errors
    /// As [`DwWeightGradF32::with_kernel`].
    pub fn with_kernel(
        kernel: &'static Kernel,
        spec: DwGradSpec,
        threads: usize,
    ) -> Result<DwInputGradF32, KernelError> {
        check(&spec)?;
        if !Cpu::detect().supports(kernel.isa) {
            return Err(invalid(FAMILY, format!("no {} on this CPU", kernel.name)));
        }
        let g = &spec.geometry;
        let threads = if g.macs() < SMALL_WORK { 1 } else { threads.max(1) };
        let weights = (g.kernel.area() + 1).checked_mul(g.input.c.next_multiple_of(BLOCK));
        let weights = weights.ok_or_else(|| invalid(FAMILY, format!("kernel {}", g.kernel)))?;
        Ok(DwInputGradF32 {
            kernel,
            spec,
            columns: readers(&g.cols()),
            rows: readers(&g.rows()),
            chunks: threads.min(g.input.n * g.input.h).max(1),
            input_bytes: [
                bytes_of(FAMILY, g.output.pixels(), spec.ld_dy)?,
                bytes_of(FAMILY, weights, 1)?,
            ],
            output_bytes: [bytes_of(FAMILY, g.input.pixels(), spec.ld_x)?],
        })
    }
}

/// For every position of an axis, the taps and windows that read it: `(k, o)`.
fn readers(axis: &depthwise_tensor::WindowAxis) -> Vec<Vec<(usize, usize)>> {
    let mut readers = vec![Vec::new(); axis.input];
    for k in 0..axis.kernel {
        for o in windows(axis, k) {
            readers[axis.position(o, k)].push((k, o));
        }
    }
    readers
}

// SAFETY: `run_chunk` reads pixels of dy and packed weights and writes its own rows of dx, `ld`
// elements of each pixel at most.
unsafe impl Operator for DwInputGradF32 {
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
        self.spec.geometry.macs()
    }

    unsafe fn run_chunk(&self, io: &Io<'_>, chunk: usize) {
        let (spec, g) = (&self.spec, &self.spec.geometry);
        for row in share(g.input.n * g.input.h, self.chunks, chunk) {
            let (n, ih) = (row / g.input.h, row % g.input.h);
            for (iw, columns) in self.columns.iter().enumerate() {
                let args = CellArgs {
                    dy: io.input::<f32>(0).wrapping_add(n * g.output.h * g.output.w * spec.ld_dy),
                    ld_dy: spec.ld_dy,
                    row_dy: g.output.w * spec.ld_dy,
                    weights: io.input(1),
                    kernel_w: g.kernel.w,
                    taps: g.kernel.area(),
                    rows: &self.rows[ih],
                    columns,
                    dx: io.output::<f32>(0).wrapping_add((row * g.input.w + iw) * spec.ld_x),
                    channels: g.input.c,
                };
                // SAFETY: windows of this picture; the pixel is this chunk's.
                unsafe { (self.kernel.cell)(&args) };
            }
        }
    }
}
