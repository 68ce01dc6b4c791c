//! Layers that only move elements.

use super::{Gradients, Rule};
use crate::builder::Builder;
use depthwise_layers::ir::ValueId;
use depthwise_layers::{
    Cast, Concat, DepthToSpace, Gather, GatherGrad, Pad, PadMode, ReduceFn, Slice, SliceAxis,
    SpaceToDepth, Split,
};
use depthwise_tensor::{Shape, Tensor};

impl Rule<'_> {
    pub(super) fn reshape(&self, b: &mut Builder) -> Gradients {
        let shape = b.shape(self.x(0));
        Ok(vec![Some(b.reshape(self.dy(), shape.dims())?)])
    }

    pub(super) fn transpose(&self, b: &mut Builder, perm: &[usize]) -> Gradients {
        let mut inverse = vec![0; perm.len()];
        perm.iter().enumerate().for_each(|(to, &from)| inverse[from] = to);
        Ok(vec![Some(b.transpose(self.dy(), &inverse)?)])
    }

    pub(super) fn cast(&self, b: &mut Builder) -> Gradients {
        let (from, to) = (b.ty(self.x(0)).dtype, b.ty(self.y()).dtype);
        if !from.is_float() || !to.is_float() {
            return Ok(vec![]);
        }
        Ok(vec![Some(b.emit(Cast { to: from }, &[self.dy()])?)])
    }

    pub(super) fn expand(&self, b: &mut Builder) -> Gradients {
        let shape = b.shape(self.x(0));
        Ok(vec![Some(b.sum_to(self.dy(), &shape)?)])
    }

    pub(super) fn tile(&self, b: &mut Builder) -> Gradients {
        let x = b.shape(self.x(0));
        let mut dx = self.dy();
        for axis in 0..x.rank() {
            let now = b.shape(dx);
            if now[axis] == x[axis] {
                continue;
            }
            let outer: usize = now[..axis].iter().product();
            let inner: usize = now[axis + 1..].iter().product();
            let times = now[axis] / x[axis];
            dx = b.reshape(dx, &[outer, times, x[axis] * inner])?;
            dx = b.reduce(ReduceFn::Sum, dx, &[1])?;
            let dims = [&now[..axis], &[x[axis]], &now[axis + 1..]].concat();
            dx = b.reshape(dx, &dims)?;
        }
        Ok(vec![Some(dx)])
    }

    pub(super) fn concat(&self, b: &mut Builder, layer: &Concat) -> Gradients {
        let whole = b.shape(self.y());
        let Some(axis) = whole.axis(layer.axis) else {
            return Err(self.none(format!("axis {} is out of range", layer.axis)));
        };
        let mut start = 0;
        let mut gradients = Vec::new();
        for i in 0..self.node.inputs.len() {
            let extent = b.shape(self.x(i))[axis];
            gradients.push(match self.wants(i) {
                true => Some(b.part(self.dy(), axis, start, extent)?),
                false => None,
            });
            start += extent;
        }
        Ok(gradients)
    }

    pub(super) fn split(&self, b: &mut Builder, layer: &Split) -> Gradients {
        let mut parts = Vec::new();
        for (&output, dy) in self.node.outputs.iter().zip(self.dys) {
            parts.push(match dy {
                Some(dy) => *dy,
                None => {
                    let ty = b.ty(output);
                    b.constant("", Tensor::zeros(ty.dtype, ty.shape)?)
                }
            });
        }
        Ok(vec![Some(b.emit(Concat { axis: layer.axis }, &parts)?)])
    }

    pub(super) fn depth_to_space(&self, b: &mut Builder, layer: &DepthToSpace) -> Gradients {
        Ok(vec![Some(b.emit(SpaceToDepth { block: layer.block }, &[self.dy()])?)])
    }

    pub(super) fn space_to_depth(&self, b: &mut Builder, layer: &SpaceToDepth) -> Gradients {
        Ok(vec![Some(b.emit(DepthToSpace { block: layer.block }, &[self.dy()])?)])
    }

    pub(super) fn gather(&self, b: &mut Builder, layer: &Gather) -> Gradients {
        let shape = b.shape(self.x(0)).to_vec();
        let grad = GatherGrad { gather: layer.clone(), shape };
        Ok(vec![Some(b.emit(grad, &[self.dy(), self.x(1)])?)])
    }

    pub(super) fn slice(&self, b: &mut Builder, layer: &Slice) -> Gradients {
        let x = b.shape(self.x(0));
        let starts = self.integers(b, 1)?.unwrap_or_default();
        let ends = self.integers(b, 2)?.unwrap_or_default();
        let (axes, steps) = (self.integers(b, 3)?, self.integers(b, 4)?);
        let taken = layer
            .resolve(&x, &starts, &ends, axes.as_deref(), steps.as_deref())
            .map_err(|e| self.none(e.to_string()))?;
        let mut dx = self.dy();
        for (axis, taken) in taken.iter().enumerate().filter(|(_, taken)| taken.step != 1) {
            let indices: Vec<i64> = (0..taken.len).map(|i| taken.position(i) as i64).collect();
            dx = scatter(b, dx, axis, x[axis], &indices)?;
        }
        let border = |(taken, &extent): (&SliceAxis, &usize)| match taken.step {
            1 => (taken.start as i64, (extent - taken.start - taken.len) as i64),
            _ => (0, 0),
        };
        let borders: Vec<(i64, i64)> = taken.iter().zip(x.iter()).map(border).collect();
        Ok(vec![Some(with_border(b, dx, &borders)?)])
    }

    /// Of a constant border: what was added is cut off, what was cut off is added. Of the others:
    /// every cell goes back to the element that it shows.
    pub(super) fn pad(&self, b: &mut Builder, layer: &Pad) -> Gradients {
        let x = b.shape(self.x(0));
        let pads = self.integers(b, 1)?.unwrap_or_default();
        let axes = self.integers(b, 3)?;
        let borders =
            layer.resolve(&x, &pads, axes.as_deref()).map_err(|e| self.none(e.to_string()))?;
        let mut dx = self.dy();
        if layer.mode == PadMode::Constant {
            let back: Vec<(i64, i64)> = borders.iter().map(|&(a, z)| (-a, -z)).collect();
            return Ok(vec![Some(with_border(b, dx, &back)?)]);
        }
        for (axis, &border) in borders.iter().enumerate().filter(|(_, b)| **b != (0, 0)) {
            let cells = b.shape(dx)[axis];
            let source = |o| layer.source(x[axis], border, o).map(|at| at as i64);
            let indices: Option<Vec<i64>> = (0..cells).map(source).collect();
            let Some(indices) = indices else { return Err(self.none("a cell shows nothing")) };
            dx = scatter(b, dx, axis, x[axis], &indices)?;
        }
        Ok(vec![Some(dx)])
    }
}

/// Zeros before and after each axis; negative numbers cut off.
fn with_border(
    b: &mut Builder,
    x: ValueId,
    borders: &[(i64, i64)],
) -> Result<ValueId, crate::TrainError> {
    if borders.iter().all(|&border| border == (0, 0)) {
        return Ok(x);
    }
    let pads: Vec<i64> = borders.iter().map(|b| b.0).chain(borders.iter().map(|b| b.1)).collect();
    let pads = b.ints(&pads)?;
    b.emit(Pad { mode: PadMode::Constant }, &[x, pads])
}

/// Adds up the slices of an axis at these positions of an axis of `extent`.
fn scatter(
    b: &mut Builder,
    x: ValueId,
    axis: usize,
    extent: usize,
    indices: &[i64],
) -> Result<ValueId, crate::TrainError> {
    let mut dims = b.shape(x).to_vec();
    dims[axis] = extent;
    let shape = Shape::new(&dims).map_err(depthwise_tensor::TensorError::from)?.to_vec();
    let indices = b.ints(indices)?;
    b.emit(GatherGrad { gather: Gather { axis: axis as i64 }, shape }, &[x, indices])
}
