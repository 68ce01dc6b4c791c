//! Copies whose source moves by a fixed step along each axis: the common ground of slices,
//! broadcasts, tiles and changes of row distance.

use super::check_element;
use super::view::View;
use super::walk::{Piece, Walk};
use crate::operator::{Io, KernelError};
use bytemuck::Pod;

/// Runs of at most this many bytes are copied by a loop rather than by `memcpy`.
const SHORT_RUN_BYTES: usize = 32;

/// A [`Walk`] that copies operand 1 to operand 0.
#[derive(Debug)]
pub(super) struct Strided {
    element_bytes: usize,
    walk: Walk<2>,
    /// Where the walk starts in the input.
    base: usize,
    pub(super) chunks: usize,
    pub(super) input_bytes: [usize; 1],
    pub(super) output_bytes: [usize; 1],
}

impl Strided {
    /// The copy along a walk that stays inside both views when it starts at `base` of the input
    /// and at the first element of the output.
    ///
    /// # Errors
    /// [`KernelError`] for a view that cannot be or an element size that cannot be moved.
    pub(super) fn new(
        kernel: &'static str,
        element_bytes: usize,
        walk: Walk<2>,
        (input, base): (&View, usize),
        out: &View,
        threads: usize,
    ) -> Result<Strided, KernelError> {
        check_element(kernel, element_bytes)?;
        input.check(kernel)?;
        out.check(kernel)?;
        Ok(Strided {
            element_bytes,
            chunks: walk.chunks(2 * element_bytes, threads),
            walk,
            base,
            input_bytes: [input.len() * element_bytes],
            output_bytes: [out.len() * element_bytes],
        })
    }

    /// # Safety
    /// As [`Operator::run_chunk`](crate::Operator::run_chunk).
    pub(super) unsafe fn run(&self, io: &Io<'_>, chunk: usize) {
        let (y, x) = (io.output::<u8>(0), io.input::<u8>(0));
        self.walk.chunk(self.chunks, chunk, |piece| {
            // SAFETY: as the caller promises; the walk stays inside both views from `base` on.
            unsafe {
                let x = x.add(self.base * self.element_bytes);
                copy_piece(self.element_bytes, &self.walk, &piece, y, x);
            }
        });
    }
}

/// Copies a piece of a walk, from operand 1 to operand 0.
///
/// # Safety
/// - The piece lies in memory that is valid for elements of `element_bytes`, a size that
///   [`check_element`] accepts.
/// - The operands do not overlap, and nobody else touches what is written.
pub(crate) unsafe fn copy_piece(
    element_bytes: usize,
    walk: &Walk<2>,
    piece: &Piece<2>,
    y: *mut u8,
    x: *const u8,
) {
    // SAFETY: as the caller promises.
    unsafe {
        match element_bytes {
            1 => copy_rows::<u8>(walk, piece, y.cast(), x.cast()),
            2 => copy_rows::<u16>(walk, piece, y.cast(), x.cast()),
            4 => copy_rows::<u32>(walk, piece, y.cast(), x.cast()),
            _ => copy_rows::<u64>(walk, piece, y.cast(), x.cast()),
        }
    }
}

/// # Safety
/// As [`copy_piece`].
unsafe fn copy_rows<T: Pod>(walk: &Walk<2>, piece: &Piece<2>, y: *mut T, x: *const T) {
    let (rows, run) = (walk.rows.strides, walk.run.strides);
    let splat = run[1] == 0;
    let short = piece.run * size_of::<T>() <= SHORT_RUN_BYTES;
    for row in 0..piece.rows as isize {
        // SAFETY: the row lies in both operands.
        unsafe {
            let y = y.offset(piece.offsets[0] + row * rows[0]);
            let x = x.offset(piece.offsets[1] + row * rows[1]);
            if splat {
                fill(y, x.read_unaligned(), piece.run);
            } else {
                copy_run(y, x, piece.run, short);
            }
        }
    }
}

/// `len` elements, of which the loop takes care where they are few.
///
/// # Safety
/// Both are valid for `len` elements and do not overlap.
#[inline(always)]
unsafe fn copy_run<T: Pod>(y: *mut T, x: *const T, len: usize, short: bool) {
    // SAFETY: as the caller promises; as bytes, since operands may be less aligned than `T`.
    unsafe {
        if short {
            for i in 0..len {
                y.add(i).write_unaligned(x.add(i).read_unaligned());
            }
        } else {
            let bytes = len * size_of::<T>();
            y.cast::<u8>().copy_from_nonoverlapping(x.cast::<u8>(), bytes);
        }
    }
}

/// `len` times the same element.
///
/// # Safety
/// `y` is valid for `len` elements.
#[inline(always)]
pub(super) unsafe fn fill<T: Pod>(y: *mut T, value: T, len: usize) {
    for i in 0..len {
        // SAFETY: `i < len`.
        unsafe { y.add(i).write_unaligned(value) };
    }
}
