//! AVX2: 8 channels a vector, 8 of the 16 registers hold sums. The AVX-VNNI entries have run in an
//! emulator, not on hardware.

use super::generic::{self, kernel};
use crate::arch::dot::{DotAvx2, DotAvxVnni};
use crate::isa::{Extension, Isa};

kernel! {
    /// `vpmaddwd` and `vpaddd`.
    YMM: "dwconv_qs8_any_2x4_avx2", Isa::Avx2, None, DotAvx2 Words, ymm,
    target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt,fxsr")
}
kernel! {
    /// `vpdpwssd`, for weights of 16 bits.
    VNNI: "dwconv_qs8_any_2x4_avxvnni", Isa::Avx2, Some(Extension::AvxVnni), DotAvxVnni Words, vnni,
    target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt,fxsr,avxvnni")
}
kernel! {
    /// `vpdpbusd`.
    BYTES: "dwconv_qs8_any_2x4_avxvnni_bytes", Isa::Avx2, Some(Extension::AvxVnni), DotAvxVnni Bytes, bytes,
    target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt,fxsr,avxvnni")
}
