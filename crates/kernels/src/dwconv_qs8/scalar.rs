//! The baseline of the target: vectors of four.

use super::generic::{self, kernel};
use crate::arch::dot::DotScalar;
use crate::isa::Isa;

kernel! {
    /// Sums of four channels.
    QUAD: "dwconv_qs8_any_2x4_scalar", Isa::Scalar, None, DotScalar Words, quad
}
