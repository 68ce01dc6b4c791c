//! AVX2: 12 of the 16 registers hold sums. The AVX-VNNI entries have not run on hardware.

use super::bodies::{bodies, kernel};
use super::generic::{self, Terms};
use super::{Kernel, TileArgs};
use crate::arch::dot::{DotAvx2, DotAvxVnni};
use crate::gather::GatherArgs;
use crate::isa::{Extension, Isa};
use crate::quant::Quant8;

kernel! {
    /// 6 rows of two ymm.
    K6X16: "gemm_qs8_6x16_avx2", Isa::Avx2, None, 16, ymm 2,
    Words WideWords, rows [1 2 3 4 5 6]
}
kernel! {
    /// Up to 8 columns.
    K10X8: "gemm_qs8_10x8_avx2", Isa::Avx2, None, 8, ymm 1,
    Words WideWords, rows [1 2 3 4 5 6 7 8 9 10]
}
kernel! {
    /// Four products a sum.
    K6X16_BYTES: "gemm_qs8_6x16_avxvnni_bytes", Isa::Avx2, Some(Extension::AvxVnni), 16, vnni 2,
    Bytes, rows [1 2 3 4 5 6]
}
kernel! {
    /// Up to 8 columns.
    K10X8_BYTES: "gemm_qs8_10x8_avxvnni_bytes", Isa::Avx2, Some(Extension::AvxVnni), 8, vnni 1,
    Bytes, rows [1 2 3 4 5 6 7 8 9 10]
}
kernel! {
    /// For weights of 16 bits. As without VNNI, one instruction for product and sum.
    K6X16_VNNI: "gemm_qs8_6x16_avxvnni", Isa::Avx2, Some(Extension::AvxVnni), 16, vnni 2,
    Words WideWords, rows [1 2 3 4 5 6]
}
kernel! {
    /// Up to 8 columns.
    K10X8_VNNI: "gemm_qs8_10x8_avxvnni", Isa::Avx2, Some(Extension::AvxVnni), 8, vnni 1,
    Words WideWords, rows [1 2 3 4 5 6 7 8 9 10]
}

bodies! { ymm, DotAvx2, target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt,fxsr") }
bodies! { vnni, DotAvxVnni, target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt,fxsr,avxvnni") }
