//! From what a value looked like to the range that is worth 8 bits.

use crate::CompressError;
use crate::observe::{CELLS, Statistics};
use crate::scale::{Range, STEPS, Scale};
use depthwise_tensor::DType;

/// Parts of the whole range that a search tries as the range.
const TRIES: usize = 128;
/// The smallest part tried.
const LEAST_PART: f64 = 0.2;

/// How the range of an activation follows from the calibration set. What lies beyond the range is
/// clamped; what lies within is rounded more finely, the smaller the range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Observer {
    /// From the smallest to the largest number seen.
    MinMax,
    /// Without the outermost numbers: this percentage of all numbers lies within, half of the rest
    /// beyond either end.
    Percentile(f64),
    /// The range for which the mean square of what clamping and rounding change is smallest.
    MeanSquare,
    /// The range for which the distribution of the rounded numbers tells most about that of the
    /// numbers (smallest Kullback-Leibler divergence).
    Entropy,
}

impl Observer {
    pub(crate) fn check(self) -> Result<(), CompressError> {
        match self {
            Observer::Percentile(p) if !(p > 0.0 && p <= 100.0) => Err(CompressError::Setting {
                what: "a percentile",
                value: p.to_string(),
                range: "above 0 and up to 100",
            }),
            _ => Ok(()),
        }
    }

    /// Whether the extremes are not enough.
    pub(crate) fn needs_histogram(self) -> bool {
        self != Observer::MinMax
    }

    /// The range for a value.
    pub(crate) fn range(self, seen: &Statistics, dtype: DType) -> Range {
        let whole = Range::new(seen.low, seen.high);
        if seen.cells.is_empty() || seen.low >= seen.high {
            return whole;
        }
        match self {
            Observer::MinMax => whole,
            Observer::Percentile(p) => percentile(seen, p),
            Observer::MeanSquare => search(whole, |range| mean_square(seen, dtype, range)),
            Observer::Entropy => search(whole, |range| divergence(seen, range)),
        }
    }
}

fn percentile(seen: &Statistics, p: f64) -> Range {
    let total: u64 = seen.cells.iter().sum();
    // Numbers beyond either end.
    let beyond = (total as f64 * (100.0 - p) / 200.0).floor() as u64;
    let width = (f64::from(seen.high) - f64::from(seen.low)) / CELLS as f64 / 2.0;
    let first = outermost(seen.cells.iter().enumerate(), beyond);
    let last = outermost(seen.cells.iter().enumerate().rev(), beyond);
    let low = first.map_or(seen.low, |cell| (seen.middle(cell) - width) as f32);
    let high = last.map_or(seen.high, |cell| (seen.middle(cell) + width) as f32);
    Range::new(low.max(seen.low), high.min(seen.high))
}

/// The first cell that is not wholly among so many numbers.
fn outermost<'c>(mut cells: impl Iterator<Item = (usize, &'c u64)>, beyond: u64) -> Option<usize> {
    let mut passed = 0;
    let found = cells.find(|(_, count)| {
        passed += **count;
        passed > beyond
    });
    found.map(|(cell, _)| cell)
}

/// The best part of a range: first both ends drawn in alike, then each by itself. Of equal ones the
/// widest.
fn search(whole: Range, cost: impl Fn(Range) -> f64) -> Range {
    let parts = || (0..TRIES).map(|i| 1.0 - (1.0 - LEAST_PART) * i as f64 / TRIES as f64);
    let part = |end: f32, part: f64| (f64::from(end) * part) as f32;
    let best = |candidates: &mut dyn Iterator<Item = Range>, start: Range| {
        let first = (cost(start), start);
        candidates.fold(first, |best, range| {
            let cost = cost(range);
            if cost < best.0 { (cost, range) } else { best }
        })
    };
    let both = |p: f64| Range { low: part(whole.low, p), high: part(whole.high, p) };
    let (_, range) = best(&mut parts().map(both), whole);
    if whole.low == 0.0 || whole.high == 0.0 {
        return range;
    }
    let low = |p: f64| Range { low: part(whole.low, p), high: range.high };
    let (_, range) = best(&mut parts().map(low), range);
    let high = |p: f64| Range { low: range.low, high: part(whole.high, p) };
    best(&mut parts().map(high), range).1
}

/// Sum of squares of what quantization changes.
fn mean_square(seen: &Statistics, dtype: DType, range: Range) -> f64 {
    let scale = Scale::of_range(dtype, range);
    let cells = seen.cells.iter().enumerate().filter(|&(_, &count)| count > 0);
    cells
        .map(|(cell, &count)| {
            let x = seen.middle(cell);
            count as f64 * (scale.nearest(x) - x).powi(2)
        })
        .sum()
}

/// The Kullback-Leibler divergence of the numbers within a range, clamped ones at its ends, from the
/// same at 255 steps, where the numbers of a step are spread over the cells that hold any (Migacz
/// 2017, for ranges with two ends). The cell of zero is left out: zero is exact in every range, and
/// behind a ReLU there is so much of it that nothing else would count.
fn divergence(seen: &Statistics, range: Range) -> f64 {
    let (low, high) = (f64::from(range.low), f64::from(range.high));
    let inside = |cell: usize| (low..=high).contains(&seen.middle(cell));
    let Some(first) = (0..CELLS).find(|&cell| inside(cell)) else { return f64::INFINITY };
    let end = (first..CELLS).find(|&cell| !inside(cell)).unwrap_or(CELLS);
    let mut clamped: Vec<f64> = seen.cells[first..end].iter().map(|&n| n as f64).collect();
    let zero = seen.cell(0.0);
    if let Some(n) = zero.checked_sub(first).and_then(|zero| clamped.get_mut(zero)) {
        *n = 0.0;
    }
    // The model of the numbers within does not know those that are clamped.
    let within = clamped.clone();
    let sum = |cells: &[u64]| cells.iter().sum::<u64>() as f64;
    clamped[0] += sum(&seen.cells[..first]);
    *clamped.last_mut().expect("not empty") += sum(&seen.cells[end..]);
    let step = |i: usize| {
        let part = (seen.middle(first + i) - low) / (high - low).max(f64::MIN_POSITIVE);
        (part * STEPS).round() as usize
    };
    let mut spread = vec![0.0; within.len()];
    let mut start = 0;
    while start < within.len() {
        let next = (start..within.len()).find(|&i| step(i) != step(start));
        let cells = start..next.unwrap_or(within.len());
        let total: f64 = within[cells.clone()].iter().sum();
        let used = clamped[cells.clone()].iter().filter(|&&n| n > 0.0).count();
        for i in cells.clone() {
            if clamped[i] > 0.0 {
                spread[i] = total / used as f64;
            }
        }
        start = cells.end;
    }
    let (p, q): (f64, f64) = (clamped.iter().sum(), spread.iter().sum());
    if q <= 0.0 {
        return f64::INFINITY;
    }
    // What the model has never seen counts as one number in a million.
    let term = |(&clamped, &spread): (&f64, &f64)| match clamped > 0.0 {
        true => clamped / p * ((clamped / p) / (spread / q).max(1e-6)).ln(),
        false => 0.0,
    };
    clamped.iter().zip(&spread).map(term).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers around zero that thin out to either side, and one far away.
    fn seen() -> Statistics {
        let data: Vec<f32> = (0..20_000)
            .map(|i| {
                let u = (i as f32 + 0.5) / 10_000.0 - 1.0;
                u.signum() * -(1.0 - u.abs()).ln()
            })
            .chain([100.0])
            .collect();
        Statistics::of(&data)
    }

    #[test]
    fn observers_draw_in_the_range_of_an_outlier() {
        let seen = seen();
        let whole = Observer::MinMax.range(&seen, DType::I8);
        assert_eq!(whole, Range { low: seen.low, high: 100.0 });
        // The mean square minds an outlier most, the others its rarity.
        let drawn = [
            (Observer::Percentile(99.9), 60.0),
            (Observer::MeanSquare, 99.0),
            (Observer::Entropy, 60.0),
        ];
        for (observer, most) in drawn {
            let range = observer.range(&seen, DType::I8);
            assert!(range.high < most, "{observer:?}: {range:?}");
            assert!(range.high > 1.0 && range.low < -1.0, "{observer:?}: {range:?}");
        }
        let all = Observer::Percentile(100.0).range(&seen, DType::I8);
        assert!((all.high - 100.0).abs() < 1e-3 && (all.low - whole.low).abs() < 1e-3);
    }

    #[test]
    fn percentiles_leave_out_as_many_numbers_as_they_say() {
        let data: Vec<f32> = (0..=1000).map(|i| i as f32 / 1000.0 - 0.5).collect();
        let range = Observer::Percentile(90.0).range(&Statistics::of(&data), DType::U8);
        assert!((range.low + 0.45).abs() < 0.002 && (range.high - 0.45).abs() < 0.002, "{range:?}");
    }

    #[test]
    fn ranges_of_the_mean_square_are_no_worse_than_any_other() {
        let seen = seen();
        let best = Observer::MeanSquare.range(&seen, DType::I8);
        let cost = |range| mean_square(&seen, DType::I8, range);
        for part in [0.25, 0.5, 0.75, 1.0] {
            let range = Range { low: seen.low * part, high: seen.high * part };
            assert!(cost(best) <= cost(range), "{part}");
        }
    }

    #[test]
    fn numbers_that_fill_their_range_keep_it() {
        let data: Vec<f32> = (0..=4096).map(|i| i as f32 / 4096.0).collect();
        let seen = Statistics::of(&data);
        for observer in [Observer::MeanSquare, Observer::Entropy] {
            let range = observer.range(&seen, DType::U8);
            assert!(range.low == 0.0 && range.high > 0.98, "{observer:?}: {range:?}");
        }
    }

    #[test]
    fn percentages_beyond_all_are_refused() {
        for p in [0.0, -1.0, 100.5, f64::NAN] {
            assert!(Observer::Percentile(p).check().is_err(), "{p}");
        }
        Observer::Percentile(99.99).check().unwrap();
    }
}
