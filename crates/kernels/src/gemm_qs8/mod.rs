//! Matrix product of bytes: pointwise convolutions and dense layers.
//!
//! `sum[i][j] = bias[j] + sum_p (a[i][p] - z_a) * (b[j][p] - z_b[j])`, `i < m`, `j < n`, `p < k`, exact in
//! `i32`; then the rule of [`quant`](crate::quant), or `sum as f32 * m`, or the sum itself.
//!
//! | operand | layout |
//! |---|---|
//! | `a` | activations as they lie: `m` rows of `k` bytes, `lda >= k` apart |
//! | `b` | weights `[n][k]`, packed once into panels of [`PackedGemmQs8`] |
//! | `c` | `m` rows of `n`, strides of a multiple of 16 elements, whole vectors written |
//!
//! # How
//! A block of rows of `a`, less the zero point, is widened to 16 bits in scratch memory; then every
//! panel of `b` meets it, as in `gemm_f32`, two `p` at a time:
//!
//! ```text
//!                        b[p..p+2][0..]  b[p..p+2][8..]     1 load each, bytes widened
//!   a[0][p..p+2]  ---->  sums            sums               1 broadcast per row,
//!     ...                                                   2 vpmaddwd, 2 vpaddd
//! ```
//! The zero point of `a` needs no correction then, nor does padding (it is 0); weights less their zero
//! point are bytes mostly, and 16 bits wide in a packing where they are not. `vpmaddwd` cannot
//! overflow here, where `vpmaddubsw` on bytes saturates pairs at 16 bits.
//!
//! Where the CPU sums products of four bytes exactly (`vpdpbusd`, `sdot`, `smmla`), the block is the bytes
//! themselves, four `p` are taken at a time, and `z_a * sum_p (b[j][p] - z_b[j])` is taken off the bias
//! when the product is made; padding then is the zero point. Weights of 16 bits go the first way.

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
mod bodies;
mod generic;
#[cfg(target_arch = "aarch64")]
pub(crate) mod neon;
mod pack;
mod product;
pub(crate) mod scalar;
#[cfg(test)]
pub(crate) mod tests;

use crate::gather::{GatherArgs, Source};
use crate::isa::{Extension, Isa};
use crate::operator::{KernelError, KernelInfo};
use crate::quant::{Output, Quant8, Tail8};
pub use pack::PackedGemmQs8;
pub(crate) use pack::{PackedPanels, Shape as PanelShape, columns_of, widths as panel_widths};
pub(crate) use product::{Operands, Product, product_operator};
use std::fmt;
use std::sync::Arc;

pub(crate) const FAMILY: &str = "gemm_qs8";

/// A register tile with the functions that compute it.
pub struct Kernel {
    name: &'static str,
    isa: Isa,
    extension: Option<Extension>,
    /// Columns of a tile.
    nr: usize,
    form: Form,
    /// Entry `i` computes tiles of `i + 1` rows, from weights of 8 bits.
    narrow: &'static [unsafe fn(&TileArgs)],
    /// Likewise, of 16 bits; none where rows are bytes.
    wide: &'static [unsafe fn(&TileArgs)],
    /// Brings rows of `a` into the form.
    gather: unsafe fn(&GatherArgs<'_>, Quant8),
}

/// What a kernel makes of the rows of `a`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Numbers above the zero point, of 16 bits.
    Words,
    /// Bytes, all signed or all unsigned.
    Bytes {
        /// Whether they are signed.
        signed: bool,
    },
}

impl Form {
    /// Bytes of an element.
    const fn size(self) -> usize {
        match self {
            Form::Words => 2,
            Form::Bytes { .. } => 1,
        }
    }

    /// Elements in 32 bits.
    pub(crate) const fn in_32_bits(self) -> usize {
        4 / self.size()
    }

    /// What makes bytes in memory elements of this form, by exclusive or.
    pub(crate) const fn flip(self, quant: &Quant8) -> u8 {
        match self {
            Form::Bytes { signed: true } => quant.flip() ^ 0x80,
            _ => quant.flip(),
        }
    }

    /// What an element lies above the number that it stands for, the zero point aside.
    pub(crate) const fn excess(self, quant: &Quant8) -> i32 {
        match self {
            Form::Words => 0,
            Form::Bytes { signed: false } => quant.zero() as i32,
            Form::Bytes { signed: true } => quant.zero() as i32 - 128,
        }
    }
}

/// All kernels, best first.
pub static KERNELS: &[&Kernel] = &[
    #[cfg(target_arch = "x86_64")]
    &avx512::K12X32_BYTES,
    #[cfg(target_arch = "x86_64")]
    &avx512::K12X16_BYTES,
    #[cfg(target_arch = "x86_64")]
    &avx512::K12X32_VNNI,
    #[cfg(target_arch = "x86_64")]
    &avx512::K12X16_VNNI,
    #[cfg(target_arch = "x86_64")]
    &avx512::K8X32,
    #[cfg(target_arch = "x86_64")]
    &avx512::K12X16,
    #[cfg(target_arch = "x86_64")]
    &avx2::K6X16_BYTES,
    #[cfg(target_arch = "x86_64")]
    &avx2::K10X8_BYTES,
    #[cfg(target_arch = "x86_64")]
    &avx2::K6X16_VNNI,
    #[cfg(target_arch = "x86_64")]
    &avx2::K10X8_VNNI,
    #[cfg(target_arch = "x86_64")]
    &avx2::K6X16,
    #[cfg(target_arch = "x86_64")]
    &avx2::K10X8,
    #[cfg(target_arch = "aarch64")]
    &neon::i8mm::K8X8,
    #[cfg(target_arch = "aarch64")]
    &neon::i8mm::K8X4,
    #[cfg(target_arch = "aarch64")]
    &neon::K8X8_BYTES,
    #[cfg(target_arch = "aarch64")]
    &neon::K8X4_BYTES,
    #[cfg(target_arch = "aarch64")]
    &neon::K8X8,
    #[cfg(target_arch = "aarch64")]
    &neon::K8X4,
    &scalar::K4X8,
    &scalar::K4X4,
];

impl Kernel {
    /// Name and level.
    pub fn info(&self) -> KernelInfo {
        KernelInfo { extension: self.extension, ..KernelInfo::new(self.name, self.isa) }
    }

    /// Rows of the tallest tile.
    pub fn mr(&self) -> usize {
        self.narrow.len()
    }

    /// Columns of a tile.
    pub fn nr(&self) -> usize {
        self.nr
    }

    /// Whether weights that less their zero points take 16 bits can be packed for it.
    pub fn takes_wide(&self) -> bool {
        !self.wide.is_empty()
    }

    /// Computes `rows` rows of one panel.
    ///
    /// # Safety
    /// As [`TileArgs`] says, for `rows` rows and [`Kernel::nr`] columns; the CPU has what the kernel
    /// needs. `args.tiles` is not read.
    unsafe fn run(&self, mut args: TileArgs, rows: usize, wide: bool) {
        let tiles = if wide { self.wide } else { self.narrow };
        let count = rows.div_ceil(tiles.len());
        let (height, taller) = (rows / count.max(1), rows % count.max(1));
        for (count, mr) in [(taller, height + 1), (count - taller, height)] {
            if count == 0 {
                continue;
            }
            args.tiles = count;
            // SAFETY: `count * mr` of the rows that the caller vouches for.
            unsafe { tiles[mr - 1](&args) };
            args.a = args.a.wrapping_add(count * mr * args.lda_bytes);
            args.c = args.c.wrapping_add(count * mr * args.ldc_bytes);
        }
    }
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// What happens to sums in registers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Finish {
    /// To bytes.
    Bytes(Tail8),
    /// Multiplied.
    F32,
    /// Nothing.
    I32,
}

impl Finish {
    pub(crate) fn of(output: &Output) -> Finish {
        match output {
            Output::Bytes(out) => Finish::Bytes(out.tail()),
            Output::F32 => Finish::F32,
            Output::I32 => Finish::I32,
        }
    }
}

/// One panel of columns, and tiles below each other.
///
/// # Safety
/// For those who call a tile with `rows` rows (its height times `tiles`) and `nr` columns:
/// - `4 * quads` elements from `a + r * lda_bytes` on are valid for reads, `r < rows`.
/// - `4 * quads * nr` weights from `b` on are valid for reads.
/// - `nr` elements from `bias` and from `multipliers` on are valid for reads.
/// - `nr` elements of the output from `c + r * ldc_bytes` on are valid for writes.
#[derive(Clone, Copy)]
pub(crate) struct TileArgs {
    pub tiles: usize,
    pub quads: usize,
    pub a: *const u8,
    pub lda_bytes: usize,
    /// `[pairs][nr][2]`, of `i8` or of `i16`; `[quads][nr][4]` of `i8` where rows are bytes.
    pub b: *const u8,
    pub bias: *const i32,
    pub multipliers: *const f32,
    pub c: *mut u8,
    pub ldc_bytes: usize,
    pub finish: Finish,
}

/// Shape and layout of one product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GemmQSpec {
    /// Rows of `a` and `c`: pixels, or pictures of a dense layer.
    pub m: usize,
    /// Elements from one row of `a` to the next, at least `k`.
    pub lda: usize,
    /// Elements from one row of `c` to the next: a multiple of 16, at least `n`.
    pub ldc: usize,
    /// Type and zero point of `a`.
    pub input: Quant8,
    /// What becomes of the sums.
    pub output: Output,
}

/// Matrix product of bytes with packed weights. Input `[a]`, output `[c]`.
#[derive(Debug)]
pub struct GemmQs8(Product);

impl GemmQs8 {
    /// A product of `spec.m` rows, in up to `threads` chunks. There is one multiplier, or one for
    /// each column; sums as they are ignore it.
    ///
    /// # Errors
    /// [`KernelError::Invalid`] for strides below the number of columns, multipliers that are not
    /// finite or of another number, and sizes that overflow; [`KernelError::Unsupported`] for a stride
    /// of `c` that is not a multiple of 16.
    pub fn new(
        weights: Arc<PackedGemmQs8>,
        multipliers: &[f32],
        spec: GemmQSpec,
        threads: usize,
    ) -> Result<GemmQs8, KernelError> {
        let source = Source::Rows { rows: spec.m, lda: spec.lda };
        let GemmQSpec { ldc, input, output, .. } = spec;
        let product =
            Product::new(FAMILY, weights, multipliers, (source, input), (ldc, output), threads)?;
        Ok(GemmQs8(product))
    }
}

product_operator!(GemmQs8);
