//! Floats to bytes and back.

use super::{Kernel, Lines, check_level, check_scale, select};
use crate::isa::Cpu;
use crate::operator::{Io, KernelError, Operator};
use crate::quant::{Out8, Quant8, Tail8};
use depthwise_tensor::Rows;

/// Floats to bytes. Input x, `f32`; output y.
#[derive(Debug)]
pub struct Quantize {
    kernel: &'static Kernel,
    scale: f32,
    tail: Tail8,
    x: Rows,
    y: Rows,
    lines: Lines,
    input_bytes: [usize; 1],
    output_bytes: [usize; 1],
}

impl Quantize {
    /// The operator with the best kernel of the CPU. `scale` is that of `out`; `x` and `y` have the
    /// same extents.
    ///
    /// # Errors
    /// [`KernelError::Invalid`] where the rows do not go together, or the scale is not positive.
    pub fn new(
        cpu: &Cpu,
        scale: f32,
        out: Out8,
        (x, y): (Rows, Rows),
        threads: usize,
    ) -> Result<Quantize, KernelError> {
        Quantize::with_kernel(select(cpu), scale, out, (x, y), threads)
    }

    /// The operator with this kernel.
    ///
    /// # Errors
    /// As [`Quantize::new`]; and [`KernelError::Unsupported`] where the CPU lacks the kernel's level.
    pub fn with_kernel(
        kernel: &'static Kernel,
        scale: f32,
        out: Out8,
        (x, y): (Rows, Rows),
        threads: usize,
    ) -> Result<Quantize, KernelError> {
        check_level(kernel)?;
        check_scale(scale)?;
        let lines = Lines::new(x, &[y], true, threads)?;
        let (input_bytes, output_bytes) = ([lines.bytes(&x, 4)], [lines.bytes(&y, 1)]);
        Ok(Quantize { kernel, scale, tail: out.tail(), x, y, lines, input_bytes, output_bytes })
    }
}

// SAFETY: `Lines` gives each chunk rows, or elements, of its own, inside the bytes declared.
unsafe impl Operator for Quantize {
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
        for row in rows {
            // SAFETY: the part of the row lies in both operands, and no other chunk has it.
            unsafe {
                let from = io.input::<f32>(0).add(row * self.x.ld + part.start);
                let x = std::slice::from_raw_parts(from, part.len());
                let y = io.output_slice::<u8>(0, row * self.y.ld + part.start, part.len());
                (self.kernel.quantize)(x, y, self.scale, &self.tail);
            }
        }
    }
}

/// Bytes to floats. Input x; output y, `f32`.
#[derive(Debug)]
pub struct Dequantize {
    kernel: &'static Kernel,
    scale: f32,
    quant: Quant8,
    x: Rows,
    y: Rows,
    lines: Lines,
    input_bytes: [usize; 1],
    output_bytes: [usize; 1],
}

impl Dequantize {
    /// The operator with the best kernel of the CPU. `scale` is that of `quant`; `x` and `y` have the
    /// same extents.
    ///
    /// # Errors
    /// [`KernelError::Invalid`] where the rows do not go together, or the scale is not positive.
    pub fn new(
        cpu: &Cpu,
        scale: f32,
        quant: Quant8,
        (x, y): (Rows, Rows),
        threads: usize,
    ) -> Result<Dequantize, KernelError> {
        Dequantize::with_kernel(select(cpu), scale, quant, (x, y), threads)
    }

    /// The operator with this kernel.
    ///
    /// # Errors
    /// As [`Dequantize::new`]; and [`KernelError::Unsupported`] where the CPU lacks the kernel's
    /// level.
    pub fn with_kernel(
        kernel: &'static Kernel,
        scale: f32,
        quant: Quant8,
        (x, y): (Rows, Rows),
        threads: usize,
    ) -> Result<Dequantize, KernelError> {
        check_level(kernel)?;
        check_scale(scale)?;
        let lines = Lines::new(x, &[y], true, threads)?;
        let (input_bytes, output_bytes) = ([lines.bytes(&x, 1)], [lines.bytes(&y, 4)]);
        Ok(Dequantize { kernel, scale, quant, x, y, lines, input_bytes, output_bytes })
    }
}

// SAFETY: as for `Quantize`.
unsafe impl Operator for Dequantize {
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
        for row in rows {
            // SAFETY: the part of the row lies in both operands, and no other chunk has it.
            unsafe {
                let from = io.input::<u8>(0).add(row * self.x.ld + part.start);
                let x = std::slice::from_raw_parts(from, part.len());
                let y = io.output_slice::<f32>(0, row * self.y.ld + part.start, part.len());
                (self.kernel.dequantize)(x, y, self.scale, self.quant);
            }
        }
    }
}
