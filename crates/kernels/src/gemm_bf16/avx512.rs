//! AVX-512 with AVX512_BF16: the tiles of `gemm_f32`. Not run on hardware that has it.

use super::bodies::{bodies, gather_rounded, kernel};
use super::generic::Round;
use super::{Kernel, TileArgs};
use crate::arch::bf16::Pair;
use crate::gather::{GatherArgs, gather};
use crate::gemm_f32::avx512::OPS;
use crate::isa::{Extension, Isa};
use pulp::x86::{V3, V4};

const BF16: Option<Extension> = Some(Extension::Avx512Bf16);

kernel! {
    /// 8 rows of three zmm: 24 of the 32 registers hold sums.
    K8X48: "gemm_bf16_8x48_avx512bf16", Isa::Avx512, BF16, 48, zmm 3, &OPS, rows 1 2 3 4 5 6 7 8
}
kernel! {
    /// What is left of a width that is no multiple of 48.
    K8X32: "gemm_bf16_8x32_avx512bf16", Isa::Avx512, BF16, 32, zmm 2, &OPS, rows 1 2 3 4 5 6 7 8
}
kernel! {
    /// As [`K8X32`].
    K8X16: "gemm_bf16_8x16_avx512bf16", Isa::Avx512, BF16, 16, zmm 1, &OPS, rows 1 2 3 4 5 6 7 8
}
kernel! {
    /// 9 rows of three ymm, where 24 columns are left.
    K9X24: "gemm_bf16_9x24_avx512bf16", Isa::Avx512, BF16, 24, ymm 3, &OPS, rows 1 2 3 4 5 6 7 8 9
}
kernel! {
    /// Up to 8 columns.
    K9X8: "gemm_bf16_9x8_avx512bf16", Isa::Avx512, BF16, 8, ymm 1, &OPS, rows 1 2 3 4 5 6 7 8 9
}

bodies! {
    zmm, V4, V4::new_unchecked(),
    target_feature(enable = "avx512f,avx512vl,avx512bw,avx512cd,avx512dq,avx512bf16"),
    target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt,fxsr")
}
// 256-bit vectors, with 32 registers.
bodies! {
    ymm, V3, V3::new_unchecked(),
    target_feature(enable = "avx512f,avx512vl,avx512bw,avx512cd,avx512dq,avx512bf16"),
    target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt,fxsr")
}
gather_rounded! {
    V4::new_unchecked(),
    target_feature(enable = "avx512f,avx512vl,avx512bw,avx512cd,avx512dq,avx512bf16"),
    target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt,fxsr")
}
