//! The same elements in the same order.

use super::check_element;
use super::strided::Strided;
use super::view::View;
use super::walk::{Walk, chunks_for, part};
use crate::operator::{Io, KernelError, Operator};
use depthwise_tensor::{Rows, Shape};

/// Rows copied to rows that lie at another distance.
#[derive(Debug)]
pub struct CopyRows(Strided);

impl CopyRows {
    /// The operator for elements of `element_bytes` (1, 2, 4 or 8) bytes.
    ///
    /// # Errors
    /// [`KernelError`] where the layouts differ in rows or elements of a row, or cannot be.
    pub fn new(
        element_bytes: usize,
        rows_in: Rows,
        rows_out: Rows,
        threads: usize,
    ) -> Result<CopyRows, KernelError> {
        let kernel = "copy_rows";
        if (rows_in.rows, rows_in.c) != (rows_out.rows, rows_out.c) {
            let reason = format!(
                "{} rows of {} cannot become {} rows of {}",
                rows_in.rows, rows_in.c, rows_out.rows, rows_out.c
            );
            return Err(KernelError::Invalid { kernel, reason });
        }
        let view = |rows: Rows| match Shape::new(&[rows.rows, rows.c]) {
            Ok(shape) => Ok(View { shape, ld: rows.ld }),
            Err(e) => Err(KernelError::Invalid { kernel, reason: e.to_string() }),
        };
        let (input, out) = (view(rows_in)?, view(rows_out)?);
        let walk = Walk::broadcast(kernel, [&out, &input])?;
        Strided::new(kernel, element_bytes, walk, (&input, 0), &out, threads).map(CopyRows)
    }
}

strided_operator!(CopyRows, "copy_rows");

/// Elements copied in row-major order to a view of another shape.
#[derive(Debug)]
pub struct CopyElements {
    element_bytes: usize,
    rows_in: Rows,
    rows_out: Rows,
    chunks: usize,
    input_bytes: [usize; 1],
    output_bytes: [usize; 1],
}

impl CopyElements {
    /// The operator for elements of `element_bytes` (1, 2, 4 or 8) bytes.
    ///
    /// # Errors
    /// [`KernelError`] where the numbers of elements differ, or a view cannot be.
    pub fn new(
        element_bytes: usize,
        input: View,
        out: View,
        threads: usize,
    ) -> Result<CopyElements, KernelError> {
        let kernel = "copy_elements";
        check_element(kernel, element_bytes)?;
        input.check(kernel)?;
        out.check(kernel)?;
        let (from, to) = (input.shape.elements(), out.shape.elements());
        if from != to {
            let reason = format!("{} has {from} elements, {} has {to}", input.shape, out.shape);
            return Err(KernelError::Invalid { kernel, reason });
        }
        let rows_out = out.rows();
        let most = rows_out.rows.max(1);
        Ok(CopyElements {
            element_bytes,
            rows_in: input.rows(),
            rows_out,
            chunks: chunks_for(2 * to * element_bytes, threads).min(most),
            input_bytes: [input.len() * element_bytes],
            output_bytes: [out.len() * element_bytes],
        })
    }
}

// SAFETY: positions are those of elements of the views, whose lengths are declared; chunks write
// different rows.
unsafe impl Operator for CopyElements {
    fn kernel(&self) -> &'static str {
        "copy_elements"
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
        let (y, x) = (io.output::<u8>(0), io.input::<u8>(0));
        let (from, to) = (self.rows_in, self.rows_out);
        if to.is_empty() {
            return;
        }
        let rows = part(to.rows, 1, self.chunks, chunk);
        // Position in elements, gaps not counted.
        let (mut at, end) = (rows.start * to.c, rows.end * to.c);
        while at < end {
            let (in_row, out_row) = (at % from.c, at % to.c);
            let run = (from.c - in_row).min(to.c - out_row);
            // SAFETY: the run stays inside one row of each view.
            unsafe {
                let x = x.add((at / from.c * from.ld + in_row) * self.element_bytes);
                let y = y.add((at / to.c * to.ld + out_row) * self.element_bytes);
                y.copy_from_nonoverlapping(x, run * self.element_bytes);
            }
            at += run;
        }
    }
}
