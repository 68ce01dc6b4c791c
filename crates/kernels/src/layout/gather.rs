//! Elements chosen by index.

use super::check_element;
use super::strided::copy_piece;
use super::view::View;
use super::walk::{Dim, Walk, chunks_for, part};
use crate::operator::{Io, KernelError, Operator};

/// `y = x` with an axis replaced by the dimensions of the indices. Inputs: x; indices, `i64`.
///
/// Negative indices count from the end. An operator cannot fail while it runs, so an index out of
/// range takes the nearest position.
#[derive(Debug)]
pub struct GatherOp {
    element_bytes: usize,
    /// All axes but the chosen one, from one slice of x to one slice of y.
    walk: Walk<2>,
    /// Trip count and step in y of each dimension of the indices.
    indices: Vec<(usize, usize)>,
    count: usize,
    axis_extent: usize,
    axis_stride: usize,
    chunks: usize,
    input_bytes: [usize; 2],
    output_bytes: [usize; 1],
}

impl GatherOp {
    /// The operator for elements of `element_bytes` (1, 2, 4 or 8) bytes.
    ///
    /// # Errors
    /// [`KernelError`] where the shape of `out` is another, the indices are not contiguous, or a
    /// view cannot be.
    pub fn new(
        element_bytes: usize,
        input: View,
        axis: usize,
        indices: View,
        out: View,
        threads: usize,
    ) -> Result<GatherOp, KernelError> {
        let kernel = "gather";
        check_element(kernel, element_bytes)?;
        for view in [&input, &indices, &out] {
            view.check(kernel)?;
        }
        let (from, to, chosen) = (input.shape.dims(), out.shape.dims(), indices.shape.dims());
        let matches = axis < from.len()
            && [&from[..axis], chosen, &from[axis + 1..]].concat() == to
            && (from[axis] > 0 || out.is_empty())
            && indices.is_contiguous();
        if !matches {
            let reason = format!(
                "axis {axis} of {} by indices of {} (rows {} apart) cannot give {}",
                input.shape, indices.shape, indices.ld, out.shape
            );
            return Err(KernelError::Invalid { kernel, reason });
        }
        let (in_strides, out_strides) = (input.strides(), out.strides());
        let end = axis + chosen.len();
        let dim = |i: usize, o: usize| Dim {
            extent: from[i],
            strides: [out_strides[o] as isize, in_strides[i] as isize],
        };
        let lead = (0..axis).map(|i| dim(i, i));
        let tail = (axis + 1..from.len()).map(|i| dim(i, i - axis - 1 + end));
        let count = indices.shape.elements();
        let bytes = 2 * out.shape.elements() * element_bytes;
        Ok(GatherOp {
            element_bytes,
            walk: Walk::of(lead.chain(tail).collect()),
            indices: chosen.iter().copied().zip(out_strides[axis..end].iter().copied()).collect(),
            count,
            axis_extent: from[axis],
            axis_stride: in_strides[axis],
            chunks: chunks_for(bytes, threads).min(count.max(1)),
            input_bytes: [input.len() * element_bytes, count * size_of::<i64>()],
            output_bytes: [out.len() * element_bytes],
        })
    }

    /// Where index number `k` writes, in elements of y.
    fn place(&self, mut k: usize) -> usize {
        let mut place = 0;
        for &(extent, stride) in self.indices.iter().rev() {
            place += k % extent * stride;
            k /= extent;
        }
        place
    }
}

// SAFETY: indices are clamped into the axis; the walk stays inside a slice of x and of y; slices of
// y are apart, and chunks write different ones.
unsafe impl Operator for GatherOp {
    fn kernel(&self) -> &'static str {
        "gather"
    }

    fn input_bytes(&self) -> &[usize] {
        &self.input_bytes
    }

    fn output_bytes(&self) -> &[usize] {
        &self.output_bytes
    }

    fn chunks(&self) -> usize {
        self.chunks
    }

    unsafe fn run_chunk(&self, io: &Io<'_>, chunk: usize) {
        if self.walk.elements() == 0 {
            return;
        }
        let (y, x, indices) = (io.output::<u8>(0), io.input::<u8>(0), io.input::<i64>(1));
        let extent = self.axis_extent as i64;
        for k in part(self.count, 1, self.chunks, chunk) {
            // SAFETY: `k < count`.
            let index = unsafe { indices.add(k).read_unaligned() };
            let index = if index < 0 { index.saturating_add(extent) } else { index };
            let index = index.clamp(0, extent - 1) as usize;
            // SAFETY: the slice lies in x, the place in y.
            unsafe {
                let x = x.add(index * self.axis_stride * self.element_bytes);
                let y = y.add(self.place(k) * self.element_bytes);
                let copy = |piece| copy_piece(self.element_bytes, &self.walk, &piece, y, x);
                self.walk.chunk(1, 0, copy);
            }
        }
    }
}
