//! The same elements under other extents.

use crate::check::{Inputs, distinct_axes, invalid};
use crate::reference::Operands;
use crate::{Arg, Layer, LayerError, TensorType};
use depthwise_tensor::{MAX_RANK, Shape, ShapeError, Tensor};

/// Inputs: x; shape, `i64`, where -1 (at most once) takes what is left.
#[derive(Clone, Debug, PartialEq)]
pub struct Reshape {
    /// A 0 in the shape means extent 0; else it copies the extent of x at that position.
    pub allow_zero: bool,
}

/// Two dimensions: the extents before `axis` multiplied, and those from it on.
#[derive(Clone, Debug, PartialEq)]
pub struct Flatten {
    /// The axis, negative from the end; may equal the rank.
    pub axis: i64,
}

/// Axes of extent 1 removed.
#[derive(Clone, Debug, PartialEq)]
pub struct Squeeze {
    /// The axes, negative from the end. Empty means every axis of extent 1.
    pub axes: Vec<i64>,
}

/// Axes of extent 1 inserted.
#[derive(Clone, Debug, PartialEq)]
pub struct Unsqueeze {
    /// Positions in the output, negative from the end.
    pub axes: Vec<i64>,
}

impl Reshape {
    /// The extents that `spec` means for `x`.
    ///
    /// # Errors
    /// [`LayerError::Invalid`] where the elements do not fit, or nothing can stand for a -1.
    pub fn resolve(&self, x: &Shape, spec: &[i64]) -> Result<Shape, LayerError> {
        let kind = self.kind();
        let copies = |axis: usize| spec.get(axis) == Some(&0) && !self.allow_zero;
        let mut dims = Vec::new();
        let mut free = None;
        for (axis, &extent) in spec.iter().enumerate() {
            dims.push(match usize::try_from(extent) {
                Ok(0) if copies(axis) => *x.get(axis).ok_or_else(|| {
                    invalid!(kind, "{spec:?} copies axis {axis}, but x has {} axes", x.rank())
                })?,
                Ok(extent) => extent,
                Err(_) if extent == -1 && free.is_none() => {
                    free = Some(axis);
                    1
                }
                Err(_) => return Err(invalid!(kind, "{extent} in {spec:?} is no extent")),
            });
        }
        let misfit = || invalid!(kind, "{} elements of {x} do not fit {spec:?}", x.elements());
        if let Some(free) = free {
            // Copied extents stand on both sides, so a batch of 0 leaves the rest determined.
            let have: usize = (0..x.rank()).filter(|&a| !copies(a)).map(|a| x[a]).product();
            let known = (0..spec.len()).filter(|&a| !copies(a)).map(|a| dims[a]);
            let known = known.fold(1, usize::saturating_mul);
            if known == 0 || !have.is_multiple_of(known) {
                return Err(misfit());
            }
            dims[free] = have / known;
        }
        let shape = Shape::new(&dims)?;
        if shape.elements() == x.elements() { Ok(shape) } else { Err(misfit()) }
    }
}

impl Layer for Reshape {
    fn kind(&self) -> &'static str {
        "Reshape"
    }

    fn infer(&self, inputs: &[Option<Arg<'_>>]) -> Result<Vec<TensorType>, LayerError> {
        let inputs = Inputs::new(self.kind(), inputs, "2", &[0, 1], 2)?;
        let x = inputs.any(0)?.ty;
        let shape = self.resolve(&x.shape, &inputs.ints(1)?)?;
        Ok(vec![TensorType { dtype: x.dtype, shape }])
    }

    fn reference(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, LayerError> {
        reshaped(self, inputs)
    }
}

impl Layer for Flatten {
    fn kind(&self) -> &'static str {
        "Flatten"
    }

    fn infer(&self, inputs: &[Option<Arg<'_>>]) -> Result<Vec<TensorType>, LayerError> {
        let inputs = Inputs::new(self.kind(), inputs, "1", &[0], 1)?;
        let x = inputs.any(0)?.ty;
        let rank = x.shape.rank() as i64;
        let axis = if self.axis < 0 { self.axis.saturating_add(rank) } else { self.axis };
        if !(0..=rank).contains(&axis) {
            let axis = self.axis;
            return Err(invalid!(self.kind(), "axis {axis} is out of range for {rank} dimensions"));
        }
        let (outer, inner) = x.shape.split_at(axis as usize);
        let dims = [outer.iter().product(), inner.iter().product()];
        Ok(vec![TensorType::new(x.dtype, &dims)?])
    }

    fn reference(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, LayerError> {
        reshaped(self, inputs)
    }
}

impl Layer for Squeeze {
    fn kind(&self) -> &'static str {
        "Squeeze"
    }

    fn infer(&self, inputs: &[Option<Arg<'_>>]) -> Result<Vec<TensorType>, LayerError> {
        let inputs = Inputs::new(self.kind(), inputs, "1", &[0], 1)?;
        let x = inputs.any(0)?.ty;
        let axes = distinct_axes(self.kind(), x.shape.rank(), &self.axes)?;
        if let Some(&axis) = axes.iter().find(|&&axis| x.shape[axis] != 1) {
            let extent = x.shape[axis];
            return Err(invalid!(self.kind(), "axis {axis} has extent {extent}, not 1"));
        }
        let gone = |axis: usize| {
            if axes.is_empty() { x.shape[axis] == 1 } else { axes.contains(&axis) }
        };
        let kept = (0..x.shape.rank()).filter(|&axis| !gone(axis));
        let dims: Vec<usize> = kept.map(|axis| x.shape[axis]).collect();
        Ok(vec![TensorType::new(x.dtype, &dims)?])
    }

    fn reference(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, LayerError> {
        reshaped(self, inputs)
    }
}

impl Layer for Unsqueeze {
    fn kind(&self) -> &'static str {
        "Unsqueeze"
    }

    fn infer(&self, inputs: &[Option<Arg<'_>>]) -> Result<Vec<TensorType>, LayerError> {
        let inputs = Inputs::new(self.kind(), inputs, "1", &[0], 1)?;
        let x = inputs.any(0)?.ty;
        let rank = x.shape.rank() + self.axes.len();
        if rank > MAX_RANK {
            return Err(ShapeError::Rank(rank).into());
        }
        let axes = distinct_axes(self.kind(), rank, &self.axes)?;
        let mut old = x.shape.iter();
        let extent = |axis| if axes.contains(&axis) { 1 } else { *old.next().unwrap_or(&1) };
        let dims: Vec<usize> = (0..rank).map(extent).collect();
        Ok(vec![TensorType::new(x.dtype, &dims)?])
    }

    fn reference(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, LayerError> {
        reshaped(self, inputs)
    }
}

/// Operand 0 under the extents that the layer infers.
fn reshaped(layer: &dyn Layer, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, LayerError> {
    let operands = Operands::new(layer, inputs)?;
    Ok(vec![operands.get(0).reshape(&operands.output().shape)?])
}
