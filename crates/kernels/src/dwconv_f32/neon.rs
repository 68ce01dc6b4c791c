//! NEON: 4 channels a vector, 32 registers.

use crate::isa::Isa;
use pulp::aarch64::Neon;

super::kernels! {
    isa: Isa::Neon,
    token: Neon::new_unchecked(),
    attribute: target_feature(enable = "neon");
    tiled dwconv_f32_3x3s1_2x4_neon: 3 x 3, 1, 2 x 4, 100;
    tiled dwconv_f32_3x3s1_2x2_neon: 3 x 3, 1, 2 x 2, 110;
    tiled dwconv_f32_3x3s2_2x2_neon: 3 x 3, 2, 2 x 2, 100;
    tiled dwconv_f32_5x5s1_2x4_neon: 5 x 5, 1, 2 x 4, 100;
    tiled dwconv_f32_5x5s2_2x4_neon: 5 x 5, 2, 2 x 4, 100;
    any dwconv_f32_any_1x8_neon: 8, 300;
}
