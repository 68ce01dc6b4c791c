//! How far a quantized network is from the one that it was made of.

use crate::samples;
use crate::{CompressError, Progress, Samples};
use depthwise_engine::{Model, Options, Session};
use depthwise_layers::ir::Graph;
use depthwise_tensor::Tensor;

/// How the first output of two networks differs over a set of samples.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Agreement {
    /// Samples compared.
    pub samples: usize,
    /// Rows of the output (of its last axis) whose largest element stands in the same place, and all.
    pub top1: (usize, usize),
    /// Mean of the absolute differences.
    pub mean_abs: f64,
    /// Largest absolute difference.
    pub max_abs: f64,
    /// Signal to noise in decibels: `10 log10(sum of squares / sum of squared differences)`; infinite
    /// where nothing differs.
    pub sqnr_db: f64,
}

/// Sums of what makes an [`Agreement`].
#[derive(Default)]
struct Sums {
    agreement: Agreement,
    elements: usize,
    abs: f64,
    signal: f64,
    noise: f64,
}

impl Sums {
    fn add(&mut self, want: &Tensor, got: &Tensor) {
        let (want_data, got_data) = (want.to_f32(), got.to_f32());
        for (&want, &got) in want_data.iter().zip(got_data.iter()) {
            let difference = f64::from(got) - f64::from(want);
            self.abs += difference.abs();
            self.agreement.max_abs = self.agreement.max_abs.max(difference.abs());
            self.signal += f64::from(want).powi(2);
            self.noise += difference.powi(2);
        }
        self.elements += want_data.len();
        let row = want.shape().last().copied().unwrap_or(1).max(1);
        for (want, got) in want_data.chunks(row).zip(got_data.chunks(row)) {
            self.agreement.top1.0 += usize::from(top(want) == top(got));
            self.agreement.top1.1 += 1;
        }
        self.agreement.samples += 1;
    }

    fn finish(self) -> Agreement {
        let mean_abs = self.abs / self.elements.max(1) as f64;
        Agreement { mean_abs, sqnr_db: decibels(self.signal, self.noise), ..self.agreement }
    }
}

fn decibels(signal: f64, noise: f64) -> f64 {
    if noise == 0.0 { f64::INFINITY } else { 10.0 * (signal / noise).log10() }
}

/// Position of the largest element, the first of equal ones.
fn top(row: &[f32]) -> Option<usize> {
    (0..row.len()).reduce(|best, i| if row[i] > row[best] { i } else { best })
}

/// A network that runs samples.
pub(crate) struct Runner {
    session: Session,
}

impl Runner {
    /// A network for samples like the first.
    pub(crate) fn new(
        graph: &Graph,
        samples: &dyn Samples,
        options: &Options,
    ) -> Result<Runner, CompressError> {
        if samples.is_empty() {
            return Err(CompressError::Empty);
        }
        let graph = graph.with_real_ports();
        let first = samples::read(&graph, samples, 0)?;
        let model = Model::from_graph(graph, options.clone())?;
        Ok(Runner { session: model.session_for(&samples::shapes(&first.inputs))? })
    }

    /// The first output for a sample.
    pub(crate) fn run(&mut self, inputs: &[Tensor]) -> Result<Option<Tensor>, CompressError> {
        Ok(self.session.run_tensors(inputs)?.into_iter().next())
    }
}

/// Runs two networks over samples and compares their first outputs. Quantized inputs and outputs count
/// as the real numbers that they stand for.
///
/// # Errors
/// Where a sample does not fit `reference`, or a network cannot run.
pub fn compare(
    reference: &Graph,
    other: &Graph,
    samples: &dyn Samples,
    options: &Options,
    progress: &mut Progress<'_>,
) -> Result<Agreement, CompressError> {
    let mut want = Runner::new(reference, samples, options)?;
    let mut got = Runner::new(other, samples, options)?;
    let mut sums = Sums::default();
    for index in 0..samples.len() {
        progress("comparing", index, samples.len());
        let sample = samples::read(reference, samples, index)?;
        let outputs = want.run(&sample.inputs)?.zip(got.run(&sample.inputs)?);
        if let Some((want, got)) = outputs {
            sums.add(&want, &got);
        }
    }
    progress("comparing", samples.len(), samples.len());
    Ok(sums.finish())
}

/// Signal to noise of one network's outputs against recorded ones.
pub(crate) fn against(
    want: &[Tensor],
    other: &Graph,
    samples: &dyn Samples,
    options: &Options,
) -> Result<f64, CompressError> {
    let mut runner = Runner::new(other, samples, options)?;
    let mut sums = Sums::default();
    for (index, want) in want.iter().enumerate() {
        let sample = samples::read(other, samples, index)?;
        if let Some(got) = runner.run(&sample.inputs)? {
            sums.add(want, &got);
        }
    }
    Ok(sums.finish().sqnr_db)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agreement_is_counted_by_row() {
        let tensor = |data: &[f32]| Tensor::from_slice(&[2, 2], data).unwrap();
        let mut sums = Sums::default();
        sums.add(&tensor(&[1.0, 2.0, 3.0, 0.0]), &tensor(&[1.0, 1.5, 3.0, 4.0]));
        let found = sums.finish();
        assert_eq!((found.samples, found.top1), (1, (1, 2)));
        assert_eq!((found.mean_abs, found.max_abs), (4.5 / 4.0, 4.0));
        assert!((found.sqnr_db - 10.0 * (14.0f64 / 16.25).log10()).abs() < 1e-12);
        assert_eq!(decibels(1.0, 0.0), f64::INFINITY);
    }
}
