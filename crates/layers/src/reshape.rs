//! The same elements under other extents.

/// Inputs: x; shape, `i64`, where -1 (at most once) takes what is left.
#[derive(Clone, Debug, PartialEq)]
pub struct Reshape {
    /// A 0 in the shape means extent 0; else it copies the extent of x at that position.
    pub allow_zero: bool,
}

/// Two dimensions: the extents before `axis` multiplied, and those from it on.
#[derive(Clone, Debug, PartialEq)]
pub struct Flatten {
    /// The axis, negative from the end; may equal the rank.
    pub axis: i64,
}

/// Axes of extent 1 removed.
#[derive(Clone, Debug, PartialEq)]
pub struct Squeeze {
    /// The axes, negative from the end. Empty means every axis of extent 1.
    pub axes: Vec<i64>,
}

/// Axes of extent 1 inserted.
#[derive(Clone, Debug, PartialEq)]
pub struct Unsqueeze {
    /// Positions in the output, negative from the end.
    pub axes: Vec<i64>,
}
