//! What a reduction computes: a start, a step, and an end.

use crate::arch::SimdF32;

/// What a reduction computes of the elements of a cell. Of none: the sum is 0, the product 1, the
/// mean NaN, the extremes the infinities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReduceOp {
    /// Arithmetic mean.
    Mean,
    /// Sum.
    Sum,
    /// Largest element, NaN if one is.
    Max,
    /// Smallest element, NaN if one is.
    Min,
    /// Product.
    Prod,
    /// Sum of absolute values.
    L1,
    /// Square root of the sum of squares.
    L2,
    /// Sum of squares.
    SumSquare,
    /// Logarithm of the sum.
    LogSum,
    /// Logarithm of the sum of exponentials, without overflow.
    LogSumExp,
}

impl ReduceOp {
    /// The result, from the total of `count` steps and (of [`ReduceOp::LogSumExp`]) the largest
    /// element.
    pub(super) fn finish(self, total: f32, top: f32, count: usize) -> f32 {
        match self {
            ReduceOp::Mean => total / count as f32,
            ReduceOp::L2 => total.sqrt(),
            ReduceOp::LogSum => total.ln(),
            // An infinite maximum is the result; so is NaN.
            ReduceOp::LogSumExp if top.is_finite() => top + total.ln(),
            ReduceOp::LogSumExp => top,
            _ => total,
        }
    }
}

/// How elements go into a total.
pub(super) trait Fold {
    /// A total of nothing.
    const START: f32;
    /// An element that leaves a total as it is.
    const NEUTRAL: f32;

    /// `total` and one more element; `top` is the largest of all, where that is asked for.
    fn step<S: SimdF32>(simd: S, total: S::f32s, x: S::f32s, top: S::f32s) -> S::f32s;

    /// Two totals in one.
    fn join<S: SimdF32>(simd: S, a: S::f32s, b: S::f32s) -> S::f32s;
}

macro_rules! folds {
    ($($(#[$doc:meta])* $name:ident($start:expr, $neutral:expr):
       |$simd:ident, $total:ident, $x:ident, $top:pat_param| $step:expr, $join:ident;)*) => {$(
        $(#[$doc])*
        pub(super) struct $name;

        impl Fold for $name {
            const START: f32 = $start;
            const NEUTRAL: f32 = $neutral;

            #[inline(always)]
            fn step<S: SimdF32>(
                $simd: S,
                $total: S::f32s,
                $x: S::f32s,
                $top: S::f32s,
            ) -> S::f32s {
                $step
            }

            #[inline(always)]
            fn join<S: SimdF32>(simd: S, a: S::f32s, b: S::f32s) -> S::f32s {
                simd.$join(a, b)
            }
        }
    )*};
}

folds! {
    /// Of sums and means.
    Sum(0.0, 0.0): |simd, total, x, _| simd.add_f32s(total, x), add_f32s;
    /// Of [`ReduceOp::L1`].
    SumAbs(0.0, 0.0): |simd, total, x, _| {
        let bits = simd.and_u32s(bytemuck::cast(x), simd.splat_u32s(!(1 << 31)));
        simd.add_f32s(total, bytemuck::cast(bits))
    }, add_f32s;
    /// Of [`ReduceOp::SumSquare`] and [`ReduceOp::L2`].
    SumSquare(0.0, 0.0): |simd, total, x, _| simd.fma(x, x, total), add_f32s;
    /// Of [`ReduceOp::LogSumExp`].
    SumExp(0.0, f32::NEG_INFINITY): |simd, total, x, top| {
        simd.add_f32s(total, simd.exp(simd.sub_f32s(x, top)))
    }, add_f32s;
    /// Of products.
    Product(1.0, 1.0): |simd, total, x, _| simd.mul_f32s(total, x), mul_f32s;
    /// Of maxima.
    Max(f32::NEG_INFINITY, f32::NEG_INFINITY):
        |simd, total, x, _| simd.max_or_nan(total, x), max_or_nan;
    /// Of minima: the largest of the negated elements, negated at the end.
    NegatedMax(f32::NEG_INFINITY, f32::INFINITY): |simd, total, x, _| {
        simd.max_or_nan(total, simd.sub_f32s(simd.splat_f32s(-0.0), x))
    }, max_or_nan;
}
