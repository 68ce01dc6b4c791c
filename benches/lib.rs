//! What the benches run: layer shapes of real networks ([`shapes`]), and every kernel of every
//! family on them ([`families`]). `cargo xtask bench` and the criterion benches share both.

#![forbid(unsafe_code)]

pub mod case;
pub mod families;
mod families_bwd;
mod families_qs8;
#[cfg(feature = "networks")]
pub mod networks;
pub mod shapes;
