//! Functions of one or two operands, element by element, with broadcasting.
//!
//! `y[i] = f(x[i])`; `y[i] = activation(f(a[i], b[i]))` with `a` and `b` broadcast to the shape of
//! `y` by NumPy's rules. Views may be dense or padded, each with its own distance of rows.
//!
//! Loops are merged first (`layout/walk.rs`): operands of one layout are a single
//! run, padding included; a vector per channel and a scale per picture and channel are a run per
//! pixel. A run takes whole vectors; where it is no multiple of one, the last vector overlaps the
//! one before it. So nothing is read or written past a row, and lanes of padding are computed
//! only where all operands have them.
//!
//! NaN operands give NaN. Results do not depend on threads or on the layout.
//!
//! All of it is bound by memory but for the exponentials, so one vector at a time is enough. On
//! Zen 3 with AVX2, 56x56x144: clip and hard-swish 52 to 61 us, as `memcpy` takes; sigmoid 370,
//! GELU 610 (scalar 1000, 1580). The AVX-512 entry is the same body and has not been measured.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod binary;
mod compare;
mod functions;
pub(crate) mod generic;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;
#[cfg(test)]
mod tests;

pub use binary::{BinaryF32, PReluF32};
pub use compare::{CompareF32, CompareOp, LogicOp, LogicU8, SelectOp};
pub use functions::{BinaryOp, UnaryOp};

use crate::isa::{Cpu, Isa};
use crate::layout::View;
use crate::layout::walk::Walk;
use crate::operator::{Io, KernelError, KernelInfo, Operator};
use depthwise_tensor::{Activation, Rows, Shape};
use generic::RowSpan;

type UnaryKernel = unsafe fn(UnaryOp, RowSpan<2>, *mut f32, *const f32);
type BinaryKernel =
    unsafe fn(BinaryOp, Activation, RowSpan<3>, [bool; 2], *mut f32, [*const f32; 2]);

/// The loops over rows for one instruction set.
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    name: &'static str,
    isa: Isa,
    unary: UnaryKernel,
    binary: BinaryKernel,
}

impl Kernel {
    /// Name and level.
    pub fn info(&self) -> KernelInfo {
        KernelInfo::new(self.name, self.isa)
    }
}

/// All entries, best first.
pub const KERNELS: &[Kernel] = &[
    #[cfg(target_arch = "x86_64")]
    Kernel {
        name: "eltwise_f32_c16_avx512",
        isa: Isa::Avx512,
        unary: avx512::unary,
        binary: avx512::binary,
    },
    #[cfg(target_arch = "x86_64")]
    Kernel {
        name: "eltwise_f32_c8_avx2",
        isa: Isa::Avx2,
        unary: avx2::unary,
        binary: avx2::binary,
    },
    #[cfg(target_arch = "aarch64")]
    Kernel {
        name: "eltwise_f32_c4_neon",
        isa: Isa::Neon,
        unary: neon::unary,
        binary: neon::binary,
    },
    Kernel {
        name: "eltwise_f32_c16_scalar",
        isa: Isa::Scalar,
        unary: scalar::unary,
        binary: scalar::binary,
    },
];

/// The best entry that the CPU runs.
pub fn select(cpu: &Cpu) -> &'static Kernel {
    KERNELS.iter().find(|k| k.info().is_supported(cpu)).expect("the scalar entry runs everywhere")
}

/// Whether this process may run the kernel.
///
/// # Errors
/// [`KernelError::Unsupported`] where the CPU lacks the instructions.
pub(crate) fn require(kernel: KernelInfo) -> Result<(), KernelError> {
    if kernel.is_supported(&Cpu::detect()) {
        return Ok(());
    }
    let reason = format!("{} on this CPU", kernel.isa);
    Err(KernelError::Unsupported { kernel: kernel.name, reason })
}

/// `y = f(x)` over rows of `c` elements.
#[derive(Debug)]
pub struct UnaryF32 {
    kernel: &'static Kernel,
    function: UnaryOp,
    walk: Walk<2>,
    same_layout: bool,
    chunks: usize,
    input_bytes: [usize; 1],
    output_bytes: [usize; 1],
}

impl UnaryF32 {
    /// The operator for these layouts; they agree in rows and elements of a row.
    ///
    /// # Errors
    /// [`KernelError::Invalid`] where they do not, or where a layout cannot be.
    pub fn new(
        cpu: &Cpu,
        function: UnaryOp,
        rows_in: Rows,
        rows_out: Rows,
        threads: usize,
    ) -> Result<UnaryF32, KernelError> {
        UnaryF32::with_kernel(select(cpu), function, rows_in, rows_out, threads)
    }

    /// As [`UnaryF32::new`], with a given entry of [`KERNELS`].
    ///
    /// # Errors
    /// As [`UnaryF32::new`], and [`KernelError::Unsupported`] where the CPU lacks the instructions.
    pub fn with_kernel(
        kernel: &'static Kernel,
        function: UnaryOp,
        rows_in: Rows,
        rows_out: Rows,
        threads: usize,
    ) -> Result<UnaryF32, KernelError> {
        let name = kernel.name;
        require(kernel.info())?;
        if (rows_in.rows, rows_in.c) != (rows_out.rows, rows_out.c) {
            let reason = format!(
                "{} rows of {} cannot become {} rows of {}",
                rows_in.rows, rows_in.c, rows_out.rows, rows_out.c
            );
            return Err(KernelError::Invalid { kernel: name, reason });
        }
        let view = |rows: Rows| match Shape::new(&[rows.rows, rows.c]) {
            Ok(shape) => Ok(View { shape, ld: rows.ld }),
            Err(e) => Err(KernelError::Invalid { kernel: name, reason: e.to_string() }),
        };
        let (input, out) = (view(rows_in)?, view(rows_out)?);
        let walk = Walk::broadcast(name, [&out, &input])?;
        Ok(UnaryF32 {
            kernel,
            function,
            chunks: walk.chunks(2 * size_of::<f32>(), threads),
            walk,
            same_layout: input == out,
            input_bytes: [input.len() * size_of::<f32>()],
            output_bytes: [out.len() * size_of::<f32>()],
        })
    }
}

// SAFETY: a walk stays inside its views, whose lengths are declared, and its chunks are apart.
unsafe impl Operator for UnaryF32 {
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
        i == 0 && self.same_layout
    }

    fn chunks(&self) -> usize {
        self.chunks
    }

    unsafe fn run_chunk(&self, io: &Io<'_>, chunk: usize) {
        let (y, x) = (io.output::<f32>(0), io.input::<f32>(0));
        self.walk.chunk(self.chunks, chunk, |piece| {
            let strides = self.walk.rows.strides;
            let span = RowSpan { rows: piece.rows, len: piece.run, strides };
            // SAFETY: the piece lies in both views, which the caller vouches for; the constructor
            // has checked that the CPU runs the kernel.
            unsafe {
                let (y, x) = (y.offset(piece.offsets[0]), x.offset(piece.offsets[1]));
                (self.kernel.unary)(self.function, span, y, x);
            }
        });
    }
}
