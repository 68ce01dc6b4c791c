//! Dense layers whose weights are kept in half precision.
//!
//! `c[i][j] = act(bias[j] + sum_p a[i][p] * f32(b[j][p]))`: all arithmetic in `f32`.
//!
//! A dense layer of one row reads each weight once, so it takes as long as reading them takes:
//! half the bytes, half the time. The products and their order are those of
//! [`gemm_f32`](crate::gemm_f32), so weights that half precision holds exactly give its bits.
//!
//! | operand | layout |
//! |---|---|
//! | `a` | `m` rows of `k`, `lda >= k` apart |
//! | `b` | weights `[n][k]`, rounded to nearest even and packed once: panels of `[k][nr]` |
//! | `c` | `m` rows of `n`, vector-padded strides |

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod generic;
#[cfg(target_arch = "aarch64")]
mod neon;
mod pack;
mod scalar;
#[cfg(test)]
mod tests;

use crate::gemm_f32::split::{Split, chunks_for_macs};
use crate::gemm_f32::{Tail, equal_tiles, padded_bytes, rows_bytes};
use crate::isa::Isa;
use crate::operator::{Io, KernelError, KernelInfo, Operator};
use depthwise_tensor::Activation;
pub use pack::PackedDenseF16;
use std::fmt;
use std::sync::Arc;

const FAMILY: &str = "dense_f16";

/// A register tile with the functions that compute it.
pub struct Kernel {
    name: &'static str,
    isa: Isa,
    /// Columns of a tile, a divisor of 16.
    nr: usize,
    /// Entry `i` computes tiles of `i + 1` rows.
    tiles: &'static [unsafe fn(&TileArgs)],
    /// A single row, bound by the reading of `b`.
    row: unsafe fn(&TileArgs),
    activate: unsafe fn(&TileArgs, usize, Activation),
}

/// All kernels, best first.
pub static KERNELS: &[&Kernel] = &[
    #[cfg(target_arch = "x86_64")]
    &avx512::KERNEL,
    #[cfg(target_arch = "x86_64")]
    &avx2::KERNEL,
    #[cfg(target_arch = "aarch64")]
    &neon::KERNEL,
    &scalar::KERNEL,
];

impl Kernel {
    /// Name and level.
    pub fn info(&self) -> KernelInfo {
        KernelInfo::new(self.name, self.isa)
    }
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// The entry of one instruction set: four rows of `$nv` vectors.
macro_rules! kernel {
    ($name:literal, $isa:expr, $nr:literal, $nv:literal, $token:expr $(, $feature:meta)*) => {
        /// The entry of this instruction set.
        pub(super) static KERNEL: super::Kernel = super::Kernel {
            name: $name,
            isa: $isa,
            nr: $nr,
            tiles: &[tiles::<1>, tiles::<2>, tiles::<3>, tiles::<4>],
            row,
            activate,
        };

        /// # Safety
        /// As [`super::generic::tiles`].
        $(#[$feature])*
        unsafe fn tiles<const MR: usize>(args: &super::TileArgs) {
            // SAFETY: as the caller promises; the kernel's level is that of the token.
            unsafe { super::generic::tiles::<_, MR, $nv>($token, args) }
        }

        /// # Safety
        /// As [`super::generic::row`].
        $(#[$feature])*
        unsafe fn row(args: &super::TileArgs) {
            // SAFETY: as the caller promises; the kernel's level is that of the token.
            unsafe { super::generic::row::<_, $nv>($token, args) }
        }

        /// # Safety
        /// As [`super::generic::activate`].
        $(#[$feature])*
        unsafe fn activate(
            args: &super::TileArgs,
            rows: usize,
            act: depthwise_tensor::Activation,
        ) {
            // SAFETY: as the caller promises; the kernel's level is that of the token.
            unsafe { super::generic::activate::<_, $nv>($token, args, rows, act) }
        }
    };
}
use kernel;

/// One panel of columns, and tiles below each other.
///
/// # Safety
/// For those who call a tile with `rows` rows (its height times `tiles`) and `nr` columns:
/// - `k` elements from `a + r * lda` on are valid for reads, `r < rows`.
/// - `k * nr` elements from `b` on are valid for reads, `nr` from `bias` on.
/// - `nr` elements from `c + r * ldc` on are valid for writes, and overlap the others nowhere.
#[derive(Clone, Copy)]
struct TileArgs {
    tiles: usize,
    k: usize,
    a: *const f32,
    lda: usize,
    b: *const u16,
    bias: *const f32,
    c: *mut f32,
    ldc: usize,
    tail: Tail,
}

/// Shape and layout of one dense layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DenseSpec {
    /// Rows of `a` and `c`: pictures.
    pub m: usize,
    /// Elements from one row of `a` to the next, at least `k`.
    pub lda: usize,
    /// Elements from one row of `c` to the next: a multiple of 16, at least `n`.
    pub ldc: usize,
    /// Applied last.
    pub activation: Activation,
}

/// Dense layer with packed weights of half precision. Input `[a]`, output `[c]`.
#[derive(Debug)]
pub struct DenseF16 {
    weights: Arc<PackedDenseF16>,
    spec: DenseSpec,
    tail: Tail,
    /// An activation too long for the registers of a tile.
    pass: Option<Activation>,
    split: Split,
    input_bytes: [usize; 1],
    output_bytes: [usize; 1],
}

impl DenseF16 {
    /// A layer of `spec.m` rows, in up to `threads` chunks.
    ///
    /// # Errors
    /// [`KernelError::Invalid`] for strides below the number of columns and for sizes that
    /// overflow, [`KernelError::Unsupported`] for a stride of `c` that is not a multiple of 16.
    pub fn new(
        weights: Arc<PackedDenseF16>,
        spec: DenseSpec,
        threads: usize,
    ) -> Result<DenseF16, KernelError> {
        let DenseSpec { m, lda, ldc, activation } = spec;
        let (k, n, width) = (weights.k(), weights.n(), weights.width());
        let input_bytes = [rows_bytes(FAMILY, "a", m, k, lda)?];
        let output_bytes = [padded_bytes(FAMILY, "c", m, n, width, ldc)?];
        let macs = (m as u64).saturating_mul(k as u64).saturating_mul(n as u64);
        let split = Split::new(m, width, chunks_for_macs(macs, threads));
        let (tail, pass) = Tail::of(activation);
        Ok(DenseF16 { weights, spec, tail, pass, split, input_bytes, output_bytes })
    }
}

// SAFETY: `rows_bytes` and `padded_bytes` size the operands for whole panels of every row; `split`
// gives each row of each panel to one chunk, and panels do not overlap.
unsafe impl Operator for DenseF16 {
    fn kernel(&self) -> &'static str {
        self.weights.kernel().name
    }

    fn input_bytes(&self) -> &[usize] {
        &self.input_bytes
    }

    fn output_bytes(&self) -> &[usize] {
        &self.output_bytes
    }

    fn chunks(&self) -> usize {
        self.split.chunks()
    }

    fn macs(&self) -> u64 {
        self.spec.m as u64 * self.weights.k() as u64 * self.weights.n() as u64
    }

    fn packed_bytes(&self) -> usize {
        self.weights.bytes()
    }

    unsafe fn run_chunk(&self, io: &Io<'_>, chunk: usize) {
        debug_assert!(chunk < self.chunks());
        let (kernel, k) = (self.weights.kernel(), self.weights.k());
        let DenseSpec { m, lda, ldc, .. } = self.spec;
        for col in (0..self.weights.width()).step_by(kernel.nr) {
            let rows = self.split.rows(chunk, col, kernel.nr, kernel.tiles.len());
            // Offsets stay inside the operands: the rows are below `m`, the panel inside a row.
            let mut args = TileArgs {
                tiles: 0,
                k,
                a: io.input::<f32>(0).wrapping_add(rows.start * lda),
                lda,
                b: self.weights.panel(col),
                bias: self.weights.bias(col),
                c: io.output::<f32>(0).wrapping_add(rows.start * ldc + col),
                ldc,
                tail: self.tail,
            };
            let whole = args;
            for (tiles, mr) in equal_tiles(rows.len(), kernel.tiles.len()) {
                args.tiles = tiles;
                let tile = if m == 1 { kernel.row } else { kernel.tiles[mr - 1] };
                // SAFETY: `tiles * mr` of the rows that `split` gives to this chunk, which lie in
                // operands of the lengths that follow from the same strides; packing has chosen a
                // kernel that the CPU supports.
                unsafe { tile(&args) };
                args.a = args.a.wrapping_add(tiles * mr * lda);
                args.c = args.c.wrapping_add(tiles * mr * ldc);
            }
            if let Some(act) = self.pass {
                // SAFETY: the same rows of `c`, now written.
                unsafe { (kernel.activate)(&whole, rows.len(), act) };
            }
        }
    }
}
