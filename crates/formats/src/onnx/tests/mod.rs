//! Models built here node by node, and real ones.

mod build;
mod composed;
mod external;
mod graph;
mod hostile;
mod operators;
mod real;
