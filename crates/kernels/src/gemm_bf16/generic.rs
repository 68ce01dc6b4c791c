//! Rows rounded at any vector width. The register tiles are those of [`gemm_f32`](crate::gemm_f32).

use crate::arch::bf16::{RoundBf16, round};
use crate::gather::Convert;

/// Numbers as bfloat16.
#[derive(Clone, Copy)]
pub(super) struct Round<S>(pub S);

impl<S: RoundBf16> Convert for Round<S> {
    type From = f32;
    type To = u16;

    #[inline(always)]
    fn zero(self) -> u16 {
        0
    }

    #[inline(always)]
    fn one(self, x: f32) -> u16 {
        round(x)
    }

    #[inline(always)]
    unsafe fn sixteen(self, from: *const f32, to: *mut u16) {
        // SAFETY: as the caller promises.
        unsafe { self.0.round_16(from, to) };
    }
}
