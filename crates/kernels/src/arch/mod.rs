//! Helpers that several families share at one ISA: load, store, transpose. No algorithms.

pub(crate) mod bf16;
pub(crate) mod dot;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(crate) use scalar::Scalar;

use crate::act;
use depthwise_tensor::Activation;

/// A pulp token with what the `f32` kernels need beyond it.
///
/// Bodies that take a token are `#[inline(always)]`, and the token is made inside a function with
/// the matching `#[target_feature]`: only there do the operations become single instructions.
pub(crate) trait SimdF32: pulp::Simd {
    /// `a * b + c`: rounded once where the level has FMA, else twice. Never a library call.
    fn fma(self, a: Self::f32s, b: Self::f32s, c: Self::f32s) -> Self::f32s;

    /// The larger of the two lanes, NaN where either is NaN.
    fn max_or_nan(self, a: Self::f32s, b: Self::f32s) -> Self::f32s;

    /// `min(max(x, lo), hi)`, NaN where `x` is NaN. The bounds are no NaN.
    fn clamp(self, x: Self::f32s, lo: Self::f32s, hi: Self::f32s) -> Self::f32s;

    /// [`Activation::HardSwish`] in every lane.
    #[inline(always)]
    fn hard_swish(self, v: Self::f32s) -> Self::f32s {
        act::hard_swish(self, v)
    }

    /// `e^x` in every lane.
    #[inline(always)]
    fn exp(self, v: Self::f32s) -> Self::f32s {
        act::exp(self, v)
    }

    /// `activation` in every lane.
    #[inline(always)]
    fn activate(self, activation: Activation, v: Self::f32s) -> Self::f32s {
        act::apply(self, activation, v)
    }

    /// Asks for the line of an address, which need not be valid, to come to L2. A hint; the
    /// default does nothing.
    #[inline(always)]
    fn prefetch(self, p: *const f32) {
        let _ = p;
    }

    /// Loads a vector from any address.
    ///
    /// # Safety
    /// - `Self::F32_LANES` elements from `p` on are valid for reads.
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> Self::f32s {
        // SAFETY: as the caller promises; every bit pattern is a vector.
        unsafe { p.cast::<Self::f32s>().read_unaligned() }
    }

    /// Stores a vector to any address.
    ///
    /// # Safety
    /// - `Self::F32_LANES` elements from `p` on are valid for writes.
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: Self::f32s) {
        // SAFETY: as the caller promises.
        unsafe { p.cast::<Self::f32s>().write_unaligned(v) }
    }

    /// Loads a vector of IEEE 754 binary16 from any address, as `f32`.
    ///
    /// # Safety
    /// - `Self::F32_LANES` elements from `p` on are valid for reads.
    /// - The CPU converts half precision where the level has instructions for it (F16C on x86).
    unsafe fn load_f16(self, p: *const u16) -> Self::f32s;

    /// The first `count` lanes from any address, `rest` in the others.
    ///
    /// # Safety
    /// - `count` elements from `p` on are valid for reads, no more than `Self::F32_LANES`.
    #[inline(always)]
    unsafe fn load_first(self, p: *const f32, count: usize, rest: f32) -> Self::f32s {
        debug_assert!(count <= Self::F32_LANES);
        if count == Self::F32_LANES {
            // SAFETY: as the caller promises.
            return unsafe { self.load(p) };
        }
        let mut lanes = [self.splat_f32s(rest)];
        let lanes_mut = bytemuck::cast_slice_mut::<Self::f32s, f32>(&mut lanes);
        for (i, lane) in lanes_mut.iter_mut().enumerate().take(count) {
            // SAFETY: `i < count`.
            *lane = unsafe { *p.add(i) };
        }
        lanes[0]
    }

    /// The first `count` lanes to any address.
    ///
    /// # Safety
    /// - `count` elements from `p` on are valid for writes, no more than `Self::F32_LANES`.
    #[inline(always)]
    unsafe fn store_first(self, p: *mut f32, count: usize, v: Self::f32s) {
        debug_assert!(count <= Self::F32_LANES);
        if count == Self::F32_LANES {
            // SAFETY: as the caller promises.
            return unsafe { self.store(p, v) };
        }
        for (i, &lane) in bytemuck::cast_slice(&[v]).iter().enumerate().take(count) {
            // SAFETY: `i < count`.
            unsafe { *p.add(i) = lane };
        }
    }
}

/// What a level multiplies and sums at once, where a sum of `f32` takes elements `E`: numbers, or pairs
/// of shorter ones.
pub(crate) trait Products<E: Copy>: SimdF32 {
    /// An element for each lane.
    type Elements: Copy;

    /// Zeros in all lanes.
    fn zero_elements(self) -> Self::Elements;

    /// Loads a vector from any address.
    ///
    /// # Safety
    /// - `Self::F32_LANES` elements from `p` on are valid for reads.
    unsafe fn load_elements(self, p: *const E) -> Self::Elements;

    /// One element in all lanes.
    ///
    /// # Safety
    /// - `p` is valid for reads.
    unsafe fn splat_element(self, p: *const E) -> Self::Elements;

    /// `sum + x * w`
    ///
    /// # Safety
    /// - The CPU has the instruction where it is none of the level's.
    unsafe fn add_product(
        self,
        x: Self::Elements,
        w: Self::Elements,
        sum: Self::f32s,
    ) -> Self::f32s;
}

impl<S: SimdF32> Products<f32> for S {
    type Elements = S::f32s;

    #[inline(always)]
    fn zero_elements(self) -> S::f32s {
        self.splat_f32s(0.0)
    }

    #[inline(always)]
    unsafe fn load_elements(self, p: *const f32) -> S::f32s {
        // SAFETY: as the caller promises.
        unsafe { self.load(p) }
    }

    #[inline(always)]
    unsafe fn splat_element(self, p: *const f32) -> S::f32s {
        // SAFETY: as the caller promises.
        self.splat_f32s(unsafe { *p })
    }

    #[inline(always)]
    unsafe fn add_product(self, x: S::f32s, w: S::f32s, sum: S::f32s) -> S::f32s {
        self.fma(x, w, sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::{Cpu, Isa};

    fn lanes<S: SimdF32>(v: S::f32s) -> Vec<f32> {
        bytemuck::cast_slice(&[v]).to_vec()
    }

    fn check<S: SimdF32>(simd: S) {
        let s = |x: f32| simd.splat_f32s(x);
        for (a, b) in [(1.0, 2.0), (2.0, 1.0), (f32::NAN, 1.0), (1.0, f32::NAN)] {
            let want = if a.is_nan() || b.is_nan() { f32::NAN } else { a.max(b) };
            for got in lanes::<S>(simd.max_or_nan(s(a), s(b))) {
                assert!(got == want || (got.is_nan() && want.is_nan()), "max({a}, {b}) = {got}");
            }
        }
        for (x, want) in [(-1.0, 0.0), (3.0, 3.0), (7.0, 6.0), (f32::NAN, f32::NAN)] {
            for got in lanes::<S>(simd.clamp(s(x), s(0.0), s(6.0))) {
                assert!(got == want || (got.is_nan() && want.is_nan()), "clamp({x}) = {got}");
            }
        }
        // Largest, smallest normal, smallest of all, zeros, infinities.
        for bits in [0x7bff, 0x0400, 0x0001, 0x83ff, 0x0000, 0x8000, 0x3c01, 0x7c00, 0xfc00] {
            let want = half::f16::from_bits(bits).to_f32().to_bits();
            let from = vec![bits; S::F32_LANES];
            // SAFETY: a vector's worth of elements; every CPU with AVX2 that is detected has F16C.
            let got = lanes::<S>(unsafe { simd.load_f16(from.as_ptr()) });
            assert!(got.iter().all(|x| x.to_bits() == want), "{bits:#06x}: {got:?}");
        }
        assert_eq!(lanes::<S>(simd.fma(s(2.0), s(3.0), s(4.0))), vec![10.0; S::F32_LANES]);
        for got in lanes::<S>(simd.hard_swish(s(-1.5))) {
            assert_eq!(got, -0.375);
        }
        assert!(lanes::<S>(simd.hard_swish(s(f32::NAN))).iter().all(|y| y.is_nan()));
        for got in lanes::<S>(simd.activate(Activation::Sigmoid, s(0.0))) {
            assert_eq!(got, 0.5);
        }
    }

    #[test]
    fn vectors_of_every_level_propagate_nan() {
        check(Scalar);
        let cpu = Cpu::detect();
        #[cfg(target_arch = "x86_64")]
        {
            if cpu.supports(Isa::Avx2) {
                // SAFETY: the CPU has the level.
                check(unsafe { pulp::x86::V3::new_unchecked() });
            }
            if cpu.supports(Isa::Avx512) {
                // SAFETY: the CPU has the level.
                check(unsafe { pulp::x86::V4::new_unchecked() });
            }
        }
        #[cfg(target_arch = "aarch64")]
        if cpu.supports(Isa::Neon) {
            // SAFETY: the CPU has the level.
            check(unsafe { pulp::aarch64::Neon::new_unchecked() });
        }
        assert!(cpu.supports(Isa::Scalar));
    }
}
