//! Functions of a byte.

use super::{FAMILY, Lines};
use crate::operator::{Io, KernelError, Operator};
use crate::quant::{Out8, Quant8, check_multipliers};
use depthwise_tensor::Rows;
use std::fmt;

/// The table of a function of real numbers: for each byte in memory, the byte of
/// `f(scale_in * (q - z))`, computed in `f64`, divided by `scale_out` and rounded half to even. NaN
/// becomes the zero point.
pub fn table(
    (input, scale_in): (Quant8, f32),
    (out, scale_out): (Out8, f32),
    f: impl Fn(f64) -> f64,
) -> [u8; 256] {
    let (zero, flip) = (f64::from(out.quant.zero_point()), out.quant.flip());
    std::array::from_fn(|byte| {
        let x = f64::from(input.centred(byte as u8)) * f64::from(scale_in);
        let y = f(x) / f64::from(scale_out);
        let y = if y.is_nan() { 0.0 } else { y.round_ties_even() };
        let y = (y + zero).clamp(f64::from(out.min), f64::from(out.max));
        (y as i32 + out.quant.offset()) as u8 ^ flip
    })
}

/// The table that brings bytes to another scale, `multiplier` being `s_in / s_out`, by the rule of
/// [`quant`](crate::quant).
///
/// # Errors
/// [`KernelError::Invalid`] for a multiplier that is not finite.
pub fn requantize_table(
    input: Quant8,
    multiplier: f32,
    out: Out8,
) -> Result<[u8; 256], KernelError> {
    check_multipliers(FAMILY, &[multiplier], 1)?;
    let tail = out.tail();
    Ok(std::array::from_fn(|byte| tail.round(input.centred(byte as u8) as f32 * multiplier)))
}

/// A byte for each byte. Input x; output y, which may be x.
pub struct Lookup {
    table: [u8; 256],
    x: Rows,
    y: Rows,
    lines: Lines,
    input_bytes: [usize; 1],
    output_bytes: [usize; 1],
}

impl Lookup {
    /// The operator; entry `i` of the table is the result for the byte `i` in memory (of an `i8`, its
    /// two's complement). `x` and `y` have the same extents.
    ///
    /// # Errors
    /// [`KernelError::Invalid`] where the rows do not go together.
    pub fn new(
        table: [u8; 256],
        (x, y): (Rows, Rows),
        threads: usize,
    ) -> Result<Lookup, KernelError> {
        let lines = Lines::new(x, &[y], true, threads)?;
        let (input_bytes, output_bytes) = ([lines.bytes(&x, 1)], [lines.bytes(&y, 1)]);
        Ok(Lookup { table, x, y, lines, input_bytes, output_bytes })
    }
}

impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookup").field("x", &self.x).field("y", &self.y).finish_non_exhaustive()
    }
}

// SAFETY: `Lines` gives each chunk rows, or elements, of its own, inside the bytes declared; each
// element is read before it is written.
unsafe impl Operator for Lookup {
    fn kernel(&self) -> &'static str {
        "eltwise_qs8_lookup"
    }

    fn input_bytes(&self) -> &[usize] {
        &self.input_bytes
    }

    fn output_bytes(&self) -> &[usize] {
        &self.output_bytes
    }

    fn in_place(&self, i: usize) -> bool {
        i == 0 && self.x.ld == self.y.ld
    }

    fn chunks(&self) -> usize {
        self.lines.chunks
    }

    unsafe fn run_chunk(&self, io: &Io<'_>, chunk: usize) {
        let (rows, part) = self.lines.of(chunk);
        for row in rows {
            let x = io.input::<u8>(0).wrapping_add(row * self.x.ld);
            let y = io.output::<u8>(0).wrapping_add(row * self.y.ld);
            for i in part.clone() {
                // SAFETY: the element lies in both operands, and no other chunk has it.
                unsafe { *y.add(i) = self.table[usize::from(*x.add(i))] };
            }
        }
    }
}
