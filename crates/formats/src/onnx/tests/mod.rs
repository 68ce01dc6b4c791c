//! Models built here byte by byte, and real ones.

mod real;
