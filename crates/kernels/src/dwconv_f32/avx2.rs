//! AVX2 and FMA: 8 channels a vector, 16 registers.

use crate::isa::Isa;
use pulp::x86::V3;

super::kernels! {
    isa: Isa::Avx2,
    token: V3::new_unchecked(),
    attribute: target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt,fxsr");
    tiled dwconv_f32_3x3s1_2x4_avx2: 3 x 3, 1, 2 x 4, 100;
    tiled dwconv_f32_3x3s1_2x2_avx2: 3 x 3, 1, 2 x 2, 118;
    tiled dwconv_f32_3x3s2_2x4_avx2: 3 x 3, 2, 2 x 4, 93;
    tiled dwconv_f32_3x3s2_2x2_avx2: 3 x 3, 2, 2 x 2, 100;
    tiled dwconv_f32_5x5s1_1x4_avx2: 5 x 5, 1, 1 x 4, 100;
    tiled dwconv_f32_5x5s1_2x2_avx2: 5 x 5, 1, 2 x 2, 103;
    tiled dwconv_f32_5x5s2_2x2_avx2: 5 x 5, 2, 2 x 2, 100;
    any dwconv_f32_any_1x8_avx2: 8, 300;
}
