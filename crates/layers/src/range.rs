//! Numbers in equal steps.

/// `start, start + delta, ..` before `limit`. Inputs: start, limit, delta, scalars of one dtype.
#[derive(Clone, Debug, PartialEq)]
pub struct Range;
