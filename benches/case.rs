//! An operator in an arena, run as the engine runs it.

use depthwise_kernels::{BindError, KernelError, Operator, Par, Program, RunState, Source};
use depthwise_tensor::Arena;
use depthwise_tensor::buf::AllocError;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Why a kernel could not be measured on a layer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaseError {
    /// The operator refuses the shape.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The operands do not fit the operator.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// There is no memory.
    #[error(transparent)]
    Alloc(#[from] AllocError),
}

/// One operator with operands of its own.
#[derive(Debug)]
pub struct Case {
    op: Arc<dyn Operator>,
    program: Program,
    arena: Arena,
    state: RunState,
}

/// Bytes of a page. A load stalls behind a store whose address agrees with it modulo this.
const PAGE: usize = 4096;
/// From operand to operand modulo [`PAGE`]: a third of it, as far apart as three operands can be. Half
/// a kilobyte would let the rows of a residual meet those of the output just written.
const SKEW: usize = 1344;

impl Case {
    /// Binds an operator whose operands are all `f32`, and fills its inputs with values between
    /// -1 and 1.
    ///
    /// # Errors
    /// [`CaseError::Alloc`]; the others cannot happen.
    pub fn new(op: Arc<dyn Operator>) -> Result<Case, CaseError> {
        let mut end = 0;
        let mut place = |bytes: usize, number: usize| {
            let start = end + number * SKEW % PAGE;
            end = (start + bytes).next_multiple_of(PAGE);
            start
        };
        let inputs: Vec<usize> =
            op.input_bytes().iter().enumerate().map(|(i, &n)| place(n, i)).collect();
        let filled = inputs.len();
        let outputs: Vec<usize> =
            op.output_bytes().iter().enumerate().map(|(i, &n)| place(n, filled + i)).collect();
        let scratch = place(op.scratch_bytes(), filled + outputs.len());
        let mut program = Program::new(end);
        let sources = inputs.iter().map(|&offset| Source::Arena(offset)).collect();
        program.push(Arc::clone(&op), sources, outputs, scratch)?;
        let mut arena = Arena::new(end)?;
        for (i, value) in values(end / size_of::<f32>()).into_iter().enumerate() {
            arena.bytes_mut()[i * size_of::<f32>()..][..size_of::<f32>()]
                .copy_from_slice(&value.to_ne_bytes());
        }
        let state = program.state();
        Ok(Case { op, program, arena, state })
    }

    /// Name of the kernel that runs.
    pub fn kernel(&self) -> &'static str {
        self.op.kernel()
    }

    /// Multiply-accumulate steps of a run.
    pub fn macs(&self) -> u64 {
        self.op.macs()
    }

    /// Bytes that a run reads or writes at least once: operands and packed weights.
    pub fn bytes(&self) -> usize {
        let operands = self.op.input_bytes().iter().chain(self.op.output_bytes());
        operands.sum::<usize>() + self.op.packed_bytes()
    }

    /// Those of them that a run writes.
    pub fn bytes_written(&self) -> usize {
        self.op.output_bytes().iter().sum()
    }

    /// Runs the operator once.
    pub fn run(&mut self, par: &Par) {
        self.program.run(&mut self.state, &mut self.arena, par);
    }

    /// Mean time of `runs` runs, one after the other.
    pub fn time(&mut self, par: &Par, runs: u32) -> Duration {
        let start = Instant::now();
        for _ in 0..runs {
            self.run(par);
        }
        start.elapsed() / runs.max(1)
    }
}

/// Values between -1 and 1 that differ from each other, none of them denormal.
pub fn values(count: usize) -> Vec<f32> {
    (0..count).map(|i| (i * 7919 % 1009) as f32 / 504.5 - 1.0).collect()
}
