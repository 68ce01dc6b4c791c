//! What every kernel family offers to the program that runs it.

use crate::isa::{Cpu, Extension, Isa};
use crate::par::Par;
use crate::program::{BindError, check_lengths, run_once};
use bytemuck::Pod;
use std::fmt;
use std::marker::PhantomData;

/// A line of a family's `KERNELS` list, as tables and benches print it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KernelInfo {
    /// `<family>_<tile>_<isa>`, also the name of the function.
    pub name: &'static str,
    /// Level that the kernel needs.
    pub isa: Isa,
    /// Instructions beyond the level that it needs.
    pub extension: Option<Extension>,
}

impl KernelInfo {
    /// A kernel that needs nothing beyond its level.
    pub const fn new(name: &'static str, isa: Isa) -> KernelInfo {
        KernelInfo { name, isa, extension: None }
    }

    /// Whether the kernel runs on this CPU.
    pub fn is_supported(&self, cpu: &Cpu) -> bool {
        cpu.supports(self.isa) && self.extension.is_none_or(|extension| cpu.has(extension))
    }
}

/// Why an operator could not be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KernelError {
    /// Shapes, strides or attributes that do not go together.
    #[error("{kernel}: {reason}")]
    Invalid {
        /// Family of the kernel.
        kernel: &'static str,
        /// What is wrong, with both numbers.
        reason: String,
    },
    /// A combination that no kernel of the family computes.
    #[error("{kernel}: {reason} is not supported")]
    Unsupported {
        /// Family of the kernel.
        kernel: &'static str,
        /// What was asked for.
        reason: String,
    },
    /// There was no memory for packed weights.
    #[error(transparent)]
    Alloc(#[from] depthwise_tensor::buf::AllocError),
}

/// The operands of one run of an operator.
///
/// Pointers are valid for the lengths that the operator declares and aligned to its elements.
#[derive(Clone, Copy, Debug)]
pub struct Io<'a> {
    inputs: &'a [*const u8],
    outputs: &'a [*mut u8],
    scratch: *mut u8,
    memory: PhantomData<&'a mut [u8]>,
}

impl<'a> Io<'a> {
    pub(crate) fn new(inputs: &'a [*const u8], outputs: &'a [*mut u8], scratch: *mut u8) -> Io<'a> {
        Io { inputs, outputs, scratch, memory: PhantomData }
    }

    /// The first element of input `i`.
    pub fn input<T: Pod>(&self, i: usize) -> *const T {
        self.inputs[i].cast()
    }

    /// Number of inputs.
    pub fn input_count(&self) -> usize {
        self.inputs.len()
    }

    /// The first element of output `i`.
    pub fn output<T: Pod>(&self, i: usize) -> *mut T {
        self.outputs[i].cast()
    }

    /// The first byte of the scratch memory, on a 64-byte line.
    pub fn scratch<T: Pod>(&self) -> *mut T {
        self.scratch.cast()
    }

    /// Input `i` as a slice.
    ///
    /// # Safety
    /// - The first `len` elements of the input are valid and initialised.
    /// - Nothing writes them while the slice lives; so not for an input that shares the memory of
    ///   an output.
    pub unsafe fn input_slice<T: Pod>(&self, i: usize, len: usize) -> &'a [T] {
        // SAFETY: as the caller promises; alignment holds for every operand.
        unsafe { std::slice::from_raw_parts(self.input(i), len) }
    }

    /// Elements `start .. start + len` of output `i`.
    ///
    /// # Safety
    /// - The range lies in the output.
    /// - No other chunk, and no other slice, touches these elements while the slice lives.
    pub unsafe fn output_slice<T: Pod>(&self, i: usize, start: usize, len: usize) -> &'a mut [T] {
        // SAFETY: as the caller promises; alignment holds for every operand.
        unsafe { std::slice::from_raw_parts_mut(self.output::<T>(i).add(start), len) }
    }
}

/// An operation ready to run: shapes checked, weights packed, kernel and split chosen.
///
/// # Safety
/// For the implementor: [`Operator::run_chunk`] reads at most [`Operator::input_bytes`] of each
/// input, writes at most [`Operator::output_bytes`] of each output, and touches at most
/// [`Operator::scratch_bytes`] of scratch. Distinct chunks write distinct bytes and do not read
/// what another chunk writes. All chunks together write every meaningful element of every output.
/// None of these answers changes during the life of the operator.
pub unsafe trait Operator: Send + Sync + fmt::Debug {
    /// Name of the kernel that does the work; the same in lists, profiles and benches.
    fn kernel(&self) -> &'static str;

    /// Bytes read of each input.
    fn input_bytes(&self) -> &[usize];

    /// Bytes written of each output.
    fn output_bytes(&self) -> &[usize];

    /// Bytes of scratch memory for all chunks together; contents are undefined at the start.
    fn scratch_bytes(&self) -> usize {
        0
    }

    /// Whether output 0 may lie exactly where input `i` lies.
    fn in_place(&self, i: usize) -> bool {
        let _ = i;
        false
    }

    /// Parts that may run at the same time. Fixed by shapes and thread budget, so that results
    /// do not depend on who runs them.
    fn chunks(&self) -> usize;

    /// Multiply-accumulate steps of one run, 0 where the operator does something else.
    fn macs(&self) -> u64 {
        0
    }

    /// Bytes of packed weights that the operator holds (shared ones count in full).
    fn packed_bytes(&self) -> usize {
        0
    }

    /// Runs one chunk.
    ///
    /// # Safety
    /// - Every pointer of `io` is valid for the bytes that this operator declares.
    /// - Outputs and scratch overlap nothing, but for output 0 and an input that
    ///   [`Operator::in_place`] allows.
    /// - `chunk < self.chunks()`, and no two calls for the same chunk run at the same time on the
    ///   same memory.
    unsafe fn run_chunk(&self, io: &Io<'_>, chunk: usize);
}

/// Runs an operator on slices: for tests, benches, and callers without a program.
///
/// # Errors
/// [`BindError`] where a slice is shorter than the operator declares, or their number differs.
pub fn run(
    op: &dyn Operator,
    inputs: &[&[u8]],
    outputs: &mut [&mut [u8]],
    par: &Par,
) -> Result<(), BindError> {
    check_lengths(
        op,
        &inputs.iter().map(|s| s.len()).collect::<Vec<_>>(),
        &outputs.iter().map(|s| s.len()).collect::<Vec<_>>(),
    )?;
    let inputs: Vec<*const u8> = inputs.iter().map(|s| s.as_ptr()).collect();
    let outputs: Vec<*mut u8> = outputs.iter_mut().map(|s| s.as_mut_ptr()).collect();
    let scratch = depthwise_tensor::AlignedBuf::zeroed(op.scratch_bytes())
        .map_err(|_| BindError::Scratch { bytes: op.scratch_bytes() })?;
    // SAFETY: the slices are as long as the operator declares (checked above), `&mut` keeps the
    // outputs apart from each other and from the inputs, and the scratch is fresh.
    unsafe { run_once(op, &inputs, &outputs, scratch.as_ptr(), par) };
    Ok(())
}

/// As [`run`], for operators whose operands are all `f32`.
///
/// # Errors
/// As [`run`].
pub fn run_f32(
    op: &dyn Operator,
    inputs: &[&[f32]],
    outputs: &mut [&mut [f32]],
    par: &Par,
) -> Result<(), BindError> {
    let inputs: Vec<&[u8]> = inputs.iter().map(|s| bytemuck::cast_slice(s)).collect();
    let mut outputs: Vec<&mut [u8]> =
        outputs.iter_mut().map(|s| bytemuck::cast_slice_mut(s)).collect();
    run(op, &inputs, &mut outputs, par)
}
