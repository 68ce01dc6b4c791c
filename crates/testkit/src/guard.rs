//! Slices that notice writes beside them.

use bytemuck::Pod;
use depthwise_tensor::AlignedBuf;
use std::marker::PhantomData;

/// Bytes before and after the data, a multiple of every vector width.
const GUARD_BYTES: usize = 256;
/// NaN in every float type, -1 in every signed integer.
const POISON: u8 = 0xff;

/// A slice between poisoned elements: a kernel that reads outside gets NaN, one that writes outside
/// is caught by [`Guarded::assert_intact`]. The data starts on a 64-byte line and is poisoned too
/// until it is written.
#[derive(Debug)]
pub struct Guarded<T> {
    buf: AlignedBuf,
    len: usize,
    of: PhantomData<T>,
}

impl<T: Pod> Guarded<T> {
    /// `len` poisoned elements.
    ///
    /// # Panics
    /// Where there is no memory.
    pub fn new(len: usize) -> Guarded<T> {
        let bytes = len * size_of::<T>() + 2 * GUARD_BYTES;
        let mut buf = AlignedBuf::zeroed(bytes).expect("memory for a test");
        buf.bytes_mut().fill(POISON);
        Guarded { buf, len, of: PhantomData }
    }

    /// A copy of `data`.
    pub fn copy_of(data: &[T]) -> Guarded<T> {
        let mut guarded = Guarded::new(data.len());
        guarded.copy_from_slice(data);
        guarded
    }

    /// Checks the elements before and after the data.
    ///
    /// # Panics
    /// Where one has been written.
    #[track_caller]
    pub fn assert_intact(&self) {
        let end = GUARD_BYTES + self.len * size_of::<T>();
        let bytes = self.buf.bytes();
        let touched = |(at, byte): (usize, &u8)| {
            ((at < GUARD_BYTES || at >= end) && *byte != POISON).then_some(at)
        };
        if let Some(at) = bytes.iter().enumerate().find_map(touched) {
            let from_start = at as i64 - GUARD_BYTES as i64;
            panic!(
                "byte {from_start} from the start of a slice of {} bytes was written",
                end - GUARD_BYTES
            );
        }
    }
}

impl<T: Pod> std::ops::Deref for Guarded<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        let end = GUARD_BYTES + self.len * size_of::<T>();
        bytemuck::cast_slice(&self.buf.bytes()[GUARD_BYTES..end])
    }
}

impl<T: Pod> std::ops::DerefMut for Guarded<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        let end = GUARD_BYTES + self.len * size_of::<T>();
        bytemuck::cast_slice_mut(&mut self.buf.bytes_mut()[GUARD_BYTES..end])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_poisoned_until_written_and_guards_stay() {
        let mut g = Guarded::<f32>::new(3);
        assert!(g.iter().all(|x| x.is_nan()));
        g.copy_from_slice(&[1.0, 2.0, 3.0]);
        assert_eq!(g[..], [1.0, 2.0, 3.0]);
        assert_eq!(g.as_ptr() as usize % 64, 0);
        g.assert_intact();
    }

    #[test]
    #[should_panic(expected = "byte 12 from the start of a slice of 12 bytes was written")]
    fn a_write_past_the_end_is_caught() {
        let mut g = Guarded::copy_of(&[1f32; 3]);
        g.buf.bytes_mut()[GUARD_BYTES + 12] = 0;
        g.assert_intact();
    }

    #[test]
    #[should_panic(expected = "byte -1 from the start")]
    fn a_write_in_front_is_caught() {
        let mut g = Guarded::copy_of(&[1f32; 3]);
        g.buf.bytes_mut()[GUARD_BYTES - 1] = 0;
        g.assert_intact();
    }
}
