//! AVX-512: 16 channels a vector. Run in an emulator, not on hardware.

use super::generic::{self, kernel};
use crate::arch::dot::{DotAvx512, DotAvx512Vnni};
use crate::isa::{Extension, Isa};

kernel! {
    /// `vpmaddwd` and `vpaddd`.
    ZMM: "dwconv_qs8_any_2x4_avx512", Isa::Avx512, None, DotAvx512 Words, zmm,
    target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt,fxsr,avx512f,avx512bw,avx512cd,avx512dq,avx512vl")
}
kernel! {
    /// `vpdpwssd`, for weights of 16 bits.
    VNNI: "dwconv_qs8_any_2x4_avx512vnni", Isa::Avx512, Some(Extension::Avx512Vnni), DotAvx512Vnni Words, vnni,
    target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt,fxsr,avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512vnni")
}
kernel! {
    /// `vpdpbusd`.
    BYTES: "dwconv_qs8_any_2x4_avx512vnni_bytes", Isa::Avx512, Some(Extension::Avx512Vnni), DotAvx512Vnni Bytes, bytes,
    target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt,fxsr,avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512vnni")
}
