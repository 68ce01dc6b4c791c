//! A border around a tensor.

use super::check_element;
use super::strided::fill;
use super::view::View;
use super::walk::{chunks_for, part};
use crate::operator::{Io, KernelError, Operator};
use bytemuck::Pod;

/// What the border is filled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PadFill {
    /// The first bytes of this, as many as an element has.
    Constant([u8; 8]),
    /// The mirror image without the edge itself.
    Reflect,
    /// The edge repeated.
    Edge,
    /// The opposite end.
    Wrap,
}

/// One axis of the output: `lead` cells of border, `inner` elements, border up to `cells`.
#[derive(Clone, Copy, Debug)]
struct Axis {
    /// Position in the input of the first element that is not cropped.
    first: usize,
    inner: usize,
    lead: usize,
    cells: usize,
    in_stride: usize,
    out_stride: usize,
}

/// A tensor with a border before and after each axis, negative where it is cropped. Crops come
/// first: the other fillings than the constant never show a cropped element.
#[derive(Debug)]
pub struct PadOp {
    element_bytes: usize,
    mode: PadFill,
    /// All axes but the last.
    outer: Vec<Axis>,
    last: Axis,
    rows: usize,
    chunks: usize,
    input_bytes: [usize; 1],
    output_bytes: [usize; 1],
}

impl PadOp {
    /// The operator for elements of `element_bytes` (1, 2, 4 or 8) bytes; `before` holds the cells
    /// before each axis, those after it follow from `out`.
    ///
    /// # Errors
    /// [`KernelError`] where the numbers of axes differ, more is cropped than there is, an axis has
    /// too few elements for the filling, or a view cannot be.
    pub fn new(
        element_bytes: usize,
        input: View,
        before: &[i64],
        mode: PadFill,
        out: View,
        threads: usize,
    ) -> Result<PadOp, KernelError> {
        let kernel = "pad";
        check_element(kernel, element_bytes)?;
        input.check(kernel)?;
        out.check(kernel)?;
        let (from, to) = (input.shape.dims(), out.shape.dims());
        if from.len() != to.len() || before.len() != to.len() {
            let reason = format!("{} pads for {} to {}", before.len(), input.shape, out.shape);
            return Err(KernelError::Invalid { kernel, reason });
        }
        let (in_strides, out_strides) = (input.strides(), out.strides());
        let mut axes = Vec::with_capacity(to.len().max(1));
        for axis in 0..to.len() {
            let strides = (in_strides[axis], out_strides[axis]);
            let resolved = Axis::new(from[axis], before[axis], to[axis], mode, strides);
            axes.push(resolved.map_err(|reason| KernelError::Invalid {
                kernel,
                reason: format!("axis {axis}: {reason}"),
            })?);
        }
        let scalar = Axis { first: 0, inner: 1, lead: 0, cells: 1, in_stride: 1, out_stride: 1 };
        let last = axes.pop().unwrap_or(scalar);
        let rows = out.rows().rows;
        let bytes = 2 * out.shape.elements() * element_bytes;
        Ok(PadOp {
            element_bytes,
            mode,
            outer: axes,
            last,
            rows,
            chunks: chunks_for(bytes, threads).min(rows.max(1)),
            input_bytes: [input.len() * element_bytes],
            output_bytes: [out.len() * element_bytes],
        })
    }

    /// Where row `row` starts in the output, and in the input unless all of it is constant.
    fn places(&self, mut row: usize) -> (usize, Option<usize>) {
        let (mut out, mut input) = (0, Some(0));
        for axis in self.outer.iter().rev() {
            let cell = row % axis.cells;
            row /= axis.cells;
            out += cell * axis.out_stride;
            input =
                input.zip(axis.source(self.mode, cell)).map(|(sum, i)| sum + i * axis.in_stride);
        }
        (out, input)
    }

    /// # Safety
    /// As [`Operator::run_chunk`]; `T` has the size of the elements.
    unsafe fn run<T: Pod>(&self, io: &Io<'_>, chunk: usize) {
        let (y, x) = (io.output::<T>(0), io.input::<T>(0));
        let bytes = if let PadFill::Constant(bytes) = self.mode { bytes } else { [0; 8] };
        let constant: T = bytemuck::pod_read_unaligned(&bytes[..size_of::<T>()]);
        let last = self.last;
        for row in part(self.rows, 1, self.chunks, chunk) {
            let (out, input) = self.places(row);
            // SAFETY: the row lies in the output, and every source position in the input.
            unsafe {
                let y = y.add(out);
                let Some(input) = input else {
                    fill(y, constant, last.cells);
                    continue;
                };
                let x = x.add(input);
                for cell in (0..last.lead).chain(last.lead + last.inner..last.cells) {
                    let source = last.source(self.mode, cell);
                    let value = source.map_or(constant, |i| x.add(i).read_unaligned());
                    y.add(cell).write_unaligned(value);
                }
                let (y, x) = (y.add(last.lead), x.add(last.first));
                let bytes = last.inner * size_of::<T>();
                y.cast::<u8>().copy_from_nonoverlapping(x.cast(), bytes);
            }
        }
    }
}

// SAFETY: every source position was checked to lie in its axis; rows of the output are apart, and
// chunks write different ones.
unsafe impl Operator for PadOp {
    fn kernel(&self) -> &'static str {
        "pad"
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
        // SAFETY: as the caller promises; the constructor has checked the size.
        unsafe {
            match self.element_bytes {
                1 => self.run::<u8>(io, chunk),
                2 => self.run::<u16>(io, chunk),
                4 => self.run::<u32>(io, chunk),
                _ => self.run::<u64>(io, chunk),
            }
        }
    }
}

impl Axis {
    /// The axis of `cells` cells, `before` of them (cropped where negative) before an input of
    /// `extent` elements.
    fn new(
        extent: usize,
        before: i64,
        cells: usize,
        mode: PadFill,
        (in_stride, out_stride): (usize, usize),
    ) -> Result<Axis, String> {
        let (extent, cells_wide, before) = (extent as i128, cells as i128, i128::from(before));
        let after = cells_wide - extent - before;
        let (first, end) = ((-before).max(0), extent - (-after).max(0));
        let inner = end - first;
        if inner < 0 {
            return Err(format!("{extent} elements cannot be cropped by {before} and {after}"));
        }
        let most = before.max(after).max(0);
        let enough = match mode {
            PadFill::Constant(_) => true,
            PadFill::Reflect => most == 0 || most < inner,
            PadFill::Edge | PadFill::Wrap => most == 0 || inner > 0,
        };
        if !enough {
            return Err(format!("{inner} elements are too few for {mode:?} pads of {most}"));
        }
        // All lie in 0 ..= extent or 0 ..= cells, since `inner` is not negative.
        let (first, inner, lead) = (first as usize, inner as usize, before.max(0) as usize);
        Ok(Axis { first, inner, lead, cells, in_stride, out_stride })
    }

    /// The position in the input that a cell shows; `None` where the constant stands.
    #[inline]
    fn source(&self, mode: PadFill, cell: usize) -> Option<usize> {
        let (at, inner) = (cell as isize - self.lead as isize, self.inner as isize);
        let at = match mode {
            _ if (0..inner).contains(&at) => at,
            PadFill::Constant(_) => return None,
            PadFill::Reflect if at < 0 => -at,
            PadFill::Reflect => 2 * (inner - 1) - at,
            PadFill::Edge => at.clamp(0, inner - 1),
            PadFill::Wrap => at.rem_euclid(inner),
        };
        Some(self.first + at as usize)
    }
}
