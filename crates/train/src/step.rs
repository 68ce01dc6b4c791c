//! What the training loop asks of whatever it trains.

use crate::FitError;
use crate::data::Batch;
use depthwise_engine::formats::Weights;
use depthwise_tensor::Tensor;

/// Something that learns from batches. [`fit()`](crate::fit()) drives it.
///
/// The loop asks for nothing else, so a head on fixed features, a whole network or a test double
/// train alike.
pub trait Step {
    /// Learns from a batch at this learning rate; gives the mean loss before the update.
    ///
    /// # Errors
    /// Where the batch does not fit.
    fn step(&mut self, batch: &Batch, rate: f32) -> Result<f32, FitError>;

    /// Logits of a batch, `N,C`, as evaluation has them (no dropout, running statistics).
    ///
    /// # Errors
    /// Where the batch does not fit.
    fn logits(&mut self, input: &Tensor) -> Result<Vec<f32>, FitError>;

    /// All that is needed to go on later to the same bits: weights, statistics, the optimizer's
    /// state.
    ///
    /// # Errors
    /// Where it cannot be copied.
    fn state(&self) -> Result<Weights, FitError>;

    /// Goes back to a state given by [`Step::state`].
    ///
    /// # Errors
    /// Where the state is of something else.
    fn restore(&mut self, state: &Weights) -> Result<(), FitError>;
}
