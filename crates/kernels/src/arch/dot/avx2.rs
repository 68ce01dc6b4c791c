//! AVX2: `vpmaddwd` on 16-bit pairs is exact, where `vpmaddubsw` on bytes saturates. With AVX-VNNI
//! `vpdpwssd` adds, too, and `vpdpbusd` takes four bytes.

use super::{SimdDot, SimdDot4};
use crate::quant::{Quant8, Tail8};
use std::arch::x86_64::*;

/// Token of AVX2.
#[derive(Clone, Copy)]
pub(crate) struct DotAvx2;

/// Token of AVX2 with AVX-VNNI.
#[derive(Clone, Copy)]
pub(crate) struct DotAvxVnni;

/// Above it the conversion to `i32` would turn negative.
const BELOW_2_31: f32 = 2_147_483_520.0;

macro_rules! simd_dot {
    ($token:ident, |$sum:ident, $a:ident, $b:ident| $dot:expr) => {
        impl SimdDot for $token {
            const LANES: usize = 8;
            type Sums = __m256i;
            type Pairs = __m256i;
            type Scales = __m256;

            #[inline(always)]
            fn zero(self) -> __m256i {
                // SAFETY: a token stands for the level.
                unsafe { _mm256_setzero_si256() }
            }

            #[inline(always)]
            unsafe fn load_sums(self, p: *const i32) -> __m256i {
                // SAFETY: as the caller promises.
                unsafe { _mm256_loadu_si256(p.cast()) }
            }

            #[inline(always)]
            unsafe fn store_sums(self, p: *mut i32, v: __m256i) {
                // SAFETY: as the caller promises.
                unsafe { _mm256_storeu_si256(p.cast(), v) }
            }

            #[inline(always)]
            unsafe fn load_scales(self, p: *const f32) -> __m256 {
                // SAFETY: as the caller promises.
                unsafe { _mm256_loadu_ps(p) }
            }

            #[inline(always)]
            unsafe fn store_scales(self, p: *mut f32, v: __m256) {
                // SAFETY: as the caller promises.
                unsafe { _mm256_storeu_ps(p, v) }
            }

            #[inline(always)]
            unsafe fn load_pairs(self, p: *const i16) -> __m256i {
                // SAFETY: as the caller promises.
                unsafe { _mm256_loadu_si256(p.cast()) }
            }

            #[inline(always)]
            unsafe fn load_narrow(self, p: *const i8) -> __m256i {
                // SAFETY: as the caller promises.
                unsafe { _mm256_cvtepi8_epi16(_mm_loadu_si128(p.cast())) }
            }

            #[inline(always)]
            unsafe fn splat_pair(self, p: *const i16) -> __m256i {
                // SAFETY: as the caller promises.
                unsafe { _mm256_set1_epi32(p.cast::<i32>().read_unaligned()) }
            }

            #[inline(always)]
            fn dot(self, $sum: __m256i, $a: __m256i, $b: __m256i) -> __m256i {
                // SAFETY: a token stands for the level.
                unsafe { $dot }
            }

            #[inline(always)]
            fn scale(self, sum: __m256i, m: __m256) -> __m256 {
                // SAFETY: a token stands for the level.
                unsafe { _mm256_mul_ps(_mm256_cvtepi32_ps(sum), m) }
            }

            #[inline(always)]
            unsafe fn store_bytes(self, p: [*mut u8; 2], v: [__m256; 2], tail: &Tail8) {
                debug_assert!(tail.high < BELOW_2_31);
                // Saturation does the lower bound of the type; the upper one must come before the
                // conversion, which turns numbers past 2^31 negative.
                // SAFETY: a token stands for the level; the pointers are the caller's duty.
                unsafe {
                    let high = _mm256_set1_ps(tail.high);
                    let a = _mm256_cvtps_epi32(_mm256_min_ps(v[0], high));
                    let b = _mm256_cvtps_epi32(_mm256_min_ps(v[1], high));
                    // Lanes a0-3 b0-3 | a4-7 b4-7.
                    let words = _mm256_packs_epi32(a, b);
                    let words = _mm256_adds_epi16(words, _mm256_set1_epi16(tail.zero));
                    let (low, up) =
                        (_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
                    // Four bytes each of a, b, a, b.
                    let bytes = _mm_shuffle_epi32::<0b11_01_10_00>(_mm_packus_epi16(low, up));
                    let bytes = _mm_max_epu8(bytes, _mm_set1_epi8(tail.min.cast_signed()));
                    let bytes = _mm_xor_si128(bytes, _mm_set1_epi8(tail.flip.cast_signed()));
                    _mm_storel_epi64(p[0].cast(), bytes);
                    _mm_storeh_pd(p[1].cast(), _mm_castsi128_pd(bytes));
                }
            }

            #[inline(always)]
            unsafe fn widen(self, from: *const u8, to: *mut i16, quant: Quant8) {
                // SAFETY: a token stands for the level; the pointers are the caller's duty.
                unsafe {
                    let flip = _mm_set1_epi8(quant.flip().cast_signed());
                    let bytes = _mm_xor_si128(_mm_loadu_si128(from.cast()), flip);
                    let zero = _mm256_set1_epi16(i16::from(quant.zero()));
                    let words = _mm256_sub_epi16(_mm256_cvtepu8_epi16(bytes), zero);
                    _mm256_storeu_si256(to.cast(), words);
                }
            }

            #[inline(always)]
            unsafe fn widen_pairs(self, a: *const u8, b: *const u8, to: *mut i16, quant: Quant8) {
                // SAFETY: a token stands for the level; the pointers are the caller's duty.
                unsafe {
                    let flip = _mm256_set1_epi16(i16::from(quant.flip()));
                    let zero = _mm256_set1_epi16(i16::from(quant.zero()));
                    let (a, b) = (_mm_loadu_si128(a.cast()), _mm_loadu_si128(b.cast()));
                    let wide = |bytes| {
                        let words = _mm256_xor_si256(_mm256_cvtepu8_epi16(bytes), flip);
                        _mm256_sub_epi16(words, zero)
                    };
                    let to = to.cast::<__m256i>();
                    _mm256_storeu_si256(to, wide(_mm_unpacklo_epi8(a, b)));
                    _mm256_storeu_si256(to.add(1), wide(_mm_unpackhi_epi8(a, b)));
                }
            }
        }
    };
}

simd_dot!(DotAvx2, |sum, a, b| _mm256_add_epi32(sum, _mm256_madd_epi16(a, b)));
simd_dot!(DotAvxVnni, |sum, a, b| _mm256_dpwssd_avx_epi32(sum, a, b));

impl SimdDot4 for DotAvxVnni {
    const SIGNED: bool = false;

    #[inline(always)]
    fn dot4(self, sum: __m256i, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: a token stands for the level.
        unsafe { _mm256_dpbusd_avx_epi32(sum, a, b) }
    }

    #[inline(always)]
    unsafe fn interleave(self, rows: [*const u8; 4], to: *mut u8, flip: u8) {
        // SAFETY: as the caller promises.
        unsafe { interleave(rows, to, flip) }
    }
}

/// [`SimdDot4::interleave`].
///
/// # Safety
/// - As there; the CPU has AVX.
#[inline(always)]
pub(super) unsafe fn interleave(rows: [*const u8; 4], to: *mut u8, flip: u8) {
    // SAFETY: as the caller promises.
    unsafe {
        let flip = _mm_set1_epi8(flip.cast_signed());
        let [a, b, c, d] = rows.map(|row| _mm_xor_si128(_mm_loadu_si128(row.cast()), flip));
        let to = to.cast::<__m128i>();
        let (ab, cd) = (_mm_unpacklo_epi8(a, b), _mm_unpacklo_epi8(c, d));
        _mm_storeu_si128(to, _mm_unpacklo_epi16(ab, cd));
        _mm_storeu_si128(to.add(1), _mm_unpackhi_epi16(ab, cd));
        let (ab, cd) = (_mm_unpackhi_epi8(a, b), _mm_unpackhi_epi8(c, d));
        _mm_storeu_si128(to.add(2), _mm_unpacklo_epi16(ab, cd));
        _mm_storeu_si128(to.add(3), _mm_unpackhi_epi16(ab, cd));
    }
}
