//! AVX2 and AVX-512. `max(a, b)` and `min(a, b)` give `b` where either is NaN.

use super::SimdF32;
use pulp::Simd;
use pulp::x86::{V3, V4};
use std::arch::x86_64::{
    _MM_HINT_T1, _mm_loadu_si128, _mm_prefetch, _mm256_cvtph_ps, _mm256_loadu_si256,
    _mm512_cvtph_ps,
};

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
