//! AVX-512, with and without VNNI. Not run on hardware that has it.

use super::bodies::{bodies, kernel};
use super::generic::{self, Terms};
use super::{Kernel, TileArgs};
use crate::arch::dot::{DotAvx512, DotAvx512Vnni};
use crate::gather::GatherArgs;
use crate::isa::{Extension, Isa};
use crate::quant::Quant8;

kernel! {
    /// 12 rows of two zmm: 24 of the 32 registers hold sums of four products each.
    K12X32_BYTES: "gemm_qs8_12x32_avx512vnni_bytes", Isa::Avx512, Some(Extension::Avx512Vnni), 32, vnni 2,
    Bytes, rows [1 2 3 4 5 6 7 8 9 10 11 12]
}
kernel! {
    /// Up to 16 columns.
    K12X16_BYTES: "gemm_qs8_12x16_avx512vnni_bytes", Isa::Avx512, Some(Extension::Avx512Vnni), 16, vnni 1,
    Bytes, rows [1 2 3 4 5 6 7 8 9 10 11 12]
}
kernel! {
    /// For weights of 16 bits. 12 rows of two zmm: 24 of the 32 registers hold sums.
    K12X32_VNNI: "gemm_qs8_12x32_avx512vnni", Isa::Avx512, Some(Extension::Avx512Vnni), 32, vnni 2,
    Words WideWords, rows [1 2 3 4 5 6 7 8 9 10 11 12]
}
kernel! {
    /// Up to 16 columns.
    K12X16_VNNI: "gemm_qs8_12x16_avx512vnni", Isa::Avx512, Some(Extension::Avx512Vnni), 16, vnni 1,
    Words WideWords, rows [1 2 3 4 5 6 7 8 9 10 11 12]
}
kernel! {
    /// Without VNNI products take registers, too.
    K8X32: "gemm_qs8_8x32_avx512", Isa::Avx512, None, 32, zmm 2,
    Words WideWords, rows [1 2 3 4 5 6 7 8]
}
kernel! {
    /// Up to 16 columns.
    K12X16: "gemm_qs8_12x16_avx512", Isa::Avx512, None, 16, zmm 1,
    Words WideWords, rows [1 2 3 4 5 6 7 8 9 10 11 12]
}

bodies! {
    zmm, DotAvx512,
    target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt,fxsr,avx512f,avx512bw,avx512cd,avx512dq,avx512vl")
}
bodies! {
    vnni, DotAvx512Vnni,
    target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt,fxsr,avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512vnni")
}
