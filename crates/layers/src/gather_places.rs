//! Elements and slices chosen one by one.

use crate::check::{Inputs, axis, invalid};
use crate::reference::{Operands, position, rearrange};
use crate::{Arg, Layer, LayerError, TensorType};
use depthwise_tensor::{DType, Shape, Tensor};

/// `y[i, j, ..] = x[i, indices[i, j, ..], ..]`, the index standing at `axis`. Inputs: x; indices
/// (`i64` or `i32`, negative from the end) of the rank of x, no larger than x but along `axis`.
#[derive(Clone, Debug, PartialEq)]
pub struct GatherElements {
    /// The axis, negative from the end.
    pub axis: i64,
}

/// `y[i.., j..] = x[b.., indices[i.., :].., j..]`: slices of x, each by the coordinates of its
/// corner. Inputs: x; indices (`i64` or `i32`, negative from the end), whose last dimension has the
/// coordinates.
#[derive(Clone, Debug, PartialEq)]
pub struct GatherNd {
    /// Leading dimensions that x and indices share; coordinates are those of the axes after them.
    pub batch_dims: usize,
}

/// Whether a type counts positions.
pub(crate) fn is_index(dtype: DType) -> bool {
    matches!(dtype, DType::I64 | DType::I32)
}

/// The position that `index` names among `extent`.
pub(crate) fn wrapped(kind: &'static str, index: i64, extent: usize) -> Result<usize, LayerError> {
    let at = if index < 0 { index.checked_add(extent as i64) } else { Some(index) };
    at.and_then(|at| usize::try_from(at).ok())
        .filter(|&at| at < extent)
        .ok_or_else(|| invalid!(kind, "index {index} is out of range for {extent}"))
}

/// The axis, where indices of this shape choose elements of `x` along it.
pub(crate) fn elements_axis(
    kind: &'static str,
    x: &Shape,
    at: i64,
    indices: &Shape,
) -> Result<usize, LayerError> {
    let axis = axis(kind, x, at)?;
    let inside = |(i, (&chosen, &extent)): (usize, (&usize, &usize))| i == axis || chosen <= extent;
    if x.rank() != indices.rank() || !indices.iter().zip(x.iter()).enumerate().all(inside) {
        return Err(invalid!(kind, "indices of {indices} along axis {axis} of {x}"));
    }
    if x[axis] == 0 && indices.elements() > 0 {
        return Err(invalid!(kind, "axis {axis} of {x} has no elements"));
    }
    Ok(axis)
}

/// Extents of the slices that indices of this shape choose from `x`, the extents of the indices
/// before the coordinates first.
pub(crate) fn slices(
    kind: &'static str,
    x: &Shape,
    batch_dims: usize,
    indices: &Shape,
) -> Result<Vec<usize>, LayerError> {
    let fits = indices.split_last().and_then(|(&depth, lead)| {
        let first = batch_dims.checked_add(depth).filter(|&first| first <= x.rank())?;
        let shared = batch_dims <= lead.len() && x[..batch_dims] == lead[..batch_dims];
        (depth > 0 && shared).then(|| [lead, &x[first..]].concat())
    });
    fits.ok_or_else(|| {
        invalid!(kind, "slices of {x} by indices of {indices}, of which {batch_dims} are shared")
    })
}

/// Where the slice begins, in x, that the coordinates for a multi-index of the indices name.
pub(crate) fn corner(
    kind: &'static str,
    x: &Shape,
    batch: &[usize],
    coordinates: &[i64],
) -> Result<usize, LayerError> {
    let mut at = batch.to_vec();
    for (&index, &extent) in coordinates.iter().zip(&x[batch.len()..]) {
        at.push(wrapped(kind, index, extent)?);
    }
    at.resize(x.rank(), 0);
    Ok(position(x, &at))
}

impl Layer for GatherElements {
    fn kind(&self) -> &'static str {
        "GatherElements"
    }

    fn infer(&self, inputs: &[Option<Arg<'_>>]) -> Result<Vec<TensorType>, LayerError> {
        let inputs = Inputs::new(self.kind(), inputs, "2", &[0, 1], 2)?;
        let x = inputs.any(0)?.ty;
        let indices = inputs.typed(1, "i64 or i32", is_index)?;
        let axis = elements_axis(self.kind(), &x.shape, self.axis, &indices.ty.shape)?;
        if let Some(value) = indices.value {
            for &index in value.to_i64().iter() {
                wrapped(self.kind(), index, x.shape[axis])?;
            }
        }
        Ok(vec![TensorType { dtype: x.dtype, shape: indices.ty.shape }])
    }

    fn reference(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, LayerError> {
        let operands = Operands::new(self, inputs)?;
        let (x, indices) = (operands.get(0), operands.get(1));
        let chosen = indices.to_i64();
        let axis = axis(self.kind(), x.shape(), self.axis)?;
        let y = rearrange(x, operands.output().shape, &[], |index| {
            let mut source = index.to_vec();
            let chosen = chosen[position(indices.shape(), index)];
            source[axis] = wrapped(self.kind(), chosen, x.shape()[axis]).ok()?;
            Some(position(x.shape(), &source))
        })?;
        Ok(vec![y])
    }
}

impl Layer for GatherNd {
    fn kind(&self) -> &'static str {
        "GatherNd"
    }

    fn infer(&self, inputs: &[Option<Arg<'_>>]) -> Result<Vec<TensorType>, LayerError> {
        let inputs = Inputs::new(self.kind(), inputs, "2", &[0, 1], 2)?;
        let x = inputs.any(0)?.ty;
        let indices = inputs.typed(1, "i64 or i32", is_index)?;
        let dims = slices(self.kind(), &x.shape, self.batch_dims, &indices.ty.shape)?;
        if let Some(value) = indices.value {
            let depth = indices.ty.shape[indices.ty.shape.rank() - 1];
            for (i, &index) in value.to_i64().iter().enumerate() {
                wrapped(self.kind(), index, x.shape[self.batch_dims + i % depth])?;
            }
        }
        Ok(vec![TensorType::new(x.dtype, &dims)?])
    }

    fn reference(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, LayerError> {
        let operands = Operands::new(self, inputs)?;
        let (x, indices) = (operands.get(0), operands.get(1));
        let chosen = indices.to_i64();
        let lead = indices.shape().rank() - 1;
        let depth = indices.shape()[lead];
        let first = self.batch_dims + depth;
        let y = rearrange(x, operands.output().shape, &[], |index| {
            let unit = index[..lead].iter().zip(indices.shape().iter());
            let unit = unit.fold(0, |at, (&i, &extent)| at * extent + i);
            let coordinates = &chosen[unit * depth..][..depth];
            let batch = &index[..self.batch_dims];
            let start = corner(self.kind(), x.shape(), batch, coordinates).ok()?;
            let inner = x.shape()[first..].iter().zip(&index[lead..]);
            Some(start + inner.fold(0, |at, (&extent, &i)| at * extent + i))
        })?;
        Ok(vec![y])
    }
}
