//! A tensor repeated.

/// x repeated along every axis. Inputs: x; repeats, `i64` of the rank of x.
#[derive(Clone, Debug, PartialEq)]
pub struct Tile;
