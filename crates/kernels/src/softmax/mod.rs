//! Exponentials normalised to sum 1.
