//! The baseline of the target.

use crate::arch::Scalar;
use crate::isa::Isa;

super::kernel!("dwconv_bwd_c16_scalar", Isa::Scalar, Scalar, Scalar, 4, 1, inline(never));
