//! Labelled samples: where they lie, how they are read, and how they come in batches.
//!
//! | task | item |
//! |---|---|
//! | a folder per class, or a table of paths and labels | [`Dataset::open`], [`Splits::open`] |
//! | lines of texts and labels | [`Dataset::open_text`], [`Splits::open_text`] |
//! | part of it for validation, every class in proportion | [`Dataset::split`], [`Splits::parts`] |
//! | pictures read once and kept | [`PictureStore`] |
//! | samples made in parallel, changed at random | [`Examples`]: [`PictureSource`], [`TextSource`], [`FeatureSource`] |
//! | batches of them | [`Source`] |

mod batches;
mod files;
mod lines;
pub mod parallel;
mod split;
mod store;
mod texts;

pub use batches::{Batch, Examples, FeatureSource, PictureSource, Source, TakeBatch};
pub use files::Splits;
pub use lines::holds_text;
pub use store::PictureStore;
pub use texts::TextSource;

use crate::FitError;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

/// A sample of a dataset and its class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample<T = PathBuf> {
    /// A picture's file, or a text.
    pub item: T,
    /// Number of its class.
    pub label: usize,
}

/// A sample as a person sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Example {
    /// The picture of a file.
    Picture(PathBuf),
    /// A text.
    Text(String),
}

/// A file, or a line of one, that is left out, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1, where the others are used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// What is wrong with it.
    pub reason: String,
}

impl Skipped {
    /// A whole file.
    pub fn file(path: impl Into<PathBuf>, reason: impl Into<String>) -> Skipped {
        Skipped { path: path.into(), line: None, reason: reason.into() }
    }

    /// File and line.
    pub fn place(&self) -> String {
        let path = self.path.display();
        self.line.map_or_else(|| path.to_string(), |line| format!("{path}, line {line}"))
    }
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place(), self.reason)
    }
}

/// Labelled samples: pictures by their files, or texts. They are in the order of their classes and
/// names, or of their table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset<T = PathBuf> {
    /// Names of the classes, by number.
    pub classes: Vec<String>,
    /// The samples.
    pub samples: Vec<Sample<T>>,
    /// What is left out.
    pub skipped: Vec<Skipped>,
}

impl<T> Default for Dataset<T> {
    fn default() -> Dataset<T> {
        Dataset { classes: Vec::new(), samples: Vec::new(), skipped: Vec::new() }
    }
}

impl<T> Dataset<T> {
    /// Number of the class of each sample.
    pub fn labels(&self) -> Vec<usize> {
        self.samples.iter().map(|sample| sample.label).collect()
    }

    /// Number of samples of each class.
    pub fn counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes.len()];
        for sample in &self.samples {
            counts[sample.label] += 1;
        }
        counts
    }

    /// The same with other samples in the place of these.
    pub fn map<U>(self, to: impl Fn(T) -> U) -> Dataset<U> {
        let sample = |Sample { item, label }| Sample { item: to(item), label };
        let samples = self.samples.into_iter().map(sample).collect();
        Dataset { classes: self.classes, samples, skipped: self.skipped }
    }

    /// Checks that a classifier can be trained: two classes or more, and samples of each.
    ///
    /// # Errors
    /// [`FitError::Data`] that says which class has none.
    pub fn check_trainable(&self, path: &Path) -> Result<(), FitError> {
        if let [only] = &self.classes[..] {
            let what = format!("there is one class only, \"{only}\"; a classifier needs two");
            return Err(FitError::data(path, what));
        }
        let counts = self.counts();
        let empty: Vec<&str> = (self.classes.iter().zip(&counts))
            .filter(|&(_, &count)| count == 0)
            .map(|(class, _)| class.as_str())
            .collect();
        if empty.is_empty() && !self.classes.is_empty() {
            return Ok(());
        }
        let what = match empty.len() {
            0 => "no samples of any class".to_owned(),
            1 => format!("class \"{}\" has no readable sample", empty[0]),
            n => format!("{n} classes have no readable sample: {}", empty.join(", ")),
        };
        Err(FitError::data(path, format!("{what}; add some, or remove the class")))
    }

    /// The same samples under the numbers that these classes have.
    ///
    /// # Errors
    /// [`FitError::UnknownClass`] where a class is none of them.
    pub fn with_classes(mut self, path: &Path, classes: &[String]) -> Result<Dataset<T>, FitError> {
        let position = |label: &String| {
            classes.iter().position(|class| class == label).ok_or_else(|| FitError::UnknownClass {
                path: path.to_owned(),
                label: label.clone(),
                classes: classes.to_vec(),
            })
        };
        let numbers = self.classes.iter().map(position).collect::<Result<Vec<_>, _>>()?;
        for sample in &mut self.samples {
            sample.label = numbers[sample.label];
        }
        self.classes = classes.to_vec();
        Ok(self)
    }
}

impl Dataset {
    /// Takes out pictures that are known to be unreadable.
    pub fn skip(&mut self, unreadable: Vec<Skipped>) {
        let paths: BTreeSet<&Path> = unreadable.iter().map(|s| s.path.as_path()).collect();
        self.samples.retain(|sample| !paths.contains(sample.item.as_path()));
        self.skipped.extend(unreadable);
    }
}
