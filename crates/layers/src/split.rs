//! A tensor cut along an axis.

use crate::check::{Inputs, axis, invalid};
use crate::reference::{Operands, position, rearrange};
use crate::{Arg, Layer, LayerError, TensorType};
use depthwise_tensor::{Shape, Tensor};

/// Consecutive parts of x along `axis`, one output each.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    /// The axis, negative from the end.
    pub axis: i64,
    /// Extents of the parts; they add up to the axis.
    pub parts: SplitParts,
}

/// How a [`Split`] divides its axis.
#[derive(Clone, Debug, PartialEq)]
pub enum SplitParts {
    /// These extents.
    Sizes(Vec<usize>),
    /// This many parts of `ceil(axis / n)`, the last one smaller.
    Equal(usize),
}

/// Most parts that [`SplitParts::Equal`] makes: a bound on what a hostile file can ask for.
const MAX_PARTS: usize = 1 << 16;

impl Split {
    /// The axis, and the extents of the parts of `x` along it.
    ///
    /// # Errors
    /// [`LayerError::Invalid`] where the parts do not add up to the axis.
    pub fn resolve(&self, x: &Shape) -> Result<(usize, Vec<usize>), LayerError> {
        let kind = self.kind();
        let axis = axis(kind, x, self.axis)?;
        let extent = x[axis];
        let sizes = match &self.parts {
            SplitParts::Sizes(sizes) => {
                let sum = sizes.iter().fold(0, |a: usize, &b| a.saturating_add(b));
                if sum != extent {
                    return Err(invalid!(kind, "parts {sizes:?} add up to {sum}, not {extent}"));
                }
                sizes.clone()
            }
            &SplitParts::Equal(n) => {
                let part = extent.checked_div(n).map(|_| extent.div_ceil(n));
                let last = part
                    .filter(|_| n <= MAX_PARTS)
                    .and_then(|part| extent.checked_sub(part.checked_mul(n - 1)?));
                let (Some(part), Some(last)) = (part, last) else {
                    return Err(invalid!(kind, "extent {extent} cannot be cut into {n} parts"));
                };
                let mut sizes = vec![part; n - 1];
                sizes.push(last);
                sizes
            }
        };
        Ok((axis, sizes))
    }
}

impl Layer for Split {
    fn kind(&self) -> &'static str {
        "Split"
    }

    fn infer(&self, inputs: &[Option<Arg<'_>>]) -> Result<Vec<TensorType>, LayerError> {
        let inputs = Inputs::new(self.kind(), inputs, "1", &[0], 1)?;
        let x = inputs.any(0)?.ty;
        let (axis, sizes) = self.resolve(&x.shape)?;
        let part = |&size: &usize| {
            let mut dims = x.shape.to_vec();
            dims[axis] = size;
            Ok(TensorType::new(x.dtype, &dims)?)
        };
        sizes.iter().map(part).collect()
    }

    fn reference(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, LayerError> {
        let operands = Operands::new(self, inputs)?;
        let x = operands.get(0);
        let (axis, _) = self.resolve(x.shape())?;
        let mut first = 0;
        let mut parts = Vec::new();
        for ty in &operands.outputs {
            parts.push(rearrange(x, ty.shape, &[], |index| {
                let mut source = index.to_vec();
                source[axis] += first;
                Some(position(x.shape(), &source))
            })?);
            first += ty.shape[axis];
        }
        Ok(parts)
    }
}
