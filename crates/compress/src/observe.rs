//! What the values of a network look like over the calibration set.

use crate::samples::{self, Sample};
use crate::{CompressError, Progress, Samples};
use depthwise_engine::{Fusion, Model, Options, Session};
use depthwise_layers::ir::{Graph, ValueId};
use depthwise_tensor::Tensor;
use std::collections::HashMap;

/// Cells of a histogram: enough that 8 bits are 8 cells each.
pub(crate) const CELLS: usize = 2048;

/// What one value looked like.
#[derive(Clone, Debug)]
pub(crate) struct Statistics {
    pub(crate) low: f32,
    pub(crate) high: f32,
    /// Elements seen.
    pub(crate) count: u64,
    /// Sums over all but the last axis.
    sums: Vec<f64>,
    /// How many elements fell into each of [`CELLS`] equal parts of `low ..= high`. Empty where
    /// nothing asked for it.
    pub(crate) cells: Vec<u64>,
}

impl Statistics {
    fn new(channels: usize) -> Statistics {
        Statistics {
            low: f32::INFINITY,
            high: f32::NEG_INFINITY,
            count: 0,
            sums: vec![0.0; channels],
            cells: Vec::new(),
        }
    }

    /// Those of one list of numbers.
    #[cfg(test)]
    pub(crate) fn of(data: &[f32]) -> Statistics {
        let mut seen = Statistics::new(1);
        seen.add(data).expect("finite numbers");
        seen.count_cells(data);
        seen
    }

    /// The mean of each slice of the last axis.
    pub(crate) fn means(&self) -> Vec<f64> {
        let each = (self.count / self.sums.len().max(1) as u64).max(1) as f64;
        self.sums.iter().map(|sum| sum / each).collect()
    }

    /// Takes elements in; gives the first that is no number.
    fn add(&mut self, data: &[f32]) -> Result<(), f32> {
        for row in data.chunks_exact(self.sums.len().max(1)) {
            for (sum, &x) in self.sums.iter_mut().zip(row) {
                *sum += f64::from(x);
            }
        }
        let (mut low, mut high) = (self.low, self.high);
        for &x in data {
            if !x.is_finite() {
                return Err(x);
            }
            low = low.min(x);
            high = high.max(x);
        }
        (self.low, self.high) = (low, high);
        self.count += data.len() as u64;
        Ok(())
    }

    fn count_cells(&mut self, data: &[f32]) {
        self.cells.resize(CELLS, 0);
        for &x in data {
            let cell = self.cell(x);
            self.cells[cell] += 1;
        }
    }

    /// The cell of a number, the nearest for one beyond the range.
    pub(crate) fn cell(&self, x: f32) -> usize {
        let per_unit = CELLS as f32 / (self.high - self.low).max(f32::MIN_POSITIVE);
        (((x - self.low) * per_unit) as usize).min(CELLS - 1)
    }

    /// The middle of a cell.
    pub(crate) fn middle(&self, cell: usize) -> f64 {
        let (low, high) = (f64::from(self.low), f64::from(self.high));
        low + (high - low) * (cell as f64 + 0.5) / CELLS as f64
    }
}

/// A network whose inner values can be read.
pub(crate) struct Probe {
    pub(crate) session: Session,
    /// Values that the network computes, in the order of the session's outputs.
    pub(crate) values: Vec<ValueId>,
}

impl Probe {
    /// The network with these values, which its nodes compute, as outputs, for inputs as those of
    /// `sample`.
    pub(crate) fn new(
        graph: &Graph,
        values: Vec<ValueId>,
        sample: &Sample,
        options: &Options,
    ) -> Result<Probe, CompressError> {
        let mut graph = graph.clone();
        graph.set_outputs(&values);
        let options = Options { fusion: Fusion::Off, ..options.clone() };
        let model = Model::from_graph(graph, options)?;
        let session = model.session_for(&samples::shapes(&sample.inputs))?;
        Ok(Probe { session, values })
    }

    /// The values for a sample.
    pub(crate) fn run(&mut self, sample: &Sample) -> Result<Vec<Tensor>, CompressError> {
        Ok(self.session.run_tensors(&sample.inputs)?)
    }
}

/// Runs a network over the samples and gathers statistics of `values`, `f32` all of them, with
/// histograms where `histograms` asks for these.
pub(crate) fn observe(
    graph: &Graph,
    values: &[ValueId],
    samples: &dyn Samples,
    options: &Options,
    histograms: bool,
    progress: &mut Progress<'_>,
) -> Result<HashMap<ValueId, Statistics>, CompressError> {
    if samples.is_empty() {
        return Err(CompressError::Empty);
    }
    let first = samples::read(graph, samples, 0)?;
    let computed = |id: &&ValueId| graph.producer(**id).is_some();
    let inner: Vec<ValueId> = values.iter().filter(computed).copied().collect();
    let mut probe = Probe::new(graph, inner, &first, options)?;
    let mut found = HashMap::new();
    let passes = if histograms { 2 } else { 1 };
    for pass in 0..passes {
        for index in 0..samples.len() {
            progress("calibrating", pass * samples.len() + index, passes * samples.len());
            let sample = samples::read(graph, samples, index)?;
            let computed = probe.run(&sample)?;
            let inputs = graph.inputs().iter().zip(&sample.inputs);
            let inputs = inputs.filter(|(id, _)| values.contains(id));
            for (&id, tensor) in inputs.chain(probe.values.iter().zip(&computed)) {
                let channels = tensor.shape().last().copied().unwrap_or(1);
                let seen = found.entry(id).or_insert_with(|| Statistics::new(channels));
                match pass {
                    0 => seen.add(tensor.data()?).map_err(|value| CompressError::Overflow {
                        sample: sample.name.clone(),
                        name: graph.value(id).name.clone(),
                        value,
                    })?,
                    _ => seen.count_cells(tensor.data()?),
                }
            }
        }
        if pass == 0 {
            check_inputs(graph, values, samples, &found)?;
        }
    }
    progress("calibrating", passes * samples.len(), passes * samples.len());
    Ok(found)
}

/// An input that never changes calibrates nothing.
fn check_inputs(
    graph: &Graph,
    values: &[ValueId],
    samples: &dyn Samples,
    found: &HashMap<ValueId, Statistics>,
) -> Result<(), CompressError> {
    for &id in graph.inputs().iter().filter(|id| values.contains(id)) {
        let Some(seen) = found.get(&id).filter(|seen| seen.low >= seen.high) else { continue };
        return Err(CompressError::Constant {
            input: graph.value(id).name.clone(),
            elements: seen.count,
            samples: samples.len(),
            first: samples.name(0),
            value: seen.low,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_those_of_the_elements() {
        let mut seen = Statistics::new(2);
        seen.add(&[1.0, -2.0, 3.0, 4.0]).unwrap();
        seen.add(&[0.0, 1.0]).unwrap();
        assert_eq!((seen.low, seen.high, seen.count), (-2.0, 4.0, 6));
        assert_eq!(seen.means(), [4.0 / 3.0, 1.0]);
        seen.count_cells(&[-2.0, 4.0, 1.0]);
        assert_eq!((seen.cells[0], seen.cells[CELLS - 1], seen.cells[CELLS / 2]), (1, 1, 1));
        assert!((seen.middle(CELLS / 2) - 1.0).abs() < 6.0 / CELLS as f64);
        assert!(seen.add(&[f32::NAN]).is_err_and(f32::is_nan));
    }
}
