//! Files of Keras against what Keras computes of them.

mod files;
mod hostile;
mod real;
mod small;

use bytes::Bytes;
use std::path::PathBuf;

/// The folder of small files; `make.py` in it says how they were made.
fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/generated/keras")
}

fn fixture(name: &str) -> Bytes {
    let path = folder().join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).into()
}
