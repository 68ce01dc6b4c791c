//! A network at work.

use crate::error::EngineError;
use crate::model::Model;
use crate::plan::{Plan, Port, StepInfo};
use depthwise_kernels::RunState;
use depthwise_tensor::{Arena, Element, Shape, Tensor};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A plan with memory to run in. One thread uses it at a time; make one per thread to run a model
/// several times at once.
#[derive(Debug)]
pub struct Session {
    model: Model,
    plan: Arc<Plan>,
    arena: Arena,
    state: RunState,
}

impl Session {
    pub(crate) fn new(model: Model, plan: Arc<Plan>) -> Result<Session, EngineError> {
        let arena = Arena::new(plan.arena_bytes())?;
        let state = plan.program.state();
        let mut session = Session { model, plan, arena, state };
        session.reset_state();
        Ok(session)
    }

    /// The plan in use.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Changes to inputs of other shapes. Contents of inputs and outputs are lost where the shapes
    /// differ from the present ones; what the network keeps from run to run stays.
    ///
    /// # Errors
    /// As [`Model::plan`]; the session then stays as it was.
    pub fn reshape(&mut self, shapes: &[Shape]) -> Result<(), EngineError> {
        let same = self.plan.inputs.len() == shapes.len()
            && self.plan.inputs.iter().zip(shapes).all(|(port, s)| port.ty.shape == *s);
        if !same {
            let mut session = Session::new(self.model.clone(), self.model.plan(shapes)?)?;
            for (from, to) in self.plan.states.iter().zip(&session.plan.states) {
                let kept = &self.arena.bytes()[from.input.range()];
                session.arena.bytes_mut()[to.input.range()].copy_from_slice(kept);
            }
            *self = session;
        }
        Ok(())
    }

    /// Forgets the past of a streaming network: what it keeps from run to run is as before the
    /// first run. A network that keeps nothing does not change.
    pub fn reset_state(&mut self) {
        for state in &self.plan.states {
            let initial = state.initial.bytes();
            self.arena.bytes_mut()[state.input.range()].copy_from_slice(initial);
        }
    }

    /// Lets the next run read what this one left.
    fn keep_state(&mut self) {
        for state in &self.plan.states {
            let start = state.input.offset;
            self.arena.bytes_mut().copy_within(state.output.range(), start);
        }
    }

    /// The elements of input `index`, to be filled before [`Session::run`]. They keep their values
    /// from run to run.
    ///
    /// # Errors
    /// [`EngineError::NoSuchValue`], [`EngineError::DType`].
    pub fn input_mut<T: Element>(&mut self, index: usize) -> Result<&mut [T], EngineError> {
        let range = byte_range::<T>("input", &self.plan.inputs, index)?;
        Ok(bytemuck::cast_slice_mut(&mut self.arena.bytes_mut()[range]))
    }

    /// The elements of output `index`, dense and row-major, as the last [`Session::run`] left
    /// them.
    ///
    /// # Errors
    /// [`EngineError::NoSuchValue`], [`EngineError::DType`].
    pub fn output<T: Element>(&self, index: usize) -> Result<&[T], EngineError> {
        let range = byte_range::<T>("output", &self.plan.outputs, index)?;
        Ok(bytemuck::cast_slice(&self.arena.bytes()[range]))
    }

    /// Runs the network on the inputs as they stand. Allocates nothing. A streaming network goes on
    /// from the run before; see [`Session::reset_state`].
    pub fn run(&mut self) {
        self.plan.program.run(&mut self.state, &mut self.arena, self.model.par());
        self.keep_state();
    }

    /// Runs the network on these tensors, one per input in order, and copies the outputs out;
    /// changes the shapes of the session where theirs differ.
    ///
    /// # Errors
    /// Where a tensor does not fit its input, or as [`Model::plan`].
    pub fn run_tensors(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, EngineError> {
        let shapes: Vec<Shape> = inputs.iter().map(|t| *t.shape()).collect();
        self.reshape(&shapes)?;
        for (port, tensor) in self.plan.inputs.iter().zip(inputs) {
            if port.ty.dtype != tensor.dtype() {
                return Err(EngineError::DType {
                    what: "input",
                    name: port.name.clone(),
                    want: port.ty.dtype,
                    got: tensor.dtype(),
                });
            }
            let bytes = tensor.bytes();
            self.arena.bytes_mut()[port.offset..][..bytes.len()].copy_from_slice(bytes);
        }
        self.run();
        let outputs = self.plan.outputs.iter().map(|port| {
            let bytes = &self.arena.bytes()[port.offset..][..port.ty.bytes()];
            let copy = depthwise_tensor::AlignedBuf::copy_of(bytes)?.into_bytes();
            Ok(Tensor::new(port.ty.dtype, port.ty.shape, copy)?)
        });
        outputs.collect()
    }

    /// Runs the network `runs` times and tells what each step took.
    pub fn profile(&mut self, runs: usize) -> Profile {
        let steps = self.plan.steps.len();
        let mut total = vec![Duration::ZERO; steps];
        let mut best = vec![Duration::MAX; steps];
        let mut wall = Duration::MAX;
        for _ in 0..runs {
            let mut times = vec![Duration::ZERO; steps];
            let start = Instant::now();
            self.plan.program.run_profiled(
                &mut self.state,
                &mut self.arena,
                self.model.par(),
                &mut times,
            );
            self.keep_state();
            wall = wall.min(start.elapsed());
            for ((total, best), time) in total.iter_mut().zip(&mut best).zip(times) {
                *total += time;
                *best = (*best).min(time);
            }
        }
        let steps = self.plan.steps.iter().zip(best).zip(total).map(|((step, min), total)| {
            let mean = total / runs.max(1) as u32;
            StepTime { step: step.clone(), min: if runs == 0 { Duration::ZERO } else { min }, mean }
        });
        Profile {
            runs,
            wall: if runs == 0 { Duration::ZERO } else { wall },
            steps: steps.collect(),
        }
    }
}

fn byte_range<T: Element>(
    what: &'static str,
    ports: &[Port],
    index: usize,
) -> Result<std::ops::Range<usize>, EngineError> {
    let port =
        ports.get(index).ok_or(EngineError::NoSuchValue { what, index, count: ports.len() })?;
    if port.ty.dtype != T::DTYPE {
        let (want, got) = (T::DTYPE, port.ty.dtype);
        return Err(EngineError::DType { what, name: port.name.clone(), want, got });
    }
    Ok(port.range())
}

/// What every step of a network took; see [`Session::profile`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Profile {
    /// Runs that were timed.
    pub runs: usize,
    /// The shortest run as a whole.
    pub wall: Duration,
    /// The steps, in order.
    pub steps: Vec<StepTime>,
}

/// The time of one step.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StepTime {
    /// The step.
    pub step: StepInfo,
    /// Shortest of all runs.
    pub min: Duration,
    /// Mean of all runs.
    pub mean: Duration,
}

impl StepTime {
    /// Billions of arithmetic operations a second (two per multiply-accumulate), in the shortest
    /// run; 0 where the step counts none.
    pub fn gflops(&self) -> f64 {
        let seconds = self.min.as_secs_f64();
        if seconds > 0.0 { 2.0 * self.step.macs as f64 / seconds / 1e9 } else { 0.0 }
    }
}
