//! Reductions over whole axes.

/// What a reduction computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReduceFn {
    /// Arithmetic mean.
    Mean,
    /// Sum.
    Sum,
    /// Largest element.
    Max,
    /// Smallest element.
    Min,
    /// Product.
    Prod,
    /// Sum of absolute values.
    L1,
    /// Square root of the sum of squares.
    L2,
    /// Sum of squares.
    SumSquare,
    /// Logarithm of the sum.
    LogSum,
    /// Logarithm of the sum of exponentials.
    LogSumExp,
}

/// A reduction over `axes`. Global average pooling of an NHWC picture is the mean over axes 1 and
/// 2 with `keep_dims`.
#[derive(Clone, Debug, PartialEq)]
pub struct Reduce {
    /// What is computed.
    pub function: ReduceFn,
    /// Axes to reduce, negative from the end. Empty means every axis.
    pub axes: Vec<i64>,
    /// Keep reduced axes with extent 1.
    pub keep_dims: bool,
}

/// Position of the largest (or smallest) element along an axis, as `i64`. Ties go to the first,
/// or to the last where `select_last`.
#[derive(Clone, Debug, PartialEq)]
pub struct ArgExtreme {
    /// Position of the largest, else of the smallest.
    pub largest: bool,
    /// The axis, negative from the end.
    pub axis: i64,
    /// Keep the axis with extent 1.
    pub keep_dims: bool,
    /// Ties go to the last position.
    pub select_last: bool,
}
