//! The baseline of the target.

use crate::arch::Scalar;
use crate::isa::Isa;

super::kernel!("pool_f32_c16_scalar", Isa::Scalar, Scalar, inline(never));
