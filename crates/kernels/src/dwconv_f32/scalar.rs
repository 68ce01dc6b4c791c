//! The baseline of the target: 4 channels a vector, 16 registers on x86-64.

use crate::arch::Scalar;
use crate::isa::Isa;

super::kernels! {
    isa: Isa::Scalar,
    token: Scalar,
    attribute: inline(never);
    tiled dwconv_f32_3x3s1_2x4_scalar: 3 x 3, 1, 2 x 4, 110;
    tiled dwconv_f32_3x3s1_2x2_scalar: 3 x 3, 1, 2 x 2, 100;
    tiled dwconv_f32_3x3s2_2x2_scalar: 3 x 3, 2, 2 x 2, 100;
    tiled dwconv_f32_5x5s1_2x2_scalar: 5 x 5, 1, 2 x 2, 100;
    tiled dwconv_f32_5x5s2_2x2_scalar: 5 x 5, 2, 2 x 2, 100;
    any dwconv_f32_any_1x4_scalar: 4, 300;
}
