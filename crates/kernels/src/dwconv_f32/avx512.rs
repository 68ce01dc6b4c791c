//! AVX-512: 16 channels a vector, 32 registers.

use crate::isa::Isa;
use pulp::x86::V4;

super::kernels! {
    isa: Isa::Avx512,
    token: V4::new_unchecked(),
    attribute: target_feature(
        enable = "avx512f,avx512vl,avx512bw,avx512cd,avx512dq,avx2,fma,bmi1,bmi2,lzcnt,popcnt,fxsr"
    );
    tiled dwconv_f32_3x3s1_2x4_avx512: 3 x 3, 1, 2 x 4, 100;
    tiled dwconv_f32_3x3s1_2x2_avx512: 3 x 3, 1, 2 x 2, 110;
    tiled dwconv_f32_3x3s2_2x2_avx512: 3 x 3, 2, 2 x 2, 100;
    tiled dwconv_f32_5x5s1_1x2_avx512: 5 x 5, 1, 1 x 2, 100;
    tiled dwconv_f32_5x5s2_2x4_avx512: 5 x 5, 2, 2 x 4, 100;
    any dwconv_f32_any_1x8_avx512: 8, 300;
}
