//! Broadcasting made explicit.

/// x broadcast with a shape (NumPy's rules, so an extent 1 in the shape keeps that of x). Inputs:
/// x; shape, `i64`.
#[derive(Clone, Debug, PartialEq)]
pub struct Expand;
