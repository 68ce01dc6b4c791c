//! Loops that the compiler vectorizes at each level.

use crate::quant::{Quant8, Tail8};

/// Two operands and their result.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair {
    pub a: Quant8,
    pub b: Quant8,
    /// Multipliers: of each operand of a sum; the first, of a product.
    pub m: [f32; 2],
    pub tail: Tail8,
}

#[inline(always)]
pub(super) fn quantize(x: &[f32], y: &mut [u8], scale: f32, tail: &Tail8) {
    for (y, &x) in y.iter_mut().zip(x) {
        let quotient = x / scale;
        *y = tail.round(if quotient.is_nan() { 0.0 } else { quotient });
    }
}

#[inline(always)]
pub(super) fn dequantize(x: &[u8], y: &mut [f32], scale: f32, quant: Quant8) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y = quant.centred(x) as f32 * scale;
    }
}

#[inline(always)]
pub(super) fn add(a: &[u8], b: &[u8], y: &mut [u8], p: &Pair) {
    for ((y, &a), &b) in y.iter_mut().zip(a).zip(b) {
        let (a, b) = (p.a.centred(a) as f32 * p.m[0], p.b.centred(b) as f32 * p.m[1]);
        *y = p.tail.round(a + b);
    }
}

#[inline(always)]
pub(super) fn mul(a: &[u8], b: &[u8], y: &mut [u8], p: &Pair) {
    for ((y, &a), &b) in y.iter_mut().zip(a).zip(b) {
        *y = p.tail.round((p.a.centred(a) * p.b.centred(b)) as f32 * p.m[0]);
    }
}

/// The entry of one instruction set.
macro_rules! kernel {
    ($name:literal, $isa:expr $(, $feature:meta)*) => {
        pub(super) static KERNEL: super::Kernel =
            super::Kernel { name: $name, isa: $isa, quantize, dequantize, add, mul };

        /// # Safety
        /// - The CPU has the instruction set.
        $(#[$feature])*
        unsafe fn quantize(x: &[f32], y: &mut [u8], scale: f32, tail: &crate::quant::Tail8) {
            super::generic::quantize(x, y, scale, tail);
        }

        /// # Safety
        /// - The CPU has the instruction set.
        $(#[$feature])*
        unsafe fn dequantize(x: &[u8], y: &mut [f32], scale: f32, quant: crate::quant::Quant8) {
            super::generic::dequantize(x, y, scale, quant);
        }

        /// # Safety
        /// - The CPU has the instruction set.
        $(#[$feature])*
        unsafe fn add(a: &[u8], b: &[u8], y: &mut [u8], pair: &super::Pair) {
            super::generic::add(a, b, y, pair);
        }

        /// # Safety
        /// - The CPU has the instruction set.
        $(#[$feature])*
        unsafe fn mul(a: &[u8], b: &[u8], y: &mut [u8], pair: &super::Pair) {
            super::generic::mul(a, b, y, pair);
        }
    };
}
pub(super) use kernel;
