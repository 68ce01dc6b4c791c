//! Models built here record by record, and real ones.

mod build;
mod cases;
mod custom;
mod graph;
mod hostile;
mod operators;
mod real;
mod variables;
