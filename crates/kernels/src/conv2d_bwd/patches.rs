//! Pictures as rows of patches, and back.

use super::FAMILY;
use crate::operator::{Io, KernelError, Operator};
use crate::spatial::{bytes_of, check_picture, check_window, invalid, share};
use depthwise_tensor::ConvGeometry;

/// The patches of a picture: row `(n,oh,ow)` holds `x[n, oh*sh + kh*dh - pt, ow*sw + kw*dw - pl, ic]` at
/// column `(kh*KW + kw)*C + ic`, 0 in the padding. Input: x; output: patches.
#[derive(Debug)]
pub struct PatchesF32 {
    shape: PatchShape,
    chunks: usize,
    input_bytes: [usize; 1],
    output_bytes: [usize; 1],
}

/// The inverse of [`PatchesF32`] in the sense of gradients: every element of a patch is added to the
/// cell it came from. Input: patches; output: dx.
#[derive(Debug)]
pub struct FoldF32 {
    shape: PatchShape,
    chunks: usize,
    input_bytes: [usize; 1],
    output_bytes: [usize; 1],
}

#[derive(Clone, Copy, Debug)]
struct PatchShape {
    geometry: ConvGeometry,
    /// Pixel stride of the picture.
    ld_x: usize,
    /// Elements from one patch to the next.
    ld: usize,
}

impl PatchShape {
    fn new(geometry: ConvGeometry, ld_x: usize, ld: usize) -> Result<PatchShape, KernelError> {
        let g = &geometry;
        check_picture(FAMILY, &g.input)?;
        check_picture(FAMILY, &g.output)?;
        check_window(FAMILY, &g.rows())?;
        check_window(FAMILY, &g.cols())?;
        let taps = g.kernel.h.checked_mul(g.kernel.w).and_then(|n| n.checked_mul(g.input.c));
        if g.groups != 1 || ld_x < g.input.c || taps.is_none_or(|columns| ld < columns) {
            let reason = format!("strides {ld_x} and {ld} for {} channels", g.input.c);
            return Err(invalid(FAMILY, reason));
        }
        Ok(PatchShape { geometry, ld_x, ld })
    }

    /// Calls `f` with the offset of every run of channels in the picture and in the patches of output
    /// row `row` (of all pictures), `None` in the padding.
    fn each_run(&self, row: usize, mut f: impl FnMut(Option<usize>, usize)) {
        let g = &self.geometry;
        let (n, oh) = (row / g.output.h, row % g.output.h);
        let (rows, cols) = (g.rows(), g.cols());
        let (down, c) = (rows.taps(oh), g.input.c);
        for ow in 0..g.output.w {
            let across = cols.taps(ow);
            let patch = (row * g.output.w + ow) * self.ld;
            for kh in 0..g.kernel.h {
                for kw in 0..g.kernel.w {
                    let inside =
                        (down.0..down.1).contains(&kh) && (across.0..across.1).contains(&kw);
                    let from = inside.then(|| {
                        let (ih, iw) = (rows.position(oh, kh), cols.position(ow, kw));
                        ((n * g.input.h + ih) * g.input.w + iw) * self.ld_x
                    });
                    f(from, patch + (kh * g.kernel.w + kw) * c);
                }
            }
        }
    }
}

impl PatchesF32 {
    /// For pictures with a pixel stride of `ld_x` and patches `ld` apart.
    ///
    /// # Errors
    /// [`KernelError::Invalid`] for strides below the number of columns, groups, and sizes that
    /// overflow.
    pub fn new(
        geometry: ConvGeometry,
        ld_x: usize,
        ld: usize,
        threads: usize,
    ) -> Result<PatchesF32, KernelError> {
        let shape = PatchShape::new(geometry, ld_x, ld)?;
        let rows = geometry.output.n * geometry.output.h;
        Ok(PatchesF32 {
            shape,
            chunks: threads.clamp(1, rows.max(1)),
            input_bytes: [bytes_of(FAMILY, geometry.input.pixels(), ld_x)?],
            output_bytes: [bytes_of(FAMILY, geometry.output.pixels(), ld)?],
        })
    }
}

impl FoldF32 {
    /// For patches `ld` apart and pictures with a pixel stride of `ld_x`.
    ///
    /// # Errors
    /// As [`PatchesF32::new`].
    pub fn new(
        geometry: ConvGeometry,
        ld: usize,
        ld_x: usize,
        threads: usize,
    ) -> Result<FoldF32, KernelError> {
        let shape = PatchShape::new(geometry, ld_x, ld)?;
        Ok(FoldF32 {
            shape,
            chunks: threads.clamp(1, geometry.output.n.max(1)),
            input_bytes: [bytes_of(FAMILY, geometry.output.pixels(), ld)?],
            output_bytes: [bytes_of(FAMILY, geometry.input.pixels(), ld_x)?],
        })
    }
}

// SAFETY: `run_chunk` reads channels of pixels of the picture and writes patches of its own output
// rows, both within the bytes declared.
unsafe impl Operator for PatchesF32 {
    fn kernel(&self) -> &'static str {
        "conv2d_bwd_patches"
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
        let g = &self.shape.geometry;
        let (x, patches) = (io.input::<f32>(0), io.output::<f32>(0));
        for row in share(g.output.n * g.output.h, self.chunks, chunk) {
            self.shape.each_run(row, |from, to| {
                // SAFETY: the cell lies in the picture, the run in the patch.
                unsafe {
                    match from {
                        Some(from) => {
                            x.add(from).copy_to_nonoverlapping(patches.add(to), g.input.c);
                        }
                        None => patches.add(to).write_bytes(0, g.input.c),
                    }
                }
            });
        }
    }
}

// SAFETY: `run_chunk` reads patches and writes channels of the pixels of its own pictures, within the
// bytes declared.
unsafe impl Operator for FoldF32 {
    fn kernel(&self) -> &'static str {
        "conv2d_bwd_fold"
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
        let g = &self.shape.geometry;
        let (patches, dx) = (io.input::<f32>(0), io.output::<f32>(0));
        let picture = g.input.h * g.input.w * self.shape.ld_x;
        for n in share(g.output.n, self.chunks, chunk) {
            // SAFETY: picture `n` lies in the output and belongs to this chunk.
            unsafe { dx.add(n * picture).write_bytes(0, picture) };
            for row in n * g.output.h..(n + 1) * g.output.h {
                self.shape.each_run(row, |to, from| {
                    let Some(to) = to else { return };
                    for c in 0..g.input.c {
                        // SAFETY: the cell lies in picture `n`, the run in the patch.
                        unsafe { *dx.add(to + c) += *patches.add(from + c) };
                    }
                });
            }
        }
    }
}
