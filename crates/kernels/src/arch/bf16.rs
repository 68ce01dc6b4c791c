//! bfloat16: the upper half of an `f32`, and products of pairs of them as AVX512_BF16 defines them.
//!
//! - Rounding to bfloat16 is to nearest even; denormals become zeros of their sign, a NaN stays one.
//! - `sum + x.0 * w.0 + x.1 * w.1` is two fused multiply-adds in `f32`, that of the odd elements first,
//!   each rounded to nearest even. A denormal sum counts as zero, before and after. No mode of the CPU
//!   changes any of it.
//!
//! The functions here give the bits of the instructions (NaN payloads aside) on every CPU.

use super::{Products, Scalar, SimdF32};
use bytemuck::{Pod, Zeroable};

/// Two neighbours as bfloat16, that of the even index in the lower half.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(transparent)]
pub(crate) struct Pair(u32);

impl Pair {
    /// Of two numbers, rounded.
    pub(crate) fn of(even: f32, odd: f32) -> Pair {
        Pair(u32::from(round(even)) | u32::from(round(odd)) << 16)
    }

    #[inline(always)]
    fn even(self) -> f32 {
        f32::from_bits(self.0 << 16)
    }

    #[inline(always)]
    fn odd(self) -> f32 {
        f32::from_bits(self.0 & 0xffff_0000)
    }
}

/// The bits of the nearest bfloat16.
#[inline(always)]
pub(crate) fn round(x: f32) -> u16 {
    let bits = x.to_bits();
    let upper = (bits >> 16) as u16;
    if x.is_nan() {
        upper | 0x40
    } else if x.abs() < f32::MIN_POSITIVE {
        upper & 0x8000
    } else {
        // Less than half adds nothing to the upper half, half adds one to an odd one. A carry out of
        // the mantissa goes to the exponent, and from the largest to infinity.
        ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16
    }
}

/// Sums below it are no normal number when they are rounded to 24 bits.
const TINY: f64 = f32::MIN_POSITIVE as f64 * (1.0 - f32::EPSILON as f64 / 4.0);

/// `sum + x * w` of two bfloat16 that are no denormals.
///
/// The product is exact in `f64`. Where the sum is not, one term is so small that the other, which an
/// `f32` holds, is the nearest `f32` either way: to round twice is to round once.
#[inline(always)]
fn multiply_add(x: f32, w: f32, sum: f32) -> f32 {
    let sum = if sum.abs() < f32::MIN_POSITIVE { 0f32.copysign(sum) } else { sum };
    let exact = f64::from(x) * f64::from(w) + f64::from(sum);
    (if exact.abs() < TINY { 0f64.copysign(exact) } else { exact }) as f32
}

/// The instructions, spelled out.
impl Products<Pair> for Scalar {
    type Elements = [Pair; 4];

    #[inline(always)]
    fn zero_elements(self) -> [Pair; 4] {
        [Pair(0); 4]
    }

    #[inline(always)]
    unsafe fn load_elements(self, p: *const Pair) -> [Pair; 4] {
        // SAFETY: as the caller promises.
        unsafe { p.cast::<[Pair; 4]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn splat_element(self, p: *const Pair) -> [Pair; 4] {
        // SAFETY: as the caller promises.
        [unsafe { p.read_unaligned() }; 4]
    }

    #[inline(always)]
    unsafe fn add_product(
        self,
        x: [Pair; 4],
        w: [Pair; 4],
        sum: <Scalar as pulp::Simd>::f32s,
    ) -> <Scalar as pulp::Simd>::f32s {
        let mut sums: [f32; 4] = pulp::cast(sum);
        for (sum, (x, w)) in sums.iter_mut().zip(x.into_iter().zip(w)) {
            *sum = multiply_add(x.odd(), w.odd(), *sum);
            *sum = multiply_add(x.even(), w.even(), *sum);
        }
        pulp::cast(sums)
    }
}

/// Runs of numbers rounded to bfloat16.
pub(crate) trait RoundBf16: SimdF32 {
    /// 16 numbers.
    ///
    /// # Safety
    /// - 16 elements from `from` on are valid for reads, 16 from `to` on for writes.
    /// - The CPU has the instruction where it is none of the level's.
    unsafe fn round_16(self, from: *const f32, to: *mut u16);
}

impl RoundBf16 for Scalar {
    #[inline(always)]
    unsafe fn round_16(self, from: *const f32, to: *mut u16) {
        // SAFETY: as the caller promises.
        unsafe {
            let numbers = from.cast::<[f32; 16]>().read_unaligned();
            to.cast::<[u16; 16]>().write_unaligned(numbers.map(round));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_to_nearest_even_and_denormals_to_zero() {
        let cases = [
            (0x3f80_0000, 0x3f80),
            // A half above an even neighbour, and above an odd one; a little more than half.
            (0x3f80_8000, 0x3f80),
            (0x3f81_8000, 0x3f82),
            (0x3f80_8001, 0x3f81),
            (0xbf81_7fff, 0xbf81),
            (0x3fff_ffff, 0x4000),
            // Past the largest bfloat16, infinity, NaN of either kind.
            (0x7f7f_ffff, 0x7f80),
            (0xff80_0000, 0xff80),
            (0x7f80_0001, 0x7fc0),
            (0xffc1_2345, 0xffc1),
            // The smallest normal number, the largest denormal one, zeros.
            (0x0080_0000, 0x0080),
            (0x007f_ffff, 0x0000),
            (0x8000_0001, 0x8000),
            (0x8000_0000, 0x8000),
        ];
        for (bits, want) in cases {
            assert_eq!(round(f32::from_bits(bits)), want, "{bits:#010x}");
        }
        let pair = Pair::of(1.0, -2.0);
        assert_eq!((pair.0, pair.even(), pair.odd()), (0xc000_3f80, 1.0, -2.0));
    }
}
