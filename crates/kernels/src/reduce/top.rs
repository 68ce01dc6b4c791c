//! The best elements along an axis.

use crate::layout::View;
use crate::layout::walk::{chunks_for, part};
use crate::operator::{Io, KernelError, Operator};
use std::cmp::Ordering;

/// A loop over the lines along the axis: its trip count, and the elements from one to the next in
/// the input, in the values and in the positions.
#[derive(Clone, Copy, Debug)]
struct Unit {
    extent: usize,
    steps: [usize; 3],
}

/// The `k` largest (or smallest) elements along an axis, best first, and their positions, `i64`. Of
/// equals the first comes first; NaN counts as larger than every number.
///
/// Selects the `k` best in linear time, then sorts those. One plain loop serves every CPU.
#[derive(Debug)]
pub struct TopF32 {
    largest: bool,
    units: Vec<Unit>,
    lines: usize,
    extent: usize,
    k: usize,
    /// From one element along the axis to the next, of input, values and positions.
    steps: [usize; 3],
    chunks: usize,
    input_bytes: [usize; 1],
    output_bytes: [usize; 2],
}

impl TopF32 {
    /// The operator for one axis. `values` and `positions` have as many elements along the axis as
    /// are sought; positions hold `i64`.
    ///
    /// # Errors
    /// [`KernelError::Invalid`] where there is no such axis, or fewer elements along it, another
    /// extent differs, or a view cannot be.
    pub fn new(
        largest: bool,
        input: View,
        axis: usize,
        values: View,
        positions: View,
        threads: usize,
    ) -> Result<TopF32, KernelError> {
        let kernel = "top_f32";
        for view in [&input, &values, &positions] {
            view.check(kernel)?;
        }
        let (from, to) = (input.shape.dims(), values.shape.dims());
        let fits = axis < from.len()
            && from.len() == to.len()
            && to[axis] <= from[axis]
            && (0..from.len()).all(|i| i == axis || from[i] == to[i])
            && positions.shape == values.shape
            && u32::try_from(from[axis]).is_ok();
        if !fits {
            let reason = format!(
                "axis {axis} of {} cannot give {} at {}",
                input.shape, values.shape, positions.shape
            );
            return Err(KernelError::Invalid { kernel, reason });
        }
        let strides = [input.strides(), values.strides(), positions.strides()];
        let others = (0..from.len()).filter(|&i| i != axis);
        let units: Vec<Unit> =
            others.map(|i| Unit { extent: from[i], steps: strides.map(|s| s[i]) }).collect();
        let lines: usize = units.iter().map(|unit| unit.extent).product();
        let bytes = input.shape.elements() * size_of::<f32>();
        Ok(TopF32 {
            largest,
            lines,
            units,
            extent: from[axis],
            k: to[axis],
            steps: strides.map(|s| s[axis]),
            chunks: chunks_for(bytes, threads).min(lines).max(1),
            input_bytes: [input.len() * size_of::<f32>()],
            output_bytes: [values.len() * size_of::<f32>(), positions.len() * size_of::<i64>()],
        })
    }

    fn order(&self, a: f32, b: f32) -> Ordering {
        let ascending = a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()));
        if self.largest { ascending.reverse() } else { ascending }
    }

    /// Where line number `line` begins.
    fn places(&self, mut line: usize) -> [usize; 3] {
        let mut places = [0; 3];
        for unit in self.units.iter().rev() {
            let i = line % unit.extent;
            line /= unit.extent;
            for (place, step) in places.iter_mut().zip(unit.steps) {
                *place += i * step;
            }
        }
        places
    }
}

// SAFETY: lines and axis together visit the elements of the views, whose lengths are declared;
// chunks write different lines, and each has its own part of the scratch memory.
unsafe impl Operator for TopF32 {
    fn kernel(&self) -> &'static str {
        "top_f32"
    }

    fn input_bytes(&self) -> &[usize] {
        &self.input_bytes
    }

    fn output_bytes(&self) -> &[usize] {
        &self.output_bytes
    }

    fn scratch_bytes(&self) -> usize {
        self.chunks * self.extent * size_of::<u32>()
    }

    fn chunks(&self) -> usize {
        self.chunks
    }

    unsafe fn run_chunk(&self, io: &Io<'_>, chunk: usize) {
        let (values, positions) = (io.output::<f32>(0), io.output::<i64>(1));
        if self.k == 0 {
            return;
        }
        // SAFETY: the scratch memory has `extent` places for each chunk, of which this is one.
        let order: &mut [u32] = unsafe {
            let scratch = io.scratch::<u32>().add(chunk * self.extent);
            scratch.write_bytes(0, self.extent);
            std::slice::from_raw_parts_mut(scratch, self.extent)
        };
        for line in part(self.lines, 1, self.chunks, chunk) {
            let [from, value, position] = self.places(line);
            // SAFETY: `i` is below the extent, so the element lies in the input.
            let at = |i: u32| unsafe { *io.input::<f32>(0).add(from + i as usize * self.steps[0]) };
            let better = |&a: &u32, &b: &u32| self.order(at(a), at(b)).then(a.cmp(&b));
            for (i, slot) in order.iter_mut().enumerate() {
                *slot = i as u32;
            }
            if self.k < self.extent {
                order.select_nth_unstable_by(self.k - 1, better);
            }
            order[..self.k].sort_unstable_by(better);
            for (i, &best) in order[..self.k].iter().enumerate() {
                // SAFETY: `i` is below `k`, so both places lie in the results.
                unsafe {
                    values.add(value + i * self.steps[1]).write(at(best));
                    let position = positions.add(position + i * self.steps[2]);
                    position.write_unaligned(best.into());
                }
            }
        }
    }
}
