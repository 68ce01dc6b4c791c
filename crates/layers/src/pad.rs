//! A border around a tensor.

use crate::check::{Inputs, distinct_axes, invalid};
use crate::reference::{Operands, position, rearrange};
use crate::{Arg, Layer, LayerError, TensorType};
use depthwise_tensor::{Shape, Tensor};

/// What the border is filled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PadMode {
    /// A constant.
    Constant,
    /// The mirror image without the edge itself.
    Reflect,
    /// The edge repeated.
    Edge,
    /// The opposite end.
    Wrap,
}

/// A border. Inputs: x; pads, `i64[2 * axes]`, all begins and then all ends, negative crops;
/// value, one element, may be left out (zero); axes, `i64`, may be left out (all). Crops come first,
/// so the other modes than constant never show a cropped element.
#[derive(Clone, Debug, PartialEq)]
pub struct Pad {
    /// The filling.
    pub mode: PadMode,
}

impl Pad {
    /// Elements added before and after each axis of `x`, negative where cropped.
    ///
    /// # Errors
    /// [`LayerError::Invalid`] where the pads do not fit the axes, or an axis has too few elements
    /// for the mode.
    pub fn resolve(
        &self,
        x: &Shape,
        pads: &[i64],
        axes: Option<&[i64]>,
    ) -> Result<Vec<(i64, i64)>, LayerError> {
        let kind = self.kind();
        let axes = match axes {
            Some(axes) => distinct_axes(kind, x.rank(), axes)?,
            None => (0..x.rank()).collect(),
        };
        if pads.len() != 2 * axes.len() {
            return Err(invalid!(
                kind,
                "{} pads for {} axes, not two each",
                pads.len(),
                axes.len()
            ));
        }
        let mut resolved = vec![(0, 0); x.rank()];
        for (i, &axis) in axes.iter().enumerate() {
            let (before, after) = (pads[i], pads[axes.len() + i]);
            self.check(axis, x[axis], before, after)?;
            resolved[axis] = (before, after);
        }
        Ok(resolved)
    }

    fn check(&self, axis: usize, extent: usize, before: i64, after: i64) -> Result<(), LayerError> {
        let kind = self.kind();
        let inner = extent as i128 + i128::from(before.min(0)) + i128::from(after.min(0));
        if inner < 0 {
            return Err(invalid!(
                kind,
                "axis {axis} of extent {extent} cannot be cropped by {before} and {after}"
            ));
        }
        let most = i128::from(before.max(after).max(0));
        let enough = match self.mode {
            PadMode::Constant => true,
            PadMode::Reflect => most == 0 || most < inner,
            PadMode::Edge | PadMode::Wrap => most == 0 || inner > 0,
        };
        if enough {
            return Ok(());
        }
        let mode = self.mode;
        Err(invalid!(kind, "axis {axis}: {inner} elements are too few for {mode:?} pads of {most}"))
    }

    /// Position in an axis of `extent` elements that cell `o` of the padded axis shows; `None` for
    /// the constant.
    pub fn source(&self, extent: usize, (before, after): (i64, i64), o: usize) -> Option<usize> {
        let (first, end) = ((-before).max(0), extent as i64 - (-after).max(0));
        let inner = end - first;
        // Relative to the first element that is not cropped.
        let at = o as i64 - before.max(0);
        let at = match self.mode {
            _ if (0..inner).contains(&at) => at,
            PadMode::Constant => return None,
            PadMode::Reflect if at < 0 => -at,
            PadMode::Reflect => 2 * (inner - 1) - at,
            PadMode::Edge => at.clamp(0, inner - 1),
            PadMode::Wrap => at.rem_euclid(inner),
        };
        Some((first + at) as usize)
    }
}

impl Layer for Pad {
    fn kind(&self) -> &'static str {
        "Pad"
    }

    fn infer(&self, inputs: &[Option<Arg<'_>>]) -> Result<Vec<TensorType>, LayerError> {
        let inputs = Inputs::new(self.kind(), inputs, "2 to 4", &[0, 1], 4)?;
        let x = inputs.any(0)?.ty;
        if let Some(value) = inputs.opt_like(2, 0)?
            && value.ty.shape.elements() != 1
        {
            return Err(invalid!(
                self.kind(),
                "the value must have 1 element, but has {}",
                value.ty.shape.elements()
            ));
        }
        let pads = self.resolve(&x.shape, &inputs.ints(1)?, inputs.opt_ints(3)?.as_deref())?;
        let padded = |(&extent, (before, after)): (&usize, (i64, i64))| {
            let sum = extent as i128 + i128::from(before) + i128::from(after);
            usize::try_from(sum).unwrap_or(usize::MAX)
        };
        let dims: Vec<usize> = x.shape.iter().zip(pads).map(padded).collect();
        Ok(vec![TensorType::new(x.dtype, &dims)?])
    }

    fn reference(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, LayerError> {
        let operands = Operands::new(self, inputs)?;
        let x = operands.get(0);
        let axes = operands.opt(3).map(Tensor::to_i64);
        let pads = self.resolve(x.shape(), &operands.get(1).to_i64(), axes.as_deref())?;
        let zero = [0; 8];
        let fill = operands.opt(2).map_or(&zero[..x.dtype().size_bytes()], |v| v.bytes());
        let y = rearrange(x, operands.output().shape, fill, |index| {
            let cell = |axis: usize| self.source(x.shape()[axis], pads[axis], index[axis]);
            let source: Option<Vec<usize>> = (0..index.len()).map(cell).collect();
            Some(position(x.shape(), &source?))
        })?;
        Ok(vec![y])
    }
}
