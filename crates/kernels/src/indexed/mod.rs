//! Elements and slices at places that indices name: taken from there, or put there.
//!
//! | operator | indices |
//! |---|---|
//! | [`GatherPlaces`] | of elements along one axis, or coordinates of slices ([`Places`]) |
//! | [`ScatterPlaces`] | the same, for what is written over a copy of the data |
//!
//! Negative indices count from the end. An operator cannot fail while it runs, so an index out of
//! range takes the nearest position. The indices are `i64`. Bound by memory: one loop serves every
//! instruction set.

#[cfg(test)]
mod tests;

use crate::layout::strided::copy_piece;
use crate::layout::walk::{Dim, Walk, chunks_for, part};
use crate::layout::{View, check_element};
use crate::operator::{Io, KernelError, Operator};

/// What the indices mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Places {
    /// Each index replaces the position along this axis; the other positions are its own.
    Elements {
        /// The axis.
        axis: usize,
    },
    /// The last dimension of the indices has the coordinates of a slice, after as many leading
    /// dimensions that data and indices share.
    Slices {
        /// Number of shared dimensions.
        batch_dims: usize,
    },
}

/// A loop over the indices: its trip count, and the elements from one trip to the next.
#[derive(Clone, Copy, Debug)]
struct Unit {
    extent: usize,
    index: usize,
    data: usize,
    other: usize,
}

/// An axis of the data along which an index chooses.
#[derive(Clone, Copy, Debug)]
struct Coordinate {
    extent: usize,
    step: usize,
}

/// The places of all indices, in the data and in the operand of the chosen elements (the other).
#[derive(Debug)]
struct Plan {
    units: Vec<Unit>,
    count: usize,
    coordinates: Vec<Coordinate>,
    /// Elements, of the indices, from one coordinate to the next.
    coordinate_step: usize,
    /// Axes of a slice: extent, step in the data, step in the other.
    slice: Vec<(usize, usize, usize)>,
}

impl Plan {
    fn new(
        kernel: &'static str,
        places: Places,
        data: &View,
        indices: &View,
        other: &View,
    ) -> Result<Plan, KernelError> {
        for view in [data, indices, other] {
            view.check(kernel)?;
        }
        let plan = match places {
            Places::Elements { axis } => Plan::of_elements(axis, data, indices, other),
            Places::Slices { batch_dims } => Plan::of_slices(batch_dims, data, indices, other),
        };
        let is_empty = |plan: &Plan| plan.coordinates.iter().any(|axis| axis.extent == 0);
        plan.filter(|plan| plan.count == 0 || !is_empty(plan)).ok_or_else(|| {
            let reason = format!(
                "{places:?} of {} by indices of {} do not go with {}",
                data.shape, indices.shape, other.shape
            );
            KernelError::Invalid { kernel, reason }
        })
    }

    fn of_elements(axis: usize, data: &View, indices: &View, other: &View) -> Option<Plan> {
        let (from, chosen) = (data.shape.dims(), indices.shape.dims());
        let inside = |(i, (&chosen, &from)): (usize, (&usize, &usize))| i == axis || chosen <= from;
        let fits = axis < from.len()
            && from.len() == chosen.len()
            && other.shape == indices.shape
            && chosen.iter().zip(from).enumerate().all(inside);
        let (steps, index_steps, other_steps) =
            (data.strides(), indices.strides(), other.strides());
        let unit = |(i, &extent): (usize, &usize)| Unit {
            extent,
            index: index_steps[i],
            data: if i == axis { 0 } else { steps[i] },
            other: other_steps[i],
        };
        fits.then(|| Plan {
            units: chosen.iter().enumerate().map(unit).collect(),
            count: indices.shape.elements(),
            coordinates: vec![Coordinate { extent: from[axis], step: steps[axis] }],
            coordinate_step: 0,
            slice: Vec::new(),
        })
    }

    fn of_slices(batch: usize, data: &View, indices: &View, other: &View) -> Option<Plan> {
        let (from, to) = (data.shape.dims(), other.shape.dims());
        let (&depth, lead) = indices.shape.dims().split_last()?;
        let first = batch.checked_add(depth).filter(|&first| depth > 0 && first <= from.len())?;
        let fits = batch <= lead.len()
            && from[..batch] == lead[..batch]
            && to.len() == lead.len() + from.len() - first
            && to[..lead.len()] == *lead
            && to[lead.len()..] == from[first..];
        let (steps, index_steps, other_steps) =
            (data.strides(), indices.strides(), other.strides());
        let unit = |(i, &extent): (usize, &usize)| Unit {
            extent,
            index: index_steps[i],
            data: if i < batch { steps[i] } else { 0 },
            other: other_steps[i],
        };
        fits.then(|| Plan {
            units: lead.iter().enumerate().map(unit).collect(),
            count: lead.iter().product(),
            coordinates: (batch..first)
                .map(|i| Coordinate { extent: from[i], step: steps[i] })
                .collect(),
            coordinate_step: 1,
            slice: (first..from.len())
                .map(|i| (from[i], steps[i], other_steps[lead.len() + i - first]))
                .collect(),
        })
    }

    /// The loops over a slice. Operand 0, which is written, is the other, or the data.
    fn walk(&self, writes_data: bool) -> Walk<2> {
        let dim = |&(extent, data, other): &(usize, usize, usize)| {
            let (data, other) = (data as isize, other as isize);
            Dim { extent, strides: if writes_data { [data, other] } else { [other, data] } }
        };
        Walk::of(self.slice.iter().map(dim).collect())
    }

    /// Where the slice of index number `k` begins, in the data and in the other.
    ///
    /// # Safety
    /// - `k < self.count`.
    /// - `indices` is valid for the view that the plan was made for.
    unsafe fn place(&self, indices: *const i64, mut k: usize) -> (usize, usize) {
        let (mut index, mut data, mut other) = (0, 0, 0);
        for unit in self.units.iter().rev() {
            let i = k % unit.extent;
            k /= unit.extent;
            index += i * unit.index;
            data += i * unit.data;
            other += i * unit.other;
        }
        for (j, axis) in self.coordinates.iter().enumerate() {
            // SAFETY: the place lies in the indices.
            let at = unsafe { indices.add(index + j * self.coordinate_step).read_unaligned() };
            let extent = axis.extent as i64;
            let at = if at < 0 { at.saturating_add(extent) } else { at };
            data += at.clamp(0, extent - 1) as usize * axis.step;
        }
        (data, other)
    }
}

/// `y` of the elements or slices of `x` that the indices name. Inputs: x; indices, `i64`.
#[derive(Debug)]
pub struct GatherPlaces {
    element_bytes: usize,
    plan: Plan,
    walk: Walk<2>,
    chunks: usize,
    input_bytes: [usize; 2],
    output_bytes: [usize; 1],
}

impl GatherPlaces {
    /// The operator for elements of `element_bytes` (1, 2, 4 or 8) bytes.
    ///
    /// # Errors
    /// [`KernelError`] where the shapes do not go together, or a view cannot be.
    pub fn new(
        element_bytes: usize,
        places: Places,
        input: View,
        indices: View,
        out: View,
        threads: usize,
    ) -> Result<GatherPlaces, KernelError> {
        let kernel = "gather_places";
        check_element(kernel, element_bytes)?;
        let plan = Plan::new(kernel, places, &input, &indices, &out)?;
        let bytes = 2 * out.shape.elements() * element_bytes;
        Ok(GatherPlaces {
            element_bytes,
            walk: plan.walk(false),
            chunks: chunks_for(bytes, threads).min(plan.count).max(1),
            input_bytes: [input.len() * element_bytes, indices.len() * size_of::<i64>()],
            output_bytes: [out.len() * element_bytes],
            plan,
        })
    }
}

// SAFETY: places are clamped into the input, and slices there stay inside it; those of the output
// are apart, and chunks write different ones.
unsafe impl Operator for GatherPlaces {
    fn kernel(&self) -> &'static str {
        "gather_places"
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
        if self.walk.elements() == 0 {
            return;
        }
        let (y, x, indices) = (io.output::<u8>(0), io.input::<u8>(0), io.input::<i64>(1));
        for k in part(self.plan.count, 1, self.chunks, chunk) {
            // SAFETY: `k` is below the count; both places lie in their operands, and so do slices.
            unsafe {
                let (from, to) = self.plan.place(indices, k);
                let (y, x) = (y.add(to * self.element_bytes), x.add(from * self.element_bytes));
                let copy = |piece| copy_piece(self.element_bytes, &self.walk, &piece, y, x);
                self.walk.chunk(1, 0, copy);
            }
        }
    }
}

/// What a [`ScatterPlaces`] makes of the element that is there and the one that comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Combine {
    /// The one that comes; of elements of any type.
    Replace,
    /// The sum, `f32`.
    Add,
    /// The product, `f32`.
    Mul,
    /// The larger, NaN if either is, `f32`.
    Max,
    /// The smaller, NaN if either is, `f32`.
    Min,
}

/// A copy of `x` with updates at the places that the indices name, one after the other. Inputs: x;
/// indices, `i64`; updates.
///
/// One chunk, since places may repeat.
#[derive(Debug)]
pub struct ScatterPlaces {
    element_bytes: usize,
    combine: Combine,
    copy: Walk<2>,
    plan: Plan,
    walk: Walk<2>,
    input_bytes: [usize; 3],
    output_bytes: [usize; 1],
}

impl ScatterPlaces {
    /// The operator for elements of `element_bytes` (1, 2, 4 or 8) bytes, `f32` unless updates
    /// [replace](Combine::Replace). `views` are those of the inputs.
    ///
    /// # Errors
    /// [`KernelError`] where the shapes do not go together, or a view cannot be.
    pub fn new(
        element_bytes: usize,
        places: Places,
        combine: Combine,
        views: [View; 3],
        out: View,
    ) -> Result<ScatterPlaces, KernelError> {
        let kernel = "scatter_places";
        check_element(kernel, element_bytes)?;
        let [input, indices, updates] = views;
        if combine != Combine::Replace && element_bytes != size_of::<f32>() {
            let reason = format!("{combine:?} of elements of {element_bytes} bytes");
            return Err(KernelError::Unsupported { kernel, reason });
        }
        if input.shape != out.shape {
            let reason = format!("{} from {}", out.shape, input.shape);
            return Err(KernelError::Invalid { kernel, reason });
        }
        let plan = Plan::new(kernel, places, &out, &indices, &updates)?;
        Ok(ScatterPlaces {
            element_bytes,
            combine,
            copy: Walk::broadcast(kernel, [&out, &input])?,
            walk: plan.walk(true),
            plan,
            input_bytes: [
                input.len() * element_bytes,
                indices.len() * size_of::<i64>(),
                updates.len() * element_bytes,
            ],
            output_bytes: [out.len() * element_bytes],
        })
    }

    /// Combines the slice at `y` with the one at `x`.
    ///
    /// # Safety
    /// - Both are valid for the walk.
    /// - Nobody else touches the slice at `y`.
    unsafe fn update(&self, y: *mut u8, x: *const u8) {
        let function: fn(f32, f32) -> f32 = match self.combine {
            Combine::Replace => {
                // SAFETY: as the caller promises.
                let copy = |piece| unsafe {
                    copy_piece(self.element_bytes, &self.walk, &piece, y, x);
                };
                return self.walk.chunk(1, 0, copy);
            }
            Combine::Add => |a, b| a + b,
            Combine::Mul => |a, b| a * b,
            Combine::Max => |a, b| if a > b || a.is_nan() { a } else { b },
            Combine::Min => |a, b| if a < b || a.is_nan() { a } else { b },
        };
        let (y, x) = (y.cast::<f32>(), x.cast::<f32>());
        self.walk.chunk(1, 0, |piece| {
            for row in 0..piece.rows as isize {
                for i in 0..piece.run as isize {
                    let [to, from] = [0, 1].map(|operand| {
                        piece.offsets[operand]
                            + row * self.walk.rows.strides[operand]
                            + i * self.walk.run.strides[operand]
                    });
                    // SAFETY: as the caller promises.
                    unsafe { *y.offset(to) = function(*y.offset(to), *x.offset(from)) };
                }
            }
        });
    }
}

// SAFETY: places are clamped into the output, and slices there stay inside it; those of the updates
// stay inside them. The one chunk first writes the whole output.
unsafe impl Operator for ScatterPlaces {
    fn kernel(&self) -> &'static str {
        "scatter_places"
    }

    fn input_bytes(&self) -> &[usize] {
        &self.input_bytes
    }

    fn output_bytes(&self) -> &[usize] {
        &self.output_bytes
    }

    fn chunks(&self) -> usize {
        1
    }

    unsafe fn run_chunk(&self, io: &Io<'_>, _chunk: usize) {
        let (y, x) = (io.output::<u8>(0), io.input::<u8>(0));
        let (indices, updates) = (io.input::<i64>(1), io.input::<u8>(2));
        self.copy.chunk(1, 0, |piece| {
            // SAFETY: the walk stays inside both views.
            unsafe { copy_piece(self.element_bytes, &self.copy, &piece, y, x) }
        });
        if self.walk.elements() == 0 {
            return;
        }
        for k in 0..self.plan.count {
            // SAFETY: `k` is below the count; both places lie in their operands, and so do slices.
            unsafe {
                let (to, from) = self.plan.place(indices, k);
                self.update(y.add(to * self.element_bytes), updates.add(from * self.element_bytes));
            }
        }
    }
}
