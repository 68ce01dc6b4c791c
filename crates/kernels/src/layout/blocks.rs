//! Blocks of pixels as channels, and back.

use super::strided::Strided;
use super::view::View;
use super::walk::{Dim, Walk};
use crate::operator::{Io, KernelError, Operator};
use depthwise_tensor::{Hw, Nhwc};

/// Channels laid out as blocks of pixels: `y[n, h*bh + i, w*bw + j, c] = x[n, h, w,
/// (i*bw + j)*C + c]`.
#[derive(Debug)]
pub struct DepthToSpaceOp(Strided);

/// Blocks of pixels as channels, the inverse of [`DepthToSpaceOp`].
#[derive(Debug)]
pub struct SpaceToDepthOp(Strided);

impl DepthToSpaceOp {
    /// The operator for elements of `element_bytes` (1, 2, 4 or 8) bytes.
    ///
    /// # Errors
    /// [`KernelError`] where the views are no pictures, one of whose pixels are blocks of the
    /// other's, or a view cannot be.
    pub fn new(
        element_bytes: usize,
        input: View,
        block: Hw,
        out: View,
        threads: usize,
    ) -> Result<DepthToSpaceOp, KernelError> {
        let kernel = "depth_to_space";
        let dims = loops(kernel, &input, block, &out)?;
        let dims = dims.map(|(extent, narrow, wide)| Dim { extent, strides: [wide, narrow] });
        let walk = Walk::of(dims.to_vec());
        Strided::new(kernel, element_bytes, walk, (&input, 0), &out, threads).map(DepthToSpaceOp)
    }
}

strided_operator!(DepthToSpaceOp, "depth_to_space");

impl SpaceToDepthOp {
    /// The operator for elements of `element_bytes` (1, 2, 4 or 8) bytes.
    ///
    /// # Errors
    /// As [`DepthToSpaceOp::new`].
    pub fn new(
        element_bytes: usize,
        input: View,
        block: Hw,
        out: View,
        threads: usize,
    ) -> Result<SpaceToDepthOp, KernelError> {
        let kernel = "space_to_depth";
        let dims = loops(kernel, &out, block, &input)?;
        let dims = dims.map(|(extent, narrow, wide)| Dim { extent, strides: [narrow, wide] });
        let walk = Walk::of(dims.to_vec());
        Strided::new(kernel, element_bytes, walk, (&input, 0), &out, threads).map(SpaceToDepthOp)
    }
}

strided_operator!(SpaceToDepthOp, "space_to_depth");

/// The loops over all elements (pictures, rows, rows of a block, columns, columns of a block,
/// channels), each with its steps in the picture of deep pixels and in that of blocks.
fn loops(
    kernel: &'static str,
    deep: &View,
    block: Hw,
    wide: &View,
) -> Result<[(usize, isize, isize); 6], KernelError> {
    deep.check(kernel)?;
    wide.check(kernel)?;
    let misfit = || {
        let reason = format!("{} is no {} in blocks of {block}", deep.shape, wide.shape);
        KernelError::Invalid { kernel, reason }
    };
    let (Some(d), Some(w)) = (deep.shape.nhwc(), wide.shape.nhwc()) else { return Err(misfit()) };
    let times = |a: usize, b: usize| a.checked_mul(b);
    let want = || {
        let c = times(times(w.c, block.h)?, block.w)?;
        Some((
            Nhwc { c, ..d },
            Nhwc { n: d.n, h: times(d.h, block.h)?, w: times(d.w, block.w)?, ..w },
        ))
    };
    if want() != Some((d, w)) {
        return Err(misfit());
    }
    let (from, to) = (deep.strides(), wide.strides());
    let step = |n: usize| n as isize;
    Ok([
        (d.n, step(from[0]), step(to[0])),
        (d.h, step(from[1]), step(to[1] * block.h)),
        (block.h, step(block.w * w.c), step(to[1])),
        (d.w, step(from[2]), step(to[2] * block.w)),
        (block.w, step(w.c), step(to[2])),
        (w.c, 1, 1),
    ])
}
