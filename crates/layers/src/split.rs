//! A tensor cut along an axis.

/// Consecutive parts of x along `axis`, one output each.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    /// The axis, negative from the end.
    pub axis: i64,
    /// Extents of the parts; they add up to the axis.
    pub parts: SplitParts,
}

/// How a [`Split`] divides its axis.
#[derive(Clone, Debug, PartialEq)]
pub enum SplitParts {
    /// These extents.
    Sizes(Vec<usize>),
    /// This many parts of `ceil(axis / n)`, the last one smaller.
    Equal(usize),
}
