//! The position of an extreme.

use super::Cells;
use crate::isa::Cpu;
use crate::layout::View;
use crate::layout::walk::{chunks_for, part};
use crate::operator::{Io, KernelError, Operator};

/// Position of the largest (or smallest) element along an axis, `i64`. NaN beats every number.
#[derive(Debug)]
pub struct ArgF32 {
    largest: bool,
    select_last: bool,
    cells: Cells,
    extent: usize,
    stride: usize,
    chunks: usize,
    input_bytes: [usize; 1],
    output_bytes: [usize; 1],
}

impl ArgF32 {
    /// The operator for one axis; ties go to the first position, or with `select_last` to the
    /// last. `out` holds `i64`, and may keep the axis with extent 1 or not. One plain loop serves
    /// every CPU.
    ///
    /// # Errors
    /// [`KernelError::Invalid`] where there is no such axis or no element along it, `out` has
    /// another shape, or a view cannot be.
    pub fn new(
        _cpu: &Cpu,
        largest: bool,
        select_last: bool,
        input: View,
        axis: usize,
        out: View,
        threads: usize,
    ) -> Result<ArgF32, KernelError> {
        let kernel = "arg_f32";
        let cells = Cells::new(kernel, &input, &[axis], &out)?;
        let extent = input.shape[axis];
        if extent == 0 {
            let reason = format!("axis {axis} of {} is empty", input.shape);
            return Err(KernelError::Invalid { kernel, reason });
        }
        let bytes = input.shape.elements() * size_of::<f32>();
        Ok(ArgF32 {
            largest,
            select_last,
            extent,
            stride: input.strides()[axis],
            chunks: chunks_for(bytes, threads).min(cells.total()).max(1),
            cells,
            input_bytes: [input.len() * size_of::<f32>()],
            output_bytes: [out.len() * size_of::<i64>()],
        })
    }

    /// Position of the best element under `better`, the first of equals or the last.
    ///
    /// # Safety
    /// `x` is valid for `extent` elements, `stride` apart.
    unsafe fn best(&self, x: *const f32, better: impl Fn(f32, f32) -> bool) -> i64 {
        // SAFETY: `i < extent`.
        let at = |i: usize| unsafe { *x.add(i * self.stride) };
        let (mut best, mut value) = (0, at(0));
        for i in 1..self.extent {
            let next = at(i);
            let tie = self.select_last && !better(value, next);
            if tie || better(next, value) {
                (best, value) = (i, next);
            }
        }
        best as i64
    }
}

// SAFETY: cells and axis together visit the elements of the views, whose lengths are declared;
// chunks write different cells.
unsafe impl Operator for ArgF32 {
    fn kernel(&self) -> &'static str {
        "arg_f32"
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
        let (y, x) = (io.output::<i64>(0), io.input::<f32>(0));
        for cell in part(self.cells.total(), 1, self.chunks, chunk) {
            let (out, input) = self.cells.places(cell);
            // SAFETY: the cell lies in both views.
            unsafe {
                let x = x.add(input);
                let best = match self.largest {
                    true => self.best(x, |a, b| a > b || (a.is_nan() && !b.is_nan())),
                    false => self.best(x, |a, b| a < b || (a.is_nan() && !b.is_nan())),
                };
                y.add(out).write_unaligned(best);
            }
        }
    }
}
