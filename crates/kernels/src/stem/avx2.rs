//! AVX2 and FMA: 12 of the 16 registers hold sums.

use super::bodies::{bodies, kernel};
use super::bytes::LineArgs;
use super::{Kernel, STEPS, TileArgs, bytes, generic};
use crate::isa::Isa;
use pulp::x86::V3;

kernel! { K6X16: "stem_f32_6x16_avx2", Isa::Avx2, 6 x 16, ymm 2 }
kernel! { K3X24: "stem_f32_3x24_avx2", Isa::Avx2, 3 x 24, ymm 3 }
kernel! { K10X8: "stem_f32_10x8_avx2", Isa::Avx2, 10 x 8, ymm 1 }

bodies! {
    ymm, V3, V3::new_unchecked(),
    target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt,fxsr")
}
