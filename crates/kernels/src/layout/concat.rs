//! Tensors joined along an axis.

use super::check_element;
use super::strided::copy_piece;
use super::view::View;
use super::walk::{Dim, Walk};
use crate::operator::{Io, KernelError, Operator};

/// All inputs one after the other along an axis.
#[derive(Debug)]
pub struct ConcatOp {
    element_bytes: usize,
    /// For each input its walk, and where it starts in the output.
    parts: Vec<(Walk<2>, usize)>,
    chunks: usize,
    input_bytes: Vec<usize>,
    output_bytes: [usize; 1],
}

impl ConcatOp {
    /// The operator for elements of `element_bytes` (1, 2, 4 or 8) bytes.
    ///
    /// # Errors
    /// [`KernelError`] where the inputs do not add up to `out` along `axis` or differ from it
    /// elsewhere, or a view cannot be.
    pub fn new(
        element_bytes: usize,
        inputs: &[View],
        axis: usize,
        out: View,
        threads: usize,
    ) -> Result<ConcatOp, KernelError> {
        let kernel = "concat";
        check_element(kernel, element_bytes)?;
        out.check(kernel)?;
        let invalid = |reason: String| Err(KernelError::Invalid { kernel, reason });
        let to = out.shape.dims();
        if axis >= to.len() {
            return invalid(format!("there is no axis {axis} in {}", out.shape));
        }
        let out_strides = out.strides();
        let (mut parts, mut at) = (Vec::with_capacity(inputs.len()), 0usize);
        for input in inputs {
            input.check(kernel)?;
            let from = input.shape.dims();
            let others = |(i, (a, b)): (usize, (&usize, &usize))| i == axis || a == b;
            if from.len() != to.len() || !from.iter().zip(to).enumerate().all(others) {
                let (a, b) = (input.shape, out.shape);
                return invalid(format!("{a} cannot be a part of {b} along axis {axis}"));
            }
            let in_strides = input.strides();
            let dim = |(i, &extent): (usize, &usize)| Dim {
                extent,
                strides: [out_strides[i] as isize, in_strides[i] as isize],
            };
            let dims = from.iter().enumerate().map(dim).collect();
            parts.push((Walk::of(dims), at.saturating_mul(out_strides[axis])));
            at = at.saturating_add(from[axis]);
        }
        if at != to[axis] {
            return invalid(format!("parts add up to {at}, not {} along axis {axis}", to[axis]));
        }
        let bytes = 2 * out.shape.elements() * element_bytes;
        Ok(ConcatOp {
            element_bytes,
            parts,
            chunks: super::walk::chunks_for(bytes, threads),
            input_bytes: inputs.iter().map(|v| v.len() * element_bytes).collect(),
            output_bytes: [out.len() * element_bytes],
        })
    }
}

// SAFETY: the walk of each part stays inside its input and, from its start on, inside the output;
// parts are apart there, and so are chunks of a part.
unsafe impl Operator for ConcatOp {
    fn kernel(&self) -> &'static str {
        "concat"
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
        for (i, (walk, start)) in self.parts.iter().enumerate() {
            let (y, x) = (io.output::<u8>(0), io.input::<u8>(i));
            walk.chunk(self.chunks, chunk, |piece| {
                // SAFETY: as the caller promises, see above.
                unsafe {
                    let y = y.add(start * self.element_bytes);
                    copy_piece(self.element_bytes, walk, &piece, y, x);
                }
            });
        }
    }
}
