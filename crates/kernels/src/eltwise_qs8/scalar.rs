//! The baseline of the target.

super::generic::kernel!("eltwise_qs8_scalar", crate::isa::Isa::Scalar);
