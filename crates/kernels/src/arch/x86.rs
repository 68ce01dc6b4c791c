//! AVX2 and AVX-512. `max(a, b)` and `min(a, b)` give `b` where either is NaN.

use super::bf16::{Pair, RoundBf16};
use super::{Products, SimdF32};
use pulp::Simd;
use pulp::x86::{V3, V4};
use std::arch::x86_64::{
    __m256bh, __m512bh, _MM_HINT_T1, _mm_loadu_si128, _mm_prefetch, _mm256_cvtph_ps,
    _mm256_dpbf16_ps, _mm256_loadu_si256, _mm256_set1_epi32, _mm512_cvtneps_pbh, _mm512_cvtph_ps,
    _mm512_dpbf16_ps, _mm512_loadu_ps, _mm512_set1_epi32,
};
use std::mem::transmute;

macro_rules! simd_f32 {
    ($($token:ty, $load:ident, $convert:ident;)*) => {$(
        impl SimdF32 for $token {
            #[inline(always)]
            fn fma(self, a: Self::f32s, b: Self::f32s, c: Self::f32s) -> Self::f32s {
                self.mul_add_e_f32s(a, b, c)
            }

            #[inline(always)]
            fn max_or_nan(self, a: Self::f32s, b: Self::f32s) -> Self::f32s {
                // A NaN in `b` comes out; one in `a` does not.
                let max = self.max_f32s(a, b);
                self.select_f32s(self.equal_f32s(a, a), max, a)
            }

            #[inline(always)]
            fn prefetch(self, p: *const f32) {
                // SAFETY: a prefetch of any address has no effect but on the caches.
                unsafe { _mm_prefetch::<_MM_HINT_T1>(p.cast()) };
            }

            #[inline(always)]
            fn clamp(self, x: Self::f32s, lo: Self::f32s, hi: Self::f32s) -> Self::f32s {
                self.min_f32s(hi, self.max_f32s(lo, x))
            }

            #[inline(always)]
            unsafe fn load_f16(self, p: *const u16) -> Self::f32s {
                // SAFETY: as the caller promises.
                pulp::cast(unsafe { $convert($load(p.cast())) })
            }
        }
    )*};
}
simd_f32! {
    V3, _mm_loadu_si128, _mm256_cvtph_ps;
    V4, _mm256_loadu_si256, _mm512_cvtph_ps;
}

/// Products by AVX512_BF16, in ymm with AVX-512VL.
macro_rules! pairs_of_bf16 {
    ($($token:ty, $vector:ty, $splat:ident, $dot:ident;)*) => {$(
        impl Products<Pair> for $token {
            type Elements = $vector;

            #[inline(always)]
            fn zero_elements(self) -> $vector {
                // SAFETY: a token stands for the level; the two vectors are the same bits.
                unsafe { transmute($splat(0)) }
            }

            #[inline(always)]
            unsafe fn load_elements(self, p: *const Pair) -> $vector {
                // SAFETY: as the caller promises; every bit pattern is a vector.
                unsafe { p.cast::<$vector>().read_unaligned() }
            }

            #[inline(always)]
            unsafe fn splat_element(self, p: *const Pair) -> $vector {
                // SAFETY: as the caller promises; the two vectors are the same bits.
                unsafe { transmute($splat(p.cast::<i32>().read_unaligned())) }
            }

            #[inline(always)]
            unsafe fn add_product(
                self,
                x: $vector,
                w: $vector,
                sum: <$token as Simd>::f32s,
            ) -> <$token as Simd>::f32s {
                // SAFETY: as the caller promises.
                pulp::cast(unsafe { $dot(pulp::cast(sum), x, w) })
            }
        }
    )*};
}
pairs_of_bf16! {
    V3, __m256bh, _mm256_set1_epi32, _mm256_dpbf16_ps;
    V4, __m512bh, _mm512_set1_epi32, _mm512_dpbf16_ps;
}

impl RoundBf16 for V4 {
    #[inline(always)]
    unsafe fn round_16(self, from: *const f32, to: *mut u16) {
        // SAFETY: as the caller promises.
        unsafe { to.cast::<__m256bh>().write_unaligned(_mm512_cvtneps_pbh(_mm512_loadu_ps(from))) }
    }
}
