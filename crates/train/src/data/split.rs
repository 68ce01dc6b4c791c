//! Part of a dataset for validation.

use super::Dataset;
use crate::FitError;
use crate::streams::{Use, rng, shuffle};

impl<T: Clone> Dataset<T> {
    /// Splits off a share of every class at random, rounded to nearest, but one sample at least
    /// and never all of them (a class of one sample stays whole on the first side). The first
    /// part is what is left; both keep the order of the samples. The same seed splits the same
    /// way.
    ///
    /// # Errors
    /// [`FitError::Setting`] for a share outside 0..1.
    pub fn split(self, share: f32, seed: u64) -> Result<(Dataset<T>, Dataset<T>), FitError> {
        if !(0.0..1.0).contains(&share) {
            let (value, want) = (share.to_string(), "from 0 to below 1");
            return Err(FitError::Setting { name: "validation share", value, want });
        }
        let mut chosen = vec![false; self.samples.len()];
        for class in 0..self.classes.len() {
            let of_class = self.samples.iter().enumerate().filter(|(_, s)| s.label == class);
            let mut members: Vec<usize> = of_class.map(|(index, _)| index).collect();
            let count = (members.len() as f32 * share).round() as usize;
            let most = members.len().saturating_sub(1);
            let count = if share > 0.0 { count.max(1).min(most) } else { 0 };
            shuffle(&mut members, &mut rng(seed, Use::Split, 0, class));
            for &index in &members[..count] {
                chosen[index] = true;
            }
        }
        let part = |side: bool| {
            let samples = self.samples.iter().zip(&chosen);
            samples.filter(|&(_, &chosen)| chosen == side).map(|(s, _)| s.clone()).collect()
        };
        let validation =
            Dataset { classes: self.classes.clone(), samples: part(true), skipped: Vec::new() };
        let train = Dataset { samples: part(false), ..self };
        Ok((train, validation))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Sample;
    use super::*;

    fn data(counts: &[usize]) -> Dataset {
        let classes = (0..counts.len()).map(|i| format!("c{i}")).collect();
        let samples = counts.iter().enumerate().flat_map(|(label, &n)| {
            (0..n).map(move |i| Sample { item: format!("{label}/{i}").into(), label })
        });
        Dataset { classes, samples: samples.collect(), skipped: Vec::new() }
    }

    #[test]
    fn every_class_gives_its_share() {
        let (train, validation) = data(&[100, 10, 3, 1]).split(0.2, 5).unwrap();
        assert_eq!(validation.counts(), [20, 2, 1, 0]);
        assert_eq!(train.counts(), [80, 8, 2, 1]);
        let again = data(&[100, 10, 3, 1]).split(0.2, 5).unwrap();
        assert_eq!(again, (train, validation.clone()));
        assert_ne!(data(&[100, 10, 3, 1]).split(0.2, 6).unwrap().1, validation);
    }

    #[test]
    fn nothing_and_everything_are_edges() {
        assert_eq!(data(&[4, 4]).split(0.0, 1).unwrap().1.samples, []);
        assert_eq!(data(&[4, 4]).split(0.99, 1).unwrap().0.counts(), [1, 1]);
        for share in [1.0, -0.1, f32::NAN] {
            assert!(matches!(data(&[4]).split(share, 1), Err(FitError::Setting { .. })));
        }
    }
}
