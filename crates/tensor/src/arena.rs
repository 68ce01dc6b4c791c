//! The one block of memory that a session works in.

use crate::buf::{AlignedBuf, AllocError};

/// A block of memory that operators read and write at planned offsets.
///
/// Safe access needs `&mut self`. The program that runs operators on several threads goes through
/// [`Arena::base`] instead and proves, when it is put together, that no two of its accesses
/// conflict.
#[derive(Debug)]
pub struct Arena {
    buf: AlignedBuf,
}

impl Arena {
    /// A zeroed block of `bytes`.
    ///
    /// # Errors
    /// [`AllocError`] where the allocator has no such block.
    pub fn new(bytes: usize) -> Result<Arena, AllocError> {
        Ok(Arena { buf: AlignedBuf::zeroed(bytes)? })
    }

    /// Size in bytes.
    pub fn len(&self) -> usize {
        self.buf.len()
    }

    /// Whether the block has no bytes.
    pub fn is_empty(&self) -> bool {
        self.buf.is_empty()
    }

    /// The first byte, on a 64-byte line.
    pub fn base(&mut self) -> *mut u8 {
        self.buf.as_ptr()
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        self.buf.bytes()
    }

    /// The bytes, to be written.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.buf.bytes_mut()
    }
}
