//! AVX-512, with and without VNNI (`vpdpwssd`, and `vpdpbusd` for four bytes). Run in an emulator, not on
//! hardware.

use super::{SimdDot, SimdDot4};
use crate::quant::{Quant8, Tail8};
use std::arch::x86_64::*;

/// Token of AVX-512.
#[derive(Clone, Copy)]
pub(crate) struct DotAvx512;

/// Token of AVX-512 with VNNI.
#[derive(Clone, Copy)]
pub(crate) struct DotAvx512Vnni;

macro_rules! simd_dot {
    ($token:ident, |$sum:ident, $a:ident, $b:ident| $dot:expr) => {
        impl SimdDot for $token {
            const LANES: usize = 16;
            type Sums = __m512i;
            type Pairs = __m512i;
            type Scales = __m512;

            #[inline(always)]
            fn zero(self) -> __m512i {
                // SAFETY: a token stands for the level.
                unsafe { _mm512_setzero_si512() }
            }

            #[inline(always)]
            unsafe fn load_sums(self, p: *const i32) -> __m512i {
                // SAFETY: as the caller promises.
                unsafe { _mm512_loadu_si512(p.cast()) }
            }

            #[inline(always)]
            unsafe fn store_sums(self, p: *mut i32, v: __m512i) {
                // SAFETY: as the caller promises.
                unsafe { _mm512_storeu_si512(p.cast(), v) }
            }

            #[inline(always)]
            unsafe fn load_scales(self, p: *const f32) -> __m512 {
                // SAFETY: as the caller promises.
                unsafe { _mm512_loadu_ps(p) }
            }

            #[inline(always)]
            unsafe fn store_scales(self, p: *mut f32, v: __m512) {
                // SAFETY: as the caller promises.
                unsafe { _mm512_storeu_ps(p, v) }
            }

            #[inline(always)]
            unsafe fn load_pairs(self, p: *const i16) -> __m512i {
                // SAFETY: as the caller promises.
                unsafe { _mm512_loadu_si512(p.cast()) }
            }

            #[inline(always)]
            unsafe fn load_narrow(self, p: *const i8) -> __m512i {
                // SAFETY: as the caller promises.
                unsafe { _mm512_cvtepi8_epi16(_mm256_loadu_si256(p.cast())) }
            }

            #[inline(always)]
            unsafe fn splat_pair(self, p: *const i16) -> __m512i {
                // SAFETY: as the caller promises.
                unsafe { _mm512_set1_epi32(p.cast::<i32>().read_unaligned()) }
            }

            #[inline(always)]
            fn dot(self, $sum: __m512i, $a: __m512i, $b: __m512i) -> __m512i {
                // SAFETY: a token stands for the level.
                unsafe { $dot }
            }

            #[inline(always)]
            fn scale(self, sum: __m512i, m: __m512) -> __m512 {
                // SAFETY: a token stands for the level.
                unsafe { _mm512_mul_ps(_mm512_cvtepi32_ps(sum), m) }
            }

            #[inline(always)]
            unsafe fn store_bytes(self, p: [*mut u8; 2], v: [__m512; 2], tail: &Tail8) {
                for (p, v) in p.into_iter().zip(v) {
                    // SAFETY: a token stands for the level; the pointers are the caller's duty.
                    unsafe {
                        let v = _mm512_max_ps(v, _mm512_set1_ps(tail.low));
                        let v = _mm512_cvtps_epi32(_mm512_min_ps(v, _mm512_set1_ps(tail.high)));
                        let v = _mm512_add_epi32(v, _mm512_set1_epi32(i32::from(tail.zero)));
                        let flip = _mm_set1_epi8(tail.flip.cast_signed());
                        _mm_storeu_si128(p.cast(), _mm_xor_si128(_mm512_cvtepi32_epi8(v), flip));
                    }
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

simd_dot!(DotAvx512, |sum, a, b| _mm512_add_epi32(sum, _mm512_madd_epi16(a, b)));
simd_dot!(DotAvx512Vnni, |sum, a, b| _mm512_dpwssd_epi32(sum, a, b));

impl SimdDot4 for DotAvx512Vnni {
    const SIGNED: bool = false;

    #[inline(always)]
    fn dot4(self, sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: a token stands for the level.
        unsafe { _mm512_dpbusd_epi32(sum, a, b) }
    }

    #[inline(always)]
    unsafe fn interleave(self, rows: [*const u8; 4], to: *mut u8, flip: u8) {
        // SAFETY: as the caller promises.
        unsafe { super::avx2::interleave(rows, to, flip) }
    }
}
