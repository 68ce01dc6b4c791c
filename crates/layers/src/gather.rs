//! Elements chosen by index.

/// `y = x` with `axis` replaced by the dimensions of the indices. Inputs: x, indices (`i64` or
/// `i32`, negative from the end).
#[derive(Clone, Debug, PartialEq)]
pub struct Gather {
    /// The axis, negative from the end.
    pub axis: i64,
}
