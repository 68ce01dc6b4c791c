//! Tensors joined along an axis.

/// All inputs one after the other along `axis`; they agree on every other axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Concat {
    /// The axis, negative from the end.
    pub axis: i64,
}
