//! Texts in batches.

use super::{Dataset, Examples};
use crate::FitError;
use crate::streams::{Use, rng};
use crate::text::{Synonyms, TextEncoder};
use std::sync::Arc;

/// Texts as numbers of their tokens, words replaced by synonyms at random.
#[derive(Clone, Debug)]
pub struct TextSource {
    /// The texts.
    pub texts: Vec<Arc<str>>,
    /// Class of each.
    pub labels: Vec<usize>,
    /// Number of classes.
    pub classes: usize,
    /// How texts become numbers.
    pub encoder: TextEncoder,
    /// What is replaced in training texts.
    pub synonyms: Synonyms,
    /// Where random numbers start.
    pub seed: u64,
    /// Threads that encode texts.
    pub threads: usize,
}

impl TextSource {
    /// The texts of `data`, without random changes, on one thread.
    pub fn new(data: &Dataset<Arc<str>>, encoder: TextEncoder) -> TextSource {
        TextSource {
            texts: data.samples.iter().map(|sample| sample.item.clone()).collect(),
            labels: data.labels(),
            classes: data.classes.len(),
            encoder,
            synonyms: Synonyms::default(),
            seed: 0,
            threads: 1,
        }
    }
}

impl Examples for TextSource {
    type Element = i64;

    fn labels(&self) -> &[usize] {
        &self.labels
    }

    fn classes(&self) -> usize {
        self.classes
    }

    fn dims(&self) -> Vec<usize> {
        vec![self.encoder.length()]
    }

    fn write(&self, sample: usize, epoch: Option<u64>, out: &mut [i64]) -> Result<(), FitError> {
        let text = &self.texts[sample];
        match epoch.filter(|_| !self.synonyms.is_empty()) {
            Some(epoch) => {
                let mut rng = rng(self.seed, Use::Augment, epoch, sample);
                self.encoder.write(&self.synonyms.replace(text, &mut rng), out)
            }
            None => self.encoder.write(text, out),
        }
    }

    fn threads(&self) -> usize {
        self.threads
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Batch, Sample, Source};
    use super::*;
    use crate::text::VocabularyOptions;

    #[test]
    fn changes_depend_on_seed_and_epoch_and_not_on_threads() {
        let words = ["fast", "red", "cars", "go", "home"];
        let text = |i: usize| (0..8).map(|j| words[(i * 3 + j) % 5]).collect::<Vec<_>>().join(" ");
        let sample = |i: usize| Sample::<Arc<str>> { item: text(i).into(), label: i % 2 };
        let data = Dataset {
            classes: vec!["a".into(), "b".into()],
            samples: (0..11).map(sample).collect(),
            skipped: Vec::new(),
        };
        let synonyms = Synonyms::parse("fast,quick,swift\nred,scarlet\n", 0.5).unwrap();
        let texts = data.samples.iter().map(|s| &*s.item);
        let encoder = TextEncoder::of_words(texts, &synonyms, VocabularyOptions::new(6)).unwrap();
        let all = |threads, seed, epoch| {
            let synonyms = synonyms.clone();
            let source =
                TextSource { synonyms, seed, threads, ..TextSource::new(&data, encoder.clone()) };
            let order: Vec<usize> = (0..source.len()).rev().collect();
            let mut rows = Vec::new();
            let mut take = |batch: Batch| {
                assert_eq!(batch.input.shape().dims(), [batch.labels.len(), 6]);
                rows.extend_from_slice(batch.input.data::<i64>()?);
                Ok(())
            };
            source.batches(&order, 4, epoch, &mut take).unwrap();
            rows
        };
        let one = all(1, 3, Some(2));
        assert_eq!(one, all(3, 3, Some(2)));
        assert_ne!(one, all(1, 3, Some(1)));
        assert_ne!(one, all(1, 4, Some(2)));
        assert_eq!(all(1, 3, None), all(2, 9, None));
        assert!(one.iter().all(|&token| (2..encoder.size() as i64).contains(&token)));
    }
}
