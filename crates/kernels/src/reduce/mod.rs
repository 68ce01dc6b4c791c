//! Reductions over whole axes.
