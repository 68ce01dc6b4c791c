//! Elements and slices at places that indices name, and the best elements along an axis.

use super::operand;
use crate::error::LowerError;
use crate::plan::{Arg, Builder, Operand};
use depthwise_kernels::grid_sample::{Border, GridRule, GridSampleF32, Interpolation};
use depthwise_kernels::indexed::{Combine, GatherPlaces, Places, ScatterPlaces};
use depthwise_kernels::layout::{CastOp, View};
use depthwise_kernels::reduce::TopF32;
use depthwise_layers::ir::{Node, ValueId};
use depthwise_layers::{
    GatherElements, GatherNd, GridSample, Outside, SampleMode, ScatterElements, ScatterFn,
    ScatterNd, TopK,
};
use depthwise_tensor::{DType, Shape, Tensor};

/// Indices as the kernels read them, `i64`.
pub(super) fn indices(b: &mut Builder<'_>, id: ValueId) -> Result<Arg, LowerError> {
    if let Some(tensor) = b.constant(id) {
        let wide = Tensor::from_slice(tensor.shape(), &tensor.to_i64())?;
        let view = View::dense(*wide.shape());
        return Ok(Arg { operand: Operand::Const(wide.bytes().clone()), view });
    }
    let (ty, narrow) = (b.ty(id), b.arg(id)?);
    match ty.dtype {
        DType::I64 => Ok(narrow),
        DType::I32 => {
            let wide = b.temporary_words(ty.shape);
            let op = CastOp::new(DType::I32, DType::I64, narrow.view, wide.1, b.threads())?;
            b.push(op, &[&narrow], &[wide]);
            Ok(Arg { operand: Operand::Buf(wide.0), view: wide.1 })
        }
        dtype => Err(LowerError::Unsupported(format!("indices of {dtype}"))),
    }
}

fn gather(b: &mut Builder<'_>, node: &Node, places: Places) -> Result<(), LowerError> {
    let indices = indices(b, operand(node, 1)?)?;
    let x = operand(node, 0)?;
    let size = b.ty(x).dtype.size_bytes();
    let x = b.arg(x)?;
    let out = b.output(node.outputs[0]);
    let op = GatherPlaces::new(size, places, x.view, indices.view, out.1, b.threads())?;
    b.push(op, &[&x, &indices], &[out]);
    Ok(())
}

pub(super) fn gather_elements(
    b: &mut Builder<'_>,
    node: &Node,
    layer: &GatherElements,
) -> Result<(), LowerError> {
    let axis = axis(&b.shape(operand(node, 0)?), layer.axis)?;
    gather(b, node, Places::Elements { axis })
}

pub(super) fn gather_nd(
    b: &mut Builder<'_>,
    node: &Node,
    layer: &GatherNd,
) -> Result<(), LowerError> {
    gather(b, node, Places::Slices { batch_dims: layer.batch_dims })
}

fn scatter(
    b: &mut Builder<'_>,
    node: &Node,
    places: Places,
    function: ScatterFn,
) -> Result<(), LowerError> {
    let combine = match function {
        ScatterFn::Replace => Combine::Replace,
        ScatterFn::Add => Combine::Add,
        ScatterFn::Mul => Combine::Mul,
        ScatterFn::Max => Combine::Max,
        ScatterFn::Min => Combine::Min,
        other => return Err(LowerError::Unsupported(format!("{other:?}"))),
    };
    let indices = indices(b, operand(node, 1)?)?;
    let (x, updates) = (operand(node, 0)?, operand(node, 2)?);
    let dtype = b.ty(x).dtype;
    if combine != Combine::Replace && dtype != DType::F32 {
        return Err(LowerError::Unsupported(format!("{combine:?} of {dtype}")));
    }
    let (x, updates) = (b.arg(x)?, b.arg(updates)?);
    let out = b.output(node.outputs[0]);
    let views = [x.view, indices.view, updates.view];
    let op = ScatterPlaces::new(dtype.size_bytes(), places, combine, views, out.1)?;
    b.push(op, &[&x, &indices, &updates], &[out]);
    Ok(())
}

pub(super) fn scatter_elements(
    b: &mut Builder<'_>,
    node: &Node,
    layer: &ScatterElements,
) -> Result<(), LowerError> {
    let axis = axis(&b.shape(operand(node, 0)?), layer.axis)?;
    scatter(b, node, Places::Elements { axis }, layer.function)
}

pub(super) fn scatter_nd(
    b: &mut Builder<'_>,
    node: &Node,
    layer: &ScatterNd,
) -> Result<(), LowerError> {
    scatter(b, node, Places::Slices { batch_dims: 0 }, layer.function)
}

pub(super) fn top_k(b: &mut Builder<'_>, node: &Node, layer: &TopK) -> Result<(), LowerError> {
    let x = operand(node, 0)?;
    let axis = axis(&b.shape(x), layer.axis)?;
    b.need_f32(x)?;
    let x = b.arg(x)?;
    let values = b.output(node.outputs[0]);
    let positions = b.output(node.outputs[1]);
    let op = TopF32::new(layer.largest, x.view, axis, values.1, positions.1, b.threads())?;
    b.push(op, &[&x], &[values, positions]);
    Ok(())
}

pub(super) fn grid_sample(
    b: &mut Builder<'_>,
    node: &Node,
    layer: &GridSample,
) -> Result<(), LowerError> {
    let rule = GridRule {
        interpolation: match layer.mode {
            SampleMode::Nearest => Interpolation::Nearest,
            SampleMode::Linear => Interpolation::Linear,
            SampleMode::Cubic => Interpolation::Cubic,
            other => return Err(LowerError::Unsupported(format!("{other:?}"))),
        },
        border: match layer.outside {
            Outside::Zeros => Border::Zeros,
            Outside::Border => Border::Nearest,
            Outside::Reflection => Border::Mirror,
            other => return Err(LowerError::Unsupported(format!("{other:?}"))),
        },
        align_corners: layer.align_corners,
    };
    let (x, grid) = (operand(node, 0)?, operand(node, 1)?);
    b.need_f32(x)?;
    b.need_f32(grid)?;
    let (x, grid) = (b.arg(x)?, b.arg(grid)?);
    let out = b.output(node.outputs[0]);
    let op = GridSampleF32::new(rule, x.view, grid.view, out.1, b.threads())?;
    b.push(op, &[&x, &grid], &[out]);
    Ok(())
}

fn axis(shape: &Shape, axis: i64) -> Result<usize, LowerError> {
    shape.axis(axis).ok_or_else(|| LowerError::Unsupported(format!("axis {axis} of {shape}")))
}
