//! Comparisons, logic on truth values, and choice by a mask. Plain loops: masks are small.

use crate::layout::View;
use crate::layout::walk::{Piece, Walk};
use crate::operator::{Io, KernelError, Operator};
use bytemuck::Pod;

/// A comparison of two numbers; false where one is NaN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CompareOp {
    /// `a == b`
    Equal,
    /// `a < b`
    Less,
    /// `a <= b`
    LessOrEqual,
    /// `a > b`
    Greater,
    /// `a >= b`
    GreaterOrEqual,
}

/// A function of truth values (bytes; 0 is false, all else true).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LogicOp {
    /// Both.
    And,
    /// Either.
    Or,
    /// One but not both.
    Xor,
    /// Not the first; there is no second.
    Not,
}

/// `y = a ? b`, one byte per element, 0 or 1; the operands broadcast to the shape of `y`. Inputs:
/// a, b.
#[derive(Debug)]
pub struct CompareF32 {
    function: CompareOp,
    walk: Walk<3>,
    chunks: usize,
    input_bytes: [usize; 2],
    output_bytes: [usize; 1],
}

impl CompareF32 {
    /// The operator for these views; `out` counts bytes.
    ///
    /// # Errors
    /// [`KernelError::Invalid`] where an operand does not broadcast to `out`, or a view cannot be.
    pub fn new(
        function: CompareOp,
        a: View,
        b: View,
        out: View,
        threads: usize,
    ) -> Result<CompareF32, KernelError> {
        let walk = Walk::broadcast("compare_f32", [&out, &a, &b])?;
        Ok(CompareF32 {
            function,
            chunks: walk.chunks(2 * size_of::<f32>() + 1, threads),
            walk,
            input_bytes: [a.len() * size_of::<f32>(), b.len() * size_of::<f32>()],
            output_bytes: [out.len()],
        })
    }

    /// # Safety
    /// As [`Operator::run_chunk`].
    unsafe fn run(&self, io: &Io<'_>, chunk: usize, f: impl Fn(f32, f32) -> bool) {
        let (y, a, b) = (io.output::<u8>(0), io.input::<f32>(0), io.input::<f32>(1));
        self.walk.chunk(self.chunks, chunk, |piece| {
            for_each(&self.walk, &piece, |[iy, ia, ib]| {
                // SAFETY: the walk stays inside its views.
                unsafe { *y.offset(iy) = f(*a.offset(ia), *b.offset(ib)).into() };
            });
        });
    }
}

// SAFETY: a walk stays inside its views, whose lengths are declared, and its chunks are apart.
unsafe impl Operator for CompareF32 {
    fn kernel(&self) -> &'static str {
        "compare_f32"
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
        // SAFETY: as the caller promises.
        unsafe {
            match self.function {
                CompareOp::Equal => self.run(io, chunk, |a, b| a == b),
                CompareOp::Less => self.run(io, chunk, |a, b| a < b),
                CompareOp::LessOrEqual => self.run(io, chunk, |a, b| a <= b),
                CompareOp::Greater => self.run(io, chunk, |a, b| a > b),
                CompareOp::GreaterOrEqual => self.run(io, chunk, |a, b| a >= b),
            }
        }
    }
}

/// A function of truth values, one byte each; the operands broadcast to the shape of `y`. Inputs:
/// a, and b but for [`LogicOp::Not`].
#[derive(Debug)]
pub struct LogicU8 {
    function: LogicOp,
    walk: Walk<3>,
    chunks: usize,
    input_bytes: Vec<usize>,
    output_bytes: [usize; 1],
}

impl LogicU8 {
    /// The operator for these views. `b` is not looked at for [`LogicOp::Not`].
    ///
    /// # Errors
    /// [`KernelError::Invalid`] where an operand does not broadcast to `out`, or a view cannot be.
    pub fn new(
        function: LogicOp,
        a: View,
        b: View,
        out: View,
        threads: usize,
    ) -> Result<LogicU8, KernelError> {
        let unary = function == LogicOp::Not;
        let b = if unary { a } else { b };
        let walk = Walk::broadcast("logic_u8", [&out, &a, &b])?;
        Ok(LogicU8 {
            function,
            chunks: walk.chunks(3, threads),
            walk,
            input_bytes: if unary { vec![a.len()] } else { vec![a.len(), b.len()] },
            output_bytes: [out.len()],
        })
    }
}

// SAFETY: a walk stays inside its views, whose lengths are declared, and its chunks are apart.
unsafe impl Operator for LogicU8 {
    fn kernel(&self) -> &'static str {
        "logic_u8"
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
        let (y, a) = (io.output::<u8>(0), io.input::<u8>(0));
        let b = io.input::<u8>(self.input_bytes.len() - 1);
        self.walk.chunk(self.chunks, chunk, |piece| {
            for_each(&self.walk, &piece, |[iy, ia, ib]| {
                // SAFETY: the walk stays inside its views.
                let (a, b) = unsafe { (*a.offset(ia) != 0, *b.offset(ib) != 0) };
                let value = match self.function {
                    LogicOp::And => a & b,
                    LogicOp::Or => a | b,
                    LogicOp::Xor => a ^ b,
                    LogicOp::Not => !a,
                };
                // SAFETY: as above.
                unsafe { *y.offset(iy) = value.into() };
            });
        });
    }
}

/// `y = a where condition else b`, all broadcast to the shape of `y`. Inputs: condition (bytes, 0
/// is false), a, b.
#[derive(Debug)]
pub struct SelectOp {
    element_bytes: usize,
    walk: Walk<4>,
    in_place: [bool; 3],
    chunks: usize,
    input_bytes: [usize; 3],
    output_bytes: [usize; 1],
}

impl SelectOp {
    /// The operator for elements of `element_bytes` (1, 2, 4 or 8) bytes.
    ///
    /// # Errors
    /// [`KernelError::Invalid`] where an operand does not broadcast to `out`, a view cannot be, or
    /// for another size.
    pub fn new(
        element_bytes: usize,
        condition: View,
        a: View,
        b: View,
        out: View,
        threads: usize,
    ) -> Result<SelectOp, KernelError> {
        crate::layout::check_element("select", element_bytes)?;
        let walk = Walk::broadcast("select", [&out, &condition, &a, &b])?;
        Ok(SelectOp {
            element_bytes,
            chunks: walk.chunks(3 * element_bytes + 1, threads),
            walk,
            in_place: [false, a == out, b == out],
            input_bytes: [condition.len(), a.len() * element_bytes, b.len() * element_bytes],
            output_bytes: [out.len() * element_bytes],
        })
    }

    /// # Safety
    /// As [`Operator::run_chunk`]; `T` has the size of the elements.
    unsafe fn run<T: Pod>(&self, io: &Io<'_>, chunk: usize) {
        let (y, condition) = (io.output::<T>(0), io.input::<u8>(0));
        let (a, b) = (io.input::<T>(1), io.input::<T>(2));
        self.walk.chunk(self.chunks, chunk, |piece| {
            for_each(&self.walk, &piece, |[iy, ic, ia, ib]| {
                // SAFETY: the walk stays inside its views.
                unsafe {
                    let (a, b) = (a.offset(ia).read_unaligned(), b.offset(ib).read_unaligned());
                    let value = if *condition.offset(ic) != 0 { a } else { b };
                    y.offset(iy).write_unaligned(value);
                }
            });
        });
    }
}

// SAFETY: a walk stays inside its views, whose lengths are declared, and its chunks are apart.
unsafe impl Operator for SelectOp {
    fn kernel(&self) -> &'static str {
        "select"
    }

    fn input_bytes(&self) -> &[usize] {
        &self.input_bytes
    }

    fn output_bytes(&self) -> &[usize] {
        &self.output_bytes
    }

    fn in_place(&self, i: usize) -> bool {
        self.in_place[i]
    }

    fn chunks(&self) -> usize {
        self.chunks
    }

    unsafe fn run_chunk(&self, io: &Io<'_>, chunk: usize) {
        // SAFETY: as the caller promises; the constructor has checked the size.
        unsafe {
            match self.element_bytes {
                1 => self.run::<u8>(io, chunk),
                2 => self.run::<u16>(io, chunk),
                4 => self.run::<u32>(io, chunk),
                _ => self.run::<u64>(io, chunk),
            }
        }
    }
}

/// Calls `f` with the places of each element of a piece.
#[inline(always)]
fn for_each<const N: usize>(walk: &Walk<N>, piece: &Piece<N>, mut f: impl FnMut([isize; N])) {
    for row in 0..piece.rows as isize {
        for i in 0..piece.run as isize {
            f(std::array::from_fn(|k| {
                piece.offsets[k] + row * walk.rows.strides[k] + i * walk.run.strides[k]
            }));
        }
    }
}
