//! Matrix product of two activations.

/// `y[.., m, n] = sum over k of a[.., m, k] * b[.., k, n]`, NumPy's `matmul`: leading dimensions
/// broadcast; a vector on either side gets a dimension that is dropped again.
#[derive(Clone, Debug, PartialEq)]
pub struct MatMul;
