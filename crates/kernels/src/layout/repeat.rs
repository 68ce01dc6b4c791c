//! Elements shown several times.

use super::strided::Strided;
use super::view::View;
use super::walk::{Dim, Walk};
use crate::operator::{Io, KernelError, Operator};

/// A tensor broadcast to a larger shape (NumPy's rules).
#[derive(Debug)]
pub struct BroadcastOp(Strided);

impl BroadcastOp {
    /// The operator for elements of `element_bytes` (1, 2, 4 or 8) bytes.
    ///
    /// # Errors
    /// [`KernelError`] where the input does not broadcast to `out`, or a view cannot be.
    pub fn new(
        element_bytes: usize,
        input: View,
        out: View,
        threads: usize,
    ) -> Result<BroadcastOp, KernelError> {
        let kernel = "broadcast";
        let walk = Walk::broadcast(kernel, [&out, &input])?;
        Strided::new(kernel, element_bytes, walk, (&input, 0), &out, threads).map(BroadcastOp)
    }
}

strided_operator!(BroadcastOp, "broadcast");

/// A tensor repeated whole along its axes: `y[i] = x[i mod extent]` for every axis.
#[derive(Debug)]
pub struct TileOp(Strided);

impl TileOp {
    /// The operator for elements of `element_bytes` (1, 2, 4 or 8) bytes. The repeats are the
    /// quotients of the extents.
    ///
    /// # Errors
    /// [`KernelError`] where an extent of `out` is no multiple of that of the input, or a view
    /// cannot be.
    pub fn new(
        element_bytes: usize,
        input: View,
        out: View,
        threads: usize,
    ) -> Result<TileOp, KernelError> {
        let kernel = "tile";
        input.check(kernel)?;
        out.check(kernel)?;
        let (from, to) = (input.shape.dims(), out.shape.dims());
        let fits = |(&a, &b): (&usize, &usize)| b == 0 || (a != 0 && b.is_multiple_of(a));
        if from.len() != to.len() || !from.iter().zip(to).all(fits) {
            let reason = format!("{} is no repetition of {}", out.shape, input.shape);
            return Err(KernelError::Invalid { kernel, reason });
        }
        let (in_strides, out_strides) = (input.strides(), out.strides());
        let mut dims = Vec::with_capacity(2 * from.len());
        for (axis, (&a, &b)) in from.iter().zip(to).enumerate() {
            let (s, t) = (in_strides[axis] as isize, out_strides[axis] as isize);
            let repeats = b.checked_div(a).unwrap_or(0);
            dims.push(Dim { extent: repeats, strides: [t * a as isize, 0] });
            dims.push(Dim { extent: a, strides: [t, s] });
        }
        let walk = Walk::of(dims);
        Strided::new(kernel, element_bytes, walk, (&input, 0), &out, threads).map(TileOp)
    }
}

strided_operator!(TileOp, "tile");
