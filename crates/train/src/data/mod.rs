//! Pictures with labels: where they lie, how they are read, and how they come in batches.
//!
//! | task | item |
//! |---|---|
//! | a folder per class, or a table of paths and labels | [`Dataset::open`], [`Splits::open`] |
//! | part of it for validation, every class in proportion | [`Dataset::split`] |
//! | pictures read once and kept | [`PictureStore`] |
//! | batches, read and changed at random in parallel | [`PictureSource`], [`Source`] |

mod batches;
mod files;
pub mod parallel;
mod split;
mod store;

pub use batches::{Batch, FeatureSource, PictureSource, Source, TakeBatch};
pub use files::Splits;
pub use store::PictureStore;

use crate::FitError;
use std::path::{Path, PathBuf};

/// A picture and what is on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The picture's file.
    pub path: PathBuf,
    /// Number of its class.
    pub label: usize,
}

/// A file that is left out, and why.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Skipped {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

/// Labelled pictures. Samples are in the order of their classes and names, or of their table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dataset {
    /// Names of the classes, by number.
    pub classes: Vec<String>,
    /// The pictures.
    pub samples: Vec<Sample>,
    /// Files that are left out.
    pub skipped: Vec<Skipped>,
}

impl Dataset {
    /// Number of pictures of each class.
    pub fn counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes.len()];
        for sample in &self.samples {
            counts[sample.label] += 1;
        }
        counts
    }

    /// Takes out samples that are known to be unreadable.
    pub fn skip(&mut self, unreadable: Vec<Skipped>) {
        let paths: std::collections::BTreeSet<&Path> =
            unreadable.iter().map(|s| s.path.as_path()).collect();
        self.samples.retain(|sample| !paths.contains(sample.path.as_path()));
        self.skipped.extend(unreadable);
    }

    /// Checks that a classifier can be trained: two classes or more, and pictures of each.
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
            0 => "no pictures of any class".to_owned(),
            1 => format!("class \"{}\" has no readable picture", empty[0]),
            n => format!("{n} classes have no readable picture: {}", empty.join(", ")),
        };
        Err(FitError::data(path, format!("{what}; add some, or remove the class")))
    }

    /// The same pictures under the numbers that these classes have.
    ///
    /// # Errors
    /// [`FitError::UnknownClass`] where a class is none of them.
    pub fn with_classes(mut self, path: &Path, classes: &[String]) -> Result<Dataset, FitError> {
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
