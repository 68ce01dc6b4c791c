//! Advanced SIMD: 16 of the 32 registers hold sums. Not measured on hardware.

use super::bodies::{bodies, kernel};
use super::bytes::LineArgs;
use super::{Kernel, STEPS, TileArgs, bytes, generic};
use crate::isa::Isa;
use pulp::aarch64::Neon;

kernel! { K8X8: "stem_f32_8x8_neon", Isa::Neon, 8 x 8, quad 2 }
kernel! { K8X4: "stem_f32_8x4_neon", Isa::Neon, 8 x 4, quad 1 }

bodies! { quad, Neon, Neon::new_unchecked(), target_feature(enable = "neon") }
