//! Where the largest elements of windows are.

use crate::layout::View;
use crate::operator::{Io, KernelError, Operator};
use crate::spatial::{bytes_of, check_picture, check_window, invalid, share};
use depthwise_tensor::{Nhwc, PoolGeometry};

/// The position, `i64`, of the largest element of every window: of equals the first, of numbers and
/// NaN the first NaN, -1 of a window without a cell inside. Positions count the elements of the
/// picture as N, C, H, W, or with `column_major` as N, C, W, H. Input: x, NHWC.
///
/// Rare in networks: one plain loop serves every CPU.
#[derive(Debug)]
pub struct MaxPositionsF32 {
    geometry: PoolGeometry,
    column_major: bool,
    ld_in: usize,
    ld_out: usize,
    chunks: usize,
    input_bytes: [usize; 1],
    output_bytes: [usize; 1],
}

impl MaxPositionsF32 {
    /// The operator for pixels `ld_in` elements apart, and a result in `out`.
    ///
    /// # Errors
    /// [`KernelError::Invalid`] for windows of nothing, shapes that do not go together, pixels that
    /// overlap, and sizes that memory cannot hold.
    pub fn new(
        geometry: PoolGeometry,
        column_major: bool,
        ld_in: usize,
        out: View,
        threads: usize,
    ) -> Result<MaxPositionsF32, KernelError> {
        let kernel = "max_positions_f32";
        let PoolGeometry { input, output, .. } = geometry;
        check_picture(kernel, &input)?;
        check_picture(kernel, &output)?;
        check_window(kernel, &geometry.rows())?;
        check_window(kernel, &geometry.cols())?;
        out.check(kernel)?;
        let fits = out.shape.nhwc() == Some(output) && (input.n, input.c) == (output.n, output.c);
        if !fits || ld_in < input.c {
            let reason = format!("{input:?}, pixels {ld_in} apart, cannot give {}", out.shape);
            return Err(invalid(kernel, reason));
        }
        Ok(MaxPositionsF32 {
            geometry,
            column_major,
            ld_in,
            ld_out: out.ld,
            chunks: threads.min(output.n * output.h).max(1),
            input_bytes: [bytes_of(kernel, input.pixels(), ld_in)?],
            output_bytes: [out.len() * size_of::<i64>()],
        })
    }

    /// The position of the largest element of a window of picture `n`, channel `c`.
    ///
    /// # Safety
    /// `x` is valid for the input.
    unsafe fn best(&self, x: *const f32, [n, oh, ow, c]: [usize; 4]) -> i64 {
        let (rows, cols) = (self.geometry.rows(), self.geometry.cols());
        let Nhwc { h: height, w: width, c: channels, .. } = self.geometry.input;
        let (kh, kw) = (rows.taps(oh), cols.taps(ow));
        let (mut most, mut at) = (0.0, -1);
        for h in (kh.0..kh.1).map(|kh| rows.position(oh, kh)) {
            for w in (kw.0..kw.1).map(|kw| cols.position(ow, kw)) {
                // SAFETY: taps of a window that are inside have positions in the picture.
                let value = unsafe { *x.add(((n * height + h) * width + w) * self.ld_in + c) };
                if at < 0 || value > most || value.is_nan() && !most.is_nan() {
                    let inner = if self.column_major { w * height + h } else { h * width + w };
                    (most, at) = (value, ((n * channels + c) * height * width + inner) as i64);
                }
            }
        }
        at
    }
}

// SAFETY: windows read pixels of the input, whose length is declared; every cell of the output is
// written once, by the chunk that has its row.
unsafe impl Operator for MaxPositionsF32 {
    fn kernel(&self) -> &'static str {
        "max_positions_f32"
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
        let Nhwc { n, h, w, c } = self.geometry.output;
        for row in share(n * h, self.chunks, chunk) {
            for ow in 0..w {
                for channel in 0..c {
                    // SAFETY: the input is valid; the cell lies in the output, in a row of this chunk.
                    unsafe {
                        let best = self.best(io.input(0), [row / h, row % h, ow, channel]);
                        let cell = io.output::<i64>(0).add((row * w + ow) * self.ld_out + channel);
                        cell.write_unaligned(best);
                    }
                }
            }
        }
    }
}
