//! Reductions over whole axes, `f32`.
//!
//! `y[kept] = f over reduced of x[kept, reduced]`; see [`ReduceOp`].
//!
//! Where the last axis stays, vectors lie along it and go down the reduced ones: the mean over H
//! and W of an NHWC picture. Four vectors at a time hide the latency of an addition. Where the
//! last axis goes, vectors lie along it too, in four chains, and are joined at the end. Either way
//! at most 64 terms are added to one number before that goes to a total, so that the rounding
//! error of long sums stays near that of a pairwise sum. The order depends on kernel and shape,
//! never on threads.
//!
//! On Zen 3 with AVX2, the mean of 7x7x1280 over H and W takes 3.7 us, of 28x28x120 6.4 us (69 and
//! 59 GB/s; scalar 4.6 and 12). The AVX-512 entry is the same body and has not been measured.
//!
//! NaN gives NaN, in extremes too. Padding of rows of x never reaches a result.

mod arg;
mod functions;
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
mod top;

pub use arg::ArgF32;
pub use functions::ReduceOp;
pub use top::TopF32;

use crate::eltwise::require;
use crate::isa::{Cpu, Isa};
use crate::layout::View;
use crate::layout::walk::{Dim, chunks_for, merge, part};
use crate::operator::{Io, KernelError, KernelInfo, Operator};
use generic::Cell;

/// An entry of [`KERNELS`].
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    name: &'static str,
    isa: Isa,
    /// Neighbouring cells at a time.
    down: unsafe fn(&Cell<'_>),
    /// One cell, along contiguous elements.
    along: unsafe fn(&Cell<'_>),
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
            super::Kernel { name: $name, isa: $isa, down, along };

        /// # Safety
        /// - The CPU has the instruction set.
        /// - As [`super::generic::down`].
        #[$attribute]
        unsafe fn down(cell: &super::generic::Cell<'_>) {
            // SAFETY: the CPU has the instruction set, which this function enables for the token;
            // the cells are the caller's duty.
            unsafe { super::generic::down($token, cell) }
        }

        /// # Safety
        /// - The CPU has the instruction set.
        /// - As [`super::generic::along`].
        #[$attribute]
        unsafe fn along(cell: &super::generic::Cell<'_>) {
            // SAFETY: as above.
            unsafe { super::generic::along($token, cell) }
        }
    };
}
use kernel;

/// Neighbouring results that a chunk is made of.
const BLOCK: usize = 16;

/// A reduction over some axes.
#[derive(Debug)]
pub struct ReduceF32 {
    kernel: &'static Kernel,
    function: ReduceOp,
    cells: Cells,
    /// Neighbouring results that one call computes, 1 where vectors lie along a reduced axis.
    run: usize,
    /// Loops over the elements of one result, but for contiguous ones.
    loops: Vec<Dim<1>>,
    /// Contiguous elements of one result.
    along: usize,
    count: usize,
    chunks: usize,
    input_bytes: [usize; 1],
    output_bytes: [usize; 1],
}

impl ReduceF32 {
    /// The operator that reduces exactly these axes. `out` has the axes that stay, in order, with
    /// or without axes of extent 1.
    ///
    /// # Errors
    /// [`KernelError::Invalid`] where an axis is out of range or named twice, `out` has another
    /// shape, or a view cannot be.
    pub fn new(
        cpu: &Cpu,
        function: ReduceOp,
        input: View,
        axes: &[usize],
        out: View,
        threads: usize,
    ) -> Result<ReduceF32, KernelError> {
        ReduceF32::with_kernel(select(cpu), function, input, axes, out, threads)
    }

    /// As [`ReduceF32::new`], with a given entry of [`KERNELS`].
    ///
    /// # Errors
    /// As [`ReduceF32::new`], and [`KernelError::Unsupported`] where the CPU lacks the
    /// instructions.
    pub fn with_kernel(
        kernel: &'static Kernel,
        function: ReduceOp,
        input: View,
        axes: &[usize],
        out: View,
        threads: usize,
    ) -> Result<ReduceF32, KernelError> {
        require(kernel.info())?;
        let mut cells = Cells::new(kernel.name, &input, axes, &out)?;
        let strides = input.strides();
        let gone = axes_in_order(axes)
            .into_iter()
            .map(|axis| Dim { extent: input.shape[axis], strides: [strides[axis] as isize] });
        let gone: Vec<Dim<1>> = gone.collect();
        let count = gone.iter().map(|dim| dim.extent).product();
        let mut loops = merge(gone);
        let (mut run, mut along) = (1, 1);
        if let Some(last) = cells.kept.pop_if(|dim| dim.strides == [1, 1]) {
            run = last.extent;
            // Where rows have room, whole vectors and no tail.
            let lds = [input.ld, out.ld];
            if lds.iter().all(|ld| ld.is_multiple_of(BLOCK) && run.next_multiple_of(BLOCK) <= *ld) {
                run = run.next_multiple_of(BLOCK);
            }
        } else if let Some(last) = loops.pop_if(|dim| dim.strides == [1]) {
            along = last.extent;
        }
        let bytes = input.shape.elements() * size_of::<f32>();
        let units = cells.total() * run.div_ceil(BLOCK);
        Ok(ReduceF32 {
            kernel,
            function,
            chunks: chunks_for(bytes, threads).min(units).max(1),
            cells,
            run,
            loops,
            along,
            count,
            input_bytes: [input.len() * size_of::<f32>()],
            output_bytes: [out.len() * size_of::<f32>()],
        })
    }
}

// SAFETY: cells and loops together visit the elements of the views (and padding of their rows),
// whose lengths are declared; chunks write different cells.
unsafe impl Operator for ReduceF32 {
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
        let (y, x) = (io.output::<f32>(0), io.input::<f32>(0));
        let blocks = self.run.div_ceil(BLOCK);
        let mut units = part(self.cells.total() * blocks, 1, self.chunks, chunk);
        while !units.is_empty() {
            let (cell, block) = (units.start / blocks, units.start % blocks);
            let taken = (blocks - block).min(units.len());
            let start = block * BLOCK;
            let run = (taken * BLOCK).min(self.run - start);
            let (out, input) = self.cells.places(cell);
            // SAFETY: the cells lie in both views; the constructor has checked that the CPU runs
            // the kernel.
            unsafe {
                let task = Cell {
                    function: self.function,
                    y: y.add(out + start),
                    x: x.add(input + start),
                    run,
                    loops: &self.loops,
                    along: self.along,
                    count: self.count,
                };
                let kernel = if self.run > 1 { self.kernel.down } else { self.kernel.along };
                kernel(&task);
            }
            units.start += taken;
        }
    }
}

/// The axes that stay, as loops over results.
#[derive(Debug)]
struct Cells {
    /// Output, then input.
    kept: Vec<Dim<2>>,
}

impl Cells {
    fn new(
        kernel: &'static str,
        input: &View,
        axes: &[usize],
        out: &View,
    ) -> Result<Cells, KernelError> {
        input.check(kernel)?;
        out.check(kernel)?;
        let invalid = |reason: String| Err(KernelError::Invalid { kernel, reason });
        let rank = input.shape.rank();
        let twice = |(i, axis): (usize, &usize)| axes[..i].contains(axis);
        if axes.iter().any(|&axis| axis >= rank) || axes.iter().enumerate().any(twice) {
            return invalid(format!("axes {axes:?} of {}", input.shape));
        }
        // Axes of extent 1 may be there or not.
        let (in_strides, out_strides) = (input.strides(), out.strides());
        let stays = |axis: &usize| !axes.contains(axis) && input.shape[*axis] != 1;
        let from: Vec<usize> = (0..rank).filter(stays).collect();
        let to: Vec<usize> = (0..out.shape.rank()).filter(|&a| out.shape[a] != 1).collect();
        let pairs = from.iter().zip(&to);
        let same = pairs.clone().all(|(&a, &b)| input.shape[a] == out.shape[b]);
        if from.len() != to.len() || !same {
            return invalid(format!("{} without axes {axes:?} is not {}", input.shape, out.shape));
        }
        let dim = |(&a, &b): (&usize, &usize)| Dim {
            extent: input.shape[a],
            strides: [out_strides[b] as isize, in_strides[a] as isize],
        };
        Ok(Cells { kept: merge(pairs.map(dim).collect()) })
    }

    /// Number of trips.
    fn total(&self) -> usize {
        self.kept.iter().map(|dim| dim.extent).product()
    }

    /// Where trip `index` writes and reads, in elements.
    fn places(&self, mut index: usize) -> (usize, usize) {
        let (mut out, mut input) = (0, 0);
        for dim in self.kept.iter().rev() {
            let i = (index % dim.extent) as isize;
            index /= dim.extent;
            out += i * dim.strides[0];
            input += i * dim.strides[1];
        }
        (out as usize, input as usize)
    }
}

fn axes_in_order(axes: &[usize]) -> Vec<usize> {
    let mut axes = axes.to_vec();
    axes.sort_unstable();
    axes
}
