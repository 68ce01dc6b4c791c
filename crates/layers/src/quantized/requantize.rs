//! From a sum back to eight bits.

use crate::LayerError;
use crate::check::invalid;
use crate::reference::int_range;
use depthwise_tensor::{Activation, DType};

/// The rule by which every integer layer makes its result:
/// `y = clamp(round(v) + zero_point, min, max)`, where `v` is an `f32`, halves go to even, and
/// `min` and `max` are the range of the type cut to that of a fused activation.
///
/// A sum `acc` becomes `v = acc as f32 * m`: the conversion rounds to nearest even, the product is
/// one `f32` multiplication, and `m` is a quotient of scales computed in `f64` and rounded once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requantize {
    /// Type of the result, `i8` or `u8`.
    pub dtype: DType,
    /// What stands for 0.
    pub zero_point: i32,
    /// Smallest result.
    pub min: i32,
    /// Largest result.
    pub max: i32,
}

impl Requantize {
    /// The rule for results of a type, clamped to its range only.
    pub fn new(dtype: DType, zero_point: i32) -> Requantize {
        let (min, max) = int_range(dtype);
        Requantize { dtype, zero_point, min: min as i32, max: max as i32 }
    }

    /// The rule with an activation before the result is quantized, for those that only clamp;
    /// `None` for others. Rounding never changes the order of numbers, so clamping integers to the
    /// rounded bounds is the same as rounding what was clamped.
    pub fn clamped(mut self, activation: Activation, scale: f32) -> Option<Requantize> {
        let (low, high) = activation.as_clamp()?;
        let (least, most) = int_range(self.dtype);
        let bound = |x: f32| {
            let steps = (x / scale).round_ties_even() as i64;
            steps.saturating_add(self.zero_point.into()).clamp(least, most) as i32
        };
        let (low, high) = (bound(low), bound(high));
        (self.min, self.max) = (self.min.max(low), self.max.min(high));
        // A range wholly on one side of the other is the bound that is nearer.
        if self.min > self.max {
            let only = if low > self.max { self.max } else { self.min };
            (self.min, self.max) = (only, only);
        }
        Some(self)
    }

    /// The factor of a sum of products: `x_scale * w_scale / y_scale` in `f64`, rounded once.
    pub fn multiplier(x_scale: f32, w_scale: f32, y_scale: f32) -> f32 {
        (f64::from(x_scale) * f64::from(w_scale) / f64::from(y_scale)) as f32
    }

    /// The result for a scaled value; NaN, which finite factors cannot give, as 0.
    pub fn round(&self, scaled: f32) -> i64 {
        let (zero, min, max) = (self.zero_point as f32, self.min as f32, self.max as f32);
        let steps = scaled.round_ties_even().max(min - zero).min(max - zero);
        steps as i64 + i64::from(self.zero_point)
    }

    /// The result for a sum, which counts modulo 2^32 as kernels compute it.
    pub fn apply(&self, sum: i64, multiplier: f32) -> i64 {
        self.round(sum as i32 as f32 * multiplier)
    }

    pub(crate) fn check(&self, layer: &'static str) -> Result<(), LayerError> {
        if !matches!(self.dtype, DType::I8 | DType::U8) {
            return Err(invalid!(layer, "results of {}; they are i8 or u8", self.dtype));
        }
        let (least, most) = int_range(self.dtype);
        let fits = |n: i32| (least..=most).contains(&i64::from(n));
        if [self.zero_point, self.min, self.max].into_iter().all(fits) && self.min <= self.max {
            return Ok(());
        }
        let Requantize { dtype, zero_point, min, max } = self;
        Err(invalid!(layer, "zero point {zero_point} and range {min} to {max} of {dtype}"))
    }
}
