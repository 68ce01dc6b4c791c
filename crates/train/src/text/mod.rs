//! Texts as numbers.
//!
//! [`TextEncoder`] turns a text into a fixed number of tokens, with a vocabulary of words made from
//! the training texts or with a tokenizer of the `tokenizers` library. It lives in the metadata of
//! the model that reads the tokens, so that a model file is all it takes to use it. [`Synonyms`]
//! changes training texts at random.

mod encoder;
mod synonyms;

pub use encoder::{TextEncoder, VocabularyOptions};
pub use synonyms::Synonyms;

use crate::FitError;
use std::collections::BTreeSet;
use std::path::Path;
use unicode_segmentation::UnicodeSegmentation;

/// A list of words: one per line, `#` begins a remark. Case does not count.
///
/// # Errors
/// [`FitError::Io`] where the file cannot be read.
pub fn read_words(path: &Path) -> Result<BTreeSet<String>, FitError> {
    let text = std::fs::read_to_string(path).map_err(FitError::io(path))?;
    let word = |line: &str| line.split('#').next().unwrap_or_default().trim().to_lowercase();
    Ok(text.lines().map(word).filter(|word| !word.is_empty()).collect())
}

/// The text with its words replaced: `None` takes a word out. What stands between words stays.
fn edit_words(text: &str, mut edit: impl FnMut(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    for piece in text.split_word_bounds() {
        if piece.chars().any(char::is_alphanumeric) {
            out.extend(edit(piece));
        } else {
            out.push_str(piece);
        }
    }
    out
}
