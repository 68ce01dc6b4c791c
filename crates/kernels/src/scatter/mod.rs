//! Gradients of what reads an element several times: every gradient is added to where its element came
//! from, `f32`.
//!
//! | operator | gradient of |
//! |---|---|
//! | [`SpreadF32`] | mean pools and interpolation: weights that are a product of one per row and one per column |
//! | [`MaxPoolGradF32`] | maximum pools |
//! | [`GatherGradF32`] | choices by index, embeddings |
//!
//! Rare in networks of this kind and bound by memory: loops over channels that the compiler vectorises,
//! the same on every instruction set. Chunks divide pictures (or the axes before the indices), and terms
//! are added in the order of the gradient, so bits do not depend on the threads.

#[cfg(test)]
mod tests;

use crate::operator::{Io, KernelError, Operator};
use crate::spatial::{bytes_of, check_picture, check_window, invalid, share};
use depthwise_tensor::{Nhwc, PoolGeometry};

const FAMILY: &str = "scatter";

/// Per position of the gradient along an axis, the positions that it goes to and their weights.
pub type Taps = Vec<Vec<(usize, f32)>>;

/// `dx[n, i, j, c] += wr * wc * dy[n, oh, ow, c]` for every row tap `(i, wr)` of `oh` and column tap
/// `(j, wc)` of `ow`. Input: dy; output: dx.
#[derive(Debug)]
pub struct SpreadF32 {
    dx: Nhwc,
    rows: Taps,
    columns: Taps,
    ld_dy: usize,
    ld_dx: usize,
    chunks: usize,
    input_bytes: [usize; 1],
    output_bytes: [usize; 1],
}

impl SpreadF32 {
    /// For gradients of `rows.len()` by `columns.len()` pixels `ld_dy` apart, and pictures of extents
    /// `dx` with pixels `ld_dx` apart.
    ///
    /// # Errors
    /// [`KernelError::Invalid`] for taps outside the picture, strides below the channels, and sizes that
    /// overflow.
    pub fn new(
        dx: Nhwc,
        (rows, columns): (Taps, Taps),
        (ld_dy, ld_dx): (usize, usize),
        threads: usize,
    ) -> Result<SpreadF32, KernelError> {
        check_picture(FAMILY, &dx)?;
        let inside = |taps: &Taps, extent| taps.iter().flatten().all(|&(at, _)| at < extent);
        if !inside(&rows, dx.h) || !inside(&columns, dx.w) || ld_dy.min(ld_dx) < dx.c {
            return Err(invalid(FAMILY, format!("taps outside {}x{}, or {ld_dx}", dx.h, dx.w)));
        }
        let pixels = dx.n.saturating_mul(rows.len()).saturating_mul(columns.len());
        Ok(SpreadF32 {
            dx,
            chunks: threads.clamp(1, dx.n.max(1)),
            input_bytes: [bytes_of(FAMILY, pixels, ld_dy)?],
            output_bytes: [bytes_of(FAMILY, dx.pixels(), ld_dx)?],
            rows,
            columns,
            ld_dy,
            ld_dx,
        })
    }
}

// SAFETY: `run_chunk` reads channels of pixels of dy and writes those of its own pictures of dx; taps lie
// in the picture (`new`).
unsafe impl Operator for SpreadF32 {
    fn kernel(&self) -> &'static str {
        "scatter_spread"
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
        let Nhwc { n, h, w, c } = self.dx;
        for n in share(n, self.chunks, chunk) {
            let picture = io.output::<f32>(0).wrapping_add(n * h * w * self.ld_dx);
            // SAFETY: picture `n` is this chunk's.
            unsafe { picture.write_bytes(0, h * w * self.ld_dx) };
            let mut pixel = n * self.rows.len() * self.columns.len();
            for rows in &self.rows {
                for columns in &self.columns {
                    let dy = io.input::<f32>(0).wrapping_add(pixel * self.ld_dy);
                    pixel += 1;
                    for (&(i, by), &(j, bx)) in
                        rows.iter().flat_map(|r| columns.iter().map(move |c| (r, c)))
                    {
                        let to = picture.wrapping_add((i * w + j) * self.ld_dx);
                        for c in 0..c {
                            // SAFETY: channel `c` of both pixels.
                            unsafe { *to.add(c) += by * bx * *dy.add(c) };
                        }
                    }
                }
            }
        }
    }
}

/// Gradient of a maximum over windows: all of it to the first largest cell. Inputs: dy, x; output: dx.
#[derive(Debug)]
pub struct MaxPoolGradF32 {
    geometry: PoolGeometry,
    ld_dy: usize,
    ld_x: usize,
    ld_dx: usize,
    chunks: usize,
    input_bytes: [usize; 2],
    output_bytes: [usize; 1],
}

impl MaxPoolGradF32 {
    /// For pixel strides of dy, x and dx.
    ///
    /// # Errors
    /// [`KernelError::Invalid`] for strides below the channels and sizes that overflow.
    pub fn new(
        geometry: PoolGeometry,
        [ld_dy, ld_x, ld_dx]: [usize; 3],
        threads: usize,
    ) -> Result<MaxPoolGradF32, KernelError> {
        let g = &geometry;
        check_picture(FAMILY, &g.input)?;
        check_picture(FAMILY, &g.output)?;
        check_window(FAMILY, &g.rows())?;
        check_window(FAMILY, &g.cols())?;
        if ld_dy.min(ld_x).min(ld_dx) < g.input.c || g.input.c != g.output.c {
            return Err(invalid(FAMILY, format!("strides {ld_dy}, {ld_x}, {ld_dx}")));
        }
        Ok(MaxPoolGradF32 {
            geometry,
            ld_dy,
            ld_x,
            ld_dx,
            chunks: threads.clamp(1, g.input.n.max(1)),
            input_bytes: [
                bytes_of(FAMILY, g.output.pixels(), ld_dy)?,
                bytes_of(FAMILY, g.input.pixels(), ld_x)?,
            ],
            output_bytes: [bytes_of(FAMILY, g.input.pixels(), ld_dx)?],
        })
    }
}

// SAFETY: `run_chunk` reads channels of pixels of dy and x and writes those of its own pictures of dx.
unsafe impl Operator for MaxPoolGradF32 {
    fn kernel(&self) -> &'static str {
        "scatter_max"
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
        let g = &self.geometry;
        let (rows, cols) = (g.rows(), g.cols());
        let (dy, x, dx) = (io.input::<f32>(0), io.input::<f32>(1), io.output::<f32>(0));
        for n in share(g.input.n, self.chunks, chunk) {
            let picture = g.input.h * g.input.w;
            // SAFETY: picture `n` is this chunk's.
            unsafe { dx.add(n * picture * self.ld_dx).write_bytes(0, picture * self.ld_dx) };
            for (oh, ow) in (0..g.output.h).flat_map(|oh| (0..g.output.w).map(move |ow| (oh, ow))) {
                let (down, across) = (rows.taps(oh), cols.taps(ow));
                let from = ((n * g.output.h + oh) * g.output.w + ow) * self.ld_dy;
                for c in 0..g.input.c {
                    let mut best: Option<(usize, f32)> = None;
                    for kh in down.0..down.1 {
                        for kw in across.0..across.1 {
                            let (ih, iw) = (rows.position(oh, kh), cols.position(ow, kw));
                            let cell = n * picture + ih * g.input.w + iw;
                            // SAFETY: the cell lies in the picture.
                            let value = unsafe { *x.add(cell * self.ld_x + c) };
                            let wins = best.is_none_or(|(_, best)| {
                                !best.is_nan() && (value > best || value.is_nan())
                            });
                            if wins {
                                best = Some((cell, value));
                            }
                        }
                    }
                    if let Some((cell, _)) = best {
                        // SAFETY: the cell lies in picture `n`, which is this chunk's.
                        unsafe { *dx.add(cell * self.ld_dx + c) += *dy.add(from + c) };
                    }
                }
            }
        }
    }
}

/// Extents around the axis of a choice: `outer` slices of `extent` entries of `inner` elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GatherShape {
    /// Product of the extents before the axis.
    pub outer: usize,
    /// Extent of the axis.
    pub extent: usize,
    /// Number of indices.
    pub count: usize,
    /// Product of the extents after the axis.
    pub inner: usize,
}

/// Gradient of a choice by index: slices of the gradient are added up where they were taken. Inputs: dy,
/// dense; indices, `i64`; output: dx, dense. Like the choice, an index out of range counts as the
/// nearest position.
#[derive(Debug)]
pub struct GatherGradF32 {
    shape: GatherShape,
    chunks: usize,
    input_bytes: [usize; 2],
    output_bytes: [usize; 1],
}

impl GatherGradF32 {
    /// For dense operands.
    ///
    /// # Errors
    /// [`KernelError::Invalid`] for sizes that overflow, and indices into nothing.
    pub fn new(shape: GatherShape, threads: usize) -> Result<GatherGradF32, KernelError> {
        let GatherShape { outer, extent, count, inner } = shape;
        if extent == 0 && count > 0 {
            return Err(invalid(FAMILY, format!("{count} indices into nothing")));
        }
        let slices = |axis: usize| {
            let rows = outer.checked_mul(axis);
            rows.ok_or_else(|| invalid(FAMILY, format!("{outer} by {axis} slices")))
        };
        Ok(GatherGradF32 {
            shape,
            chunks: threads.clamp(1, outer.max(1)),
            input_bytes: [
                bytes_of(FAMILY, slices(count)?, inner)?,
                count.saturating_mul(size_of::<i64>()),
            ],
            output_bytes: [bytes_of(FAMILY, slices(extent)?, inner)?],
        })
    }
}

// SAFETY: `run_chunk` reads whole slices of dy and all indices and writes its own outer slices of dx;
// positions are clamped to the axis.
unsafe impl Operator for GatherGradF32 {
    fn kernel(&self) -> &'static str {
        "scatter_gather"
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
        let GatherShape { outer, extent, count, inner } = self.shape;
        let (dy, indices, dx) = (io.input::<f32>(0), io.input::<i64>(1), io.output::<f32>(0));
        for o in share(outer, self.chunks, chunk) {
            let slice = dx.wrapping_add(o * extent * inner);
            // SAFETY: the slices of `o` are this chunk's.
            unsafe { slice.write_bytes(0, extent * inner) };
            for i in 0..count {
                // SAFETY: `i < count`.
                let index = unsafe { *indices.add(i) };
                let wrapped = if index < 0 { index.saturating_add(extent as i64) } else { index };
                let at = wrapped.clamp(0, extent as i64 - 1) as usize;
                for j in 0..inner {
                    // SAFETY: `at` lies in the axis.
                    unsafe { *slice.add(at * inner + j) += *dy.add((o * count + i) * inner + j) };
                }
            }
        }
    }
}
