//! The `depthwise` binary.
fn main() {}
