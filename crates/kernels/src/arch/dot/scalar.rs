//! The baseline of a target without a file of its own, in arrays that the compiler turns into what
//! vectors there are.

use super::SimdDot;
use crate::quant::{Quant8, Tail8};

/// Token of [`Isa::Scalar`](crate::Isa::Scalar).
#[derive(Clone, Copy)]
pub(crate) struct DotScalar;

impl SimdDot for DotScalar {
    const LANES: usize = 4;
    type Sums = [i32; 4];
    type Pairs = [i16; 8];
    type Scales = [f32; 4];

    #[inline(always)]
    fn zero(self) -> [i32; 4] {
        [0; 4]
    }

    #[inline(always)]
    unsafe fn load_sums(self, p: *const i32) -> [i32; 4] {
        // SAFETY: as the caller promises.
        unsafe { p.cast::<[i32; 4]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store_sums(self, p: *mut i32, v: [i32; 4]) {
        // SAFETY: as the caller promises.
        unsafe { p.cast::<[i32; 4]>().write_unaligned(v) }
    }

    #[inline(always)]
    unsafe fn load_scales(self, p: *const f32) -> [f32; 4] {
        // SAFETY: as the caller promises.
        unsafe { p.cast::<[f32; 4]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store_scales(self, p: *mut f32, v: [f32; 4]) {
        // SAFETY: as the caller promises.
        unsafe { p.cast::<[f32; 4]>().write_unaligned(v) }
    }

    #[inline(always)]
    unsafe fn load_pairs(self, p: *const i16) -> [i16; 8] {
        // SAFETY: as the caller promises.
        unsafe { p.cast::<[i16; 8]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn load_narrow(self, p: *const i8) -> [i16; 8] {
        // SAFETY: as the caller promises.
        unsafe { p.cast::<[i8; 8]>().read_unaligned() }.map(i16::from)
    }

    #[inline(always)]
    unsafe fn splat_pair(self, p: *const i16) -> [i16; 8] {
        // SAFETY: as the caller promises.
        let [a, b] = unsafe { p.cast::<[i16; 2]>().read_unaligned() };
        [a, b, a, b, a, b, a, b]
    }

    #[inline(always)]
    fn dot(self, sum: [i32; 4], a: [i16; 8], b: [i16; 8]) -> [i32; 4] {
        let product = |i: usize| i32::from(a[i]) * i32::from(b[i]);
        let pair = |l: usize| product(2 * l).wrapping_add(product(2 * l + 1));
        [
            sum[0].wrapping_add(pair(0)),
            sum[1].wrapping_add(pair(1)),
            sum[2].wrapping_add(pair(2)),
            sum[3].wrapping_add(pair(3)),
        ]
    }

    #[inline(always)]
    fn scale(self, sum: [i32; 4], m: [f32; 4]) -> [f32; 4] {
        [sum[0] as f32 * m[0], sum[1] as f32 * m[1], sum[2] as f32 * m[2], sum[3] as f32 * m[3]]
    }

    #[inline(always)]
    unsafe fn store_bytes(self, p: [*mut u8; 2], v: [[f32; 4]; 2], tail: &Tail8) {
        for (p, v) in p.into_iter().zip(v) {
            // SAFETY: as the caller promises.
            unsafe { p.cast::<[u8; 4]>().write_unaligned(v.map(|x| tail.round(x))) };
        }
    }

    #[inline(always)]
    unsafe fn widen(self, from: *const u8, to: *mut i16, quant: Quant8) {
        // SAFETY: as the caller promises.
        let bytes = unsafe { from.cast::<[u8; 16]>().read_unaligned() };
        let (flip, zero) = (quant.flip(), i16::from(quant.zero()));
        let wide = bytes.map(|x| i16::from(x ^ flip) - zero);
        // SAFETY: as the caller promises.
        unsafe { to.cast::<[i16; 16]>().write_unaligned(wide) };
    }

    #[inline(always)]
    unsafe fn widen_pairs(self, a: *const u8, b: *const u8, to: *mut i16, quant: Quant8) {
        // SAFETY: as the caller promises.
        let (a, b) = unsafe {
            (a.cast::<[u8; 16]>().read_unaligned(), b.cast::<[u8; 16]>().read_unaligned())
        };
        let (flip, zero) = (quant.flip(), i16::from(quant.zero()));
        let mut wide = [0i16; 32];
        for (i, pair) in wide.chunks_exact_mut(2).enumerate() {
            pair[0] = i16::from(a[i] ^ flip) - zero;
            pair[1] = i16::from(b[i] ^ flip) - zero;
        }
        // SAFETY: as the caller promises.
        unsafe { to.cast::<[i16; 32]>().write_unaligned(wide) };
    }
}
