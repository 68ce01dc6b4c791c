//! The baseline of the target.

use crate::arch::Scalar;
use crate::isa::Isa;

super::kernel!("reduce_f32_c4_scalar", Isa::Scalar, Scalar, inline(never));
