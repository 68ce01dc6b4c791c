//! The baseline of the target.

super::generic::kernel!("pool_qs8_scalar", crate::isa::Isa::Scalar);
