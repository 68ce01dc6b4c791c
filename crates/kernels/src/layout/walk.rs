//! A loop nest over operands that broadcast, reduced to few dimensions.

use super::view::View;
use crate::operator::KernelError;
use std::ops::Range;

/// Bytes that are worth a second thread.
const MIN_CHUNK_BYTES: usize = 8 * 1024;

/// How many parts work that moves `bytes` is cut into.
pub(crate) fn chunks_for(bytes: usize, threads: usize) -> usize {
    (bytes / MIN_CHUNK_BYTES).clamp(1, threads.max(1))
}

/// Part `i` of `parts` of `0 .. total`, in units of `unit` but for the end.
pub(crate) fn part(total: usize, unit: usize, parts: usize, i: usize) -> Range<usize> {
    let units = total.div_ceil(unit);
    let cut = |i: usize| (units * i / parts * unit).min(total);
    cut(i)..cut(i + 1)
}

/// One loop: its trip count, and for each operand the elements from one trip to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dim<const N: usize> {
    pub(crate) extent: usize,
    pub(crate) strides: [isize; N],
}

/// Loops over the elements of an output (operand 0) and of operands that broadcast to it.
///
/// The innermost is a run whose strides are 0 or 1 for every operand (else it has one element);
/// the next is `rows`; the others are `outer`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Walk<const N: usize> {
    outer: Vec<Dim<N>>,
    pub(crate) rows: Dim<N>,
    pub(crate) run: Dim<N>,
}

/// Rows of a [`Walk`] from one place on: `rows` of them, each `run` long.
pub(crate) struct Piece<const N: usize> {
    /// Elements from the start of each operand.
    pub(crate) offsets: [isize; N],
    pub(crate) rows: usize,
    pub(crate) run: usize,
}

impl<const N: usize> Walk<N> {
    /// The loops for views that broadcast to `views[0]`. Where rows have room for it, the run
    /// covers padding too (in whole vectors of 16, or up to the next row), so that it has no tail
    /// and rows merge.
    ///
    /// # Errors
    /// [`KernelError::Invalid`] where a shape does not broadcast to the first, or a view cannot be.
    pub(crate) fn broadcast(
        kernel: &'static str,
        views: [&View; N],
    ) -> Result<Walk<N>, KernelError> {
        let out = views[0];
        let rank = out.shape.rank().max(1);
        let mut dims = vec![Dim { extent: 1, strides: [0; N] }; rank];
        for (axis, &extent) in out.shape.dims().iter().enumerate() {
            dims[axis].extent = extent;
        }
        for (operand, view) in views.iter().enumerate() {
            view.check(kernel)?;
            let lead = rank.checked_sub(view.shape.rank().max(1));
            let fits = lead.is_some_and(|lead| {
                let pairs = view.shape.dims().iter().zip(&dims[lead..]);
                pairs.clone().all(|(&d, dim)| d == dim.extent || d == 1)
            });
            let (Some(lead), true) = (lead, fits) else {
                let reason = format!("{} does not broadcast to {}", view.shape, out.shape);
                return Err(KernelError::Invalid { kernel, reason });
            };
            for (axis, &extent) in view.shape.dims().iter().enumerate() {
                if extent != 1 {
                    dims[lead + axis].strides[operand] = view.strides()[axis] as isize;
                }
            }
        }
        let last = rank - 1;
        if dims[last].extent > 1 {
            dims[last].extent = padded_extent(&views, &dims[last]);
        }
        Ok(Walk::of(dims))
    }

    /// The loops of a list, outermost first, after merging.
    pub(crate) fn of(dims: Vec<Dim<N>>) -> Walk<N> {
        let mut dims = merge(dims);
        let unit = Dim { extent: 1, strides: [0; N] };
        let is_run = |dim: &Dim<N>| dim.strides.iter().all(|&s| s == 0 || s == 1);
        let run = dims.pop_if(|dim| is_run(dim)).unwrap_or(unit);
        let rows = dims.pop().unwrap_or(unit);
        Walk { outer: dims, rows, run }
    }

    /// Trips of all loops but the run.
    fn total_rows(&self) -> usize {
        self.outer.iter().map(|dim| dim.extent).product::<usize>() * self.rows.extent
    }

    /// Elements that the loops visit.
    pub(crate) fn elements(&self) -> usize {
        self.total_rows() * self.run.extent
    }

    /// Parts that [`Walk::chunk`] cuts into, for elements of `bytes` bytes over all operands.
    pub(crate) fn chunks(&self, bytes: usize, threads: usize) -> usize {
        let most =
            if self.total_rows() == 1 { self.run.extent.div_ceil(16) } else { self.total_rows() };
        chunks_for(self.elements().saturating_mul(bytes), threads).min(most).max(1)
    }

    /// Calls `visit` for the pieces of part `chunk` of `chunks`: whole rows, or where there is
    /// only one, a part of it that starts at a multiple of 16.
    pub(crate) fn chunk(&self, chunks: usize, chunk: usize, mut visit: impl FnMut(Piece<N>)) {
        if self.elements() == 0 {
            return;
        }
        if self.total_rows() == 1 {
            let range = part(self.run.extent, 16, chunks, chunk);
            let offsets = self.run.strides.map(|s| s * range.start as isize);
            return visit(Piece { offsets, rows: 1, run: range.len() });
        }
        let mut range = part(self.total_rows(), 1, chunks, chunk);
        while !range.is_empty() {
            let first = range.start % self.rows.extent;
            let rows = (self.rows.extent - first).min(range.len());
            let mut offsets = self.rows.strides.map(|s| s * first as isize);
            let mut index = range.start / self.rows.extent;
            for dim in self.outer.iter().rev() {
                let i = (index % dim.extent) as isize;
                index /= dim.extent;
                for (offset, stride) in offsets.iter_mut().zip(dim.strides) {
                    *offset += i * stride;
                }
            }
            visit(Piece { offsets, rows, run: self.run.extent });
            range.start += rows;
        }
    }
}

/// The extent of the last dimension, grown into the padding that all operands have there.
fn padded_extent<const N: usize>(views: &[&View; N], last: &Dim<N>) -> usize {
    let mut lds = views.iter().zip(last.strides).filter(|(_, s)| *s == 1).map(|(v, _)| v.ld);
    let Some(first) = lds.next() else { return last.extent };
    let (mut same, mut whole) = (true, first.is_multiple_of(16));
    for ld in lds {
        same &= ld == first;
        whole &= ld.is_multiple_of(16);
    }
    match (same, whole) {
        (true, _) => first,
        (_, true) => last.extent.next_multiple_of(16),
        _ => last.extent,
    }
}

/// Drops loops of one trip and joins loops that go on where the inner one ends.
pub(crate) fn merge<const N: usize>(dims: Vec<Dim<N>>) -> Vec<Dim<N>> {
    let mut merged: Vec<Dim<N>> = Vec::with_capacity(dims.len());
    for dim in dims.into_iter().filter(|dim| dim.extent != 1) {
        match merged.last_mut() {
            Some(outer)
                if (0..N).all(|i| outer.strides[i] == dim.strides[i] * dim.extent as isize) =>
            {
                *outer = Dim { extent: outer.extent * dim.extent, ..dim };
            }
            _ => merged.push(dim),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use depthwise_tensor::Shape;

    fn view(dims: &[usize], ld: usize) -> View {
        View { shape: Shape::new(dims).unwrap(), ld }
    }

    fn walk(views: [&View; 3]) -> Walk<3> {
        Walk::broadcast("k", views).unwrap()
    }

    #[test]
    fn same_layout_is_one_run() {
        let x = view(&[2, 3, 4, 5], 16);
        let w = walk([&x, &x, &x]);
        assert_eq!((w.outer.len(), w.rows.extent, w.run.extent), (0, 1, 2 * 3 * 4 * 16));
    }

    #[test]
    fn a_channel_vector_repeats_over_rows() {
        let x = view(&[2, 3, 4, 24], 32);
        let w = walk([&x, &x, &view(&[24], 24)]);
        assert_eq!((w.outer.len(), w.rows.extent, w.run.extent), (0, 24, 24));
        assert_eq!(w.rows.strides, [32, 32, 0]);
        let padded = walk([&x, &x, &view(&[24], 32)]);
        assert_eq!(padded.run.extent, 32);
    }

    #[test]
    fn a_scale_per_picture_repeats_over_its_pixels() {
        let x = view(&[2, 3, 4, 24], 32);
        let w = walk([&x, &x, &view(&[2, 1, 1, 24], 32)]);
        assert_eq!((w.outer.len(), w.rows.extent, w.run.extent), (1, 12, 32));
        assert_eq!(w.outer[0].strides, [384, 384, 32]);
    }

    #[test]
    fn chunks_cover_every_row_once() {
        let x = view(&[5, 3, 4, 3], 3);
        let w = walk([&x, &x, &view(&[5, 1, 4, 1], 1)]);
        for chunks in 1..=7 {
            let mut seen = vec![0; x.len()];
            for chunk in 0..chunks {
                w.chunk(chunks, chunk, |piece| {
                    for row in 0..piece.rows as isize {
                        for i in 0..piece.run {
                            let start = piece.offsets[0] + row * w.rows.strides[0];
                            seen[start as usize + i] += 1;
                        }
                    }
                });
            }
            assert!(seen.iter().all(|&n| n == 1), "{chunks} chunks: {seen:?}");
        }
    }

    #[test]
    fn shapes_that_do_not_broadcast_are_refused() {
        let (x, y) = (view(&[2, 3], 3), view(&[2, 2], 2));
        assert!(Walk::broadcast("k", [&x, &x, &y]).is_err());
        assert!(Walk::broadcast("k", [&y, &view(&[1, 2, 2], 2)]).is_err());
    }
}
