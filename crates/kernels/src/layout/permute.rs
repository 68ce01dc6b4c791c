//! Axes in another order.

use super::strided::Strided;
use super::transpose::{self, Kernel, Matrix};
use super::view::View;
use super::walk::{Dim, Walk, chunks_for, merge, part};
use super::{check_element, select};
use crate::eltwise::require;
use crate::isa::Cpu;
use crate::operator::{Io, KernelError, Operator};
use std::ops::Range;

/// `y.dims[i] = x.dims[perm[i]]`
///
/// Axes that stay together are merged. What is left is a copy of runs where the last axis stays
/// last, else a number of matrices turned over.
#[derive(Debug)]
pub struct Permute(Plan);

#[derive(Debug)]
enum Plan {
    Copy(Strided),
    Matrices(Matrices),
}

/// A transposition for every trip of the outer loops.
#[derive(Debug)]
struct Matrices {
    kernel: &'static Kernel,
    element_bytes: usize,
    outer: Vec<Dim<2>>,
    matrix: Matrix,
    split: Split,
    chunks: usize,
    input_bytes: [usize; 1],
    output_bytes: [usize; 1],
}

/// What chunks divide among them.
#[derive(Clone, Copy, Debug)]
enum Split {
    Matrices,
    RowsOfOutput,
    ColumnsOfOutput,
}

impl Permute {
    /// The operator for elements of `element_bytes` (1, 2, 4 or 8) bytes.
    ///
    /// # Errors
    /// [`KernelError`] where `perm` is no permutation of the axes or `out` has another shape, or
    /// a view cannot be.
    pub fn new(
        cpu: &Cpu,
        element_bytes: usize,
        input: View,
        perm: &[usize],
        out: View,
        threads: usize,
    ) -> Result<Permute, KernelError> {
        Permute::with_kernel(select(cpu), element_bytes, input, perm, out, threads)
    }

    /// As [`Permute::new`], with a given entry of [`KERNELS`](super::KERNELS).
    ///
    /// # Errors
    /// As [`Permute::new`], and [`KernelError::Unsupported`] where the CPU lacks the instructions.
    pub fn with_kernel(
        kernel: &'static Kernel,
        element_bytes: usize,
        input: View,
        perm: &[usize],
        out: View,
        threads: usize,
    ) -> Result<Permute, KernelError> {
        let name = "permute";
        require(kernel.info())?;
        check_element(name, element_bytes)?;
        input.check(name)?;
        out.check(name)?;
        let (from, to) = (input.shape.dims(), out.shape.dims());
        let mut seen = vec![false; from.len()];
        let mut fits = perm.len() == from.len() && to.len() == from.len();
        for (i, &axis) in perm.iter().enumerate() {
            fits = fits && axis < from.len() && !seen[axis] && from[axis] == to[i];
            if fits {
                seen[axis] = true;
            }
        }
        if !fits {
            let reason = format!("axes {perm:?} of {} cannot give {}", input.shape, out.shape);
            return Err(KernelError::Invalid { kernel: name, reason });
        }
        let (in_strides, out_strides) = (input.strides(), out.strides());
        let dim = |(i, &axis): (usize, &usize)| Dim {
            extent: to[i],
            strides: [out_strides[i] as isize, in_strides[axis] as isize],
        };
        let mut dims = merge(perm.iter().enumerate().map(dim).collect());
        let turned = dims.last().is_some_and(|last| last.strides[0] == 1 && last.strides[1] != 1);
        let column = dims.iter().position(|dim| dim.strides[1] == 1);
        let (true, Some(column), false) = (turned, column, out.is_empty()) else {
            let walk = Walk::of(dims);
            let copy = Strided::new(name, element_bytes, walk, (&input, 0), &out, threads)?;
            return Ok(Permute(Plan::Copy(copy)));
        };
        let k = dims.remove(column);
        let l = dims.pop().expect("the last axis is not `column`, whose source step is 1");
        let matrix = Matrix {
            l: l.extent,
            k: k.extent,
            ldx: l.strides[1] as usize,
            ldy: k.strides[0] as usize,
        };
        let bytes = 2 * out.shape.elements() * element_bytes;
        let (split, chunks) = divide(&dims, &matrix, chunks_for(bytes, threads));
        Ok(Permute(Plan::Matrices(Matrices {
            kernel,
            element_bytes,
            outer: dims,
            matrix,
            split,
            chunks,
            input_bytes: [input.len() * element_bytes],
            output_bytes: [out.len() * element_bytes],
        })))
    }
}

/// What to divide into how many of `wanted` chunks.
fn divide(outer: &[Dim<2>], matrix: &Matrix, wanted: usize) -> (Split, usize) {
    let matrices: usize = outer.iter().map(|dim| dim.extent).product();
    let units = [
        (Split::Matrices, matrices),
        (Split::RowsOfOutput, matrix.k / 8),
        (Split::ColumnsOfOutput, matrix.l / 16),
    ];
    let enough = units.into_iter().find(|(_, n)| *n >= wanted);
    let (split, n) = enough.unwrap_or((Split::Matrices, matrices));
    (split, wanted.min(n).max(1))
}

impl Matrices {
    /// # Safety
    /// As [`Operator::run_chunk`].
    unsafe fn run(&self, io: &Io<'_>, chunk: usize) {
        let total = self.outer.iter().map(|dim| dim.extent).product();
        let whole = |n: usize| 0..n;
        let (mut outer, mut k, mut l) = (whole(total), whole(self.matrix.k), whole(self.matrix.l));
        match self.split {
            Split::Matrices => outer = part(total, 1, self.chunks, chunk),
            Split::RowsOfOutput => k = part(self.matrix.k, 8, self.chunks, chunk),
            Split::ColumnsOfOutput => l = part(self.matrix.l, 16, self.chunks, chunk),
        }
        for mut index in outer {
            let (mut out, mut input) = (0, 0);
            for dim in self.outer.iter().rev() {
                let i = (index % dim.extent) as isize;
                index /= dim.extent;
                out += i * dim.strides[0];
                input += i * dim.strides[1];
            }
            let places = (out as usize, input as usize);
            // SAFETY: as the caller promises; the matrix lies in both views.
            unsafe {
                match self.element_bytes {
                    1 => self.turn::<u8>(io, places, (&k, &l), transpose::generic),
                    2 => self.turn::<u16>(io, places, (&k, &l), transpose::generic),
                    4 => self.turn::<u32>(io, places, (&k, &l), self.kernel.run),
                    _ => self.turn::<u64>(io, places, (&k, &l), transpose::generic),
                }
            }
        }
    }

    /// Turns columns `k` and rows `l` of the matrix that starts at these elements of y and x.
    ///
    /// # Safety
    /// As [`Operator::run_chunk`]; `T` has the size of the elements.
    unsafe fn turn<T>(
        &self,
        io: &Io<'_>,
        (out, input): (usize, usize),
        (k, l): (&Range<usize>, &Range<usize>),
        kernel: unsafe fn(Matrix, *mut T, *const T),
    ) where
        T: bytemuck::Pod,
    {
        let part = Matrix { k: k.len(), l: l.len(), ..self.matrix };
        let m = &self.matrix;
        // SAFETY: the part lies in the matrix; the constructor has checked the instructions.
        unsafe {
            let y = io.output::<T>(0).add(out + k.start * m.ldy + l.start);
            let x = io.input::<T>(0).add(input + l.start * m.ldx + k.start);
            kernel(part, y, x);
        }
    }
}

// SAFETY: strides and extents are those of the views, whose lengths are declared; chunks write
// different matrices, or different rows or columns of them.
unsafe impl Operator for Permute {
    fn kernel(&self) -> &'static str {
        match &self.0 {
            Plan::Copy(_) => "permute",
            Plan::Matrices(m) if m.element_bytes == 4 => m.kernel.info().name,
            Plan::Matrices(_) => "permute",
        }
    }

    fn input_bytes(&self) -> &[usize] {
        match &self.0 {
            Plan::Copy(copy) => &copy.input_bytes,
            Plan::Matrices(m) => &m.input_bytes,
        }
    }

    fn output_bytes(&self) -> &[usize] {
        match &self.0 {
            Plan::Copy(copy) => &copy.output_bytes,
            Plan::Matrices(m) => &m.output_bytes,
        }
    }

    fn chunks(&self) -> usize {
        match &self.0 {
            Plan::Copy(copy) => copy.chunks,
            Plan::Matrices(m) => m.chunks,
        }
    }

    unsafe fn run_chunk(&self, io: &Io<'_>, chunk: usize) {
        // SAFETY: as the caller promises.
        unsafe {
            match &self.0 {
                Plan::Copy(copy) => copy.run(io, chunk),
                Plan::Matrices(m) => m.run(io, chunk),
            }
        }
    }
}
