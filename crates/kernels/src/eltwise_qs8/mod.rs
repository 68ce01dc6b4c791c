//! Bytes one by one: to and from floats, through tables, and two with each other.
//!
//! | operator | `q` |
//! |---|---|
//! | [`Quantize`] | `x / s`, rounded by the rule of [`quant`](crate::quant); NaN becomes the zero point |
//! | [`Dequantize`] | `(q - z) as f32 * s` |
//! | [`Lookup`] | any function of a byte: 256 bytes, one for each |
//! | [`BinaryQs8`] | `(a - z_a) * m_a + (b - z_b) * m_b`, or `(a - z_a) * (b - z_b) * m`, rounded by the rule |
//! | [`SoftmaxQs8`] | exponentials from a table, normalised along a row |
//!
//! A result of [`BinaryQs8`] is four steps of `f32`, each rounded: the two products, their sum, and the
//! rounding to an integer; never a fused multiply-add. The bodies are loops over slices that the
//! compiler turns into vectors of each level; all levels give the same bytes.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod binary;
mod convert;
mod generic;
mod lookup;
mod scalar;
mod softmax;
#[cfg(test)]
mod tests;

pub use binary::{BinaryQ, BinaryQs8};
pub use convert::{Dequantize, Quantize};
pub use lookup::{Lookup, requantize_table, table};
pub use softmax::SoftmaxQs8;

use crate::isa::{Cpu, Isa};
use crate::operator::{KernelError, KernelInfo};
use crate::quant::{Quant8, Tail8};
use crate::spatial::{invalid, share};
use depthwise_tensor::Rows;
use generic::Pair;
use std::ops::Range;

const FAMILY: &str = "eltwise_qs8";

/// The functions of a level.
#[derive(Debug)]
pub struct Kernel {
    name: &'static str,
    isa: Isa,
    quantize: unsafe fn(&[f32], &mut [u8], f32, &Tail8),
    dequantize: unsafe fn(&[u8], &mut [f32], f32, Quant8),
    add: unsafe fn(&[u8], &[u8], &mut [u8], &Pair),
    mul: unsafe fn(&[u8], &[u8], &mut [u8], &Pair),
}

/// All kernels, best first.
pub static KERNELS: &[&Kernel] = &[
    #[cfg(target_arch = "x86_64")]
    &avx2::KERNEL,
    &scalar::KERNEL,
];

impl Kernel {
    /// Name and level.
    pub fn info(&self) -> KernelInfo {
        KernelInfo::new(self.name, self.isa)
    }
}

/// The best kernel that the CPU has.
pub fn select(cpu: &Cpu) -> &'static Kernel {
    KERNELS.iter().copied().find(|k| cpu.supports(k.isa)).unwrap_or(&scalar::KERNEL)
}

/// Elements below which a second thread costs more than it saves.
const SMALL: usize = 16 << 10;

/// Rows of operands side by side: where all have the same stride, one run without gaps.
#[derive(Clone, Copy, Debug)]
struct Lines {
    /// Runs, and elements of each.
    count: usize,
    len: usize,
    chunks: usize,
    /// Whether a run is all rows.
    flat: bool,
}

impl Lines {
    /// The rows of `x` and of others of the same extents. Strides that are padded to vectors let
    /// vectors run over the end of a row.
    fn new(x: Rows, others: &[Rows], may_join: bool, threads: usize) -> Result<Lines, KernelError> {
        let mut len = x.c.next_multiple_of(16);
        for rows in others.iter().chain([&x]) {
            if (rows.rows, rows.c) != (x.rows, x.c) || rows.ld < rows.c {
                return Err(invalid(FAMILY, format!("{x:?} with {rows:?}")));
            }
            if rows.rows.checked_mul(rows.ld).is_none_or(|len| len > isize::MAX as usize / 8) {
                return Err(invalid(FAMILY, format!("{rows:?} are larger than memory")));
            }
            if !rows.is_vector_padded() {
                len = x.c;
            }
        }
        let threads = if x.len() < SMALL { 1 } else { threads.max(1) };
        let same = others.iter().all(|rows| rows.ld == x.ld);
        if may_join && same && !x.is_empty() {
            let blocks = x.len().div_ceil(64);
            return Ok(Lines { count: 1, len: x.len(), chunks: threads.min(blocks), flat: true });
        }
        let count = if x.is_empty() { 0 } else { x.rows };
        Ok(Lines { count, len, chunks: threads.min(count).max(1), flat: false })
    }

    /// Bytes from the first element to the end of the last row of `rows`.
    fn bytes(&self, rows: &Rows, size: usize) -> usize {
        match (self.flat, self.count) {
            (true, _) => self.len * size,
            (false, 0) => 0,
            (false, count) => ((count - 1) * rows.ld + self.len) * size,
        }
    }

    /// The runs of a chunk: which rows, and which elements of them.
    fn of(&self, chunk: usize) -> (Range<usize>, Range<usize>) {
        if self.flat {
            let blocks = share(self.len.div_ceil(64), self.chunks, chunk);
            return (0..1, blocks.start * 64..(blocks.end * 64).min(self.len));
        }
        (share(self.count, self.chunks, chunk), 0..self.len)
    }
}

/// Refuses a scale that divides nothing.
fn check_scale(scale: f32) -> Result<(), KernelError> {
    if scale.is_finite() && scale > 0.0 {
        return Ok(());
    }
    Err(invalid(FAMILY, format!("a scale of {scale}")))
}

fn check_level(kernel: &Kernel) -> Result<(), KernelError> {
    if kernel.info().is_supported(&Cpu::detect()) {
        return Ok(());
    }
    Err(crate::spatial::unsupported(FAMILY, format!("{} on this CPU", kernel.name)))
}
