//! A part of a tensor.

use super::strided::Strided;
use super::view::View;
use super::walk::{Dim, Walk};
use crate::operator::{Io, KernelError, Operator};

/// `y[i] = x[start + i * step]` for every axis.
#[derive(Debug)]
pub struct SliceOp(Strided);

impl SliceOp {
    /// The operator for elements of `element_bytes` (1, 2, 4 or 8) bytes. One start and one step
    /// per axis; steps may be negative.
    ///
    /// # Errors
    /// [`KernelError`] where the numbers of axes differ, a position lies outside the input, or a
    /// view cannot be.
    pub fn new(
        element_bytes: usize,
        input: View,
        start: &[usize],
        step: &[i64],
        out: View,
        threads: usize,
    ) -> Result<SliceOp, KernelError> {
        let kernel = "slice";
        input.check(kernel)?;
        out.check(kernel)?;
        let (from, to) = (input.shape.dims(), out.shape.dims());
        if [to.len(), start.len(), step.len()] != [from.len(); 3] {
            let reason = format!(
                "{} axes with {} starts and {} steps cannot give {} axes",
                from.len(),
                start.len(),
                step.len(),
                to.len()
            );
            return Err(KernelError::Invalid { kernel, reason });
        }
        let (in_strides, out_strides) = (input.strides(), out.strides());
        let (mut base, mut dims) = (0, Vec::with_capacity(to.len()));
        for (axis, &extent) in to.iter().enumerate() {
            let first = start[axis] as i128;
            let last = first + extent.saturating_sub(1) as i128 * i128::from(step[axis]);
            if !out.is_empty() {
                if [first, last].iter().any(|at| !(0..from[axis] as i128).contains(at)) {
                    let reason =
                        format!("axis {axis}: {first} to {last} leaves the extent {}", from[axis]);
                    return Err(KernelError::Invalid { kernel, reason });
                }
                base += start[axis] * in_strides[axis];
            }
            // With more than one element, `last` bounds the step by the extent.
            let step = if extent > 1 && !out.is_empty() { step[axis] as isize } else { 0 };
            let strides = [out_strides[axis] as isize, step * in_strides[axis] as isize];
            dims.push(Dim { extent, strides });
        }
        let walk = Walk::of(dims);
        Strided::new(kernel, element_bytes, walk, (&input, base), &out, threads).map(SliceOp)
    }
}

strided_operator!(SliceOp, "slice");
