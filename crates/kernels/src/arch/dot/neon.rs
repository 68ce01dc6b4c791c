//! AArch64 Advanced SIMD: widening products, then sums of neighbours; with the dot product of Armv8.2
//! four bytes at once.

use super::{SimdDot, SimdDot4};
use crate::quant::{Quant8, Tail8};
use std::arch::aarch64::*;

/// Token of NEON.
#[derive(Clone, Copy)]
pub(crate) struct DotNeon;

/// Token of NEON with the dot product.
#[derive(Clone, Copy)]
pub(crate) struct DotNeonDot;

macro_rules! simd_dot {
    ($token:ident) => {
        impl SimdDot for $token {
            const LANES: usize = 4;
            type Sums = int32x4_t;
            type Pairs = int16x8_t;
            type Scales = float32x4_t;

            #[inline(always)]
            fn zero(self) -> int32x4_t {
                // SAFETY: a token stands for the level.
                unsafe { vdupq_n_s32(0) }
            }

            #[inline(always)]
            unsafe fn load_sums(self, p: *const i32) -> int32x4_t {
                // SAFETY: as the caller promises.
                unsafe { vld1q_s32(p) }
            }

            #[inline(always)]
            unsafe fn store_sums(self, p: *mut i32, v: int32x4_t) {
                // SAFETY: as the caller promises.
                unsafe { vst1q_s32(p, v) }
            }

            #[inline(always)]
            unsafe fn load_scales(self, p: *const f32) -> float32x4_t {
                // SAFETY: as the caller promises.
                unsafe { vld1q_f32(p) }
            }

            #[inline(always)]
            unsafe fn store_scales(self, p: *mut f32, v: float32x4_t) {
                // SAFETY: as the caller promises.
                unsafe { vst1q_f32(p, v) }
            }

            #[inline(always)]
            unsafe fn load_pairs(self, p: *const i16) -> int16x8_t {
                // SAFETY: as the caller promises.
                unsafe { vld1q_s16(p) }
            }

            #[inline(always)]
            unsafe fn load_narrow(self, p: *const i8) -> int16x8_t {
                // SAFETY: as the caller promises.
                unsafe { vmovl_s8(vld1_s8(p)) }
            }

            #[inline(always)]
            unsafe fn splat_pair(self, p: *const i16) -> int16x8_t {
                // SAFETY: as the caller promises.
                unsafe { vreinterpretq_s16_s32(vdupq_n_s32(p.cast::<i32>().read_unaligned())) }
            }

            #[inline(always)]
            fn dot(self, sum: int32x4_t, a: int16x8_t, b: int16x8_t) -> int32x4_t {
                // SAFETY: a token stands for the level.
                unsafe {
                    let low = vmull_s16(vget_low_s16(a), vget_low_s16(b));
                    let high = vmull_high_s16(a, b);
                    vaddq_s32(sum, vpaddq_s32(low, high))
                }
            }

            #[inline(always)]
            fn scale(self, sum: int32x4_t, m: float32x4_t) -> float32x4_t {
                // SAFETY: a token stands for the level.
                unsafe { vmulq_f32(vcvtq_f32_s32(sum), m) }
            }

            #[inline(always)]
            unsafe fn store_bytes(self, p: [*mut u8; 2], v: [float32x4_t; 2], tail: &Tail8) {
                // SAFETY: a token stands for the level; the pointers are the caller's duty.
                unsafe {
                    let (low, high) = (vdupq_n_f32(tail.low), vdupq_n_f32(tail.high));
                    let words =
                        v.map(|v| vqmovn_s32(vcvtnq_s32_f32(vminq_f32(vmaxq_f32(v, low), high))));
                    let words = vaddq_s16(vcombine_s16(words[0], words[1]), vdupq_n_s16(tail.zero));
                    let bytes = veor_u8(vqmovun_s16(words), vdup_n_u8(tail.flip));
                    let both = vreinterpret_u32_u8(bytes);
                    p[0].cast::<u32>().write_unaligned(vget_lane_u32::<0>(both));
                    p[1].cast::<u32>().write_unaligned(vget_lane_u32::<1>(both));
                }
            }

            #[inline(always)]
            unsafe fn widen(self, from: *const u8, to: *mut i16, quant: Quant8) {
                // SAFETY: a token stands for the level; the pointers are the caller's duty.
                unsafe {
                    let bytes = veorq_u8(vld1q_u8(from), vdupq_n_u8(quant.flip()));
                    let zero = vdup_n_u8(quant.zero());
                    let wide = |bytes| vreinterpretq_s16_u16(vsubl_u8(bytes, zero));
                    vst1q_s16(to, wide(vget_low_u8(bytes)));
                    vst1q_s16(to.add(8), wide(vget_high_u8(bytes)));
                }
            }

            #[inline(always)]
            unsafe fn widen_pairs(self, a: *const u8, b: *const u8, to: *mut i16, quant: Quant8) {
                // SAFETY: a token stands for the level; the pointers are the caller's duty.
                unsafe {
                    let flip = vdupq_n_u8(quant.flip());
                    let zero = vdup_n_u8(quant.zero());
                    let (a, b) = (veorq_u8(vld1q_u8(a), flip), veorq_u8(vld1q_u8(b), flip));
                    let wide = |bytes| vreinterpretq_s16_u16(vsubl_u8(bytes, zero));
                    for (i, bytes) in [vzip1q_u8(a, b), vzip2q_u8(a, b)].into_iter().enumerate() {
                        vst1q_s16(to.add(16 * i), wide(vget_low_u8(bytes)));
                        vst1q_s16(to.add(16 * i + 8), wide(vget_high_u8(bytes)));
                    }
                }
            }
        }
    };
}

simd_dot!(DotNeon);
simd_dot!(DotNeonDot);

impl SimdDot4 for DotNeonDot {
    const SIGNED: bool = true;

    #[inline(always)]
    fn dot4(self, sum: int32x4_t, a: int16x8_t, b: int16x8_t) -> int32x4_t {
        let mut out = sum;
        // The intrinsic is not stable yet.
        // SAFETY: a token stands for the instruction, which only writes `out`.
        unsafe {
            std::arch::asm!(
                "sdot {s:v}.4s, {a:v}.16b, {b:v}.16b",
                s = inout(vreg) out,
                a = in(vreg) a,
                b = in(vreg) b,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        out
    }

    #[inline(always)]
    unsafe fn interleave(self, rows: [*const u8; 4], to: *mut u8, flip: u8) {
        // SAFETY: a token stands for the level; the pointers are the caller's duty.
        unsafe {
            let [a, b, c, d] = rows.map(|row| veorq_u8(vld1q_u8(row), vdupq_n_u8(flip)));
            vst4q_u8(to, uint8x16x4_t(a, b, c, d));
        }
    }
}
