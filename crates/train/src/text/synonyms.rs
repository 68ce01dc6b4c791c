//! Words that may stand for others.

use super::edit_words;
use crate::FitError;
use crate::streams::{Rng, unit};
use std::collections::BTreeMap;
use std::path::Path;

/// A table of words that mean the same, and how often one takes the place of another. The default
/// replaces nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Synonyms {
    /// What each word may become; in lower case.
    table: BTreeMap<String, Vec<String>>,
    /// Share of the words in the table that are replaced.
    share: f32,
}

impl Synonyms {
    /// Rows `word,synonym,synonym,..`: in training texts, a `share` of the occurrences of the word
    /// become one of the synonyms. Case does not count; a row does not work backwards.
    ///
    /// # Errors
    /// [`FitError::Io`], and as [`Synonyms::parse`].
    pub fn open(path: &Path, share: f32) -> Result<Synonyms, FitError> {
        let text = std::fs::read_to_string(path).map_err(FitError::io(path))?;
        Synonyms::parse(&text, share).map_err(|error| match error {
            FitError::Row { line, what, .. } => FitError::Row { path: path.into(), line, what },
            error => error,
        })
    }

    /// As [`Synonyms::open`], from the text of the file.
    ///
    /// # Errors
    /// [`FitError::Row`] for a row without a synonym, [`FitError::Setting`] for a share that is
    /// not from 0 to 1.
    pub fn parse(text: &str, share: f32) -> Result<Synonyms, FitError> {
        if !(0.0..=1.0).contains(&share) {
            let (value, want) = (share.to_string(), "from 0 to 1");
            return Err(FitError::Setting { name: "share of synonyms", value, want });
        }
        let mut table: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (number, row) in text.lines().enumerate().filter(|(_, row)| !row.trim().is_empty()) {
            let mut words = row.split(',').map(|word| word.trim().to_lowercase());
            let word = words.next().unwrap_or_default();
            let others: Vec<String> = words.filter(|other| !other.is_empty()).collect();
            if word.is_empty() || others.is_empty() {
                let what = "write word,synonym,synonym,..".into();
                return Err(FitError::Row { path: "".into(), line: number as u64 + 1, what });
            }
            table.entry(word).or_default().extend(others);
        }
        Ok(Synonyms { table, share })
    }

    /// Whether nothing is replaced.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty() || self.share == 0.0
    }

    /// Number of words that have synonyms.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// What a word, in lower case, may become.
    pub(super) fn of(&self, word: &str) -> &[String] {
        self.table.get(word).map_or(&[], Vec::as_slice)
    }

    /// A text with some words replaced.
    pub(crate) fn replace(&self, text: &str, rng: &mut Rng) -> String {
        edit_words(text, |word| {
            let others = self.of(&word.to_lowercase());
            if others.is_empty() || unit(rng) >= self.share {
                return Some(word.to_owned());
            }
            let at = (unit(rng) * others.len() as f32) as usize;
            Some(others[at.min(others.len() - 1)].clone())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::streams::{Use, rng};

    #[test]
    fn words_of_the_table_are_replaced_and_nothing_else() {
        let table = "big, large ,huge\n\nBig,vast\nhot,warm\n";
        let all = Synonyms::parse(table, 1.0).unwrap();
        let mut random = rng(5, Use::Augment, 0, 0);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..50 {
            let text = all.replace("A BIG, big-hearted dog; hot!", &mut random);
            let words = text.strip_prefix("A ").unwrap().strip_suffix(" dog; warm!").unwrap();
            let (first, second) = words.split_once(", ").unwrap();
            seen.insert(first.to_owned());
            assert!(["large-hearted", "huge-hearted", "vast-hearted"].contains(&second), "{text}");
        }
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["huge", "large", "vast"]);
        let none = Synonyms::parse(table, 0.0).unwrap();
        assert_eq!(none.replace("big hot", &mut random), "big hot");
        assert!(none.is_empty() && !all.is_empty());
        assert!(matches!(Synonyms::parse("a,b\nword\n", 0.5), Err(FitError::Row { line: 2, .. })));
        assert!(Synonyms::parse("a,b", 1.5).is_err());
    }
}
