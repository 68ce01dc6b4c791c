//! Layer shapes of real networks, shared by the benches.

#![forbid(unsafe_code)]
