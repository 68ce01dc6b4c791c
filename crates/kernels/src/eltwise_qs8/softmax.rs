//! Softmax of rows of bytes.

use super::{FAMILY, Lines, check_scale};
use crate::operator::{Io, KernelError, Operator};
use crate::quant::{Out8, Quant8, Tail8};
use crate::spatial::invalid;
use depthwise_tensor::Rows;
use std::fmt;

/// `y = e^(s * (x - max)) / sum / s_out` along each row, rounded by the rule. Input x; output y.
///
/// The exponentials stand in a table of `f32`, indexed by the distance from the maximum; they are
/// summed in ascending order of columns.
pub struct SoftmaxQs8 {
    exp: [f32; 256],
    flip: u8,
    scale_out: f32,
    tail: Tail8,
    x: Rows,
    y: Rows,
    lines: Lines,
    input_bytes: [usize; 1],
    output_bytes: [usize; 1],
}

impl SoftmaxQs8 {
    /// The operator. A factor on the exponent belongs into the scale of the input.
    ///
    /// # Errors
    /// [`KernelError::Invalid`] where the rows do not go together, have no columns, or a scale is not
    /// positive.
    pub fn new(
        (input, scale_in): (Quant8, f32),
        (out, scale_out): (Out8, f32),
        (x, y): (Rows, Rows),
        threads: usize,
    ) -> Result<SoftmaxQs8, KernelError> {
        check_scale(scale_in)?;
        check_scale(scale_out)?;
        if x.c == 0 {
            return Err(invalid(FAMILY, "softmax over no columns".into()));
        }
        let mut lines = Lines::new(x, &[y], false, threads)?;
        lines.len = x.c;
        let exp = std::array::from_fn(|d| (-(d as f64) * f64::from(scale_in)).exp() as f32);
        let (input_bytes, output_bytes) = ([lines.bytes(&x, 1)], [lines.bytes(&y, 1)]);
        let (flip, tail) = (input.flip(), out.tail());
        Ok(SoftmaxQs8 { exp, flip, scale_out, tail, x, y, lines, input_bytes, output_bytes })
    }
}

impl fmt::Debug for SoftmaxQs8 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SoftmaxQs8").field("x", &self.x).field("y", &self.y).finish_non_exhaustive()
    }
}

// SAFETY: `Lines` gives each chunk rows of its own, inside the bytes declared.
unsafe impl Operator for SoftmaxQs8 {
    fn kernel(&self) -> &'static str {
        "eltwise_qs8_softmax"
    }

    fn input_bytes(&self) -> &[usize] {
        &self.input_bytes
    }

    fn output_bytes(&self) -> &[usize] {
        &self.output_bytes
    }

    fn chunks(&self) -> usize {
        self.lines.chunks
    }

    unsafe fn run_chunk(&self, io: &Io<'_>, chunk: usize) {
        let (rows, _) = self.lines.of(chunk);
        for row in rows {
            // SAFETY: the row lies in both operands, and no other chunk has it.
            let (x, y) = unsafe {
                let from = io.input::<u8>(0).add(row * self.x.ld);
                (
                    std::slice::from_raw_parts(from, self.x.c),
                    io.output_slice::<u8>(0, row * self.y.ld, self.x.c),
                )
            };
            let most = x.iter().map(|x| x ^ self.flip).max().unwrap_or(0);
            let exp = |x: u8| self.exp[usize::from(most - (x ^ self.flip))];
            let sum: f32 = x.iter().fold(0.0, |sum, &x| sum + exp(x));
            let factor = 1.0 / (sum * self.scale_out);
            for (y, &x) in y.iter_mut().zip(x) {
                *y = self.tail.round(exp(x) * factor);
            }
        }
    }
}
