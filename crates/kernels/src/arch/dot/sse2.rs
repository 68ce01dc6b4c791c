//! The baseline of x86-64: SSE2, which has `pmaddwd`.

use super::SimdDot;
use crate::quant::{Quant8, Tail8};
use std::arch::x86_64::*;

/// Token of [`Isa::Scalar`](crate::Isa::Scalar).
#[derive(Clone, Copy)]
pub(crate) struct DotScalar;

impl SimdDot for DotScalar {
    const LANES: usize = 4;
    type Sums = __m128i;
    type Pairs = __m128i;
    type Scales = __m128;

    #[inline(always)]
    fn zero(self) -> __m128i {
        // SAFETY: the target has SSE2.
        unsafe { _mm_setzero_si128() }
    }

    #[inline(always)]
    unsafe fn load_sums(self, p: *const i32) -> __m128i {
        // SAFETY: as the caller promises.
        unsafe { _mm_loadu_si128(p.cast()) }
    }

    #[inline(always)]
    unsafe fn store_sums(self, p: *mut i32, v: __m128i) {
        // SAFETY: as the caller promises.
        unsafe { _mm_storeu_si128(p.cast(), v) }
    }

    #[inline(always)]
    unsafe fn load_scales(self, p: *const f32) -> __m128 {
        // SAFETY: as the caller promises.
        unsafe { _mm_loadu_ps(p) }
    }

    #[inline(always)]
    unsafe fn store_scales(self, p: *mut f32, v: __m128) {
        // SAFETY: as the caller promises.
        unsafe { _mm_storeu_ps(p, v) }
    }

    #[inline(always)]
    unsafe fn load_pairs(self, p: *const i16) -> __m128i {
        // SAFETY: as the caller promises.
        unsafe { _mm_loadu_si128(p.cast()) }
    }

    #[inline(always)]
    unsafe fn load_narrow(self, p: *const i8) -> __m128i {
        // SAFETY: as the caller promises.
        unsafe {
            let bytes = _mm_loadl_epi64(p.cast());
            _mm_srai_epi16::<8>(_mm_unpacklo_epi8(bytes, bytes))
        }
    }

    #[inline(always)]
    unsafe fn splat_pair(self, p: *const i16) -> __m128i {
        // SAFETY: as the caller promises.
        unsafe { _mm_set1_epi32(p.cast::<i32>().read_unaligned()) }
    }

    #[inline(always)]
    fn dot(self, sum: __m128i, a: __m128i, b: __m128i) -> __m128i {
        // SAFETY: the target has SSE2.
        unsafe { _mm_add_epi32(sum, _mm_madd_epi16(a, b)) }
    }

    #[inline(always)]
    fn scale(self, sum: __m128i, m: __m128) -> __m128 {
        // SAFETY: the target has SSE2.
        unsafe { _mm_mul_ps(_mm_cvtepi32_ps(sum), m) }
    }

    #[inline(always)]
    unsafe fn store_bytes(self, p: [*mut u8; 2], v: [__m128; 2], tail: &Tail8) {
        // Saturation does the lower bound of the type; the upper one must come before the
        // conversion, which turns numbers past 2^31 negative.
        // SAFETY: the target has SSE2; the pointers are the caller's duty.
        unsafe {
            let high = _mm_set1_ps(tail.high);
            let v = v.map(|v| _mm_cvtps_epi32(_mm_min_ps(v, high)));
            let words = _mm_adds_epi16(_mm_packs_epi32(v[0], v[1]), _mm_set1_epi16(tail.zero));
            let bytes = _mm_packus_epi16(words, words);
            let bytes = _mm_max_epu8(bytes, _mm_set1_epi8(tail.min.cast_signed()));
            let bytes = _mm_xor_si128(bytes, _mm_set1_epi8(tail.flip.cast_signed()));
            p[0].cast::<i32>().write_unaligned(_mm_cvtsi128_si32(bytes));
            let second = _mm_shuffle_epi32::<1>(bytes);
            p[1].cast::<i32>().write_unaligned(_mm_cvtsi128_si32(second));
        }
    }

    #[inline(always)]
    unsafe fn widen(self, from: *const u8, to: *mut i16, quant: Quant8) {
        // SAFETY: the target has SSE2; the pointers are the caller's duty.
        unsafe {
            let flip = _mm_set1_epi8(quant.flip().cast_signed());
            let bytes = _mm_xor_si128(_mm_loadu_si128(from.cast()), flip);
            let to = to.cast::<__m128i>();
            let wide = above_zero(bytes, quant);
            _mm_storeu_si128(to, wide[0]);
            _mm_storeu_si128(to.add(1), wide[1]);
        }
    }

    #[inline(always)]
    unsafe fn widen_pairs(self, a: *const u8, b: *const u8, to: *mut i16, quant: Quant8) {
        // SAFETY: the target has SSE2; the pointers are the caller's duty.
        unsafe {
            let flip = _mm_set1_epi8(quant.flip().cast_signed());
            let a = _mm_xor_si128(_mm_loadu_si128(a.cast()), flip);
            let b = _mm_xor_si128(_mm_loadu_si128(b.cast()), flip);
            let halves = [_mm_unpacklo_epi8(a, b), _mm_unpackhi_epi8(a, b)];
            let to = to.cast::<__m128i>();
            for (i, half) in halves.into_iter().enumerate() {
                let wide = above_zero(half, quant);
                _mm_storeu_si128(to.add(2 * i), wide[0]);
                _mm_storeu_si128(to.add(2 * i + 1), wide[1]);
            }
        }
    }
}

/// Unsigned bytes less the zero point.
#[inline(always)]
fn above_zero(bytes: __m128i, quant: Quant8) -> [__m128i; 2] {
    // SAFETY: the target has SSE2.
    unsafe {
        let (none, zero) = (_mm_setzero_si128(), _mm_set1_epi16(i16::from(quant.zero())));
        [
            _mm_sub_epi16(_mm_unpacklo_epi8(bytes, none), zero),
            _mm_sub_epi16(_mm_unpackhi_epi8(bytes, none), zero),
        ]
    }
}
