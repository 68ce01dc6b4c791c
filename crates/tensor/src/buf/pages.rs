//! Memory straight from the system.

use super::ALIGN;
use memmap2::{MmapMut, MmapOptions};
use std::ptr::NonNull;

/// A huge page of x86-64, and of AArch64 with pages of 4 KiB. One entry of the TLB covers it, and
/// its lines spread evenly over the sets of a cache; so data walked over again and again, weights
/// and activations, is read a few percent faster (Zen 3, whole networks: 1 to 5%).
const HUGE: usize = 2 << 20;

/// Bytes from which on a buffer is given huge pages of its own.
pub(super) const WORTH: usize = 1 << 20;

/// Bytes from which on a buffer has pages of its own, small ones below [`WORTH`]: memory of a heap
/// that is free again in the middle stays with the process.
pub(super) const OWN: usize = 128 << 10;

/// What may be wasted of the last huge page.
const SPARE: usize = HUGE / 4;

/// Zeroed pages, huge ones as far as they are used almost whole, if the system agrees.
pub(super) struct Pages {
    /// First byte, at a multiple of [`HUGE`] from [`WORTH`] bytes on, else of a page.
    start: NonNull<u8>,
    /// Keeps the pages. Never looked into: their bytes belong to the buffers made of them.
    _map: MmapMut,
}

// SAFETY: `start` points into the mapping, which may be sent; nothing is read or written through it here.
unsafe impl Send for Pages {}
// SAFETY: as above.
unsafe impl Sync for Pages {}

impl Pages {
    /// Pages with room for `len` bytes, or `None` where the system has none.
    pub(super) fn new(len: usize) -> Option<Pages> {
        if len < WORTH {
            // All at once: faults one by one take longer than the zeros.
            let mut map = MmapOptions::new().len(len).populate().map_anon().ok()?;
            return Some(Pages { start: NonNull::new(map.as_mut_ptr())?, _map: map });
        }
        let huge = len.checked_add(SPARE)? / HUGE * HUGE;
        let mut map = MmapMut::map_anon(huge.max(len).checked_add(HUGE)?).ok()?;
        let base = map.as_mut_ptr();
        let skip = base.align_offset(HUGE);
        if skip > HUGE {
            return None;
        }
        // A hint: smaller pages serve as well.
        #[cfg(target_os = "linux")]
        if huge > 0 {
            let _ = map.advise_range(memmap2::Advice::HugePage, skip, huge);
        }
        // SAFETY: less than `HUGE` bytes into a mapping that is longer.
        let start = NonNull::new(unsafe { base.add(skip) })?;
        debug_assert!((start.as_ptr() as usize).is_multiple_of(ALIGN));
        Some(Pages { start, _map: map })
    }

    /// The first byte, aligned to a line. As many bytes as were asked for follow.
    pub(super) fn start(&self) -> NonNull<u8> {
        self.start
    }
}
