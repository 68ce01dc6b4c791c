//! Elements moved without arithmetic: copy, transpose, blocks, concat, slice, pad, gather, broadcast; and
//! the change of element type.
//!
//! All take [`View`]s of any distance of rows on both sides, and elements of 1, 2, 4 or 8 bytes.
//! Each bit arrives unchanged, NaN payloads included. Padding of rows is never read into a
//! meaningful place; it may be written where a row has some.
//!
//! Copies are reduced to few loops (`walk.rs`) around runs of consecutive elements, which `memcpy`
//! moves. That leaves one kernel worth a choice: the transposition of a matrix of 4-byte elements,
//! which turns NCHW into NHWC and back ([`KERNELS`]). On Zen 3, 1x56x56x64 to NCHW: 25 us with
//! 8x8 tiles (AVX2), 101 us with 4x4 ones (scalar); 1x3x224x224 to NHWC, which has no whole tile:
//! 37 us with either.

/// An operator that is a [`Strided`](strided::Strided) copy.
macro_rules! strided_operator {
    ($name:ident, $kernel:literal) => {
        // SAFETY: the constructor has built a walk that stays inside the declared lengths; its
        // chunks are apart.
        unsafe impl Operator for $name {
            fn kernel(&self) -> &'static str {
                $kernel
            }

            fn input_bytes(&self) -> &[usize] {
                &self.0.input_bytes
            }

            fn output_bytes(&self) -> &[usize] {
                &self.0.output_bytes
            }

            fn chunks(&self) -> usize {
                self.0.chunks
            }

            unsafe fn run_chunk(&self, io: &Io<'_>, chunk: usize) {
                // SAFETY: as the caller promises.
                unsafe { self.0.run(io, chunk) }
            }
        }
    };
}

mod blocks;
mod cast;
mod concat;
mod copy;
mod gather;
mod pad;
mod permute;
mod repeat;
mod slice;
pub(crate) mod strided;
#[cfg(test)]
mod tests;
mod transpose;
mod view;
pub(crate) mod walk;

pub use blocks::{DepthToSpaceOp, SpaceToDepthOp};
pub use cast::CastOp;
pub use concat::ConcatOp;
pub use copy::{CopyElements, CopyRows};
pub use gather::GatherOp;
pub use pad::{PadFill, PadOp};
pub use permute::Permute;
pub use repeat::{BroadcastOp, TileOp};
pub use slice::SliceOp;
pub use transpose::{KERNELS, Kernel, select};
pub use view::View;

use crate::operator::KernelError;

/// Whether elements of this size can be moved.
///
/// # Errors
/// [`KernelError::Unsupported`] for anything but 1, 2, 4 and 8 bytes.
pub(crate) fn check_element(kernel: &'static str, bytes: usize) -> Result<(), KernelError> {
    match bytes {
        1 | 2 | 4 | 8 => Ok(()),
        _ => Err(KernelError::Unsupported { kernel, reason: format!("elements of {bytes} bytes") }),
    }
}
