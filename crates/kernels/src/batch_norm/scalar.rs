//! The baseline of the target.

use crate::arch::Scalar;
use crate::isa::Isa;

super::kernel!("batch_norm_c16_scalar", Isa::Scalar, Scalar, Scalar, inline(never));
