//! Matrix product: pointwise convolutions and dense layers.
