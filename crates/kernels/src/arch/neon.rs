//! AArch64 Advanced SIMD. `fmax` and `fmin` propagate NaN.

use super::SimdF32;
use pulp::Simd;
use pulp::aarch64::Neon;
use std::arch::aarch64::{float32x4_t, vld1_u16};
use std::arch::asm;

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

    #[inline(always)]
    unsafe fn load_f16(self, p: *const u16) -> Self::f32s {
        let wide: float32x4_t;
        // SAFETY: four elements as the caller promises; `fcvtl` from half to single precision is
        // in the baseline of AArch64 and touches the two registers alone.
        unsafe {
            let half = vld1_u16(p);
            asm!("fcvtl {wide:v}.4s, {half:v}.4h", wide = out(vreg) wide, half = in(vreg) half,
                 options(pure, nomem, nostack, preserves_flags));
        }
        pulp::cast(wide)
    }
}
