//! Elements moved without arithmetic: transpose, concat, slice, pad, gather, copy.

mod view;
pub(crate) mod walk;

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
