//! Shared test helpers. Knows the layers, never a kernel.
//!
//! | module or item | what it is for |
//! |---|---|
//! | [`strategies`] | proptest strategies for geometries around vector widths |
//! | [`random_tensor`] | the same numbers on every machine |
//! | [`assert_close`], [`Bound`], [`term_sums`] | comparison with an error bound |
//! | [`Guarded`] | a slice between poisoned elements |
//! | [`shared_dir`] | the reference material, where it is present |

#![forbid(unsafe_code)]

mod compare;
mod guard;
mod random;
pub mod strategies;

pub use compare::{Bound, Mismatch, assert_close, assert_close_f32, compare, term_sums};
pub use guard::Guarded;
pub use random::{Random, random_tensor};

use std::path::{Path, PathBuf};

/// The folder of reference models and goldens beside the workspace. Where it is absent, says so on
/// standard output: a test that needs it then returns.
pub fn shared_dir() -> Option<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2)?;
    let dir = workspace.parent()?.join("shared");
    if dir.is_dir() {
        return Some(dir);
    }
    println!("skipped: no ../shared");
    None
}
