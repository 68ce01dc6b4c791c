//! Many buffers from few pages.

use super::pages::{self, Pages};
use super::{ALIGN, AlignedBuf, AllocError, Home};
use std::sync::Arc;

/// Hands out buffers that live about as long as each other, one behind the other in the same pages;
/// so that small ones come to huge pages too. The pages go when the last buffer in them does.
///
/// ```
/// # use depthwise_tensor::buf::Slab;
/// let mut slab = Slab::expecting(2 << 20);
/// let weights = slab.copy_of(&[1, 2, 3])?;
/// assert_eq!(weights.bytes(), [1, 2, 3]);
/// # Ok::<(), depthwise_tensor::buf::AllocError>(())
/// ```
#[derive(Default)]
pub struct Slab {
    /// Bytes that are still to come, as far as is known.
    expected: usize,
    current: Option<Chunk>,
}

/// Pages, and how much of them is given away.
struct Chunk {
    pages: Arc<Pages>,
    used: usize,
    len: usize,
}

impl Slab {
    /// A slab for about `bytes` bytes. Nothing is taken from the system yet.
    pub fn expecting(bytes: usize) -> Slab {
        Slab { expected: bytes, current: None }
    }

    /// Adds `bytes` to what is expected.
    pub fn expect(&mut self, bytes: usize) {
        self.expected = self.expected.saturating_add(bytes);
    }

    /// A buffer with a copy of `data`. From the heap, where too little more is expected to fill a
    /// page of those that are worth it.
    ///
    /// # Errors
    /// [`AllocError`] where the system has no memory.
    pub fn copy_of(&mut self, data: &[u8]) -> Result<AlignedBuf, AllocError> {
        let mut buf = self.zeroed(data.len())?;
        buf.bytes_mut().copy_from_slice(data);
        Ok(buf)
    }

    /// A buffer of `len` zeros, from where [`Slab::copy_of`] takes its own.
    ///
    /// # Errors
    /// [`AllocError`] where the system has no memory.
    pub fn zeroed(&mut self, len: usize) -> Result<AlignedBuf, AllocError> {
        let size = len.checked_next_multiple_of(ALIGN).ok_or(AllocError { bytes: len })?;
        let expected = self.expected;
        self.expected = expected.saturating_sub(size);
        if self.current.as_ref().is_none_or(|chunk| chunk.len - chunk.used < size) {
            let room = expected.max(size);
            self.current = match room >= pages::WORTH {
                true => Pages::new(room).map(|p| Chunk { pages: Arc::new(p), used: 0, len: room }),
                false => None,
            };
        }
        let Some(chunk) = self.current.as_mut().filter(|_| len > 0) else {
            return AlignedBuf::zeroed(len);
        };
        // SAFETY: `used + size <= len`, and the pages have `len` bytes from their start on.
        let ptr = unsafe { chunk.pages.start().add(chunk.used) };
        chunk.used += size;
        Ok(AlignedBuf { ptr, len, home: Home::Pages { _pages: Arc::clone(&chunk.pages) } })
    }
}

impl std::fmt::Debug for Slab {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Slab({} bytes expected)", self.expected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_lie_apart_and_outlive_the_slab() {
        let mut slab = Slab::expecting(pages::WORTH);
        let sizes = [1, 64, 0, 100_000, 700_000, 400_000, 3 << 20];
        let mut buffers: Vec<AlignedBuf> =
            sizes.iter().map(|&n| slab.copy_of(&vec![n as u8; n]).unwrap()).collect();
        drop(slab);
        for (i, buffer) in buffers.iter_mut().enumerate() {
            assert_eq!(buffer.as_ptr() as usize % ALIGN, 0);
            assert!(buffer.bytes().iter().all(|&b| b == sizes[i] as u8));
            buffer.bytes_mut().fill(i as u8);
        }
        for (i, buffer) in buffers.iter().enumerate() {
            assert!(buffer.bytes().iter().all(|&b| b == i as u8));
            assert_eq!(buffer.len(), sizes[i]);
        }
    }

    #[test]
    fn what_is_expected_shares_pages_and_the_rest_does_not() {
        let pages_of = |buffer: &AlignedBuf| match &buffer.home {
            Home::Pages { _pages } => Some(_pages.start()),
            _ => None,
        };
        let mut slab = Slab::expecting(pages::WORTH);
        let [a, b] = [0; 2].map(|_| slab.copy_of(&vec![1; pages::WORTH / 2]).unwrap());
        assert!(pages_of(&a).is_some());
        assert_eq!(pages_of(&a), pages_of(&b));
        let small = slab.copy_of(&[1; 1000]).unwrap();
        assert_eq!(pages_of(&small), None);
        let mut empty = Slab::default();
        assert_eq!(pages_of(&empty.copy_of(&[1; 1000]).unwrap()), None);
    }

    #[test]
    fn an_impossible_size_is_an_error() {
        let mut slab = Slab::expecting(usize::MAX);
        assert!(slab.zeroed(isize::MAX as usize).is_err());
        assert!(slab.copy_of(&[1]).is_ok());
    }
}
