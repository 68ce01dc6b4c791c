//! Pointwise functions of one vector, at any width: the exponential and what is made of it.
//!
//! Every function is one polynomial for all instruction sets; results differ between them only by
//! the rounding of a fused multiply-add. Denormals are neither flushed on the way in nor out.
//! NaN comes out as NaN, from every function, on every instruction set.
//!
//! Largest error against [`Activation::eval`] that the tests allow, in units in the last place:
//!
//! | function | ulp | remark |
//! |---|---|---|
//! | clip, identity | 0 | |
//! | leaky ReLU | 1 | |
//! | exp | 2 | |
//! | sigmoid, tanh, ELU, softplus, erf, hard-swish | 3 | |
//! | SiLU | 4 | 2^-149 &#124;x&#124; where the sigmoid is denormal |
//! | GELU | 7 | likewise |
//! | GELU (tanh) | 4 + 8 &#124;u&#124; | `u` is the argument of tanh, as rounded as it is large |
//! | hard-sigmoid | 2 | of the larger of &#124;alpha x&#124;, &#124;beta&#124; and the result |
//!
//! The tokens that these functions take are pulp's `V3`, `V4`, `Neon`, `Scalar` and `Scalar128b`.

use bytemuck::cast;
use depthwise_tensor::Activation;
use pulp::Simd;
use std::any::TypeId;

/// Adding this to `|x| < 2^22` rounds to the nearest integer (halves to even) and leaves that
/// integer in the low bits of the sum.
const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23

/// `act(v)` in every lane.
///
/// `act` should be a loop invariant; a caller with a hot loop of its own per function avoids even
/// the predictable branch by matching outside.
#[inline(always)]
pub(crate) fn apply<S: Simd>(simd: S, act: Activation, v: S::f32s) -> S::f32s {
    match act {
        Activation::Identity => v,
        Activation::Clip { min, max } => Clamp::new(simd, min, max).apply(simd, v),
        Activation::LeakyRelu { alpha } => leaky_relu(simd, v, simd.splat_f32s(alpha)),
        Activation::Elu { alpha } => elu(simd, alpha, v),
        Activation::Sigmoid => sigmoid(simd, v),
        Activation::Tanh => tanh(simd, v),
        Activation::HardSigmoid { alpha, beta } => hard_sigmoid(simd, alpha, beta, v),
        Activation::HardSwish => hard_swish(simd, v),
        Activation::Silu => simd.mul_f32s(v, sigmoid(simd, v)),
        Activation::Gelu => gelu(simd, v),
        Activation::GeluTanh => gelu_tanh(simd, v),
        Activation::Softplus => softplus(simd, v),
        // The enum is open to later crates, closed for this one: a new function fails here in
        // tests of the whole list before it can reach a kernel.
        _ => unreachable!("activation {act} has no vector form"),
    }
}

/// Both bounds of a clamp, as vectors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clamp<S: Simd> {
    min: S::f32s,
    max: S::f32s,
}

impl<S: Simd> Clamp<S> {
    /// Bounds; infinities clamp nothing.
    #[inline(always)]
    pub(crate) fn new(simd: S, min: f32, max: f32) -> Clamp<S> {
        Clamp { min: simd.splat_f32s(min), max: simd.splat_f32s(max) }
    }

    /// `min(max(v, self.min), self.max)`, NaN where `v` is NaN: two instructions.
    #[inline(always)]
    pub(crate) fn apply(self, simd: S, v: S::f32s) -> S::f32s {
        at_most(simd, self.max, at_least(simd, self.min, v))
    }
}

/// The larger of `bound` and `v`; `v` where it is NaN.
#[inline(always)]
pub(crate) fn at_least<S: Simd>(simd: S, bound: S::f32s, v: S::f32s) -> S::f32s {
    if is_scalar::<S>() {
        // `f32::max` would drop the NaN.
        select(simd, simd.less_than_f32s(v, bound), bound, v)
    } else {
        // x86 `maxps` returns its second operand where one is NaN, NEON `fmax` returns NaN.
        simd.max_f32s(bound, v)
    }
}

/// The smaller of `bound` and `v`; `v` where it is NaN.
#[inline(always)]
pub(crate) fn at_most<S: Simd>(simd: S, bound: S::f32s, v: S::f32s) -> S::f32s {
    if is_scalar::<S>() {
        select(simd, simd.greater_than_f32s(v, bound), bound, v)
    } else {
        simd.min_f32s(bound, v)
    }
}

/// `x` where positive, else `slope * x`.
#[inline(always)]
pub(crate) fn leaky_relu<S: Simd>(simd: S, x: S::f32s, slope: S::f32s) -> S::f32s {
    let negative = simd.less_than_f32s(x, simd.splat_f32s(0.0));
    select(simd, negative, simd.mul_f32s(slope, x), x)
}

/// `x * min(max(x + 3, 0), 6) / 6`. The factor is exactly 1 from 3 on, and `x + 3` is exact where
/// it is small.
#[inline(always)]
pub(crate) fn hard_swish<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let shifted = simd.add_f32s(x, simd.splat_f32s(3.0));
    let gate = Clamp::new(simd, 0.0, 6.0).apply(simd, shifted);
    simd.mul_f32s(x, simd.mul_f32s(gate, simd.splat_f32s(1.0 / 6.0)))
}

/// `min(max(alpha * x + beta, 0), 1)`
#[inline(always)]
pub(crate) fn hard_sigmoid<S: Simd>(simd: S, alpha: f32, beta: f32, x: S::f32s) -> S::f32s {
    let line = mul_add(simd, simd.splat_f32s(alpha), x, simd.splat_f32s(beta));
    Clamp::new(simd, 0.0, 1.0).apply(simd, line)
}

/// `e^x`; infinite above 88.73, denormal below -87.34, zero below -103.98.
#[inline(always)]
pub(crate) fn exp<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    exp_sum(simd, Clamp::new(simd, -105.0, 89.0).apply(simd, x), simd.splat_f32s(0.0))
}

/// `e^(x + low)` for `x` in -107 ..= 89 and a small `low` that rounding `x` has lost.
///
/// `x = n ln 2 + r`, `e^x = 2^n (1 + r + r^2 q(r))` with `q` of degree 4, minimax on
/// |r| <= ln(2) / 2 to 3.2e-9. `2^n` comes in two factors, so that results that overflow or are
/// denormal round once.
#[inline(always)]
fn exp_sum<S: Simd>(simd: S, x: S::f32s, low: S::f32s) -> S::f32s {
    let round = simd.splat_f32s(ROUND);
    let (n, r) = reduce(simd, x, low);
    let tail = exp_tail(simd, r);
    let p = simd.add_f32s(simd.splat_f32s(1.0), simd.add_f32s(r, tail));
    let half = mul_add(simd, n, simd.splat_f32s(0.5), round);
    let rest = simd.add_f32s(simd.sub_f32s(n, simd.sub_f32s(half, round)), round);
    simd.mul_f32s(simd.mul_f32s(p, power_of_two(simd, half)), power_of_two(simd, rest))
}

/// `e^x - 1` for `x` in -30 ..= 0, without the loss of digits near zero.
#[inline(always)]
fn exp_minus_1<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let one = simd.splat_f32s(1.0);
    let (n, r) = reduce(simd, x, simd.splat_f32s(0.0));
    let p = simd.add_f32s(r, exp_tail(simd, r));
    let scale = power_of_two(simd, simd.add_f32s(n, simd.splat_f32s(ROUND)));
    mul_add(simd, scale, p, simd.sub_f32s(scale, one))
}

/// `n` and `r` with `x + low = n ln 2 + r`, `n` an integer.
#[inline(always)]
fn reduce<S: Simd>(simd: S, x: S::f32s, low: S::f32s) -> (S::f32s, S::f32s) {
    let round = simd.splat_f32s(ROUND);
    let log2_e = simd.splat_f32s(std::f32::consts::LOG2_E);
    let n = simd.sub_f32s(mul_add(simd, simd.add_f32s(x, low), log2_e, round), round);
    // ln 2 in two parts; the first has ten bits, so its products with `n` are exact.
    let r = mul_add(simd, n, simd.splat_f32s(-0.693_359_4), x);
    let r = mul_add(simd, n, simd.splat_f32s(2.121_944_4e-4), r);
    (n, simd.add_f32s(r, low))
}

/// `e^r - 1 - r` for |r| <= ln(2) / 2.
#[inline(always)]
fn exp_tail<S: Simd>(simd: S, r: S::f32s) -> S::f32s {
    const Q: [f32; 5] = [0.5, 0.166_665_18, 0.041_666_206, 0.008_368_918, 0.001_395_053_8];
    simd.mul_f32s(simd.mul_f32s(r, r), polynomial(simd, &Q, r))
}

/// `2^k` for the integer `k` that a sum with [`ROUND`] holds, -126 ..= 127.
#[inline(always)]
fn power_of_two<S: Simd>(simd: S, rounded: S::f32s) -> S::f32s {
    let bits: S::u32s = cast(rounded);
    // The shift drops the bits of `ROUND` itself.
    let exponent = simd.wrapping_dyn_shl_u32s(bits, simd.splat_u32s(23));
    cast(simd.add_u32s(exponent, simd.splat_u32s(127 << 23)))
}

/// `1 / (1 + e^-x)`, as `e / (1 + e)` with `e = e^-|x|` below zero.
#[inline(always)]
pub(crate) fn sigmoid<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let one = simd.splat_f32s(1.0);
    let e = exp(simd, minus_abs(simd, x));
    let above = select(simd, simd.less_than_f32s(x, simd.splat_f32s(0.0)), e, one);
    simd.div_f32s(above, simd.add_f32s(one, e))
}

/// `tanh x = sign(x) * -m / (2 + m)` with `m = e^(-2|x|) - 1`.
#[inline(always)]
pub(crate) fn tanh<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let a = minus_abs(simd, x);
    let twice = at_least(simd, simd.splat_f32s(-30.0), simd.add_f32s(a, a));
    let m = exp_minus_1(simd, twice);
    let negative = simd.div_f32s(m, simd.add_f32s(m, simd.splat_f32s(2.0)));
    // `negative` carries a sign already: flip it where x is positive.
    let sign = simd.and_u32s(cast(x), simd.splat_u32s(1 << 31));
    let magnitude = simd.and_u32s(cast(negative), simd.splat_u32s(!(1 << 31)));
    cast(simd.or_u32s(magnitude, sign))
}

/// `x` where positive, else `alpha * (e^x - 1)`.
#[inline(always)]
pub(crate) fn elu<S: Simd>(simd: S, alpha: f32, x: S::f32s) -> S::f32s {
    let zero = simd.splat_f32s(0.0);
    let clamped = Clamp::new(simd, -30.0, 0.0).apply(simd, x);
    let below = simd.mul_f32s(simd.splat_f32s(alpha), exp_minus_1(simd, clamped));
    select(simd, simd.less_than_f32s(x, zero), below, x)
}

/// `ln(1 + e^x) = max(x, 0) + 2 artanh(s)` with `u = e^-|x|`, `s = u / (2 + u)`.
#[inline(always)]
pub(crate) fn softplus<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    // (artanh(sqrt t) / sqrt t - 1) / t, minimax on 0 ..= 1/9 to 1.2e-10 after the product with t.
    const A: [f32; 5] = [0.333_333_37, 0.199_994_39, 0.143_084_5, 0.107_137_38, 0.121_508_38];
    let u = exp(simd, minus_abs(simd, x));
    let s = simd.div_f32s(u, simd.add_f32s(u, simd.splat_f32s(2.0)));
    let t = simd.mul_f32s(s, s);
    let twice = simd.add_f32s(s, s);
    let tail = simd.mul_f32s(simd.mul_f32s(twice, t), polynomial(simd, &A, t));
    let positive = at_least(simd, simd.splat_f32s(0.0), x);
    simd.add_f32s(positive, simd.add_f32s(twice, tail))
}

/// `x * phi(x)`, `phi` the normal distribution function.
#[inline(always)]
pub(crate) fn gelu<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let a = at_least(simd, simd.splat_f32s(-14.5), minus_abs(simd, x));
    // a^2 / 2 in two parts: the square of the upper 12 digits is exact. Its rounding error would
    // be multiplied by a^2 / 2 in the exponential.
    let upper: S::f32s = cast(simd.and_u32s(cast(a), simd.splat_u32s(!0xfff)));
    let minus_half = simd.splat_f32s(-0.5);
    let high = simd.mul_f32s(simd.mul_f32s(upper, upper), minus_half);
    let low =
        simd.mul_f32s(simd.mul_f32s(simd.sub_f32s(a, upper), simd.add_f32s(a, upper)), minus_half);
    let below = simd.mul_f32s(exp_sum(simd, high, low), mills(simd, a));
    let above = simd.sub_f32s(simd.splat_f32s(1.0), below);
    let phi = select(simd, simd.less_than_f32s(x, simd.splat_f32s(0.0)), below, above);
    simd.mul_f32s(x, phi)
}

/// `phi(a) e^(a^2 / 2)` for `a` in -14.6 ..= 0, `phi` the normal distribution function: a
/// polynomial in `t = 1 / (1 - a / 4)`, minimax to 8.7e-9 relative.
#[inline(always)]
fn mills<S: Simd>(simd: S, a: S::f32s) -> S::f32s {
    const G: [f32; 10] = [
        0.099_746_04,
        0.099_526_74,
        0.095_245_965,
        0.073_200_196,
        0.083_329_81,
        0.018_672_325,
        0.021_519_326,
        0.056_674_35,
        -0.064_866_304,
        0.016_951_555,
    ];
    let one = simd.splat_f32s(1.0);
    let t = simd.div_f32s(one, mul_add(simd, a, simd.splat_f32s(-0.25), one));
    simd.mul_f32s(t, polynomial(simd, &G, t))
}

/// `x * sigmoid(2 u)` with `u = sqrt(2 / pi) (x + 0.044715 x^3)`; the same as
/// `x * (1 + tanh u) / 2`.
#[inline(always)]
pub(crate) fn gelu_tanh<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    // 2 sqrt(2 / pi), and 0.044715 times that.
    let (linear, cubic) = (simd.splat_f32s(1.595_769_2), simd.splat_f32s(0.071_354_82));
    let slope = mul_add(simd, cubic, simd.mul_f32s(x, x), linear);
    simd.mul_f32s(x, sigmoid(simd, simd.mul_f32s(x, slope)))
}

/// The error function: an odd polynomial below 1, `1 - 2 phi(-sqrt(2) |x|)` above.
#[inline(always)]
pub(crate) fn erf<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    // erf(sqrt t) / sqrt t, minimax on 0 ..= 1 to 1.3e-9 relative.
    const E: [f32; 7] = [
        std::f32::consts::FRAC_2_SQRT_PI,
        -0.376_126_26,
        0.112_835_854,
        -0.026_853_81,
        0.005_188_327_3,
        -8.010_191_4e-4,
        7.853_854e-5,
    ];
    let a = at_least(simd, simd.splat_f32s(-4.0), minus_abs(simd, x));
    let square = simd.mul_f32s(a, a);
    let near = simd.mul_f32s(x, polynomial(simd, &E, square));
    let root_2_a = simd.mul_f32s(a, simd.splat_f32s(std::f32::consts::SQRT_2));
    let minus_square = simd.mul_f32s(square, simd.splat_f32s(-1.0));
    let tail =
        simd.mul_f32s(exp_sum(simd, minus_square, simd.splat_f32s(0.0)), mills(simd, root_2_a));
    let far = mul_add(simd, tail, simd.splat_f32s(-2.0), simd.splat_f32s(1.0));
    let sign = simd.and_u32s(cast(x), simd.splat_u32s(1 << 31));
    let far = cast(simd.or_u32s(cast(far), sign));
    select(simd, simd.greater_than_f32s(a, simd.splat_f32s(-1.0)), near, far)
}

/// `c[0] + c[1] x + c[2] x^2 + ..`
#[inline(always)]
fn polynomial<S: Simd, const N: usize>(simd: S, c: &[f32; N], x: S::f32s) -> S::f32s {
    let mut sum = simd.splat_f32s(c[N - 1]);
    for &c in c[..N - 1].iter().rev() {
        sum = mul_add(simd, sum, x, simd.splat_f32s(c));
    }
    sum
}

/// Whether the token is one of those whose operations the compiler makes of plain Rust: `min` and
/// `max` drop NaN there, and a fused multiply-add may be a library call.
#[inline(always)]
fn is_scalar<S: Simd>() -> bool {
    S::IS_SCALAR || TypeId::of::<S>() == TypeId::of::<pulp::Scalar128b>()
}

/// `a * b + c`, fused where that is one instruction.
#[inline(always)]
fn mul_add<S: Simd>(simd: S, a: S::f32s, b: S::f32s, c: S::f32s) -> S::f32s {
    if is_scalar::<S>() {
        simd.add_f32s(simd.mul_f32s(a, b), c)
    } else {
        simd.mul_add_e_f32s(a, b, c)
    }
}

/// `-|x|`
#[inline(always)]
fn minus_abs<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    cast(simd.or_u32s(cast(x), simd.splat_u32s(1 << 31)))
}

/// `a` in the lanes where the mask is set, else `b`.
#[inline(always)]
pub(crate) fn select<S: Simd>(simd: S, mask: S::m32s, a: S::f32s, b: S::f32s) -> S::f32s {
    cast(simd.select_u32s(mask, cast(a), cast(b)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::{Cpu, Isa};
    use pulp::WithSimd;

    /// A function under test.
    #[derive(Clone, Copy, Debug)]
    enum Function {
        Act(Activation),
        Exp,
        Erf,
    }
    use Function::{Act, Erf, Exp};

    impl Function {
        fn eval(self, x: f64) -> f64 {
            match self {
                // f64 has no digits left in `1 + erf` below -5, and none in `1 + tanh`.
                Act(Activation::Gelu) if x < -2.0 => 0.5 * x * erfc(-x / 2f64.sqrt()),
                Act(Activation::GeluTanh) => {
                    let u = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
                    x * Activation::Sigmoid.eval(2.0 * u)
                }
                Act(act) => act.eval(x),
                Exp => x.exp(),
                Erf => {
                    // gelu(x) = x (1 + erf(x / sqrt 2)) / 2, solved for erf.
                    let z = x * 2f64.sqrt();
                    if x.abs() < 1e-3 {
                        std::f64::consts::FRAC_2_SQRT_PI * (x - x * x * x / 3.0)
                    } else if x.is_infinite() {
                        x.signum()
                    } else {
                        2.0 * Activation::Gelu.eval(z) / z - 1.0
                    }
                }
            }
        }

        /// Allowed error where the function should be `want`.
        fn bound(self, x: f64, want: f64) -> f64 {
            let denormal_factor = 2f64.powi(-149) * x.abs();
            match self {
                Act(Activation::Identity | Activation::Clip { .. }) => 0.0,
                Act(Activation::LeakyRelu { .. }) => ulp(want),
                Exp => 2.0 * ulp(want),
                Act(Activation::Silu) => 4.0 * ulp(want) + denormal_factor,
                Act(Activation::Gelu) => 7.0 * ulp(want) + denormal_factor,
                Act(Activation::GeluTanh) => {
                    let u = 0.8 * (x + 0.044715 * x * x * x).abs();
                    (4.0 + 8.0 * u) * ulp(want) + denormal_factor
                }
                Act(Activation::HardSigmoid { alpha, beta }) => {
                    let line = (f64::from(alpha) * x).abs().max(beta.abs().into());
                    2.0 * ulp(line.min(2.0).max(want))
                }
                _ => 3.0 * ulp(want),
            }
        }
    }

    /// The complementary error function above 1.4, by continued fraction (Abramowitz and Stegun
    /// 7.1.14).
    fn erfc(x: f64) -> f64 {
        let mut fraction = x;
        for k in (1..=200).rev() {
            fraction = x + (f64::from(k) / 2.0) / fraction;
        }
        (-x * x).exp() / (fraction * std::f64::consts::PI.sqrt())
    }

    /// The distance of neighbouring `f32` around `x`.
    fn ulp(x: f64) -> f64 {
        let x = x.abs().min(f32::MAX.into());
        if x < f64::from(f32::MIN_POSITIVE) {
            return 2f64.powi(-149);
        }
        2f64.powi(x.log2().floor() as i32 - 23)
    }

    /// `out[i] = function(out[i])`
    struct Map<'a>(Function, &'a mut [f32]);

    impl WithSimd for Map<'_> {
        type Output = ();
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            let (body, tail) = S::as_mut_simd_f32s(self.1);
            assert!(tail.is_empty());
            for v in body {
                *v = match self.0 {
                    Act(act) => apply(simd, act, *v),
                    Exp => exp(simd, *v),
                    Erf => erf(simd, *v),
                };
            }
        }
    }

    fn map(isa: Isa, function: Function, values: &mut [f32]) {
        let map = Map(function, values);
        match isa {
            Isa::Scalar => Simd::vectorize(pulp::Scalar, map),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => Simd::vectorize(pulp::x86::V3::try_new().unwrap(), map),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => Simd::vectorize(pulp::x86::V4::try_new().unwrap(), map),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => Simd::vectorize(pulp::aarch64::Neon::try_new().unwrap(), map),
            _ => unreachable!("{isa} on this architecture"),
        }
    }

    /// Patterns over all exponents, finite, infinite and NaN; the edges of the functions; and a
    /// dense stretch around zero.
    fn sweep() -> Vec<f32> {
        let (step, dense) =
            if cfg!(target_arch = "aarch64") { (400_009, 500) } else { (8_009, 40_000) };
        let mut values: Vec<f32> = (0..=u32::MAX).step_by(step).map(f32::from_bits).collect();
        values.extend((-dense..=dense).map(|i| i as f32 * (120.0 / dense as f32)));
        values.extend((-dense..=dense).map(|i| i as f32 * (4.0 / dense as f32)));
        for edge in [
            0.0,
            1.0,
            3.0,
            6.0,
            14.5,
            15.0,
            30.0,
            87.336_54,
            88.722_84,
            89.0,
            103.972_08,
            105.0,
            f32::MIN_POSITIVE,
            f32::MAX,
            f32::INFINITY,
            f32::NAN,
            1e-45,
        ] {
            for near in [edge, edge.next_up(), edge.next_down()] {
                values.extend([near, -near]);
            }
        }
        values.resize(values.len().next_multiple_of(16), 0.0);
        values
    }

    const FUNCTIONS: [Function; 17] = [
        Exp,
        Erf,
        Act(Activation::Identity),
        Act(Activation::RELU),
        Act(Activation::RELU6),
        Act(Activation::Clip { min: -1.5, max: f32::INFINITY }),
        Act(Activation::LeakyRelu { alpha: 0.01 }),
        Act(Activation::Elu { alpha: 1.0 }),
        Act(Activation::Sigmoid),
        Act(Activation::Tanh),
        Act(Activation::HardSigmoid { alpha: 0.2, beta: 0.5 }),
        Act(Activation::HardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 }),
        Act(Activation::HardSwish),
        Act(Activation::Silu),
        Act(Activation::Gelu),
        Act(Activation::GeluTanh),
        Act(Activation::Softplus),
    ];

    #[test]
    fn every_function_stays_within_its_bound() {
        let xs = sweep();
        for function in FUNCTIONS {
            let want: Vec<f64> = xs.iter().map(|&x| function.eval(x.into())).collect();
            for cpu in Cpu::detect().levels() {
                let mut ys = xs.clone();
                map(cpu.isa(), function, &mut ys);
                if cpu.isa() == Isa::Scalar {
                    let mut wide = xs.clone();
                    Simd::vectorize(pulp::Scalar128b, Map(function, &mut wide));
                    let same = |(a, b): (&f32, &f32)| {
                        a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
                    };
                    assert!(ys.iter().zip(&wide).all(same), "{function:?}, four lanes");
                }
                let mut worst = (0.0, 0.0);
                for ((&x, &y), &want) in xs.iter().zip(&ys).zip(&want) {
                    assert_eq!(y.is_nan(), want.is_nan(), "{function:?} {cpu}: f({x}) = {y}");
                    // Beyond the largest f32 both round to infinity.
                    if want.is_nan() || f64::from(y) == want || y == want as f32 {
                        continue;
                    }
                    let error = (f64::from(y) - want).abs();
                    let share = error / function.bound(x.into(), want);
                    if share > worst.0 {
                        worst = (share, x);
                    }
                }
                let (share, x) = worst;
                assert!(share <= 1.0, "{function:?} {cpu}: {share} of the bound at {x}");
            }
        }
    }

    #[test]
    fn known_values_come_out_exactly() {
        let cases = [
            (Act(Activation::Sigmoid), 0.0, 0.5),
            (Act(Activation::Tanh), f32::INFINITY, 1.0),
            (Act(Activation::Tanh), f32::NEG_INFINITY, -1.0),
            (Act(Activation::HardSwish), 4.0, 4.0),
            (Act(Activation::HardSwish), -1.5, -0.375),
            (Act(Activation::Softplus), f32::INFINITY, f32::INFINITY),
            (Exp, 0.0, 1.0),
            (Exp, f32::NEG_INFINITY, 0.0),
            (Exp, f32::INFINITY, f32::INFINITY),
            (Erf, f32::NEG_INFINITY, -1.0),
        ];
        for cpu in Cpu::detect().levels() {
            for (function, x, want) in cases {
                let mut y = [x; 16];
                map(cpu.isa(), function, &mut y);
                assert_eq!(y, [want; 16], "{function:?}({x}) on {cpu}");
            }
        }
    }
}
