//! The baseline of the target: four lanes that the compiler turns into SSE2, or into whatever
//! else the target has.

use super::SimdF32;
use pulp::Simd;

/// Token of [`Isa::Scalar`](crate::Isa::Scalar).
pub(crate) use pulp::Scalar128b as Scalar;

#[inline(always)]
fn zip(a: [f32; 4], b: [f32; 4], f: impl Fn(f32, f32) -> f32) -> [f32; 4] {
    [f(a[0], b[0]), f(a[1], b[1]), f(a[2], b[2]), f(a[3], b[3])]
}

impl SimdF32 for Scalar {
    // pulp's own is a call of `fmaf` per lane.
    #[inline(always)]
    fn fma(self, a: Self::f32s, b: Self::f32s, c: Self::f32s) -> Self::f32s {
        self.add_f32s(self.mul_f32s(a, b), c)
    }

    #[inline(always)]
    fn max_or_nan(self, a: Self::f32s, b: Self::f32s) -> Self::f32s {
        let [a, b] = [pulp::cast(a), pulp::cast(b)];
        pulp::cast(zip(a, b, |a, b| if a > b || a.is_nan() { a } else { b }))
    }

    #[inline(always)]
    fn clamp(self, x: Self::f32s, lo: Self::f32s, hi: Self::f32s) -> Self::f32s {
        // The comparisons of `maxps` and `minps`: false for NaN.
        let raised = zip(pulp::cast(lo), pulp::cast(x), |lo, x| if lo > x { lo } else { x });
        pulp::cast(zip(pulp::cast(hi), raised, |hi, x| if hi < x { hi } else { x }))
    }

    #[inline(always)]
    unsafe fn load_f16(self, p: *const u16) -> Self::f32s {
        // SAFETY: as the caller promises.
        let bits: [u16; 4] = unsafe { p.cast::<[u16; 4]>().read_unaligned() };
        pulp::cast(bits.map(|bits| half::f16::from_bits(bits).to_f32()))
    }
}
