//! From a text to a row of tokens.

use super::{Synonyms, edit_words};
use crate::FitError;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use tokenizers::Tokenizer;
use unicode_segmentation::UnicodeSegmentation;

/// What fills a row behind the text.
const PADDING: i64 = 0;
/// Stands for a word that is not in the vocabulary.
const UNKNOWN: i64 = 1;
/// The first word of the vocabulary.
const FIRST: i64 = 2;

/// Keys of the metadata.
const LENGTH: &str = "text.length";
const STOP_WORDS: &str = "text.stop-words";
const VOCABULARY: &str = "text.vocabulary";
const TOKENIZER: &str = "text.tokenizer";

/// Most tokens of a text.
const MAX_LENGTH: usize = 1 << 16;

/// Which words a vocabulary takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VocabularyOptions {
    /// Tokens of a text: more are cut off, fewer are filled up.
    pub length: usize,
    /// Most words: those that occur most often.
    pub most: usize,
    /// Least number of occurrences in the training texts. With 2 or more, training meets unknown
    /// words, and so learns what they mean.
    pub least_count: usize,
    /// Words that are taken out of every text, in lower case.
    pub stop_words: BTreeSet<String>,
}

impl VocabularyOptions {
    /// Up to 20,000 words that occur at all, no stop words.
    pub fn new(length: usize) -> VocabularyOptions {
        VocabularyOptions { length, most: 20_000, least_count: 1, stop_words: BTreeSet::new() }
    }
}

/// Turns texts into rows of tokens of one length. 0 is padding.
#[derive(Clone, Debug)]
pub struct TextEncoder {
    tokens: Tokens,
    length: usize,
    stop_words: BTreeSet<String>,
}

#[derive(Clone, Debug)]
enum Tokens {
    /// Words, in lower case: 1 is any other word, the first of the list is 2.
    Words { list: Vec<String>, numbers: HashMap<String, i64> },
    /// Numbers of a tokenizer, plus 1.
    Tokenizer { tokenizer: Box<Tokenizer>, size: usize },
}

impl Tokens {
    fn words(list: Vec<String>) -> Tokens {
        let numbers = list.iter().cloned().zip(FIRST..).collect();
        Tokens::Words { list, numbers }
    }

    /// Of the text of a `tokenizer.json`.
    fn tokenizer(json: &str) -> Result<Tokens, String> {
        let mut tokenizer: Tokenizer =
            json.parse().map_err(|e: tokenizers::Error| e.to_string())?;
        // Rows are filled and cut here.
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(|e| e.to_string())?;
        let largest = tokenizer.get_vocab(true).into_values().max();
        let largest = largest.ok_or("its vocabulary is empty")?;
        Ok(Tokens::Tokenizer { tokenizer: Box::new(tokenizer), size: largest as usize + 2 })
    }
}

impl TextEncoder {
    /// A vocabulary of the words of these texts, the most frequent first, and of the synonyms that
    /// may take their places.
    ///
    /// # Errors
    /// [`FitError::Setting`] where no word is left, or for a length out of range.
    pub fn of_words<'t>(
        texts: impl IntoIterator<Item = &'t str>,
        synonyms: &Synonyms,
        options: VocabularyOptions,
    ) -> Result<TextEncoder, FitError> {
        let VocabularyOptions { length, most, least_count, stop_words } = options;
        let mut counts: HashMap<String, usize> = HashMap::new();
        for text in texts {
            for word in text.unicode_words().map(str::to_lowercase) {
                if !stop_words.contains(&word) {
                    *counts.entry(word).or_default() += 1;
                }
            }
        }
        counts.retain(|_, count| *count >= least_count);
        let others: BTreeSet<&String> = counts.keys().flat_map(|word| synonyms.of(word)).collect();
        let others: Vec<String> = others
            .into_iter()
            .flat_map(|other| other.unicode_words())
            .filter(|other| !counts.contains_key(*other) && !stop_words.contains(*other))
            .map(str::to_owned)
            .collect();
        counts.extend(others.into_iter().map(|other| (other, 1)));
        let mut order: Vec<(String, usize)> = counts.into_iter().collect();
        order.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        order.truncate(most);
        if order.is_empty() {
            let value = format!("no word occurs {least_count} times");
            let want = "of some words; lower the least count, or look at the stop words";
            return Err(FitError::Setting { name: "vocabulary", value, want });
        }
        let list = order.into_iter().map(|(word, _)| word).collect();
        TextEncoder { tokens: Tokens::words(list), length, stop_words }.checked()
    }

    /// With a tokenizer in a file of the `tokenizers` library (`tokenizer.json`).
    ///
    /// # Errors
    /// [`FitError::Io`], [`FitError::Data`] where it is none, [`FitError::Setting`] for a length
    /// out of range.
    pub fn of_tokenizer(
        path: &Path,
        length: usize,
        stop_words: BTreeSet<String>,
    ) -> Result<TextEncoder, FitError> {
        let json = std::fs::read_to_string(path).map_err(FitError::io(path))?;
        let tokens = Tokens::tokenizer(&json)
            .map_err(|reason| FitError::data(path, format!("no tokenizer: {reason}")))?;
        TextEncoder { tokens, length, stop_words }.checked()
    }

    fn checked(self) -> Result<TextEncoder, FitError> {
        if (1..=MAX_LENGTH).contains(&self.length) {
            return Ok(self);
        }
        let (value, want) = (self.length.to_string(), "from 1 to 65536");
        Err(FitError::Setting { name: "length of texts", value, want })
    }

    /// Tokens of a text.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Numbers that a token can have.
    pub fn size(&self) -> usize {
        match &self.tokens {
            Tokens::Words { list, .. } => list.len() + FIRST as usize,
            Tokens::Tokenizer { size, .. } => *size,
        }
    }

    /// Writes the tokens of a text, as many as there is room for, and padding behind them. A text
    /// without any word is one unknown word.
    ///
    /// # Errors
    /// [`FitError::Network`] where the tokenizer fails.
    pub fn write(&self, text: &str, out: &mut [i64]) -> Result<(), FitError> {
        let text = match self.stop_words.is_empty() {
            true => Cow::Borrowed(text),
            false => Cow::Owned(edit_words(text, |word| {
                (!self.stop_words.contains(&word.to_lowercase())).then(|| word.to_owned())
            })),
        };
        out.fill(PADDING);
        if let Some(first) = out.first_mut() {
            *first = UNKNOWN;
        }
        match &self.tokens {
            Tokens::Words { numbers, .. } => {
                let number = |word: &str| *numbers.get(&word.to_lowercase()).unwrap_or(&UNKNOWN);
                out.iter_mut().zip(text.unicode_words()).for_each(|(y, word)| *y = number(word));
            }
            Tokens::Tokenizer { tokenizer, .. } => {
                let fail = |e: tokenizers::Error| FitError::Network(format!("its tokenizer: {e}"));
                let encoding = tokenizer.encode_fast(&*text, true).map_err(fail)?;
                let ids = encoding.get_ids().iter();
                out.iter_mut().zip(ids).for_each(|(y, &id)| *y = i64::from(id) + 1);
            }
        }
        Ok(())
    }

    /// The notes that a model file keeps.
    ///
    /// # Errors
    /// [`FitError::Network`] where the tokenizer cannot be written.
    pub fn to_metadata(&self) -> Result<BTreeMap<String, String>, FitError> {
        let (key, tokens) = match &self.tokens {
            Tokens::Words { list, .. } => (VOCABULARY, list.join("\n")),
            Tokens::Tokenizer { tokenizer, .. } => {
                let fail = |e| FitError::Network(format!("its tokenizer: {e}"));
                (TOKENIZER, tokenizer.to_string(false).map_err(fail)?)
            }
        };
        let stop_words: Vec<&str> = self.stop_words.iter().map(String::as_str).collect();
        Ok(BTreeMap::from([
            (key.to_owned(), tokens),
            (LENGTH.to_owned(), self.length.to_string()),
            (STOP_WORDS.to_owned(), stop_words.join("\n")),
        ]))
    }

    /// What [`TextEncoder::to_metadata`] has noted; `None` where the model reads no text.
    ///
    /// # Errors
    /// [`FitError::Network`] where the notes are broken.
    pub fn from_metadata(
        metadata: &BTreeMap<String, String>,
    ) -> Result<Option<TextEncoder>, FitError> {
        let Some(length) = metadata.get(LENGTH) else { return Ok(None) };
        let broken = |what: String| FitError::Network(what);
        let length =
            length.parse().map_err(|_| broken(format!("{LENGTH} = \"{length}\" is no number")))?;
        let lines = |key: &str| {
            let text = metadata.get(key).filter(|text| !text.is_empty());
            text.map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
        };
        let tokens = match (lines(VOCABULARY), metadata.get(TOKENIZER)) {
            (Some(list), None) => Tokens::words(list),
            (None, Some(json)) => {
                Tokens::tokenizer(json).map_err(|e| broken(format!("{TOKENIZER}: {e}")))?
            }
            _ => {
                let what = format!("it needs either {VOCABULARY} or {TOKENIZER} in its metadata");
                return Err(broken(what));
            }
        };
        let stop_words = lines(STOP_WORDS).unwrap_or_default().into_iter().collect();
        Ok(Some(TextEncoder { tokens, length, stop_words }.checked()?))
    }

    /// Whether a key of a model's metadata is one of an encoder.
    pub fn is_key(key: &str) -> bool {
        key.starts_with("text.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(encoder: &TextEncoder, text: &str) -> Vec<i64> {
        let mut row = vec![-1; encoder.length()];
        encoder.write(text, &mut row).unwrap();
        row
    }

    fn options() -> VocabularyOptions {
        VocabularyOptions::new(4)
    }

    #[test]
    fn words_are_numbered_by_frequency_and_survive_in_metadata() {
        let texts = ["The cat, the dog.", "the CAT's home", "a dog"];
        let stop_words = BTreeSet::from(["a".to_owned()]);
        let options = VocabularyOptions { stop_words, ..options() };
        let synonyms = Synonyms::parse("home,nest\nabsent,away\n", 0.5).unwrap();
        let encoder = TextEncoder::of_words(texts, &synonyms, options).unwrap();
        // the, dog (2), then by name: cat, cat's, home, nest.
        assert_eq!(encoder.size(), 8);
        assert_eq!(encode(&encoder, "Dog the nest"), [3, 2, 7, 0]);
        assert_eq!(encode(&encoder, "a cat a bird a the dog dog dog"), [4, 1, 2, 3]);
        assert_eq!(encode(&encoder, "a ... !"), [1, 0, 0, 0]);
        let metadata = encoder.to_metadata().unwrap();
        let again = TextEncoder::from_metadata(&metadata).unwrap().unwrap();
        assert_eq!(again.to_metadata().unwrap(), metadata);
        assert_eq!(encode(&again, "a home"), [6, 0, 0, 0]);
        assert!(TextEncoder::from_metadata(&BTreeMap::new()).unwrap().is_none());
        for (key, value) in [(LENGTH, "x"), (LENGTH, "0"), (VOCABULARY, ""), (TOKENIZER, "{}")] {
            let mut broken = metadata.clone();
            broken.insert(key.into(), value.into());
            assert!(TextEncoder::from_metadata(&broken).is_err(), "{key} {value}");
        }
    }

    #[test]
    fn rare_words_are_left_out() {
        let of = |most, least_count| {
            let options = VocabularyOptions { most, least_count, ..options() };
            TextEncoder::of_words(["a b a", "c a b"], &Synonyms::default(), options)
        };
        assert_eq!(of(9, 2).unwrap().size(), 4);
        assert_eq!(of(1, 1).unwrap().size(), 3);
        assert!(matches!(of(9, 4), Err(FitError::Setting { name: "vocabulary", .. })));
    }

    #[test]
    fn a_tokenizer_is_read_from_its_file() {
        let json = r###"{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
            "normalizer": {"type": "Lowercase"}, "pre_tokenizer": {"type": "Whitespace"},
            "post_processor": null, "decoder": null,
            "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                "max_input_chars_per_word": 100,
                "vocab": {"[UNK]": 0, "un": 1, "##like": 2, "##ly": 3, "so": 4}}}"###;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.json");
        std::fs::write(&path, json).unwrap();
        let encoder = TextEncoder::of_tokenizer(&path, 5, BTreeSet::new()).unwrap();
        assert_eq!(encoder.size(), 6);
        assert_eq!(encode(&encoder, "Unlikely so xyz"), [2, 3, 4, 5, 1]);
        assert_eq!(encode(&encoder, "so"), [5, 0, 0, 0, 0]);
        let again = TextEncoder::from_metadata(&encoder.to_metadata().unwrap()).unwrap().unwrap();
        assert_eq!(encode(&again, "unlike"), [2, 3, 0, 0, 0]);
        std::fs::write(&path, "{\"model\": 1}").unwrap();
        let error = TextEncoder::of_tokenizer(&path, 5, BTreeSet::new()).unwrap_err();
        assert!(matches!(error, FitError::Data { .. }), "{error}");
    }
}
