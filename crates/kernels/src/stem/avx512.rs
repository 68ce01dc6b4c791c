//! AVX-512: up to 28 sums in zmm, or 27 in ymm where 24 columns are left.

use super::bodies::{bodies, kernel};
use super::bytes::LineArgs;
use super::{Kernel, STEPS, TileArgs, bytes, generic};
use crate::isa::Isa;
use pulp::x86::{V3, V4};

kernel! { K8X48: "stem_f32_8x48_avx512", Isa::Avx512, 8 x 48, zmm 3 }
kernel! { K14X32: "stem_f32_14x32_avx512", Isa::Avx512, 14 x 32, zmm 2 }
kernel! { K14X16: "stem_f32_14x16_avx512", Isa::Avx512, 14 x 16, zmm 1 }
kernel! { K9X24: "stem_f32_9x24_avx512", Isa::Avx512, 9 x 24, ymm 3 }
kernel! { K14X8: "stem_f32_14x8_avx512", Isa::Avx512, 14 x 8, ymm 1 }

bodies! {
    zmm, V4, V4::new_unchecked(),
    target_feature(enable = "avx512f,avx512vl,avx512bw,avx512cd,avx512dq"),
    target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt,fxsr")
}
// 256-bit vectors, with 32 registers.
bodies! {
    ymm, V3, V3::new_unchecked(),
    target_feature(enable = "avx512f,avx512vl,avx512bw,avx512cd,avx512dq"),
    target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt,fxsr")
}
