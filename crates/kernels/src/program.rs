//! Operators bound to places in an arena, and the walk that runs them on several threads.
//!
//! Every participant walks all steps. A step has a fixed number of chunks and a claim word per
//! chunk; participant `i` tries chunk `i` first and then any chunk that nobody has begun, and
//! goes on once all chunks of the step are done. So nobody waits for a thread that has not woken
//! up, and the results do not depend on who came.

use crate::operator::{Io, Operator};
use crate::par::Par;
use bytes::Bytes;
use depthwise_tensor::Arena;
use depthwise_tensor::buf::ALIGN;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Where an operator reads an input.
#[derive(Clone, Debug)]
pub enum Source {
    /// At this byte of the arena.
    Arena(usize),
    /// From these constant bytes.
    Const(Bytes),
}

/// Why an operator could not be bound to its operands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// Not the number of operands that the operator declares.
    #[error("{kernel} takes {want} {what}, but got {got}")]
    Count {
        /// Kernel of the operator.
        kernel: &'static str,
        /// "inputs" or "outputs".
        what: &'static str,
        /// Declared.
        want: usize,
        /// Given.
        got: usize,
    },
    /// An operand that is too short.
    #[error("{kernel}: {what} {index} has {got} bytes, needs {want}")]
    Length {
        /// Kernel of the operator.
        kernel: &'static str,
        /// "input" or "output".
        what: &'static str,
        /// Position of the operand.
        index: usize,
        /// Bytes that the operator touches.
        want: usize,
        /// Bytes that are there.
        got: usize,
    },
    /// A place that is not on a 64-byte line.
    #[error("{kernel}: byte {offset} of the arena is not on a {ALIGN}-byte line")]
    Alignment {
        /// Kernel of the operator.
        kernel: &'static str,
        /// The place.
        offset: usize,
    },
    /// Two operands share memory that may not.
    #[error("{kernel}: bytes {a:?} and {b:?} of the arena overlap")]
    Overlap {
        /// Kernel of the operator.
        kernel: &'static str,
        /// One operand.
        a: Range<usize>,
        /// The other.
        b: Range<usize>,
    },
    /// There was no memory for scratch.
    #[error("cannot allocate {bytes} bytes of scratch memory")]
    Scratch {
        /// Bytes asked for.
        bytes: usize,
    },
}

#[derive(Clone, Debug)]
struct Step {
    op: Arc<dyn Operator>,
    inputs: Vec<Source>,
    outputs: Vec<usize>,
    scratch: usize,
    /// Number of its first claim word.
    first_claim: usize,
}

/// Most operands of one side of an operator.
const MAX_OPERANDS: usize = 64;

/// A list of operators, each bound to operands in an arena of fixed size. Immutable once built;
/// shared by many sessions.
#[derive(Clone, Debug)]
pub struct Program {
    steps: Vec<Step>,
    arena_bytes: usize,
    claims: usize,
}

/// What one session needs to run a [`Program`]: its claim words.
#[derive(Debug)]
pub struct RunState {
    claims: Box<[AtomicU32]>,
    done: Box<[AtomicU32]>,
    poisoned: AtomicBool,
}

impl Program {
    /// An empty program for an arena of `arena_bytes`.
    pub fn new(arena_bytes: usize) -> Program {
        Program { steps: Vec::new(), arena_bytes, claims: 0 }
    }

    /// Bytes of the arena that the program runs in.
    pub fn arena_bytes(&self) -> usize {
        self.arena_bytes
    }

    /// Number of steps.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether there are no steps.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The operator of each step, in order.
    pub fn operators(&self) -> impl ExactSizeIterator<Item = &dyn Operator> {
        self.steps.iter().map(|s| &*s.op)
    }

    /// Adds a step. `outputs` and `scratch` are bytes of the arena.
    ///
    /// # Errors
    /// [`BindError`] where an operand does not fit the arena or the constant, is not aligned, or
    /// shares memory with another one that the operator writes.
    pub fn push(
        &mut self,
        op: Arc<dyn Operator>,
        inputs: Vec<Source>,
        outputs: Vec<usize>,
        scratch: usize,
    ) -> Result<(), BindError> {
        let lengths = |offset: usize| self.arena_bytes.saturating_sub(offset);
        let input_lengths: Vec<usize> = inputs
            .iter()
            .map(|source| match source {
                Source::Arena(offset) => lengths(*offset),
                Source::Const(bytes) => bytes.len(),
            })
            .collect();
        let output_lengths: Vec<usize> = outputs.iter().map(|&o| lengths(o)).collect();
        check_lengths(&*op, &input_lengths, &output_lengths)?;
        self.check_places(&*op, &inputs, &outputs, scratch)?;
        let first_claim = self.claims;
        self.claims += op.chunks();
        self.steps.push(Step { op, inputs, outputs, scratch, first_claim });
        Ok(())
    }

    fn check_places(
        &self,
        op: &dyn Operator,
        inputs: &[Source],
        outputs: &[usize],
        scratch: usize,
    ) -> Result<(), BindError> {
        let kernel = op.kernel();
        let range = |offset: usize, bytes: usize| offset..offset + bytes;
        let mut written: Vec<Range<usize>> =
            outputs.iter().zip(op.output_bytes()).map(|(&o, &n)| range(o, n)).collect();
        if op.scratch_bytes() > self.arena_bytes.saturating_sub(scratch) {
            return Err(BindError::Scratch { bytes: op.scratch_bytes() });
        }
        written.push(range(scratch, op.scratch_bytes()));
        for (i, a) in written.iter().enumerate() {
            if a.start % ALIGN != 0 {
                return Err(BindError::Alignment { kernel, offset: a.start });
            }
            if let Some(b) = written[..i].iter().find(|b| overlaps(a, b)) {
                return Err(BindError::Overlap { kernel, a: a.clone(), b: b.clone() });
            }
        }
        for (i, (source, &bytes)) in inputs.iter().zip(op.input_bytes()).enumerate() {
            match source {
                Source::Arena(offset) => {
                    if offset % ALIGN != 0 {
                        return Err(BindError::Alignment { kernel, offset: *offset });
                    }
                    let read = range(*offset, bytes);
                    for (o, write) in written.iter().enumerate() {
                        let shared = o == 0 && op.in_place(i) && read.start == write.start;
                        if overlaps(&read, write) && !shared {
                            return Err(BindError::Overlap { kernel, a: read, b: write.clone() });
                        }
                    }
                }
                Source::Const(bytes) => {
                    // Eight bytes is the largest element.
                    if !(bytes.as_ptr() as usize).is_multiple_of(8) && !bytes.is_empty() {
                        return Err(BindError::Alignment { kernel, offset: 0 });
                    }
                }
            }
        }
        Ok(())
    }

    /// Claim words for one session.
    pub fn state(&self) -> RunState {
        let words = |n: usize| (0..n).map(|_| AtomicU32::new(0)).collect();
        RunState {
            claims: words(self.claims),
            done: words(self.steps.len()),
            poisoned: AtomicBool::new(false),
        }
    }

    /// Runs all steps, on as many threads as `par` has. Allocates nothing.
    ///
    /// # Panics
    /// Where the arena or the state is not of this program, or a kernel panics.
    pub fn run(&self, state: &mut RunState, arena: &mut Arena, par: &Par) {
        self.run_with(state, arena, par, |_| {});
    }

    /// As [`Program::run`]; adds the time from the end of the step before to the end of each step
    /// to `times`, which has an entry per step.
    ///
    /// # Panics
    /// As [`Program::run`], or where `times` is shorter than the program.
    pub fn run_profiled(
        &self,
        state: &mut RunState,
        arena: &mut Arena,
        par: &Par,
        times: &mut [Duration],
    ) {
        let mut last = Instant::now();
        self.run_with(state, arena, par, |step| {
            let now = Instant::now();
            times[step] += now - last;
            last = now;
        });
    }

    fn run_with(
        &self,
        state: &mut RunState,
        arena: &mut Arena,
        par: &Par,
        mut finished: impl FnMut(usize),
    ) {
        assert!(arena.len() >= self.arena_bytes, "arena of another program");
        assert_eq!(
            (state.claims.len(), state.done.len()),
            (self.claims, self.steps.len()),
            "state of another program"
        );
        state.reset();
        let base = Base(arena.base());
        let state = &*state;
        if par.threads() == 1 {
            for index in 0..self.steps.len() {
                for chunk in 0..self.steps[index].op.chunks() {
                    // SAFETY: `push` has checked every place against the arena and against each
                    // other; this thread alone runs chunks.
                    unsafe { self.run_chunk(index, base, chunk) };
                }
                finished(index);
            }
            return;
        }
        let walk = |me: usize, finished: &mut dyn FnMut(usize)| {
            let _guard = PoisonOnPanic(&state.poisoned);
            for (index, step) in self.steps.iter().enumerate() {
                let chunks = step.op.chunks();
                let claims = &state.claims[step.first_claim..][..chunks];
                claim_chunks(claims, me, &state.done[index], |chunk| {
                    // SAFETY: `push` has checked every place; the claim word gives this chunk
                    // to this thread alone, and the steps before are done.
                    unsafe { self.run_chunk(index, base, chunk) };
                });
                wait_for(&state.done[index], chunks as u32, &state.poisoned);
                finished(index);
            }
        };
        par.enter(&mut || walk(0, &mut finished), &|me| walk(me, &mut |_| {}));
    }

    /// # Safety
    /// - `base` is the first byte of an arena of at least `arena_bytes`.
    /// - Nobody else runs this chunk of this step, or a step that depends on it, at the same time.
    unsafe fn run_chunk(&self, index: usize, base: Base, chunk: usize) {
        let step = &self.steps[index];
        let mut inputs = [std::ptr::null(); MAX_OPERANDS];
        let mut outputs = [std::ptr::null_mut(); MAX_OPERANDS];
        for (pointer, source) in inputs.iter_mut().zip(&step.inputs) {
            *pointer = match source {
                // SAFETY: checked in `push` to lie in the arena.
                Source::Arena(offset) => unsafe { base.0.add(*offset) }.cast_const(),
                Source::Const(bytes) => bytes.as_ptr(),
            };
        }
        for (pointer, offset) in outputs.iter_mut().zip(&step.outputs) {
            // SAFETY: checked in `push` to lie in the arena.
            *pointer = unsafe { base.0.add(*offset) };
        }
        // SAFETY: as above.
        let scratch = unsafe { base.0.add(step.scratch) };
        let (inputs, outputs) = (&inputs[..step.inputs.len()], &outputs[..step.outputs.len()]);
        // SAFETY: places are valid and apart (`push`); the caller runs this chunk alone.
        unsafe { step.op.run_chunk(&Io::new(inputs, outputs, scratch), chunk) };
    }
}

impl RunState {
    /// Frees every chunk for a new run. `&mut self`: nobody is left from the run before.
    fn reset(&mut self) {
        assert!(!*self.poisoned.get_mut(), "a kernel panicked in an earlier run");
        for word in self.claims.iter_mut().chain(self.done.iter_mut()) {
            *word.get_mut() = 0;
        }
    }
}

/// Runs chunk `me` if nobody has begun it, then every other chunk that nobody has begun.
fn claim_chunks(claims: &[AtomicU32], me: usize, done: &AtomicU32, mut run: impl FnMut(usize)) {
    for k in 0..claims.len() {
        let chunk = (me + k) % claims.len();
        let word = &claims[chunk];
        // The load spares the cache line of a chunk that is long taken.
        if word.load(Ordering::Relaxed) == 0 && word.swap(1, Ordering::Relaxed) == 0 {
            run(chunk);
            done.fetch_add(1, Ordering::Release);
        }
    }
}

/// Spins before a waiting thread lets others have its CPU. With many more, two threads on one CPU
/// would wait for each other's time slices.
const SPINS: u32 = 4000;

/// Waits until `target` chunks are done.
fn wait_for(done: &AtomicU32, target: u32, poisoned: &AtomicBool) {
    let mut spins = 0;
    while done.load(Ordering::Acquire) != target {
        assert!(!poisoned.load(Ordering::Relaxed), "a kernel panicked on another thread");
        if spins < SPINS {
            spins += 1;
            std::hint::spin_loop();
        } else {
            std::thread::yield_now();
        }
    }
}

/// Runs one operator on these operands.
///
/// # Safety
/// Every pointer is valid for the bytes that the operator declares; outputs and scratch overlap
/// nothing.
pub(crate) unsafe fn run_once(
    op: &dyn Operator,
    inputs: &[*const u8],
    outputs: &[*mut u8],
    scratch: *mut u8,
    par: &Par,
) {
    struct Shared<'a>(Io<'a>);
    // SAFETY: the caller vouches for the memory; chunks write apart.
    unsafe impl Sync for Shared<'_> {}
    let io = Shared(Io::new(inputs, outputs, scratch));
    let claims: Vec<AtomicU32> = (0..op.chunks()).map(|_| AtomicU32::new(0)).collect();
    let (done, poisoned) = (AtomicU32::new(0), AtomicBool::new(false));
    let walk = |me: usize| {
        let io = &io;
        let _guard = PoisonOnPanic(&poisoned);
        // SAFETY: operands are valid (caller); a claim word gives each chunk to one thread.
        claim_chunks(&claims, me, &done, |chunk| unsafe { op.run_chunk(&io.0, chunk) });
        wait_for(&done, claims.len() as u32, &poisoned);
    };
    par.enter(&mut || walk(0), &walk);
}

/// Checks number and length of the operands of an operator.
pub(crate) fn check_lengths(
    op: &dyn Operator,
    inputs: &[usize],
    outputs: &[usize],
) -> Result<(), BindError> {
    let kernel = op.kernel();
    for (what, declared, given) in
        [("input", op.input_bytes(), inputs), ("output", op.output_bytes(), outputs)]
    {
        let (want, got) = (declared.len(), given.len());
        if want != got || want > MAX_OPERANDS {
            return Err(BindError::Count { kernel, what, want, got });
        }
        for (index, (&want, &got)) in declared.iter().zip(given).enumerate() {
            if got < want {
                return Err(BindError::Length { kernel, what, index, want, got });
            }
        }
    }
    Ok(())
}

#[derive(Clone, Copy)]
struct Base(*mut u8);
// SAFETY: a plain address; who may use it is argued where it is used.
unsafe impl Send for Base {}
// SAFETY: as above.
unsafe impl Sync for Base {}

/// Sets the flag while unwinding, so that other participants stop waiting.
struct PoisonOnPanic<'a>(&'a AtomicBool);
impl Drop for PoisonOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(true, Ordering::Release);
        }
    }
}

fn overlaps(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.start < b.end && b.start < a.end
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::run;

    /// `y[i] = x[i] + 1`, bytes, in `chunks` parts.
    #[derive(Debug)]
    struct Increment {
        bytes: [usize; 1],
        chunks: usize,
    }

    // SAFETY: chunk `i` touches every `chunks`-th byte from `i` on, of input and output alike.
    unsafe impl Operator for Increment {
        fn kernel(&self) -> &'static str {
            "increment"
        }
        fn input_bytes(&self) -> &[usize] {
            &self.bytes
        }
        fn output_bytes(&self) -> &[usize] {
            &self.bytes
        }
        fn in_place(&self, i: usize) -> bool {
            i == 0
        }
        fn chunks(&self) -> usize {
            self.chunks
        }
        unsafe fn run_chunk(&self, io: &Io<'_>, chunk: usize) {
            for i in (chunk..self.bytes[0]).step_by(self.chunks) {
                // SAFETY: `i` lies in both operands.
                unsafe { *io.output::<u8>(0).add(i) = *io.input::<u8>(0).add(i) + 1 };
            }
        }
    }

    fn increment(bytes: usize, chunks: usize) -> Arc<dyn Operator> {
        Arc::new(Increment { bytes: [bytes], chunks })
    }

    #[test]
    fn every_chunk_runs_once_on_any_number_of_threads() {
        for threads in 1..=4 {
            let par = Par::new(threads).unwrap();
            for chunks in 1..=5 {
                let mut program = Program::new(256);
                for _ in 0..20 {
                    program
                        .push(increment(64, chunks), vec![Source::Arena(0)], vec![0], 0)
                        .unwrap();
                }
                let mut arena = Arena::new(256).unwrap();
                let mut state = program.state();
                for _ in 0..5 {
                    program.run(&mut state, &mut arena, &par);
                }
                assert!(arena.bytes()[..64].iter().all(|&b| b == 100), "{threads} {chunks}");
                assert!(arena.bytes()[64..].iter().all(|&b| b == 0));
            }
        }
    }

    #[test]
    fn conflicting_places_are_refused() {
        let mut program = Program::new(256);
        let mut push = |input, output| {
            program.push(increment(100, 1), vec![Source::Arena(input)], vec![output], 0)
        };
        assert!(matches!(push(0, 64), Err(BindError::Overlap { .. })));
        assert!(matches!(push(0, 192), Err(BindError::Length { .. })));
        assert!(matches!(push(0, 130), Err(BindError::Alignment { .. })));
        assert!(matches!(push(usize::MAX, 0), Err(BindError::Length { .. })));
        assert_eq!(push(0, 128), Ok(()));
    }

    #[test]
    fn profiled_runs_time_every_step() {
        let mut program = Program::new(64);
        program.push(increment(64, 2), vec![Source::Arena(0)], vec![0], 0).unwrap();
        let (mut arena, mut state) = (Arena::new(64).unwrap(), program.state());
        for threads in [1, 2] {
            let mut times = [Duration::ZERO];
            let par = Par::new(threads).unwrap();
            program.run_profiled(&mut state, &mut arena, &par, &mut times);
            assert!(times[0] > Duration::ZERO);
        }
    }

    #[test]
    fn slices_of_a_wrong_length_are_refused() {
        let op = increment(8, 2);
        let mut out = [0u8; 8];
        let par = Par::single();
        assert!(run(&*op, &[&[0; 7]], &mut [&mut out], &par).is_err());
        assert!(run(&*op, &[], &mut [&mut out], &par).is_err());
        run(&*op, &[&[1; 8]], &mut [&mut out], &par).unwrap();
        assert_eq!(out, [2; 8]);
    }
}
