//! Sums and products of two operands.

use super::{FAMILY, Kernel, Lines, Pair, check_level, select};
use crate::isa::Cpu;
use crate::operator::{Io, KernelError, Operator};
use crate::quant::{Out8, Quant8, check_multipliers};
use crate::spatial::invalid;
use depthwise_tensor::Rows;

/// What becomes of two numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum BinaryQ {
    /// `(a - z_a) * a + (b - z_b) * b`: the multipliers are `s_a / s_out` and `s_b / s_out`, the second
    /// negative for a difference.
    Add {
        /// Of the first operand.
        a: f32,
        /// Of the second.
        b: f32,
    },
    /// `(a - z_a) * (b - z_b) * m`, `m = s_a * s_b / s_out`.
    Mul {
        /// Of the product.
        m: f32,
    },
}

/// A sum or product. Inputs a, b; output y.
#[derive(Debug)]
pub struct BinaryQs8 {
    kernel: &'static Kernel,
    is_sum: bool,
    pair: Pair,
    a: Rows,
    b: Rows,
    y: Rows,
    /// Rows of `a` that meet the same row of `b`.
    repeat: usize,
    lines: Lines,
    input_bytes: [usize; 2],
    output_bytes: [usize; 1],
}

impl BinaryQs8 {
    /// The operator with the best kernel of the CPU. `a` and `y` have the same extents; `b` has as many
    /// columns, and a row for each row of `a` or for each of as many equal groups of them (a gate per
    /// picture and channel, or one row for all).
    ///
    /// # Errors
    /// [`KernelError::Invalid`] where the rows do not go together, or a multiplier is not finite.
    pub fn new(
        cpu: &Cpu,
        function: BinaryQ,
        (a, b): ((Quant8, Rows), (Quant8, Rows)),
        (out, y): (Out8, Rows),
        threads: usize,
    ) -> Result<BinaryQs8, KernelError> {
        BinaryQs8::with_kernel(select(cpu), function, (a, b), (out, y), threads)
    }

    /// The operator with this kernel.
    ///
    /// # Errors
    /// As [`BinaryQs8::new`]; and [`KernelError::Unsupported`] where the CPU lacks the kernel's level.
    pub fn with_kernel(
        kernel: &'static Kernel,
        function: BinaryQ,
        (a, b): ((Quant8, Rows), (Quant8, Rows)),
        (out, y): (Out8, Rows),
        threads: usize,
    ) -> Result<BinaryQs8, KernelError> {
        check_level(kernel)?;
        let ((a_quant, a), (b_quant, b)) = (a, b);
        let m = match function {
            BinaryQ::Add { a, b } => [a, b],
            BinaryQ::Mul { m } => [m, 0.0],
        };
        check_multipliers(FAMILY, &m, 2)?;
        if a.rows > 0 && (b.rows == 0 || !a.rows.is_multiple_of(b.rows)) {
            return Err(invalid(FAMILY, format!("{a:?} with {b:?}")));
        }
        let repeat = a.rows / b.rows.max(1);
        // What `b` is to each row of `a`.
        let b_lines = Rows { rows: a.rows, ..b };
        let lines = Lines::new(a, &[b_lines, y], repeat <= 1, threads)?;
        let b_bytes = match (lines.flat, lines.count) {
            (true, _) => lines.len,
            (false, 0) => 0,
            (false, _) => (b.rows - 1) * b.ld + lines.len,
        };
        Ok(BinaryQs8 {
            kernel,
            is_sum: matches!(function, BinaryQ::Add { .. }),
            pair: Pair { a: a_quant, b: b_quant, m, tail: out.tail() },
            a,
            b,
            y,
            repeat: repeat.max(1),
            lines,
            input_bytes: [lines.bytes(&a, 1), b_bytes],
            output_bytes: [lines.bytes(&y, 1)],
        })
    }
}

// SAFETY: `Lines` gives each chunk rows, or elements, of its own, inside the bytes declared.
unsafe impl Operator for BinaryQs8 {
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
        self.lines.chunks
    }

    unsafe fn run_chunk(&self, io: &Io<'_>, chunk: usize) {
        let (rows, part) = self.lines.of(chunk);
        let run = if self.is_sum { self.kernel.add } else { self.kernel.mul };
        for row in rows {
            // SAFETY: the part of the row lies in all operands, and no other chunk has it.
            unsafe {
                let a = io.input::<u8>(0).add(row * self.a.ld + part.start);
                let b = io.input::<u8>(1).add(row / self.repeat * self.b.ld + part.start);
                let a = std::slice::from_raw_parts(a, part.len());
                let b = std::slice::from_raw_parts(b, part.len());
                let y = io.output_slice::<u8>(0, row * self.y.ld + part.start, part.len());
                run(a, b, y, &self.pair);
            }
        }
    }
}
