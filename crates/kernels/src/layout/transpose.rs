//! A matrix turned over: `y[k][l] = x[l][k]`.
//!
//! Tiles of 8x8 (AVX2), 4x4 (NEON, scalar); strips of 64 rows of x, so that the two halves of a
//! cache line of x are used before it leaves L1, and y is written 256 bytes at a time. AVX-512
//! machines run the AVX2 entry: this is bound by loads and stores, not by arithmetic.

use crate::isa::{Cpu, Isa};
use crate::operator::KernelInfo;
use bytemuck::Pod;

/// Rows of x that are gone through before the next columns.
const STRIP: usize = 64;

/// Extents and distances of a transposition, in elements.
#[derive(Clone, Copy, Debug)]
pub(super) struct Matrix {
    /// Rows of x, columns of y.
    pub(super) l: usize,
    /// Columns of x, rows of y.
    pub(super) k: usize,
    /// From one row of x to the next.
    pub(super) ldx: usize,
    /// From one row of y to the next.
    pub(super) ldy: usize,
}

/// Transposes one matrix of 4-byte elements.
///
/// # Safety
/// - Rows of x and y are valid for the extents of the matrix; they do not overlap.
/// - The CPU has the instructions of the kernel.
type Transpose = unsafe fn(Matrix, *mut u32, *const u32);

/// A transposition of 4-byte elements for one instruction set.
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    name: &'static str,
    isa: Isa,
    pub(super) run: Transpose,
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
    Kernel { name: "permute_c4_8x8_avx2", isa: Isa::Avx2, run: avx2 },
    #[cfg(target_arch = "aarch64")]
    Kernel { name: "permute_c4_4x4_neon", isa: Isa::Neon, run: neon },
    Kernel { name: "permute_c4_4x4_scalar", isa: Isa::Scalar, run: scalar },
];

/// The best entry that the CPU runs.
pub fn select(cpu: &Cpu) -> &'static Kernel {
    KERNELS.iter().find(|k| k.info().is_supported(cpu)).expect("the scalar entry runs everywhere")
}

/// # Safety
/// As [`Transpose`].
unsafe fn scalar(m: Matrix, y: *mut u32, x: *const u32) {
    // SAFETY: as the caller promises.
    unsafe { tiled::<u32, Elements<4>>(m, y, x) }
}

/// Elements of any size.
///
/// # Safety
/// As [`Transpose`], but that no instructions are asked for.
pub(super) unsafe fn generic<T: Pod>(m: Matrix, y: *mut T, x: *const T) {
    // SAFETY: as the caller promises.
    unsafe { tiled::<T, Elements<8>>(m, y, x) }
}

/// # Safety
/// As [`Transpose`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn avx2(m: Matrix, y: *mut u32, x: *const u32) {
    // SAFETY: as the caller promises; this function is compiled for AVX2.
    unsafe { tiled::<u32, avx2::Tile8x8>(m, y, x) }
}

/// # Safety
/// As [`Transpose`].
#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon")]
unsafe fn neon(m: Matrix, y: *mut u32, x: *const u32) {
    // SAFETY: as the caller promises; this function is compiled for NEON.
    unsafe { tiled::<u32, neon::Tile4x4>(m, y, x) }
}

/// Turns a square tile over.
trait Tile<T> {
    const SIDE: usize;

    /// # Safety
    /// - `SIDE` rows of x and of y, `ldx` and `ldy` elements apart, have `SIDE` valid elements;
    ///   they do not overlap.
    /// - The caller is compiled for the instructions of the tile.
    unsafe fn run(y: *mut T, ldy: usize, x: *const T, ldx: usize);
}

/// Walks a matrix in tiles, the rest element by element.
///
/// # Safety
/// As [`Transpose`], for elements of type `T`; the caller is compiled for the tile.
#[inline(always)]
unsafe fn tiled<T: Pod, K: Tile<T>>(m: Matrix, y: *mut T, x: *const T) {
    debug_assert!(m.ldx >= m.k && (m.ldy >= m.l || m.k <= 1));
    let (whole_k, whole_l) = (m.k / K::SIDE * K::SIDE, m.l / K::SIDE * K::SIDE);
    for strip in (0..whole_l).step_by(STRIP) {
        for k in (0..whole_k).step_by(K::SIDE) {
            for l in (strip..whole_l.min(strip + STRIP)).step_by(K::SIDE) {
                // SAFETY: the tile lies in the matrix.
                unsafe { K::run(y.add(k * m.ldy + l), m.ldy, x.add(l * m.ldx + k), m.ldx) };
            }
        }
    }
    // Columns of x after the last whole tile, then rows: the few of them innermost, so that each
    // line of the many is touched once.
    // SAFETY: both parts lie in the matrix.
    unsafe {
        let few = m.k - whole_k;
        strip_of(few, whole_l, y.add(whole_k * m.ldy), (m.ldy, 1), x.add(whole_k), (1, m.ldx));
        let few = m.l - whole_l;
        strip_of(few, m.k, y.add(whole_l), (1, m.ldy), x.add(whole_l * m.ldx), (m.ldx, 1));
    }
}

/// Copies `many` times `few` elements, fewer than 8.
///
/// # Safety
/// Element `i` of trip `j`, `i * steps.0 + j * steps.1` from the start, is valid in y and in x.
#[inline(always)]
unsafe fn strip_of<T: Pod>(
    few: usize,
    many: usize,
    y: *mut T,
    y_steps: (usize, usize),
    x: *const T,
    x_steps: (usize, usize),
) {
    macro_rules! match_few {
        ($($n:literal),*) => {
            match few {
                $($n => {
                    for j in 0..many {
                        for i in 0..$n {
                            // SAFETY: as the caller promises.
                            unsafe {
                                let value = x.add(i * x_steps.0 + j * x_steps.1).read_unaligned();
                                y.add(i * y_steps.0 + j * y_steps.1).write_unaligned(value);
                            }
                        }
                    }
                })*
                _ => debug_assert_eq!(few, 0),
            }
        };
    }
    // A constant number, so that the inner loop becomes that many moves.
    match_few!(1, 2, 3, 4, 5, 6, 7)
}

/// A tile of any element, through a local array.
struct Elements<const SIDE: usize>;

impl<T: Pod, const SIDE: usize> Tile<T> for Elements<SIDE> {
    const SIDE: usize = SIDE;

    #[inline(always)]
    unsafe fn run(y: *mut T, ldy: usize, x: *const T, ldx: usize) {
        let mut tile = [[T::zeroed(); SIDE]; SIDE];
        for (l, row) in tile.iter_mut().enumerate() {
            // SAFETY: as the caller promises.
            *row = unsafe { x.add(l * ldx).cast::<[T; SIDE]>().read_unaligned() };
        }
        let columns: [[T; SIDE]; SIDE] =
            std::array::from_fn(|k| std::array::from_fn(|l| tile[l][k]));
        for (k, &column) in columns.iter().enumerate() {
            // SAFETY: as the caller promises.
            unsafe { y.add(k * ldy).cast::<[T; SIDE]>().write_unaligned(column) };
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;

    pub(super) struct Tile8x8;

    impl super::Tile<u32> for Tile8x8 {
        const SIDE: usize = 8;

        /// Pairs of rows interleaved, pairs of pairs, then halves exchanged: 24 shuffles.
        #[inline(always)]
        unsafe fn run(y: *mut u32, ldy: usize, x: *const u32, ldx: usize) {
            // SAFETY: rows are valid and the caller is compiled for AVX2, as it promises.
            unsafe {
                let row = |l: usize| _mm256_loadu_ps(x.add(l * ldx).cast());
                let mut pairs = [_mm256_setzero_ps(); 8];
                for i in 0..4 {
                    pairs[2 * i] = _mm256_unpacklo_ps(row(2 * i), row(2 * i + 1));
                    pairs[2 * i + 1] = _mm256_unpackhi_ps(row(2 * i), row(2 * i + 1));
                }
                // quads[h][j]: column j of either half, of rows 4 h .. 4 h + 4.
                let quads: [[__m256; 4]; 2] = std::array::from_fn(|h| {
                    let p = &pairs[4 * h..];
                    [
                        _mm256_shuffle_ps::<0x44>(p[0], p[2]),
                        _mm256_shuffle_ps::<0xee>(p[0], p[2]),
                        _mm256_shuffle_ps::<0x44>(p[1], p[3]),
                        _mm256_shuffle_ps::<0xee>(p[1], p[3]),
                    ]
                });
                for (j, (&a, &b)) in quads[0].iter().zip(&quads[1]).enumerate() {
                    let low = _mm256_permute2f128_ps::<0x20>(a, b);
                    let high = _mm256_permute2f128_ps::<0x31>(a, b);
                    _mm256_storeu_ps(y.add(j * ldy).cast(), low);
                    _mm256_storeu_ps(y.add((j + 4) * ldy).cast(), high);
                }
            }
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod neon {
    use std::arch::aarch64::*;

    pub(super) struct Tile4x4;

    impl super::Tile<u32> for Tile4x4 {
        const SIDE: usize = 4;

        #[inline(always)]
        unsafe fn run(y: *mut u32, ldy: usize, x: *const u32, ldx: usize) {
            // SAFETY: rows are valid and the caller is compiled for NEON, as it promises.
            unsafe {
                let row = |l: usize| vld1q_u32(x.add(l * ldx));
                let (a, b, c, d) = (row(0), row(1), row(2), row(3));
                let wide = |v| vreinterpretq_u64_u32(v);
                let (ab_even, ab_odd) = (wide(vtrn1q_u32(a, b)), wide(vtrn2q_u32(a, b)));
                let (cd_even, cd_odd) = (wide(vtrn1q_u32(c, d)), wide(vtrn2q_u32(c, d)));
                let columns = [
                    vtrn1q_u64(ab_even, cd_even),
                    vtrn1q_u64(ab_odd, cd_odd),
                    vtrn2q_u64(ab_even, cd_even),
                    vtrn2q_u64(ab_odd, cd_odd),
                ];
                for (k, column) in columns.into_iter().enumerate() {
                    vst1q_u32(y.add(k * ldy), vreinterpretq_u32_u64(column));
                }
            }
        }
    }
}
