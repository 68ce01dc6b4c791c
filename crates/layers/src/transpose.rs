//! Axes in another order.

/// `y.dims[i] = x.dims[perm[i]]`
#[derive(Clone, Debug, PartialEq)]
pub struct Transpose {
    /// A permutation of the axes.
    pub perm: Vec<usize>,
}
