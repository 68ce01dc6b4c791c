//! Gradient of an interpolation.

use crate::check::{Inputs, invalid};
use crate::reference::{Operands, collect, from_f64, position, zeros};
use crate::{Arg, Layer, LayerError, Resize, ResizeAxis, TensorType};
use depthwise_tensor::{Shape, Tensor};

/// Gradient of a [`Resize`] with respect to its input: every output gradient goes back to the
/// samples that it was made of, with their weights.
///
/// Input: dy.
#[derive(Clone, Debug, PartialEq)]
pub struct ResizeGrad {
    /// The interpolation.
    pub resize: Resize,
    /// Every axis, as the interpolation resolved it.
    pub axes: Vec<ResizeAxis>,
}

impl ResizeGrad {
    /// The samples and weights that the gradient at position `o` of axis `axis` goes to.
    pub fn taps(&self, axis: usize, o: usize) -> Vec<(usize, f64)> {
        let axis = &self.axes[axis];
        if axis.is_identity() { vec![(o, 1.0)] } else { self.resize.taps(axis, o) }
    }
}

impl Layer for ResizeGrad {
    fn kind(&self) -> &'static str {
        "ResizeGrad"
    }

    fn infer(&self, inputs: &[Option<Arg<'_>>]) -> Result<Vec<TensorType>, LayerError> {
        let inputs = Inputs::new(self.kind(), inputs, "1", &[0], 1)?;
        let dy = inputs.float(0)?.ty;
        let outputs: Vec<usize> = self.axes.iter().map(|axis| axis.output).collect();
        if dy.shape.dims() != outputs {
            return Err(invalid!(self.kind(), "dy is {}, not {outputs:?}", dy.shape));
        }
        let dims: Vec<usize> = self.axes.iter().map(|axis| axis.input).collect();
        Ok(vec![TensorType::new(dy.dtype, &dims)?])
    }

    fn reference(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, LayerError> {
        let operands = Operands::new(self, inputs)?;
        let mut values = operands.get(0).to_f64().into_owned();
        let mut shape = *operands.get(0).shape();
        for (at, axis) in self.axes.iter().enumerate().filter(|(_, axis)| !axis.is_identity()) {
            let mut dims = shape.to_vec();
            dims[at] = axis.input;
            let next = Shape::new(&dims)?;
            let mut sums = zeros(next.elements())?;
            let mut from = values.iter();
            collect(&shape, |index| {
                let dy = from.next().copied().unwrap_or(0.0);
                let mut to = index.to_vec();
                for (i, weight) in self.taps(at, index[at]) {
                    to[at] = i;
                    sums[position(&next, &to)] += weight * dy;
                }
            })?;
            (values, shape) = (sums, next);
        }
        Ok(vec![from_f64(operands.output(), values)?])
    }
}
