//! How good predictions are.

use serde::{Deserialize, Serialize};

/// What a set of predictions is worth. Made by [`Metrics::of`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Number of samples.
    pub samples: usize,
    /// Mean negative logarithm of the probability of the right class.
    pub loss: f64,
    /// Share of samples whose most probable class is right.
    pub accuracy: f64,
    /// Share of samples whose class is among the five most probable ones; `None` for five classes
    /// or fewer.
    pub top5: Option<f64>,
    /// For each class, in order.
    pub classes: Vec<ClassMetrics>,
    /// Mean of the classes' precisions.
    pub macro_precision: f64,
    /// Mean of the classes' recalls.
    pub macro_recall: f64,
    /// Mean of the classes' F1.
    pub macro_f1: f64,
    /// `confusion[right][predicted]`: numbers of samples.
    pub confusion: Vec<Vec<u64>>,
    /// Area under the receiver operating characteristic, class 1 taken as positive; `None` unless
    /// there are two classes and samples of both.
    pub roc_auc: Option<f64>,
}

/// How well one class is found. A ratio without any case counts as 0, as scikit-learn has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ClassMetrics {
    /// Of the samples predicted as this class, the share that are of it.
    pub precision: f64,
    /// Of the samples of this class, the share predicted as it.
    pub recall: f64,
    /// Harmonic mean of both.
    pub f1: f64,
    /// Samples of this class.
    pub support: u64,
}

impl Metrics {
    /// From probabilities `N,C`, row by row, and the right class of each row. The most probable
    /// class is the first of equal ones; NaN is the least probable.
    ///
    /// # Panics
    /// Where lengths do not fit, or a label is not below `classes`.
    pub fn of(probabilities: &[f32], labels: &[usize], classes: usize) -> Metrics {
        assert_eq!(probabilities.len(), labels.len() * classes, "a row of classes per label");
        let mut confusion = vec![vec![0u64; classes]; classes];
        let (mut loss, mut among_five) = (0.0, 0u64);
        for (row, &label) in probabilities.chunks_exact(classes.max(1)).zip(labels) {
            let rank = rank(row, label);
            among_five += u64::from(rank < 5);
            confusion[label][best(row)] += 1;
            loss -= f64::from(row[label]).max(f64::from(f32::MIN_POSITIVE)).ln();
        }
        let per_class: Vec<ClassMetrics> =
            (0..classes).map(|class| ClassMetrics::of(&confusion, class)).collect();
        let mean = |of: fn(&ClassMetrics) -> f64| share(per_class.iter().map(of).sum(), classes);
        let right = (0..classes).map(|class| confusion[class][class]).sum::<u64>();
        let roc_auc = if classes == 2 { roc_auc(probabilities, labels) } else { None };
        Metrics {
            samples: labels.len(),
            loss: share(loss, labels.len()),
            accuracy: share(right as f64, labels.len()),
            top5: (classes > 5).then(|| share(among_five as f64, labels.len())),
            macro_precision: mean(|c| c.precision),
            macro_recall: mean(|c| c.recall),
            macro_f1: mean(|c| c.f1),
            classes: per_class,
            confusion,
            roc_auc,
        }
    }
}

impl ClassMetrics {
    fn of(confusion: &[Vec<u64>], class: usize) -> ClassMetrics {
        let right = confusion[class][class] as f64;
        let support: u64 = confusion[class].iter().sum();
        let predicted: u64 = confusion.iter().map(|row| row[class]).sum();
        let ratio = |of: u64| if of == 0 { 0.0 } else { right / of as f64 };
        let f1 = match support + predicted {
            0 => 0.0,
            both => 2.0 * right / both as f64,
        };
        ClassMetrics { precision: ratio(predicted), recall: ratio(support), f1, support }
    }
}

fn share(sum: f64, count: usize) -> f64 {
    if count == 0 { 0.0 } else { sum / count as f64 }
}

/// Position of the largest number, the first of equal ones.
pub fn best(row: &[f32]) -> usize {
    (0..row.len()).fold(0, |best, i| if key(row[i]) > key(row[best]) { i } else { best })
}

/// How many classes are more probable than this one, or as probable and before it.
fn rank(row: &[f32], label: usize) -> usize {
    let (own, before) = (key(row[label]), 0..label);
    let ahead = |(i, &x): (usize, &f32)| key(x) > own || (key(x) == own && before.contains(&i));
    row.iter().enumerate().filter(|&(i, x)| ahead((i, x))).count()
}

fn key(x: f32) -> f32 {
    if x.is_nan() { f32::NEG_INFINITY } else { x }
}

/// The probability that a sample of class 1 is scored above one of class 0, equal scores counting
/// half: from the sum of ranks (Mann and Whitney, 1947).
fn roc_auc(probabilities: &[f32], labels: &[usize]) -> Option<f64> {
    let mut scored: Vec<(f32, bool)> =
        probabilities.chunks_exact(2).zip(labels).map(|(row, &l)| (key(row[1]), l == 1)).collect();
    scored.sort_by(|a, b| a.0.total_cmp(&b.0));
    let positives = scored.iter().filter(|s| s.1).count();
    let negatives = scored.len() - positives;
    let (mut rank_sum, mut start) = (0.0, 0);
    while start < scored.len() {
        let equal = scored[start..].iter().take_while(|s| s.0 == scored[start].0).count();
        let mean_rank = start as f64 + (equal as f64 + 1.0) / 2.0;
        let hits = scored[start..start + equal].iter().filter(|s| s.1).count();
        rank_sum += mean_rank * hits as f64;
        start += equal;
    }
    let lowest = positives as f64 * (positives as f64 + 1.0) / 2.0;
    let pairs = positives as f64 * negatives as f64;
    (pairs > 0.0).then(|| (rank_sum - lowest) / pairs)
}

/// Logits to probabilities, row by row.
pub fn softmax(logits: &mut [f32], classes: usize) {
    for row in logits.chunks_exact_mut(classes.max(1)) {
        let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut sum = 0.0;
        for x in &mut *row {
            *x = (*x - max).exp();
            sum += *x;
        }
        for x in row {
            *x /= sum;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-9, "{a} for {b}");
    }

    /// Rows that put 0.8 on the predicted class.
    fn rows(predicted: &[usize], classes: usize) -> Vec<f32> {
        let rest = 0.2 / (classes - 1) as f32;
        let row = |&p: &usize| (0..classes).map(move |c| if c == p { 0.8 } else { rest });
        predicted.iter().flat_map(row).collect()
    }

    #[test]
    fn three_classes_meet_hand_values() {
        // The example of scikit-learn's classification_report, worked out by hand:
        // right 0 1 2 2 2, predicted 0 0 2 2 1.
        let metrics = Metrics::of(&rows(&[0, 0, 2, 2, 1], 3), &[0, 1, 2, 2, 2], 3);
        near(metrics.accuracy, 0.6);
        assert_eq!(metrics.confusion, [[1, 0, 0], [1, 0, 0], [0, 1, 2]]);
        let of = |c: usize| {
            let c = metrics.classes[c];
            (c.precision, c.recall, c.f1, c.support)
        };
        assert_eq!(of(0), (0.5, 1.0, 2.0 / 3.0, 1));
        assert_eq!(of(1), (0.0, 0.0, 0.0, 1));
        assert_eq!(of(2), (1.0, 2.0 / 3.0, 0.8, 3));
        near(metrics.macro_precision, 0.5);
        near(metrics.macro_recall, 5.0 / 9.0);
        near(metrics.macro_f1, (2.0 / 3.0 + 0.8) / 3.0);
        assert_eq!((metrics.top5, metrics.roc_auc), (None, None));
        // -(3 ln 0.8 + 2 ln 0.1) / 5
        assert!((metrics.loss - 1.054_920).abs() < 1e-5, "{}", metrics.loss);
    }

    #[test]
    fn roc_auc_counts_pairs_and_halves_ties() {
        let of = |scores: &[f32], labels: &[usize]| {
            let rows: Vec<f32> = scores.iter().flat_map(|&s| [1.0 - s, s]).collect();
            Metrics::of(&rows, labels, 2).roc_auc
        };
        // scikit-learn's roc_auc_score([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]).
        near(of(&[0.1, 0.4, 0.35, 0.8], &[0, 0, 1, 1]).unwrap(), 0.75);
        near(of(&[0.5, 0.5, 0.5], &[0, 1, 1]).unwrap(), 0.5);
        // Pairs: 0.3 > 0.2, 0.3 = 0.3, 0.9 > both: 3.5 of 4.
        near(of(&[0.2, 0.3, 0.3, 0.9], &[0, 0, 1, 1]).unwrap(), 0.875);
        assert_eq!(of(&[0.2, 0.3], &[1, 1]), None);
    }

    #[test]
    fn top_five_needs_more_than_five_classes() {
        let row: Vec<f32> = (0..7).map(|c| c as f32 / 21.0).collect();
        let rows = row.repeat(3);
        // Ranks from the top: class 6 is first, 2 the fifth, 1 the sixth.
        let metrics = Metrics::of(&rows, &[6, 2, 1], 7);
        near(metrics.top5.unwrap(), 2.0 / 3.0);
        near(metrics.accuracy, 1.0 / 3.0);
    }

    #[test]
    fn nan_never_wins_and_nothing_divides_by_zero() {
        assert_eq!(best(&[f32::NAN, 0.1, 0.1]), 1);
        let metrics = Metrics::of(&[f32::NAN, 0.0], &[0], 2);
        assert_eq!(metrics.accuracy, 0.0);
        assert!(metrics.loss.is_finite());
        let empty = Metrics::of(&[], &[], 2);
        assert_eq!((empty.accuracy, empty.loss, empty.macro_f1), (0.0, 0.0, 0.0));
    }

    #[test]
    fn softmax_meets_hand_values_and_does_not_overflow() {
        let mut x = [0.0, 3f32.ln(), 1000.0, 1000.0];
        softmax(&mut x, 2);
        let want = [0.25, 0.75, 0.5, 0.5];
        assert!(x.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-6), "{x:?}");
    }
}
