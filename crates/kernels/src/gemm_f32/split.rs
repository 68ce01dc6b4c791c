//! How rows and panels are shared out among threads.

use std::ops::Range;

/// Rows from which a product is split by rows alone: each thread then reads all of `b` and its own
/// part of `a`. With fewer rows each thread takes panels and reads `b` once.
const MANY_ROWS: usize = 196;

/// Multiply-accumulate steps that are worth a thread: some 10 us of scalar code, 0.2 us of AVX-512;
/// passing a step on costs about 0.1 us.
const MACS_PER_CHUNK: u64 = 10_000;

/// The chunks for this much arithmetic, at least 1, at most `threads`.
pub(crate) fn chunks_for_macs(macs: u64, threads: usize) -> usize {
    let worth = usize::try_from(macs / MACS_PER_CHUNK).unwrap_or(usize::MAX);
    threads.min(worth).max(1)
}

/// Part `i` of `count` things in `parts` parts that differ by at most one.
pub(crate) fn share(count: usize, parts: usize, i: usize) -> Range<usize> {
    let bound = |i: usize| count / parts * i + (count % parts).min(i);
    bound(i)..bound(i + 1)
}

/// A grid of rows and columns in `chunks` parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Split {
    rows: usize,
    /// Columns, whole panels.
    width: usize,
    chunks: usize,
    by_rows: bool,
}

impl Split {
    pub(crate) fn new(rows: usize, width: usize, chunks: usize) -> Split {
        let by_rows = rows >= MANY_ROWS && rows / 16 >= chunks;
        Split { rows, width, chunks, by_rows }
    }

    pub(crate) fn chunks(&self) -> usize {
        self.chunks
    }

    /// The rows of the panel of `nr` columns from `col` on that belong to a chunk. Boundaries lie
    /// on multiples of `mr` rows.
    pub(crate) fn rows(&self, chunk: usize, col: usize, nr: usize, mr: usize) -> Range<usize> {
        let bound = |i: usize| self.bound(i, col, nr, mr);
        bound(chunk)..bound(chunk + 1)
    }

    /// First row of this panel that belongs to chunk `i` or a later one.
    fn bound(&self, i: usize, col: usize, nr: usize, mr: usize) -> usize {
        let tiles = self.rows.div_ceil(mr);
        // The share of this panel's tiles that lies before the bound, as a fraction.
        let (part, whole) = if self.by_rows {
            (i, self.chunks)
        } else {
            // Column at which chunk `i` starts, in units of 1 / chunks.
            let at = (i * self.width).saturating_sub(col * self.chunks);
            (at.min(nr * self.chunks), nr * self.chunks)
        };
        // To the nearest tile.
        let tile = (2 * tiles * part + whole) / (2 * whole);
        (tile * mr).min(self.rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_row_of_every_panel_belongs_to_one_chunk(
            rows in 0usize..1000,
            panels in prop::collection::vec((1usize..7, 1usize..13), 1..9),
            chunks in 1usize..9,
        ) {
            let width = panels.iter().map(|&(nv, _)| 8 * nv).sum();
            let split = Split::new(rows, width, chunks);
            let mut col = 0;
            for (nv, mr) in panels {
                let mut next = 0;
                for chunk in 0..chunks {
                    let range = split.rows(chunk, col, 8 * nv, mr);
                    prop_assert_eq!(range.start, next);
                    prop_assert!(range.start <= range.end);
                    next = range.end;
                }
                prop_assert_eq!(next, rows);
                col += 8 * nv;
            }
        }
    }

    #[test]
    fn few_rows_are_split_by_panels_and_an_odd_panel_by_rows() {
        let split = Split::new(49, 3 * 48, 2);
        let of = |chunk| [0, 48, 96].map(|col| split.rows(chunk, col, 48, 8));
        assert_eq!(of(0), [0..49, 0..32, 0..0]);
        assert_eq!(of(1), [49..49, 32..49, 0..49]);
        let row = Split::new(1, 4 * 16, 2);
        assert_eq!([0, 16, 32, 48].map(|col| row.rows(0, col, 16, 8).len()), [1, 1, 0, 0]);
    }

    #[test]
    fn many_rows_are_split_by_rows() {
        let split = Split::new(784, 96, 2);
        assert_eq!(split.rows(0, 0, 48, 8), 0..392);
        assert_eq!(split.rows(1, 48, 48, 8), 392..784);
    }

    #[test]
    fn small_products_are_one_chunk() {
        assert_eq!(chunks_for_macs(64 * 16, 8), 1);
        assert_eq!(chunks_for_macs(1 << 30, 8), 8);
        assert_eq!(chunks_for_macs(u64::MAX, 8), 8);
    }
}
