//! AArch64 Advanced SIMD. `fmax` and `fmin` propagate NaN.

use super::SimdF32;
use pulp::Simd;
use pulp::aarch64::Neon;

impl SimdF32 for Neon {
    #[inline(always)]
    fn fma(self, a: Self::f32s, b: Self::f32s, c: Self::f32s) -> Self::f32s {
        self.mul_add_e_f32s(a, b, c)
    }

    #[inline(always)]
    fn max_or_nan(self, a: Self::f32s, b: Self::f32s) -> Self::f32s {
        self.max_f32s(a, b)
    }

    #[inline(always)]
    fn clamp(self, x: Self::f32s, lo: Self::f32s, hi: Self::f32s) -> Self::f32s {
        self.min_f32s(hi, self.max_f32s(lo, x))
    }
}
