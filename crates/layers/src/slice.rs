//! A part of a tensor.

use crate::check::{Inputs, distinct_axes, invalid};
use crate::reference::{Operands, position, rearrange};
use crate::{Arg, Layer, LayerError, TensorType};
use depthwise_tensor::{Shape, Tensor};

/// Elements `start, start + step, ..` before `end` along given axes, ONNX `Slice`.
///
/// Inputs, all but x `i64` of equal length: x, starts, ends, axes (may be left out: 0, 1, ..),
/// steps (may be left out: 1). Negative positions count from the end; positions out of range are
/// clamped; steps may be negative, not zero.
#[derive(Clone, Debug, PartialEq)]
pub struct Slice;

/// What [`Slice`] takes of one axis: `start, start + step, ..`, `len` of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SliceAxis {
    /// First element taken; 0 where none is.
    pub start: usize,
    /// Step from one to the next, not zero.
    pub step: isize,
    /// Elements taken.
    pub len: usize,
}

impl SliceAxis {
    fn new(extent: usize, start: i64, end: i64, step: i64) -> SliceAxis {
        let extent = extent as i128;
        let from_end = |at: i64| i128::from(at) + if at < 0 { extent } else { 0 };
        let wide = i128::from(step);
        // Positions that remain in range going up, or going down (where -1 means past the first).
        let (low, high) = if step > 0 { (0, extent) } else { (-1, extent - 1) };
        let (start, end) = (from_end(start).clamp(low, high), from_end(end).clamp(low, high));
        let span = if step > 0 { end - start } else { start - end };
        let len = if span > 0 { (span + wide.abs() - 1) / wide.abs() } else { 0 };
        let start = if len > 0 { start } else { 0 };
        SliceAxis { start: start as usize, step: step as isize, len: len as usize }
    }

    /// Position of element `i` of the slice.
    pub fn position(&self, i: usize) -> usize {
        self.start.wrapping_add_signed(self.step.wrapping_mul(i as isize))
    }
}

impl Slice {
    /// What is taken of every axis of `x`.
    ///
    /// # Errors
    /// [`LayerError::Invalid`] where the lists differ in length, a step is 0, or an axis is out of
    /// range or named twice.
    pub fn resolve(
        &self,
        x: &Shape,
        starts: &[i64],
        ends: &[i64],
        axes: Option<&[i64]>,
        steps: Option<&[i64]>,
    ) -> Result<Vec<SliceAxis>, LayerError> {
        let kind = self.kind();
        let count = starts.len();
        let axes = match axes {
            Some(axes) => distinct_axes(kind, x.rank(), axes)?,
            None if count > x.rank() => {
                return Err(invalid!(kind, "{count} starts for {} dimensions", x.rank()));
            }
            None => (0..count).collect(),
        };
        let lengths = [ends.len(), axes.len(), steps.map_or(count, <[i64]>::len)];
        if let Some(other) = lengths.iter().find(|&&len| len != count) {
            return Err(invalid!(
                kind,
                "starts, ends, axes and steps must be of one length, but have {count} and {other}"
            ));
        }
        let whole = |&extent: &usize| SliceAxis { start: 0, step: 1, len: extent };
        let mut taken: Vec<SliceAxis> = x.iter().map(whole).collect();
        for (i, &axis) in axes.iter().enumerate() {
            let step = steps.map_or(1, |s| s[i]);
            if step == 0 {
                return Err(invalid!(kind, "the step of axis {axis} is 0"));
            }
            taken[axis] = SliceAxis::new(x[axis], starts[i], ends[i], step);
        }
        Ok(taken)
    }
}

impl Layer for Slice {
    fn kind(&self) -> &'static str {
        "Slice"
    }

    fn infer(&self, inputs: &[Option<Arg<'_>>]) -> Result<Vec<TensorType>, LayerError> {
        let inputs = Inputs::new(self.kind(), inputs, "3 to 5", &[0, 1, 2], 5)?;
        let x = inputs.any(0)?.ty;
        let (axes, steps) = (inputs.opt_ints(3)?, inputs.opt_ints(4)?);
        let (starts, ends) = (inputs.ints(1)?, inputs.ints(2)?);
        let taken = self.resolve(&x.shape, &starts, &ends, axes.as_deref(), steps.as_deref())?;
        let dims: Vec<usize> = taken.iter().map(|a| a.len).collect();
        Ok(vec![TensorType::new(x.dtype, &dims)?])
    }

    fn reference(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, LayerError> {
        let operands = Operands::new(self, inputs)?;
        let x = operands.get(0);
        let [starts, ends] = [1, 2].map(|i| operands.get(i).to_i64());
        let [axes, steps] = [3, 4].map(|i| operands.opt(i).map(Tensor::to_i64));
        let taken = self.resolve(x.shape(), &starts, &ends, axes.as_deref(), steps.as_deref())?;
        let y = rearrange(x, operands.output().shape, &[], |index| {
            let source: Vec<usize> =
                index.iter().zip(&taken).map(|(&i, axis)| axis.position(i)).collect();
            Some(position(x.shape(), &source))
        })?;
        Ok(vec![y])
    }
}
