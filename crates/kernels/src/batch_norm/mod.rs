//! Batch normalization with the statistics of the batch, and its gradient, `f32`.
//!
//! Sums over all pixels and what follows from them are two steps, so that both are shared out by rows:
//! the first leaves partial sums of a fixed number of segments, the second adds them up in `f64` (each
//! chunk for itself) and walks its rows once.
//!
//! | operator | inputs | outputs |
//! |---|---|---|
//! | [`BatchSumsF32`] | x | `sum x - s`, `sum (x - s)^2` per segment |
//! | [`BatchNormF32`] | x, gamma, beta, sums | y, mean, var |
//! | [`GradSumsF32`] | dy, x, mean | `sum dy`, `sum dy * (x - mean)` per segment |
//! | [`BatchNormGradF32`] | dy, x, gamma, mean, var, sums | dx, dgamma, dbeta |
//!
//! `s` is the first row of x: squares of small differences lose nothing where the mean is far from 0.
//! Segments depend on the shape alone, so bits do not depend on the number of threads.

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
use crate::spatial::{bytes_of, check_ld, invalid, share};
use depthwise_tensor::Rows;
use generic::{AffineArgs, SumArgs};
use std::ops::Range;

const FAMILY: &str = "batch_norm";

/// An entry of [`KERNELS`].
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    name: &'static str,
    isa: Isa,
    sums: unsafe fn(&SumArgs),
    affine: unsafe fn(&AffineArgs),
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

/// The entry of one instruction set and its functions.
macro_rules! kernel {
    ($name:literal, $isa:expr, $token:expr, $level:ty, $attribute:meta) => {
        /// The entry of this instruction set.
        pub(super) const KERNEL: super::Kernel =
            super::Kernel { name: $name, isa: $isa, sums, affine };

        /// # Safety
        /// - The CPU has the instruction set.
        /// - As [`super::generic::sums`].
        #[$attribute]
        unsafe fn sums(args: &super::generic::SumArgs) {
            // SAFETY: the CPU has the instruction set, which this function enables for the token;
            // the rest is the caller's duty.
            unsafe { super::generic::sums::<$level>($token, args) }
        }

        /// # Safety
        /// - The CPU has the instruction set.
        /// - As [`super::generic::affine`].
        #[$attribute]
        unsafe fn affine(args: &super::generic::AffineArgs) {
            // SAFETY: as above.
            unsafe { super::generic::affine::<$level>($token, args) }
        }
    };
}
use kernel;

/// Most segments of the rows.
const SEGMENTS: usize = 8;

/// Rows of a segment at least.
const FEW_ROWS: usize = 64;

/// Segments of this many rows: as many partial sums as the sums operators write.
pub fn segments(rows: usize) -> usize {
    (rows / FEW_ROWS).clamp(1, SEGMENTS)
}

/// What the operators share: rows, channels and the kernel.
#[derive(Clone, Copy, Debug)]
struct Layout {
    kernel: &'static Kernel,
    rows: usize,
    c: usize,
    /// Elements from one row of partial sums to the next.
    ld_sums: usize,
    chunks: usize,
}

impl Layout {
    fn new(kernel: &'static Kernel, rows: Rows, chunks: usize) -> Result<Layout, KernelError> {
        if rows.rows == 0 || rows.c == 0 {
            return Err(invalid(FAMILY, "there is nothing to take statistics of".into()));
        }
        let chunks = chunks.clamp(1, rows.rows);
        let ld_sums = rows.c.next_multiple_of(16);
        Ok(Layout { kernel, rows: rows.rows, c: rows.c, ld_sums, chunks })
    }

    /// Bytes of the partial sums: two rows per segment.
    fn sums_bytes(&self) -> Result<usize, KernelError> {
        bytes_of(FAMILY, 2 * segments(self.rows), self.ld_sums)
    }

    /// Both sums of channel `c` over all segments.
    ///
    /// # Safety
    /// - `sums` holds the partial sums of this layout.
    unsafe fn total(&self, sums: *const f32, c: usize) -> (f64, f64) {
        let mut both = (0.0, 0.0);
        for segment in 0..segments(self.rows) {
            // SAFETY: two rows per segment.
            unsafe {
                let row = sums.add(2 * segment * self.ld_sums + c);
                both.0 += f64::from(*row);
                both.1 += f64::from(*row.add(self.ld_sums));
            }
        }
        both
    }
}

/// Rows of `f32` whose stride is padded to vectors.
fn check_rows(rows: &Rows, like: &Rows) -> Result<usize, KernelError> {
    if (rows.rows, rows.c) != (like.rows, like.c) {
        let reason = format!("{}x{} beside {}x{}", rows.rows, rows.c, like.rows, like.c);
        return Err(invalid(FAMILY, reason));
    }
    check_ld(FAMILY, rows.ld, rows.c)?;
    bytes_of(FAMILY, rows.rows, rows.ld)
}

/// Elements of a vector of channels as bytes.
fn channel_bytes(c: usize) -> usize {
    c * size_of::<f32>()
}

/// Partial sums of x. Input: x; output: sums.
#[derive(Debug)]
pub struct BatchSumsF32 {
    layout: Layout,
    ld: usize,
    input_bytes: [usize; 1],
    output_bytes: [usize; 1],
}

/// Partial sums of the gradient. Inputs: dy, x, mean (`c` elements); output: sums.
#[derive(Debug)]
pub struct GradSumsF32 {
    layout: Layout,
    ld_dy: usize,
    ld_x: usize,
    input_bytes: [usize; 3],
    output_bytes: [usize; 1],
}

/// Normalizes. Inputs: x, sums, then gamma and beta (`c` elements each) where there are; outputs: y,
/// mean, var.
#[derive(Debug)]
pub struct BatchNormF32 {
    layout: Layout,
    epsilon: f32,
    weights: [bool; 2],
    ld_x: usize,
    ld_y: usize,
    input_bytes: Vec<usize>,
    output_bytes: [usize; 3],
}

/// Gradients. Inputs: dy, x, mean, var, sums, then gamma where there is; outputs: dx, dgamma, dbeta.
#[derive(Debug)]
pub struct BatchNormGradF32 {
    layout: Layout,
    epsilon: f32,
    gamma: bool,
    ld: [usize; 3],
    input_bytes: Vec<usize>,
    output_bytes: [usize; 3],
}

impl BatchSumsF32 {
    /// For rows of x.
    ///
    /// # Errors
    /// [`KernelError`] for no rows, and a stride that is not padded to vectors.
    pub fn new(cpu: &Cpu, x: Rows, threads: usize) -> Result<BatchSumsF32, KernelError> {
        BatchSumsF32::with_kernel(select(cpu), x, threads)
    }

    /// The operator with this kernel.
    ///
    /// # Errors
    /// As [`BatchSumsF32::new`]; and where the CPU lacks the kernel's level.
    pub fn with_kernel(
        kernel: &'static Kernel,
        x: Rows,
        threads: usize,
    ) -> Result<BatchSumsF32, KernelError> {
        if !Cpu::detect().supports(kernel.isa) {
            return Err(invalid(FAMILY, format!("no {} on this CPU", kernel.name)));
        }
        let layout = Layout::new(kernel, x, threads.min(segments(x.rows)))?;
        let input_bytes = [check_rows(&x, &x)?];
        Ok(BatchSumsF32 { layout, ld: x.ld, input_bytes, output_bytes: [layout.sums_bytes()?] })
    }
}

impl GradSumsF32 {
    /// For rows of dy and x.
    ///
    /// # Errors
    /// As [`BatchSumsF32::new`]; and where the rows differ.
    pub fn new(cpu: &Cpu, dy: Rows, x: Rows, threads: usize) -> Result<GradSumsF32, KernelError> {
        let layout = Layout::new(select(cpu), x, threads.min(segments(x.rows)))?;
        Ok(GradSumsF32 {
            layout,
            ld_dy: dy.ld,
            ld_x: x.ld,
            input_bytes: [check_rows(&dy, &x)?, check_rows(&x, &x)?, channel_bytes(x.c)],
            output_bytes: [layout.sums_bytes()?],
        })
    }
}

impl BatchNormF32 {
    /// For rows of x and y; `weights` says whether there are gamma and beta.
    ///
    /// # Errors
    /// As [`GradSumsF32::new`].
    pub fn new(
        cpu: &Cpu,
        (x, y): (Rows, Rows),
        epsilon: f32,
        weights: [bool; 2],
        threads: usize,
    ) -> Result<BatchNormF32, KernelError> {
        let layout = Layout::new(select(cpu), x, threads)?;
        let mut input_bytes = vec![check_rows(&x, &x)?, layout.sums_bytes()?];
        input_bytes.extend(weights.iter().filter(|there| **there).map(|_| channel_bytes(x.c)));
        let output_bytes = [check_rows(&y, &x)?, channel_bytes(x.c), channel_bytes(x.c)];
        let (ld_x, ld_y) = (x.ld, y.ld);
        Ok(BatchNormF32 { layout, epsilon, weights, ld_x, ld_y, input_bytes, output_bytes })
    }
}

impl BatchNormGradF32 {
    /// For rows of dy, x and dx; `gamma` says whether there is one.
    ///
    /// # Errors
    /// As [`GradSumsF32::new`].
    pub fn new(
        cpu: &Cpu,
        (dy, x, dx): (Rows, Rows, Rows),
        epsilon: f32,
        gamma: bool,
        threads: usize,
    ) -> Result<BatchNormGradF32, KernelError> {
        let layout = Layout::new(select(cpu), x, threads)?;
        let c = channel_bytes(x.c);
        let mut input_bytes =
            vec![check_rows(&dy, &x)?, check_rows(&x, &x)?, c, c, layout.sums_bytes()?];
        input_bytes.extend(gamma.then_some(c));
        let output_bytes = [check_rows(&dx, &x)?, c, c];
        let ld = [dy.ld, x.ld, dx.ld];
        Ok(BatchNormGradF32 { layout, epsilon, gamma, ld, input_bytes, output_bytes })
    }
}

/// Runs the sums of the segments of a chunk.
///
/// # Safety
/// - `args` describes the first row of all; rows and sums of the layout are valid.
unsafe fn run_segments(layout: &Layout, args: SumArgs, chunks: usize, chunk: usize) {
    let count = segments(layout.rows);
    for segment in share(count, chunks, chunk) {
        let rows = share(layout.rows, count, segment);
        let args = SumArgs {
            a: args.a.wrapping_add(rows.start * args.ld_a),
            b: args.b.wrapping_add(rows.start * args.ld_b),
            rows: rows.len(),
            sums: args.sums.wrapping_add(2 * segment * layout.ld_sums),
            ..args
        };
        // SAFETY: rows and sums of this segment.
        unsafe { (layout.kernel.sums)(&args) };
    }
}

// SAFETY: `run_chunk` reads the rows of x, `ld` elements each, and writes two rows of sums per segment
// of its own.
unsafe impl Operator for BatchSumsF32 {
    fn kernel(&self) -> &'static str {
        self.layout.kernel.name
    }

    fn input_bytes(&self) -> &[usize] {
        &self.input_bytes
    }

    fn output_bytes(&self) -> &[usize] {
        &self.output_bytes
    }

    fn chunks(&self) -> usize {
        self.layout.chunks
    }

    unsafe fn run_chunk(&self, io: &Io<'_>, chunk: usize) {
        let x = io.input::<f32>(0);
        let args = SumArgs {
            a: x,
            ld_a: self.ld,
            b: x,
            ld_b: self.ld,
            shift: x,
            squares: true,
            rows: 0,
            c: self.layout.c,
            sums: io.output(0),
            ld_sums: self.layout.ld_sums,
        };
        // SAFETY: rows and sums are the operands; the shift is the first row.
        unsafe { run_segments(&self.layout, args, self.layout.chunks, chunk) };
    }
}

// SAFETY: as for `BatchSumsF32`; mean is read `c` elements at most.
unsafe impl Operator for GradSumsF32 {
    fn kernel(&self) -> &'static str {
        self.layout.kernel.name
    }

    fn input_bytes(&self) -> &[usize] {
        &self.input_bytes
    }

    fn output_bytes(&self) -> &[usize] {
        &self.output_bytes
    }

    fn chunks(&self) -> usize {
        self.layout.chunks
    }

    unsafe fn run_chunk(&self, io: &Io<'_>, chunk: usize) {
        let args = SumArgs {
            a: io.input(0),
            ld_a: self.ld_dy,
            b: io.input(1),
            ld_b: self.ld_x,
            shift: io.input(2),
            squares: false,
            rows: 0,
            c: self.layout.c,
            sums: io.output(0),
            ld_sums: self.layout.ld_sums,
        };
        // SAFETY: rows, mean and sums are the operands.
        unsafe { run_segments(&self.layout, args, self.layout.chunks, chunk) };
    }
}

/// Three rows of factors in the scratch memory of a chunk.
fn factor_bytes(layout: &Layout) -> usize {
    3 * layout.ld_sums * size_of::<f32>()
}

// SAFETY: `run_chunk` reads x, sums and weights and writes its own rows of y; the first chunk alone
// writes mean and var. Each chunk has scratch of its own.
unsafe impl Operator for BatchNormF32 {
    fn kernel(&self) -> &'static str {
        self.layout.kernel.name
    }

    fn input_bytes(&self) -> &[usize] {
        &self.input_bytes
    }

    fn output_bytes(&self) -> &[usize] {
        &self.output_bytes
    }

    fn scratch_bytes(&self) -> usize {
        factor_bytes(&self.layout) * self.layout.chunks
    }

    fn chunks(&self) -> usize {
        self.layout.chunks
    }

    unsafe fn run_chunk(&self, io: &Io<'_>, chunk: usize) {
        let layout = &self.layout;
        let (x, sums) = (io.input::<f32>(0), io.input::<f32>(1));
        let gamma = self.weights[0].then(|| io.input::<f32>(2));
        let beta = self.weights[1].then(|| io.input::<f32>(2 + usize::from(self.weights[0])));
        let factors = scratch(io, layout, chunk);
        for c in 0..layout.c {
            // SAFETY: every operand has `c` channels; the factors are this chunk's.
            unsafe {
                let (first, second) = layout.total(sums, c);
                let count = layout.rows as f64;
                let offset = first / count;
                let mean = f64::from(*x.add(c)) + offset;
                let var = (second / count - offset * offset).max(0.0);
                let root = 1.0 / (var + f64::from(self.epsilon)).sqrt();
                let scale = root * gamma.map_or(1.0, |gamma| f64::from(*gamma.add(c)));
                let beta = beta.map_or(0.0, |beta| f64::from(*beta.add(c)));
                *factors.add(c) = scale as f32;
                *factors.add(2 * layout.ld_sums + c) = (beta - mean * scale) as f32;
                if chunk == 0 {
                    *io.output::<f32>(1).add(c) = mean as f32;
                    *io.output::<f32>(2).add(c) = var as f32;
                }
            }
        }
        let rows = share(layout.rows, layout.chunks, chunk);
        let out = (io.output::<f32>(0), self.ld_y);
        // SAFETY: these rows of x and y, which are this chunk's.
        unsafe { run_affine(layout, (x, self.ld_x), None, factors, out, rows) };
    }
}

// SAFETY: as for `BatchNormF32`; dx may lie where dy lies, whose rows are read before they are written
// by the same chunk.
unsafe impl Operator for BatchNormGradF32 {
    fn kernel(&self) -> &'static str {
        self.layout.kernel.name
    }

    fn input_bytes(&self) -> &[usize] {
        &self.input_bytes
    }

    fn output_bytes(&self) -> &[usize] {
        &self.output_bytes
    }

    fn scratch_bytes(&self) -> usize {
        factor_bytes(&self.layout) * self.layout.chunks
    }

    fn in_place(&self, i: usize) -> bool {
        i == 0 && self.ld[0] == self.ld[2]
    }

    fn chunks(&self) -> usize {
        self.layout.chunks
    }

    unsafe fn run_chunk(&self, io: &Io<'_>, chunk: usize) {
        let layout = &self.layout;
        let (mean, var) = (io.input::<f32>(2), io.input::<f32>(3));
        let sums = io.input::<f32>(4);
        let gamma = self.gamma.then(|| io.input::<f32>(5));
        let factors = scratch(io, layout, chunk);
        for c in 0..layout.c {
            // SAFETY: every operand has `c` channels; the factors are this chunk's.
            unsafe {
                let (dbeta, moment) = layout.total(sums, c);
                let count = layout.rows as f64;
                let root = 1.0 / (f64::from(*var.add(c)) + f64::from(self.epsilon)).sqrt();
                let dgamma = moment * root;
                let of_dy = root * gamma.map_or(1.0, |gamma| f64::from(*gamma.add(c)));
                let of_x = -of_dy * root * dgamma / count;
                let rest = -of_dy * dbeta / count - of_x * f64::from(*mean.add(c));
                *factors.add(c) = of_dy as f32;
                *factors.add(layout.ld_sums + c) = of_x as f32;
                *factors.add(2 * layout.ld_sums + c) = rest as f32;
                if chunk == 0 {
                    *io.output::<f32>(1).add(c) = dgamma as f32;
                    *io.output::<f32>(2).add(c) = dbeta as f32;
                }
            }
        }
        let rows = share(layout.rows, layout.chunks, chunk);
        let (dy, x) = ((io.input(0), self.ld[0]), (io.input(1), self.ld[1]));
        // SAFETY: these rows of dy, x and dx, of which dx is this chunk's.
        unsafe {
            run_affine(layout, dy, Some(x), factors, (io.output(0), self.ld[2]), rows);
        }
    }
}

/// The factors of a chunk: cleared, since vectors past the last channel are computed with them, too.
fn scratch(io: &Io<'_>, layout: &Layout, chunk: usize) -> *mut f32 {
    let at = io.scratch::<u8>().wrapping_add(chunk * factor_bytes(layout)).cast::<f32>();
    // SAFETY: every chunk has `factor_bytes`.
    unsafe { at.write_bytes(0, 3 * layout.ld_sums) };
    at
}

/// `out = a * factors[0] + b * factors[1] + factors[2]` for some rows.
///
/// # Safety
/// - The rows are valid for reads of `a` and `b` and writes of `out`, whole vectors over the channels.
/// - `factors` holds three rows of `ld_sums`.
unsafe fn run_affine(
    layout: &Layout,
    (a, ld_a): (*const f32, usize),
    b: Option<(*const f32, usize)>,
    factors: *const f32,
    (out, ld_out): (*mut f32, usize),
    rows: Range<usize>,
) {
    let args = AffineArgs {
        a: a.wrapping_add(rows.start * ld_a),
        ld_a,
        b: b.map_or(std::ptr::null(), |(b, ld)| b.wrapping_add(rows.start * ld)),
        ld_b: b.map_or(0, |(_, ld)| ld),
        factors,
        ld_factors: layout.ld_sums,
        out: out.wrapping_add(rows.start * ld_out),
        ld_out,
        rows: rows.len(),
        c: layout.c,
    };
    // SAFETY: as the caller promises.
    unsafe { (layout.kernel.affine)(&args) }
}
