//! The baseline of the target: vectors of four, multiplication and addition apart.

use super::bodies::{bodies, kernel};
use super::bytes::LineArgs;
use super::{Kernel, STEPS, TileArgs, bytes, generic};
use crate::arch::Scalar;
use crate::isa::Isa;

kernel! { K4X8: "stem_f32_4x8_scalar", Isa::Scalar, 4 x 8, quad 2 }
kernel! { K4X4: "stem_f32_4x4_scalar", Isa::Scalar, 4 x 4, quad 1 }

bodies! { quad, Scalar, Scalar }
