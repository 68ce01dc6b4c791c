//! AVX-512: 24 sums in zmm, or 27 in ymm where 24 columns are left.

use super::bodies::{bodies, kernel, row_ops};
use super::{IndirectArgs, Kernel, RowOps, RowsArgs, TileArgs, generic};
use crate::isa::Isa;
use depthwise_tensor::Activation;
use pulp::x86::{V3, V4};

kernel! {
    /// 8 rows of three zmm: 24 of the 32 registers hold sums, enough to hide the latency of the
    /// FMA, and 8 rows are as many as the ways of the L1 cache.
    K8X48: "gemm_f32_8x48_avx512", Isa::Avx512, 48, zmm 3, rows 1 2 3 4 5 6 7 8
}
kernel! {
    /// What is left of a width that is no multiple of 48.
    K8X32: "gemm_f32_8x32_avx512", Isa::Avx512, 32, zmm 2, rows 1 2 3 4 5 6 7 8
}
kernel! {
    /// As [`K8X32`].
    K8X16: "gemm_f32_8x16_avx512", Isa::Avx512, 16, zmm 1, rows 1 2 3 4 5 6 7 8
}
kernel! {
    /// 9 rows of three ymm, for which AVX-512VL has 32 registers too: 24 columns without the
    /// quarter that zmm would waste.
    K9X24: "gemm_f32_9x24_avx512", Isa::Avx512, 24, ymm 3, rows 1 2 3 4 5 6 7 8 9
}
kernel! {
    /// Up to 8 columns.
    K9X8: "gemm_f32_9x8_avx512", Isa::Avx512, 8, ymm 1, rows 1 2 3 4 5 6 7 8 9
}

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
// 256-bit vectors divide every panel.
row_ops! {
    V3::new_unchecked(),
    target_feature(enable = "avx512f,avx512vl,avx512bw,avx512cd,avx512dq"),
    target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt,fxsr")
}
