//! The baseline of the target: vectors of four, half precision widened element by element.

use crate::arch::Scalar;
use crate::isa::Isa;

super::kernel!("dense_f16_4x8_scalar", Isa::Scalar, 8, 2, Scalar);
