//! Two operands that broadcast.

use super::generic::RowSpan;
use super::{BinaryOp, Kernel, require, select};
use crate::isa::Cpu;
use crate::layout::View;
use crate::layout::walk::Walk;
use crate::operator::{Io, KernelError, Operator};
use depthwise_tensor::Activation;

/// `y = activation(f(a, b))`, the operands broadcast to the shape of `y`. Inputs: a, b.
#[derive(Debug)]
pub struct BinaryF32 {
    kernel: &'static Kernel,
    function: BinaryOp,
    activation: Activation,
    walk: Walk<3>,
    in_place: [bool; 2],
    chunks: usize,
    input_bytes: [usize; 2],
    output_bytes: [usize; 1],
}

impl BinaryF32 {
    /// The operator for these views.
    ///
    /// # Errors
    /// [`KernelError::Invalid`] where an operand does not broadcast to `out`, or a view cannot be.
    pub fn new(
        cpu: &Cpu,
        function: BinaryOp,
        activation: Activation,
        a: View,
        b: View,
        out: View,
        threads: usize,
    ) -> Result<BinaryF32, KernelError> {
        BinaryF32::with_kernel(select(cpu), function, activation, a, b, out, threads)
    }

    /// As [`BinaryF32::new`], with a given entry of [`KERNELS`](super::KERNELS).
    ///
    /// # Errors
    /// As [`BinaryF32::new`], and [`KernelError::Unsupported`] where the CPU lacks the
    /// instructions.
    pub fn with_kernel(
        kernel: &'static Kernel,
        function: BinaryOp,
        activation: Activation,
        a: View,
        b: View,
        out: View,
        threads: usize,
    ) -> Result<BinaryF32, KernelError> {
        require(kernel.info())?;
        let walk = Walk::broadcast(kernel.name, [&out, &a, &b])?;
        Ok(BinaryF32 {
            kernel,
            function,
            activation,
            chunks: walk.chunks(3 * size_of::<f32>(), threads),
            walk,
            in_place: [a == out, b == out],
            input_bytes: [a.len() * size_of::<f32>(), b.len() * size_of::<f32>()],
            output_bytes: [out.len() * size_of::<f32>()],
        })
    }
}

// SAFETY: a walk stays inside its views, whose lengths are declared, and its chunks are apart.
unsafe impl Operator for BinaryF32 {
    fn kernel(&self) -> &'static str {
        self.kernel.name
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
        let (y, a, b) = (io.output::<f32>(0), io.input::<f32>(0), io.input::<f32>(1));
        let vector = [self.walk.run.strides[1] == 1, self.walk.run.strides[2] == 1];
        self.walk.chunk(self.chunks, chunk, |piece| {
            let strides = self.walk.rows.strides;
            let span = RowSpan { rows: piece.rows, len: piece.run, strides };
            // SAFETY: the piece lies in all views, which the caller vouches for; the constructor
            // has checked that the CPU runs the kernel.
            unsafe {
                let y = y.offset(piece.offsets[0]);
                let inputs = [a.offset(piece.offsets[1]), b.offset(piece.offsets[2])];
                let (f, activation) = (self.function, self.activation);
                (self.kernel.binary)(f, activation, span, vector, y, inputs);
            }
        });
    }
}

/// `y = x` where positive, else `slope * x`; the slope broadcasts to x. Inputs: x, slope.
#[derive(Debug)]
pub struct PReluF32(BinaryF32);

impl PReluF32 {
    /// The operator for these views.
    ///
    /// # Errors
    /// [`KernelError::Invalid`] where an operand does not broadcast to `out`, or a view cannot be.
    pub fn new(
        cpu: &Cpu,
        x: View,
        slope: View,
        out: View,
        threads: usize,
    ) -> Result<PReluF32, KernelError> {
        let (f, activation) = (BinaryOp::PRelu, Activation::Identity);
        BinaryF32::new(cpu, f, activation, x, slope, out, threads).map(PReluF32)
    }
}

// SAFETY: that of `BinaryF32`.
unsafe impl Operator for PReluF32 {
    fn kernel(&self) -> &'static str {
        self.0.kernel()
    }

    fn input_bytes(&self) -> &[usize] {
        self.0.input_bytes()
    }

    fn output_bytes(&self) -> &[usize] {
        self.0.output_bytes()
    }

    fn in_place(&self, i: usize) -> bool {
        self.0.in_place(i)
    }

    fn chunks(&self) -> usize {
        self.0.chunks()
    }

    unsafe fn run_chunk(&self, io: &Io<'_>, chunk: usize) {
        // SAFETY: as the caller promises.
        unsafe { self.0.run_chunk(io, chunk) }
    }
}
