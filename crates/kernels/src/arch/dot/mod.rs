//! Sums of products of 16-bit pairs, and bytes around them: what the 8-bit families share.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(not(target_arch = "x86_64"))]
mod scalar;
#[cfg(target_arch = "x86_64")]
mod sse2;

#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::{DotAvx2, DotAvxVnni};
#[cfg(target_arch = "x86_64")]
pub(crate) use avx512::{DotAvx512, DotAvx512Vnni};
#[cfg(target_arch = "aarch64")]
pub(crate) use neon::{DotNeon, DotNeonDot};
#[cfg(not(target_arch = "x86_64"))]
pub(crate) use scalar::DotScalar;
#[cfg(target_arch = "x86_64")]
pub(crate) use sse2::DotScalar;

use crate::quant::{Quant8, Tail8};

/// A token of a level, as [`SimdF32`](super::SimdF32) is for `f32`: methods become single
/// instructions only inside a function with the matching `#[target_feature]`.
///
/// # Safety
/// The CPU has the level wherever a token is used; whoever makes one promises it.
pub(crate) trait SimdDot: Copy {
    /// Sums of a vector.
    const LANES: usize;
    /// `LANES` of `i32`.
    type Sums: Copy;
    /// `LANES` pairs of `i16`.
    type Pairs: Copy;
    /// `LANES` of `f32`.
    type Scales: Copy;

    /// All lanes 0.
    fn zero(self) -> Self::Sums;

    /// # Safety
    /// - `LANES` elements from `p` on are valid for reads.
    unsafe fn load_sums(self, p: *const i32) -> Self::Sums;

    /// # Safety
    /// - `LANES` elements from `p` on are valid for writes.
    unsafe fn store_sums(self, p: *mut i32, v: Self::Sums);

    /// # Safety
    /// - `LANES` elements from `p` on are valid for reads.
    unsafe fn load_scales(self, p: *const f32) -> Self::Scales;

    /// # Safety
    /// - `LANES` elements from `p` on are valid for writes.
    unsafe fn store_scales(self, p: *mut f32, v: Self::Scales);

    /// # Safety
    /// - `2 * LANES` elements from `p` on are valid for reads.
    unsafe fn load_pairs(self, p: *const i16) -> Self::Pairs;

    /// Bytes, widened.
    ///
    /// # Safety
    /// - `2 * LANES` elements from `p` on are valid for reads.
    unsafe fn load_narrow(self, p: *const i8) -> Self::Pairs;

    /// One pair in all lanes.
    ///
    /// # Safety
    /// - 2 elements from `p` on are valid for reads.
    unsafe fn splat_pair(self, p: *const i16) -> Self::Pairs;

    /// `sum + a.0 * b.0 + a.1 * b.1` in every lane, modulo 2^32.
    fn dot(self, sum: Self::Sums, a: Self::Pairs, b: Self::Pairs) -> Self::Sums;

    /// `sum as f32 * m`, rounded after each step.
    fn scale(self, sum: Self::Sums, m: Self::Scales) -> Self::Scales;

    /// Rounds, adds the zero point, clamps: [`Tail8::round`] in every lane; the lanes of `v[i]` to
    /// `p[i]`.
    ///
    /// # Safety
    /// - `LANES` bytes from each of `p` on are valid for writes.
    unsafe fn store_bytes(self, p: [*mut u8; 2], v: [Self::Scales; 2], tail: &Tail8);

    /// 16 bytes as numbers above the zero point.
    ///
    /// # Safety
    /// - 16 bytes from `from` on are valid for reads, 16 elements from `to` on for writes.
    unsafe fn widen(self, from: *const u8, to: *mut i16, quant: Quant8);

    /// Likewise 16 bytes of each of two places, in pairs.
    ///
    /// # Safety
    /// - 16 bytes from `a` and `b` on are valid for reads, 32 elements from `to` on for writes.
    unsafe fn widen_pairs(self, a: *const u8, b: *const u8, to: *mut i16, quant: Quant8);
}

/// Products of four bytes where [`SimdDot`] has pairs of 16 bits.
pub(crate) trait SimdDot4: SimdDot {
    /// Whether `a` of [`SimdDot4::dot4`] is signed, as `b` is, else unsigned.
    const SIGNED: bool;

    /// `sum + a.0 * b.0 + .. + a.3 * b.3` in every lane, modulo 2^32, the bits of a pair being four
    /// bytes.
    fn dot4(self, sum: Self::Sums, a: Self::Pairs, b: Self::Pairs) -> Self::Sums;

    /// 16 bytes of each of four places, the first of all four first; `flip` on all of them.
    ///
    /// # Safety
    /// - 16 bytes from each of `rows` on are valid for reads, 64 from `to` on for writes.
    unsafe fn interleave(self, rows: [*const u8; 4], to: *mut u8, flip: u8);
}
