//! Aligned heap memory.

mod pages;
mod slab;

pub use slab::Slab;

use bytemuck::Pod;
use bytes::Bytes;
use pages::Pages;
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;
use std::sync::Arc;

/// Bytes that every buffer is aligned to: one cache line, one AVX-512 vector.
pub const ALIGN: usize = 64;

/// The allocator refused, or the size does not fit the address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot allocate {bytes} bytes")]
pub struct AllocError {
    /// Bytes asked for.
    pub bytes: usize,
}

/// Zeroed memory that starts on a 64-byte line.
///
/// Of 128 KiB or more, it is pages of its own, from a megabyte on huge ones where the system has
/// them; a smaller one comes from the heap, or from a [`Slab`].
pub struct AlignedBuf {
    /// The first line.
    ptr: NonNull<u8>,
    len: usize,
    home: Home,
}

/// Whose memory a buffer is.
enum Home {
    /// No bytes, no memory.
    Nowhere,
    /// What the allocator gave, of [`block`] bytes.
    Heap(NonNull<u8>),
    /// A part of pages that no other buffer has.
    Pages { _pages: Arc<Pages> },
}

/// The block that has room for `len` bytes from a line on.
///
/// Its own alignment is one that every allocator gives anyway. With a larger one the allocator gets
/// fresh pages from the system and then writes zeros over their zeros.
fn block(len: usize) -> Result<Layout, AllocError> {
    let size = len.checked_add(ALIGN - NATURAL).ok_or(AllocError { bytes: len })?;
    Layout::from_size_align(size, NATURAL).map_err(|_| AllocError { bytes: len })
}

/// Alignment of every block of the usual allocators.
const NATURAL: usize = 16;

// SAFETY: the buffer owns its memory, or its part of the pages, like a `Box<[u8]>`; nothing in it is tied to a thread.
unsafe impl Send for AlignedBuf {}
// SAFETY: shared access only reads (`bytes`); writing needs `&mut self`, or goes through the raw
// pointer of `as_ptr`, whose users take that duty on themselves.
unsafe impl Sync for AlignedBuf {}

impl AlignedBuf {
    /// `len` zeroed bytes.
    ///
    /// # Errors
    /// [`AllocError`] where the allocator has no such block.
    pub fn zeroed(len: usize) -> Result<AlignedBuf, AllocError> {
        if len == 0 {
            return Ok(AlignedBuf { ptr: dangling(), len: 0, home: Home::Nowhere });
        }
        if len >= pages::OWN {
            // Where the system has no pages to give, the allocator has the last word.
            if let Some(pages) = Pages::new(len) {
                return Ok(AlignedBuf {
                    ptr: pages.start(),
                    len,
                    home: Home::Pages { _pages: Arc::new(pages) },
                });
            }
        }
        // SAFETY: the layout has a size above zero.
        let start = unsafe { alloc_zeroed(block(len)?) };
        let start = NonNull::new(start).ok_or(AllocError { bytes: len })?;
        let to_line = (start.as_ptr() as usize).next_multiple_of(ALIGN) - start.as_ptr() as usize;
        debug_assert!(to_line <= ALIGN - NATURAL);
        // SAFETY: at most `ALIGN - NATURAL` bytes from a multiple of `NATURAL` to the next of
        // `ALIGN`, which the block has beside `len`.
        let ptr = unsafe { start.add(to_line) };
        Ok(AlignedBuf { ptr, len, home: Home::Heap(start) })
    }

    /// A copy of `data`.
    ///
    /// # Errors
    /// [`AllocError`] where the allocator has no such block.
    pub fn copy_of(data: &[u8]) -> Result<AlignedBuf, AllocError> {
        let mut buf = AlignedBuf::zeroed(data.len())?;
        buf.bytes_mut().copy_from_slice(data);
        Ok(buf)
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the buffer has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The first byte. Valid for `len` bytes as long as the buffer lives and does not move out of
    /// its allocation (moving the `AlignedBuf` itself is fine).
    pub fn as_ptr(&self) -> *mut u8 {
        self.ptr.as_ptr()
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: `ptr` is valid for `len` initialised (zeroed) bytes of `home`, or dangling and aligned for 0.
        unsafe { std::slice::from_raw_parts(self.ptr.as_ptr(), self.len) }
    }

    /// The bytes, to be written.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and `&mut self` makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.as_ptr(), self.len) }
    }

    /// The elements, the tail that makes no whole element left out.
    pub fn as_slice<T: Pod>(&self) -> &[T] {
        let whole = self.len - self.len % size_of::<T>();
        bytemuck::cast_slice(&self.bytes()[..whole])
    }

    /// The elements, to be written.
    pub fn as_mut_slice<T: Pod>(&mut self) -> &mut [T] {
        let whole = self.len - self.len % size_of::<T>();
        bytemuck::cast_slice_mut(&mut self.bytes_mut()[..whole])
    }

    /// Hands the memory to a shared, immutable [`Bytes`], without a copy.
    pub fn into_bytes(self) -> Bytes {
        if self.len == 0 {
            return Bytes::new();
        }
        Bytes::from_owner(self)
    }
}

impl Drop for AlignedBuf {
    fn drop(&mut self) {
        if let Home::Heap(start) = self.home
            && let Ok(block) = block(self.len)
        {
            // SAFETY: allocated in `zeroed` with this layout, and freed only here.
            unsafe { dealloc(start.as_ptr(), block) };
        }
    }
}

impl AsRef<[u8]> for AlignedBuf {
    fn as_ref(&self) -> &[u8] {
        self.bytes()
    }
}

impl std::fmt::Debug for AlignedBuf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AlignedBuf({} bytes)", self.len)
    }
}

/// A non-null address on a line, for buffers without bytes.
fn dangling() -> NonNull<u8> {
    #[repr(align(64))]
    struct Line;
    NonNull::<Line>::dangling().cast()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_starts_on_a_line_and_is_zero() {
        for len in [0, 1, 63, 64, 1000, pages::WORTH, 5 * pages::WORTH + 1] {
            let buf = AlignedBuf::zeroed(len).unwrap();
            assert_eq!(buf.as_ptr() as usize % ALIGN, 0);
            assert!(buf.bytes().iter().all(|&b| b == 0));
        }
    }

    #[test]
    fn an_impossible_size_is_an_error() {
        let bytes = isize::MAX as usize;
        assert_eq!(AlignedBuf::zeroed(bytes).unwrap_err(), AllocError { bytes });
    }

    #[test]
    fn typed_views_leave_out_a_ragged_tail() {
        let mut buf = AlignedBuf::zeroed(11).unwrap();
        buf.as_mut_slice::<f32>().fill(1.0);
        assert_eq!(buf.as_slice::<f32>(), [1.0, 1.0]);
        assert_eq!(buf.bytes()[8..], [0, 0, 0]);
    }
}
