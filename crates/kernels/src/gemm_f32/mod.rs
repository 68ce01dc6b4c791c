//! Matrix product: pointwise convolutions and dense layers.
//!
//! `c[i][j] = act(bias[j] + sum_p a[i][p] * b[j][p] + residual[i][j])`, `i < m`, `j < n`, `p < k`.
//!
//! | operand | layout |
//! |---|---|
//! | `a` | activations as they lie: `m` rows of `k`, `lda >= k` apart |
//! | `b` | weights `[n][k]`, packed once into panels of [`PackedGemmF32`] |
//! | `residual`, `c` | `m` rows of `n`, vector-padded strides |
//!
//! One register tile, here of 8 x 48 in AVX-512 (`x`: sums, one zmm per 16 columns):
//!
//! ```text
//!                 b: k rows of 48, packed, read in order
//!                 +----------+----------+----------+
//!             p   | b[p][0..]| 16..     | 32..     |   3 loads per p
//!                 +----------+----------+----------+
//!   a[0][p] ---->  x          x          x
//!   a[1][p] ---->  x          x          x              8 broadcasts per p,
//!     ...                     ...                       24 FMAs per p
//!   a[7][p] ---->  x          x          x
//!   row pointers
//! ```
//!
//! # Why these tiles
//! `a` is never packed, `k` is never split: the sums stay in registers from the bias to the store.
//! Panels are outermost, so a panel of `b` comes once from L3 and then lives in L2. A range of rows
//! is cut into tiles of equal height, with a kernel for each height: 49 rows are 7 tiles of 7.
//! Widths are multiples of a vector, since rows are padded to whole vectors: no column tails.
//!
//! # Numerics
//! Products are summed in ascending `p`, from the bias on, each step a fused multiply-add where the
//! level has one; the residual comes last. A dense layer of one row sums
//! even and odd `p` apart. Bits depend on the kernel, never on the number of threads. NaN in row
//! `i` of `a` or of the residual comes out as NaN in row `i` of `c`, through any activation.

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
mod bodies;
mod gated;
pub(crate) mod generic;
mod matmul;
mod mean;
#[cfg(target_arch = "aarch64")]
pub(crate) mod neon;
mod pack;
pub(crate) mod scalar;
pub(crate) mod split;
#[cfg(test)]
pub(crate) mod tests;

use crate::isa::Isa;
use crate::operator::{Io, KernelError, KernelInfo, Operator};
use depthwise_tensor::Activation;
pub use gated::GatedGemmF32;
pub(crate) use generic::finish;
pub use matmul::{MatMulF32, MatMulSpec};
pub use mean::MeanGemmF32;
pub use pack::PackedGemmF32;
pub(crate) use pack::{Panel, avx512_widths};
use split::{Split, chunks_for_macs};
use std::fmt;
use std::sync::Arc;

const FAMILY: &str = "gemm_f32";

/// A register tile with the functions that compute it.
pub struct Kernel {
    name: &'static str,
    isa: Isa,
    /// Columns of a tile.
    nr: usize,
    /// Entry `i` computes tiles of `i + 1` rows.
    tiles: &'static [unsafe fn(&TileArgs)],
    /// Likewise, rows given by tables of pointers.
    indirect: &'static [unsafe fn(&IndirectArgs)],
    /// A single row, bound by the reading of `b`.
    row: unsafe fn(&TileArgs),
    ops: &'static RowOps,
}

/// All kernels, best first.
pub static KERNELS: &[&Kernel] = &[
    #[cfg(target_arch = "x86_64")]
    &avx512::K8X48,
    #[cfg(target_arch = "x86_64")]
    &avx512::K8X32,
    #[cfg(target_arch = "x86_64")]
    &avx512::K8X16,
    #[cfg(target_arch = "x86_64")]
    &avx512::K9X24,
    #[cfg(target_arch = "x86_64")]
    &avx512::K9X8,
    #[cfg(target_arch = "x86_64")]
    &avx2::K6X16,
    #[cfg(target_arch = "x86_64")]
    &avx2::K3X24,
    #[cfg(target_arch = "x86_64")]
    &avx2::K10X8,
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
        KernelInfo::new(self.name, self.isa)
    }

    /// Rows of the tallest tile.
    pub fn mr(&self) -> usize {
        self.tiles.len()
    }

    /// Columns of a tile.
    pub fn nr(&self) -> usize {
        self.nr
    }

    /// Computes `rows` rows of one panel, in tiles of equal height.
    ///
    /// # Safety
    /// As [`TileArgs`] says, for `rows` rows and [`Kernel::nr`] columns; the CPU has the kernel's
    /// level. `args.tiles` is not read.
    pub(crate) unsafe fn run(&self, args: TileArgs, rows: usize) {
        // SAFETY: as the caller promises.
        unsafe { run_tiles(self.tiles, args, rows) };
    }

    /// As [`Kernel::run`], rows given by a table of pointers.
    ///
    /// # Safety
    /// As [`IndirectArgs`] says, for `rows` rows and [`Kernel::nr`] columns; the CPU has the
    /// kernel's level. `args.tiles` is not read.
    pub(crate) unsafe fn run_indirect(&self, mut args: IndirectArgs, rows: usize) {
        for (tiles, mr) in equal_tiles(rows, self.mr()) {
            args.tiles = tiles;
            // SAFETY: `tiles * mr` of the rows that the caller vouches for.
            unsafe { self.indirect[mr - 1](&args) };
            let done = tiles * mr;
            args.table = args.table.wrapping_add(done);
            args.init = args.init.wrapping_add(done * args.init_ld);
            args.c = args.c.wrapping_add(done * args.ldc);
        }
    }

    pub(crate) fn row_ops(&self) -> &'static RowOps {
        self.ops
    }
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Computes `rows` rows of one panel, in tiles of equal height; entry `i` of `by_height` computes tiles
/// of `i + 1` rows.
///
/// # Safety
/// As [`TileArgs`] says, for `rows` rows and the columns of these functions; the CPU has what they need.
/// `args.tiles` is not read.
pub(crate) unsafe fn run_tiles<E: Copy>(
    by_height: &[unsafe fn(&TileArgs<E>)],
    mut args: TileArgs<E>,
    rows: usize,
) {
    for (tiles, mr) in equal_tiles(rows, by_height.len()) {
        args.tiles = tiles;
        // SAFETY: `tiles * mr` of the rows that the caller vouches for.
        unsafe { by_height[mr - 1](&args) };
        args.ahead = 0;
        let done = tiles * mr;
        args.a = args.a.wrapping_add(done * args.lda);
        args.init = args.init.wrapping_add(done * args.init_ld);
        args.residual = args.residual.wrapping_add(done * args.residual_ld);
        args.c = args.c.wrapping_add(done * args.ldc);
    }
}

/// `(number of tiles, rows of each)`: at most two heights, one row apart, none above `mr`.
pub(crate) fn equal_tiles(rows: usize, mr: usize) -> impl Iterator<Item = (usize, usize)> {
    let tiles = rows.div_ceil(mr);
    let (height, taller) = (rows / tiles.max(1), rows % tiles.max(1));
    [(taller, height + 1), (tiles - taller, height)].into_iter().filter(|&(tiles, _)| tiles > 0)
}

/// What happens to a sum in registers before it is stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Tail {
    /// Bounds, where `hard_swish` is not set.
    pub min: f32,
    pub max: f32,
    pub hard_swish: bool,
}

impl Tail {
    const IDENTITY: Tail = Tail { min: f32::NEG_INFINITY, max: f32::INFINITY, hard_swish: false };

    /// The tail for an activation, and the activation that is left for a pass of its own.
    pub(crate) fn of(act: Activation) -> (Tail, Option<Activation>) {
        match (act, act.as_clamp()) {
            (Activation::HardSwish, _) => (Tail { hard_swish: true, ..Tail::IDENTITY }, None),
            // A bound of NaN clamps nothing in `f32::max`; nor does it here.
            (_, Some((min, max))) => (Tail { min, max, hard_swish: false }, None),
            (act, None) => (Tail::IDENTITY, Some(act)),
        }
    }
}

/// One panel of columns, and tiles below each other. `a` and `b` are numbers, or whatever `E` an
/// instruction multiplies at once ([`Products`](crate::arch::Products)).
///
/// # Safety
/// For those who call a tile with `rows` rows (its height times `tiles`) and `nr` columns:
/// - `k` elements from `a + r * lda` on are valid for reads, `r < rows`.
/// - `nr` elements from `b + p * ldb` on are valid for reads, `p < k`.
/// - `nr` elements from `init + r * init_ld` on are valid for reads; `init` may be `c`.
/// - Likewise from `residual + r * residual_ld`, unless that is null; `residual` may be `c`.
/// - `nr` elements from `c + r * ldc` on are valid for writes, and overlap `a` and `b` nowhere.
#[derive(Clone, Copy)]
pub(crate) struct TileArgs<E = f32> {
    pub tiles: usize,
    pub k: usize,
    pub a: *const E,
    pub lda: usize,
    pub b: *const E,
    pub ldb: usize,
    /// Elements from `b` to what the caches should have next, 0 for nothing. The first tile asks
    /// for as many rows there as it reads of `b`.
    pub ahead: usize,
    /// The sums before the first product: the bias for all rows with `init_ld` 0.
    pub init: *const f32,
    pub init_ld: usize,
    /// Added after the last product; null for nothing.
    pub residual: *const f32,
    pub residual_ld: usize,
    pub c: *mut f32,
    pub ldc: usize,
    pub tail: Tail,
}

/// As [`TileArgs`], where a row of `a` comes in `taps` runs of `run` elements.
///
/// # Safety
/// As [`TileArgs`], but for `a`:
/// - `table[tap * table_ld + r]` is valid for reads, `tap < taps`, `r < rows`.
/// - Each is a pointer with `offset + run` elements behind it that are valid for reads.
/// - `b` has `taps * run` rows.
#[derive(Clone, Copy)]
pub(crate) struct IndirectArgs {
    pub tiles: usize,
    pub taps: usize,
    pub run: usize,
    pub table: *const *const f32,
    pub table_ld: usize,
    /// Added to each pointer of the table.
    pub offset: usize,
    pub b: *const f32,
    pub ldb: usize,
    pub init: *const f32,
    pub init_ld: usize,
    pub c: *mut f32,
    pub ldc: usize,
    pub tail: Tail,
}

/// Passes over the rows of one panel, before and after the tiles.
pub(crate) struct RowOps {
    /// `c[r][j] = x[r][j] * bias[r]`
    pub scale: unsafe fn(&RowsArgs),
    /// `c[0][j] = mean over r of x[r][j]`
    pub mean: unsafe fn(&RowsArgs),
    /// `c = x + bias`
    pub add_bias: unsafe fn(&RowsArgs),
    /// `c = act(c)`
    pub activate: unsafe fn(&RowsArgs, Activation),
}

/// The operands of [`RowOps`].
pub(crate) struct RowsArgs {
    pub rows: usize,
    pub width: usize,
    pub x: *const f32,
    pub ldx: usize,
    pub bias: *const f32,
    pub c: *mut f32,
    pub ldc: usize,
}

/// Shape and layout of one product.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GemmSpec {
    /// Rows of `a` and `c`: pixels, or pictures of a dense layer.
    pub m: usize,
    /// Elements from one row of `a` to the next, at least `k`.
    pub lda: usize,
    /// Elements from one row of `c` to the next: a multiple of 16, at least `n`.
    pub ldc: usize,
    /// Elements from one row of the residual to the next, where there is one: as `ldc`.
    pub residual_ld: Option<usize>,
    /// Applied last, after bias and residual.
    pub activation: Activation,
}

/// Matrix product with packed weights. Inputs `[a]` or `[a, residual]`, output `[c]`.
#[derive(Debug)]
pub struct GemmF32 {
    weights: Arc<PackedGemmF32>,
    m: usize,
    lda: usize,
    ldc: usize,
    residual_ld: Option<usize>,
    tail: Tail,
    /// An activation too long for the registers of a tile.
    pass: Option<Activation>,
    split: Split,
    input_bytes: Vec<usize>,
    output_bytes: [usize; 1],
}

/// Rows up to which the tiles of a panel take no longer than the next panel needs to come from L3:
/// it is asked for during the first. On Zen 3 49 rows of 320 to 1280 columns gain 4 to 5%.
pub(crate) const FEW_ROWS: usize = 128;

/// Rows between two passes over what was just written: with 48 columns 12 KiB, which stay in L1.
pub(crate) const BLOCK: usize = 64;

impl GemmF32 {
    /// A product of `spec.m` rows, in up to `threads` chunks.
    ///
    /// # Errors
    /// [`KernelError::Invalid`] for strides below the number of columns and for sizes that
    /// overflow, [`KernelError::Unsupported`] for a stride of `c` or of the residual that is not a
    /// multiple of 16.
    pub fn new(
        weights: Arc<PackedGemmF32>,
        spec: GemmSpec,
        threads: usize,
    ) -> Result<GemmF32, KernelError> {
        let GemmSpec { m, lda, ldc, residual_ld, activation } = spec;
        let (k, n) = (weights.k(), weights.n());
        let input = rows_bytes(FAMILY, "a", m, k, lda)?;
        let width = weights.width();
        let output = padded_bytes(FAMILY, "c", m, n, width, ldc)?;
        let mut input_bytes = vec![input];
        if let Some(ld) = residual_ld {
            input_bytes.push(padded_bytes(FAMILY, "the residual", m, n, width, ld)?);
        }
        let macs = (m as u64).saturating_mul(k as u64).saturating_mul(n as u64);
        let split = Split::new(m, width, chunks_for_macs(macs, threads));
        let (tail, pass) = Tail::of(activation);
        let output_bytes = [output];
        Ok(GemmF32 {
            weights,
            m,
            lda,
            ldc,
            residual_ld,
            tail,
            pass,
            split,
            input_bytes,
            output_bytes,
        })
    }

    /// Weights, shape and layout.
    pub(crate) fn layout(&self) -> (&PackedGemmF32, GemmSpec) {
        let GemmF32 { m, lda, ldc, residual_ld, .. } = *self;
        (&self.weights, GemmSpec { m, lda, ldc, residual_ld, activation: Activation::Identity })
    }

    /// Computes rows of all panels.
    ///
    /// # Safety
    /// As [`Operator::run_chunk`], for these rows of the operands alone; nobody else writes them.
    pub(crate) unsafe fn run_rows(&self, io: &Io<'_>, rows: std::ops::Range<usize>) {
        for panel in self.weights.panels() {
            // SAFETY: as the caller promises.
            unsafe { self.run_panel(io, panel, rows.clone()) };
        }
    }

    /// Computes rows of one panel.
    ///
    /// # Safety
    /// As [`Operator::run_chunk`]; the rows of this panel belong to the chunk.
    unsafe fn run_panel(&self, io: &Io<'_>, panel: &Panel, rows: std::ops::Range<usize>) {
        let at = self.place(io, panel, rows.clone());
        // SAFETY: the rows lie in the operands, whose lengths follow from the same strides.
        unsafe { self.run_panel_at(panel, at, rows.len()) };
    }

    /// Where rows of a panel are in the operands.
    fn place(&self, io: &Io<'_>, panel: &Panel, rows: std::ops::Range<usize>) -> Place {
        // Offsets stay inside the operands: `rows` lie below `m`, and the panel inside a row.
        let residual = self.residual_ld.map_or(std::ptr::null(), |ld| {
            io.input::<f32>(1).wrapping_add(rows.start * ld + panel.col)
        });
        let nr = panel.kernel.nr;
        Place {
            a: io.input::<f32>(0).wrapping_add(rows.start * self.lda),
            b: self.weights.panel(panel),
            ahead: if rows.len() <= FEW_ROWS { self.weights.k() * nr } else { 0 },
            residual,
            c: io.output::<f32>(0).wrapping_add(rows.start * self.ldc + panel.col),
            ldc: self.ldc,
        }
    }

    /// Computes `rows` rows of one panel.
    ///
    /// # Safety
    /// - `rows` rows of the operands are valid from where `at` says, as [`TileArgs`] says of tiles,
    ///   and nobody else writes those of `c`.
    unsafe fn run_panel_at(&self, panel: &Panel, at: Place, rows: usize) {
        let bias = self.weights.bias(panel);
        let kernel = panel.kernel;
        let block = if self.pass.is_none() { rows } else { BLOCK };
        let residual_ld = self.residual_ld.unwrap_or(0);
        for start in (0..rows).step_by(block.max(1)) {
            let count = block.min(rows - start);
            let c = at.c.wrapping_add(start * at.ldc);
            let args = TileArgs {
                tiles: 1,
                k: self.weights.k(),
                a: at.a.wrapping_add(start * self.lda),
                lda: self.lda,
                b: at.b,
                ldb: kernel.nr,
                ahead: at.ahead,
                init: bias,
                init_ld: 0,
                residual: at.residual.wrapping_add(start * residual_ld),
                residual_ld,
                c,
                ldc: at.ldc,
                tail: self.tail,
            };
            let width = kernel.nr;
            let of_rows = RowsArgs { rows: count, width, x: c, ldx: at.ldc, bias, c, ldc: at.ldc };
            // SAFETY: as the caller promises, rows `start..` of it; the panel lies in the weights;
            // packing has chosen kernels that the CPU supports.
            unsafe {
                if self.m == 1 {
                    (kernel.row)(&args);
                } else {
                    kernel.run(args, count);
                }
                if let Some(act) = self.pass {
                    (kernel.ops.activate)(&of_rows, act);
                }
            }
        }
    }
}

/// Where the operands of rows of a panel begin.
#[derive(Clone, Copy)]
struct Place {
    a: *const f32,
    /// Weights as the panel has them.
    b: *const f32,
    /// As [`TileArgs::ahead`].
    ahead: usize,
    /// Null where there is none.
    residual: *const f32,
    c: *mut f32,
    ldc: usize,
}

// SAFETY: `rows_bytes` and `padded_bytes` size the operands for whole panels of every row; `split`
// gives each row of each panel to one chunk, and panels do not overlap. A chunk reads the residual
// only where it writes.
unsafe impl Operator for GemmF32 {
    fn kernel(&self) -> &'static str {
        self.weights.kernel_name()
    }

    fn input_bytes(&self) -> &[usize] {
        &self.input_bytes
    }

    fn output_bytes(&self) -> &[usize] {
        &self.output_bytes
    }

    fn in_place(&self, i: usize) -> bool {
        i == 1 && self.residual_ld == Some(self.ldc)
    }

    fn chunks(&self) -> usize {
        self.split.chunks()
    }

    fn macs(&self) -> u64 {
        self.m as u64 * self.weights.k() as u64 * self.weights.n() as u64
    }

    fn packed_bytes(&self) -> usize {
        self.weights.bytes()
    }

    unsafe fn run_chunk(&self, io: &Io<'_>, chunk: usize) {
        debug_assert!(chunk < self.chunks());
        for panel in self.weights.panels() {
            let rows = self.split.rows(chunk, panel.col, panel.kernel.nr, panel.kernel.mr());
            if !rows.is_empty() {
                // SAFETY: as the caller promises; `split` gives these rows to this chunk.
                unsafe { self.run_panel(io, panel, rows) };
            }
        }
    }
}

/// Bytes from the first row to the end of the last, `c` of `ld` elements each.
pub(crate) fn rows_bytes(
    kernel: &'static str,
    what: &str,
    rows: usize,
    c: usize,
    ld: usize,
) -> Result<usize, KernelError> {
    if ld < c {
        let reason = format!("a row of {what} has {c} elements, but rows are {ld} apart");
        return Err(KernelError::Invalid { kernel, reason });
    }
    let elements = match (rows, c) {
        (0, _) | (_, 0) => Some(0),
        _ => (rows - 1).checked_mul(ld).and_then(|n| n.checked_add(c)),
    };
    elements.and_then(|n| n.checked_mul(4)).filter(|&n| n <= isize::MAX as usize).ok_or_else(|| {
        let reason = format!("{rows} rows of {what}, {ld} apart, overflow the address space");
        KernelError::Invalid { kernel, reason }
    })
}

/// Bytes of whole rows of `ld` elements, which hold `width >= c` elements of whole panels.
pub(crate) fn padded_bytes(
    kernel: &'static str,
    what: &str,
    rows: usize,
    c: usize,
    width: usize,
    ld: usize,
) -> Result<usize, KernelError> {
    rows_bytes(kernel, what, rows, c, ld)?;
    if !ld.is_multiple_of(16) || ld < width {
        let reason = format!(
            "a stride of {ld} elements for {what}, no multiple of 16 or below the panels' {width},"
        );
        return Err(KernelError::Unsupported { kernel, reason });
    }
    rows_bytes(kernel, what, rows, ld, ld)
}
