//! The baseline of the target.

use crate::arch::Scalar;
use crate::isa::Isa;

super::kernel!(
    "conv2d_bwd_4x8_scalar",
    Isa::Scalar,
    Scalar,
    Scalar,
    4,
    2,
    rows 1 2 3 4,
    inline(never)
);
