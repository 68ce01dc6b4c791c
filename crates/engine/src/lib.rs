//! engine
pub mod passes;
