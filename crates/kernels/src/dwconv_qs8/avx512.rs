//! AVX-512: 16 channels a vector. Not run on hardware that has it.

use super::generic::kernel;
use crate::arch::dot::{DotAvx512, DotAvx512Vnni};
use crate::isa::{Extension, Isa};

kernel! {
    /// `vpmaddwd` and `vpaddd`.
    ZMM: "dwconv_qs8_any_2x4_avx512", Isa::Avx512, None, DotAvx512, zmm,
    target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt,fxsr,avx512f,avx512bw,avx512cd,avx512dq,avx512vl")
}
kernel! {
    /// `vpdpwssd`.
    VNNI: "dwconv_qs8_any_2x4_avx512vnni", Isa::Avx512, Some(Extension::Avx512Vnni), DotAvx512Vnni, vnni,
    target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt,fxsr,avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512vnni")
}
