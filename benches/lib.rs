//! Layer shapes of real networks, shared by the benches.
