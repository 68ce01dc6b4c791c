//! From ranges to scales.

use crate::CompressError;
use depthwise_tensor::{DType, Tensor};

/// Steps between the least and the largest 8-bit integer.
pub(crate) const STEPS: f64 = 255.0;
/// Largest magnitude of a weight; -128 is left out, so that the range is symmetric.
const WEIGHT_MOST: f64 = 127.0;
/// Largest magnitude of a bias: half of what its type holds, the other half being for the products.
const BIAS_MOST: f64 = (1 << 30) as f64;

/// The numbers that a value takes, zero among them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// Smallest.
    pub low: f32,
    /// Largest.
    pub high: f32,
}

impl Range {
    /// From the smallest to the largest number, with zero.
    pub fn new(low: f32, high: f32) -> Range {
        Range { low: low.min(0.0), high: high.max(0.0) }
    }

    pub(crate) fn union(self, other: Range) -> Range {
        Range { low: self.low.min(other.low), high: self.high.max(other.high) }
    }
}

/// What 8-bit integers of an activation stand for: `scale * (q - zero)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    /// `i8` or `u8`.
    pub dtype: DType,
    /// The real number of one step; positive.
    pub scale: f32,
    /// What stands for 0.
    pub zero: i32,
}

impl Scale {
    /// The smallest integer of the type.
    fn least(dtype: DType) -> i32 {
        if dtype == DType::I8 { -128 } else { 0 }
    }

    /// The scale that spends the integers on a range: `(high - low) / 255`, and the zero point that
    /// is nearest to where the range puts it.
    pub fn of_range(dtype: DType, range: Range) -> Scale {
        let width = f64::from(range.high) - f64::from(range.low);
        let scale = (width / STEPS) as f32;
        // Nothing but zeros (or numbers too small to divide by): any scale will do.
        if !scale.is_normal() {
            return Scale { dtype, scale: 1.0, zero: Scale::least(dtype) };
        }
        let steps = (-f64::from(range.low) / f64::from(scale)).round_ties_even();
        Scale { dtype, scale, zero: Scale::least(dtype) + steps.clamp(0.0, STEPS) as i32 }
    }

    /// A range from 0 with this step.
    pub(crate) fn from_zero(dtype: DType, scale: f32) -> Scale {
        Scale { dtype, scale, zero: Scale::least(dtype) }
    }

    /// A range around 0 with this step.
    pub(crate) fn around_zero(dtype: DType, scale: f32) -> Scale {
        Scale { dtype, scale, zero: Scale::least(dtype) + 128 }
    }

    /// The integer for a number.
    pub(crate) fn integer(&self, x: f64) -> i32 {
        let steps = (x / f64::from(self.scale)).round_ties_even() + f64::from(self.zero);
        let least = f64::from(Scale::least(self.dtype));
        steps.clamp(least, least + STEPS) as i32
    }

    /// The number nearest to `x` that an integer stands for.
    pub(crate) fn nearest(&self, x: f64) -> f64 {
        f64::from(self.integer(x) - self.zero) * f64::from(self.scale)
    }

    /// Its zero point as a constant of the type.
    pub(crate) fn zero_tensor(&self) -> Tensor {
        match self.dtype {
            DType::I8 => Tensor::scalar(self.zero as i8),
            _ => Tensor::scalar(self.zero as u8),
        }
    }
}

/// Weights as integers, symmetric, with one scale per output channel.
pub(crate) struct QuantizedWeights {
    pub(crate) integers: Tensor,
    pub(crate) scales: Vec<f32>,
    pub(crate) axis: usize,
}

impl QuantizedWeights {
    /// Quantizes weights whose output channels lie along `axis`: `scale = max |w| / 127`, larger only
    /// where the bias would not fit `i32` in steps of `x_scale * scale`.
    pub(crate) fn new(
        node: &str,
        weights: &Tensor,
        axis: usize,
        bias: Option<&[f64]>,
        x_scale: f32,
    ) -> Result<QuantizedWeights, CompressError> {
        let values = weights.to_f64();
        if let Some(&value) = values.iter().find(|w| !w.is_finite()) {
            return Err(CompressError::Weight { node: node.into(), value });
        }
        let channels = weights.shape()[axis];
        let inner: usize = weights.shape()[axis + 1..].iter().product();
        let channel = |i: usize| i / inner.max(1) % channels;
        let mut most = vec![0f64; channels];
        for (i, w) in values.iter().enumerate() {
            let most = &mut most[channel(i)];
            *most = most.max(w.abs());
        }
        let scale = |(oc, &most): (usize, &f64)| {
            let bias = bias.map_or(0.0, |bias| bias[oc].abs());
            let scale = (most / WEIGHT_MOST).max(bias / (BIAS_MOST * f64::from(x_scale))) as f32;
            if scale.is_normal() { scale } else { 1.0 }
        };
        let scales: Vec<f32> = most.iter().enumerate().map(scale).collect();
        let integer = |(i, w): (usize, &f64)| {
            let steps = (w / f64::from(scales[channel(i)])).round_ties_even();
            steps.clamp(-WEIGHT_MOST, WEIGHT_MOST) as i8
        };
        let integers: Vec<i8> = values.iter().enumerate().map(integer).collect();
        let integers = Tensor::from_vec(weights.shape().dims(), integers)?;
        Ok(QuantizedWeights { integers, scales, axis })
    }

    /// What rounding added to each weight.
    pub(crate) fn errors(&self, weights: &Tensor) -> Vec<f64> {
        let shape = weights.shape();
        let inner: usize = shape[self.axis + 1..].iter().product();
        let (values, integers) = (weights.to_f64(), self.integers.to_i64());
        let error = |(i, (w, &q)): (usize, (&f64, &i64))| {
            let channel = i / inner.max(1) % shape[self.axis];
            q as f64 * f64::from(self.scales[channel]) - w
        };
        values.iter().zip(integers.iter()).enumerate().map(error).collect()
    }

    /// A bias in steps of `x_scale * scale`: integers, and these scales.
    pub(crate) fn bias(
        &self,
        bias: &[f64],
        x_scale: f32,
    ) -> Result<(Tensor, Tensor), CompressError> {
        // The product as readers of files check it: in f32.
        let scales: Vec<f32> = self.scales.iter().map(|w_scale| x_scale * w_scale).collect();
        let steps = |(b, &scale): (&f64, &f32)| {
            let steps = (b / f64::from(scale)).round_ties_even();
            steps.clamp(-BIAS_MOST, BIAS_MOST) as i32
        };
        let integers: Vec<i32> = bias.iter().zip(&scales).map(steps).collect();
        let dims = [bias.len()];
        Ok((Tensor::from_vec(&dims, integers)?, Tensor::from_vec(&dims, scales)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_cover_the_range_and_keep_zero_exact() {
        let scale = Scale::of_range(DType::I8, Range::new(0.0, 6.0));
        assert_eq!((scale.zero, scale.scale), (-128, 6.0 / 255.0));
        let scale = Scale::of_range(DType::U8, Range::new(-1.0, 3.0));
        assert_eq!(scale.zero, 64);
        assert_eq!(scale.nearest(0.0), 0.0);
        assert!((scale.nearest(3.0) - 3.0).abs() < f64::from(scale.scale));
        // A range on one side is stretched to zero.
        assert_eq!(Scale::of_range(DType::U8, Range::new(2.0, 3.0)).zero, 0);
        assert_eq!(Scale::of_range(DType::I8, Range::new(-3.0, -2.0)).zero, 127);
        // Nothing but zeros.
        assert_eq!(Scale::of_range(DType::I8, Range::new(0.0, 0.0)).scale, 1.0);
    }

    #[test]
    fn weights_have_a_scale_per_channel_and_biases_fit() {
        let weights = Tensor::from_slice(&[3, 2], &[1.27f32, -0.5, 0.0, 0.0, 1e-9, 0.0]).unwrap();
        let bias = [0.25, 1.0, 1.0];
        let q = QuantizedWeights::new("dense", &weights, 0, Some(&bias), 0.5).unwrap();
        assert_eq!(q.integers.data::<i8>().unwrap(), [127, -50, 0, 0, 1, 0]);
        assert!((q.scales[0] - 0.01).abs() < 1e-9);
        // A bias without weights to speak of, in steps that an i32 can count.
        let (integers, scales) = q.bias(&bias, 0.5).unwrap();
        let (integers, scales) = (integers.to_i64(), scales.to_f64());
        for (i, b) in bias.iter().enumerate() {
            assert!((integers[i] as f64 * scales[i] - b).abs() <= scales[i], "{i}");
            assert!(integers[i].abs() <= 1 << 30);
        }
        let errors = q.errors(&weights);
        assert!(errors[..2].iter().all(|error| error.abs() < 0.005), "{errors:?}");
    }

    #[test]
    fn weights_that_are_no_numbers_are_refused() {
        let weights = Tensor::from_slice(&[1, 2], &[1f32, f32::NAN]).unwrap();
        let error = QuantizedWeights::new("conv", &weights, 0, None, 1.0).err().unwrap();
        assert_eq!(error.to_string(), "node \"conv\": a weight is NaN");
    }
}
