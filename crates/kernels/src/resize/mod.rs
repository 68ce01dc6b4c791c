//! Interpolation to another size.
