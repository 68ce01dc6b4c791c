//! AVX2 and FMA: 12 of the 16 registers hold sums.

use super::bodies::{bodies, kernel, row_ops};
use super::{IndirectArgs, Kernel, RowOps, RowsArgs, TileArgs, generic};
use crate::isa::Isa;
use depthwise_tensor::Activation;
use pulp::x86::V3;

kernel! {
    /// 6 rows of two ymm: 12 sums, two vectors of weights, and registers to spare, without which
    /// LLVM spills in the loop (4x24 runs at half speed).
    K6X16: "gemm_f32_6x16_avx2", Isa::Avx2, 16, ymm 2, rows 1 2 3 4 5 6
}
kernel! {
    /// 16 + 8 columns in one: 9 sums still hide the latency of the FMA, where 8 columns alone are
    /// bound by the broadcasts of `a`.
    K3X24: "gemm_f32_3x24_avx2", Isa::Avx2, 24, ymm 3, rows 1 2 3
}
kernel! {
    /// Up to 8 columns: 10 sums hide the latency of the FMA, 6 would not.
    K10X8: "gemm_f32_10x8_avx2", Isa::Avx2, 8, ymm 1, rows 1 2 3 4 5 6 7 8 9 10
}

bodies! {
    ymm, V3, V3::new_unchecked(),
    target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt,fxsr")
}
row_ops! {
    V3::new_unchecked(),
    target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt,fxsr")
}
