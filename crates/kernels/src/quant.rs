//! 8-bit numbers, and the one rule by which every family rounds to them.
//!
//! A byte `q` of scale `s` and zero point `z` stands for the real number `s * (q - z)`. A layer sums
//! exactly in `i32` and then rounds once:
//!
//! `q = clamp(round_half_even(sum as f32 * m) + z, min, max)`, `m = s_in * s_weight / s_out`
//!
//! The sum becomes the nearest `f32` (ties to even), the product is one `f32` multiplication, and the
//! bounds are those of the type and of an activation. Every level computes these same steps, so
//! results are equal to the bit everywhere.
//!
//! Kernels see unsigned bytes: an `i8` is the `u8` with the upper bit flipped and a zero point that
//! is 128 higher.

use crate::operator::KernelError;
use crate::spatial::{invalid, unsupported};
use depthwise_tensor::DType;

/// An 8-bit type, and the number of it that stands for zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Quant8 {
    signed: bool,
    zero: u8,
}

impl Quant8 {
    /// Signed bytes.
    pub const fn i8(zero_point: i8) -> Quant8 {
        Quant8 { signed: true, zero: zero_point.cast_unsigned() ^ 0x80 }
    }

    /// Unsigned bytes.
    pub const fn u8(zero_point: u8) -> Quant8 {
        Quant8 { signed: false, zero: zero_point }
    }

    /// Bytes of this type.
    ///
    /// # Errors
    /// [`KernelError::Unsupported`] for other types than `i8` and `u8`, [`KernelError::Invalid`]
    /// for a zero point that the type does not hold.
    pub fn new(dtype: DType, zero_point: i32) -> Result<Quant8, KernelError> {
        let outside =
            || invalid("quant", format!("zero point {zero_point} is not of type {dtype}"));
        match dtype {
            DType::I8 => Ok(Quant8::i8(i8::try_from(zero_point).map_err(|_| outside())?)),
            DType::U8 => Ok(Quant8::u8(u8::try_from(zero_point).map_err(|_| outside())?)),
            other => Err(unsupported("quant", format!("quantization to {other}"))),
        }
    }

    /// `i8` or `u8`.
    pub const fn dtype(&self) -> DType {
        if self.signed { DType::I8 } else { DType::U8 }
    }

    /// The number that stands for zero.
    pub const fn zero_point(&self) -> i32 {
        self.zero as i32 - self.offset()
    }

    /// Least and largest number of the type.
    pub const fn range(&self) -> (i32, i32) {
        (-self.offset(), 255 - self.offset())
    }

    /// What an unsigned byte lies above the number that it is.
    pub(crate) const fn offset(&self) -> i32 {
        if self.signed { 128 } else { 0 }
    }

    /// What makes bytes in memory unsigned ones, by exclusive or.
    pub(crate) const fn flip(&self) -> u8 {
        if self.signed { 0x80 } else { 0 }
    }

    /// The zero point among unsigned bytes.
    pub(crate) const fn zero(&self) -> u8 {
        self.zero
    }

    /// The byte in memory that stands for zero.
    pub(crate) const fn zero_byte(&self) -> u8 {
        self.zero ^ self.flip()
    }

    /// The number that a byte in memory is, less the zero point.
    pub(crate) const fn centred(&self, byte: u8) -> i32 {
        (byte ^ self.flip()) as i32 - self.zero as i32
    }
}

/// A quantized result: its type, and the bounds of an activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Out8 {
    /// Type and zero point.
    pub quant: Quant8,
    /// Least result, as a number of the type.
    pub min: i32,
    /// Largest result.
    pub max: i32,
}

impl Out8 {
    /// All numbers of the type.
    pub const fn full(quant: Quant8) -> Out8 {
        let (min, max) = quant.range();
        Out8 { quant, min, max }
    }

    /// The numbers between two.
    ///
    /// # Errors
    /// [`KernelError::Invalid`] where no number of the type lies between them.
    pub fn clamped(quant: Quant8, min: i32, max: i32) -> Result<Out8, KernelError> {
        let (least, most) = quant.range();
        let out = Out8 { quant, min: min.max(least), max: max.min(most) };
        if out.min > out.max {
            return Err(invalid("quant", format!("no {} in {min}..={max}", quant.dtype())));
        }
        Ok(out)
    }

    pub(crate) fn tail(&self) -> Tail8 {
        let zero = self.quant.zero_point();
        Tail8 {
            low: (self.min - zero) as f32,
            high: (self.max - zero) as f32,
            zero: i16::from(self.quant.zero()),
            min: (self.min + self.quant.offset()).clamp(0, 255) as u8,
            flip: self.quant.flip(),
        }
    }
}

/// What a product leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Output {
    /// Bytes, by the rule of [this module](self).
    Bytes(Out8),
    /// `sum as f32 * m`
    F32,
    /// The sums.
    I32,
}

impl Output {
    /// Type of an element.
    pub const fn dtype(&self) -> DType {
        match self {
            Output::Bytes(out) => out.quant.dtype(),
            Output::F32 => DType::F32,
            Output::I32 => DType::I32,
        }
    }

    /// Bytes of an element.
    pub const fn size(&self) -> usize {
        self.dtype().size_bytes()
    }
}

/// [`Out8`] as kernels want it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tail8 {
    /// Bounds before the zero point is added.
    pub low: f32,
    pub high: f32,
    /// Zero point and lower bound among unsigned bytes.
    pub zero: i16,
    /// Only the vectors of x86-64 need it.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    pub min: u8,
    pub flip: u8,
}

impl Tail8 {
    /// The rule on a product that is no NaN: a byte in memory.
    #[inline(always)]
    pub(crate) fn round(&self, x: f32) -> u8 {
        let x = if x > self.low { x } else { self.low };
        let x = if x < self.high { x } else { self.high };
        // The sum lies where neighbouring floats are 1 apart, and so rounds half to even.
        let rounded = (x + MAGIC).to_bits().wrapping_sub(MAGIC.to_bits());
        (rounded as u8).wrapping_add(self.zero as u8) ^ self.flip
    }
}

/// 1.5 * 2^23
pub(crate) const MAGIC: f32 = 12_582_912.0;

/// Checks multipliers, of which there is one, or one for each of `n` channels.
pub(crate) fn check_multipliers(
    kernel: &'static str,
    multipliers: &[f32],
    n: usize,
) -> Result<(), KernelError> {
    if multipliers.len() != 1 && multipliers.len() != n {
        let reason = format!("{} multipliers for {n} channels", multipliers.len());
        return Err(invalid(kernel, reason));
    }
    match multipliers.iter().find(|m| !m.is_finite()) {
        Some(m) => Err(invalid(kernel, format!("a multiplier of {m}"))),
        None => Ok(()),
    }
}

/// Weights as files have them: signed with or without zero points, or unsigned ones.
#[derive(Clone, Copy, Debug)]
pub enum Weights8<'a> {
    /// Signed bytes.
    I8(&'a [i8]),
    /// Unsigned bytes.
    U8(&'a [u8]),
}

impl Weights8<'_> {
    /// Number of weights.
    pub const fn len(&self) -> usize {
        match self {
            Weights8::I8(w) => w.len(),
            Weights8::U8(w) => w.len(),
        }
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn get(&self, i: usize) -> i32 {
        match self {
            Weights8::I8(w) => i32::from(w[i]),
            Weights8::U8(w) => i32::from(w[i]),
        }
    }

    fn range(&self) -> (i32, i32) {
        match self {
            Weights8::I8(_) => (-128, 127),
            Weights8::U8(_) => (0, 255),
        }
    }
}

/// Weights of `n` output channels, with what belongs to them.
#[derive(Clone, Copy, Debug)]
pub struct QWeights<'a> {
    /// The weights.
    pub weights: Weights8<'a>,
    /// The number that stands for zero: none for 0, one, or one for each output channel.
    pub zero_points: &'a [i32],
    /// A summand for each output channel; none for 0.
    pub bias: Option<&'a [i32]>,
}

impl QWeights<'_> {
    /// Checks lengths and zero points.
    pub(crate) fn check(
        &self,
        kernel: &'static str,
        n: usize,
        len: usize,
    ) -> Result<(), KernelError> {
        if self.weights.len() != len {
            return Err(invalid(kernel, format!("{} weights, not {len}", self.weights.len())));
        }
        let zeros = self.zero_points.len();
        if zeros > 1 && zeros != n {
            return Err(invalid(kernel, format!("{zeros} zero points for {n} channels")));
        }
        let (least, most) = self.weights.range();
        if let Some(zero) = self.zero_points.iter().find(|z| !(least..=most).contains(*z)) {
            return Err(invalid(kernel, format!("a zero point of {zero} for weights")));
        }
        match self.bias {
            Some(bias) if bias.len() != n => {
                Err(invalid(kernel, format!("{} biases, not {n}", bias.len())))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn zero_point(&self, channel: usize) -> i32 {
        match self.zero_points {
            [] => 0,
            [zero] => *zero,
            zeros => zeros[channel],
        }
    }

    pub(crate) fn bias(&self, channel: usize) -> i32 {
        self.bias.map_or(0, |bias| bias[channel])
    }

    /// Refuses weights whose sum may leave 32 bits: `magnitude` is the sum of the magnitudes of the
    /// weights of a channel. Below that, and after rounding to `f32`, every sum is exact.
    pub(crate) fn check_sum(
        &self,
        kernel: &'static str,
        channel: usize,
        magnitude: u64,
    ) -> Result<(), KernelError> {
        let most = magnitude
            .saturating_mul(255)
            .saturating_add(u64::from(self.bias(channel).unsigned_abs()));
        if most <= i32::MAX as u64 {
            return Ok(());
        }
        let reason = format!("a sum of up to {most} in channel {channel}, past 32 bits,");
        Err(unsupported(kernel, reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signed_bytes_are_unsigned_ones_128_higher() {
        let (s, u) = (Quant8::i8(-5), Quant8::u8(123));
        assert_eq!((s.zero(), s.zero_point()), (u.zero(), -5));
        assert_eq!(s.centred((-5i8).cast_unsigned()), 0);
        assert_eq!(s.centred(0x80), -123);
        assert_eq!(u.centred(255), 132);
        assert_eq!(Quant8::new(DType::I8, -5).unwrap(), s);
        assert!(Quant8::new(DType::U8, -1).is_err() && Quant8::new(DType::I32, 0).is_err());
        assert_eq!(Out8::clamped(s, -1000, 3).unwrap(), Out8 { quant: s, min: -128, max: 3 });
        assert!(Out8::clamped(u, 256, 300).is_err());
    }

    #[test]
    fn ties_round_to_even_and_large_values_saturate() {
        let tail = Out8::full(Quant8::i8(0)).tail();
        let got = [-3.5f32, -2.5, -0.5, 0.5, 1.5, 2.5, 1e30, -1e30].map(|x| tail.round(x) as i8);
        assert_eq!(got, [-4, -2, 0, 0, 2, 2, 127, -128]);
        let tail = Out8::clamped(Quant8::u8(100), 100, 106).unwrap().tail();
        assert_eq!([-7.0, 2.5, 5.6, 9.0].map(|x| tail.round(x)), [100, 102, 106, 106]);
    }
}
