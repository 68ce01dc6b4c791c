//! Leaky ReLU with learned slopes.

/// `y = x` where positive, else `slope * x`. Inputs: x, slope; slope broadcasts to x (He et al.
/// 2015).
#[derive(Clone, Debug, PartialEq)]
pub struct PRelu;
