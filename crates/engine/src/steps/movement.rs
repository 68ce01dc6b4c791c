//! Elements moved without arithmetic.

use super::{operand, optional};
use crate::error::LowerError;
use crate::plan::{Arg, BufId, Builder, Operand, reshaped};
use depthwise_kernels::layout::{
    BroadcastOp, CastOp, ConcatOp, CopyElements, DepthToSpaceOp, GatherOp, PadFill, PadOp, Permute,
    SliceOp, SpaceToDepthOp, TileOp, View,
};
use depthwise_layers::ir::{Node, ValueId};
use depthwise_layers::{
    Cast, Concat, DepthToSpace, Gather, Pad, PadMode, Slice, SpaceToDepth, Split, Transpose,
};
use depthwise_tensor::{DType, Shape};

/// Reshape and its kin: the same memory under another shape where the rows stay rows, else a copy.
pub(super) fn reshape(b: &mut Builder<'_>, node: &Node) -> Result<(), LowerError> {
    let (x, out) = (operand(node, 0)?, node.outputs[0]);
    let arg = b.arg(x)?;
    let ty = b.ty(out);
    if let Operand::Buf(buf) = arg.operand
        && let Some(view) = reshaped(&arg.view, &ty.shape)
    {
        b.alias(out, buf, view);
        return Ok(());
    }
    let size = ty.dtype.size_bytes();
    let (buf, view) = b.output(out);
    let op = CopyElements::new(size, arg.view, view, b.threads())?;
    b.push(op, &[&arg], &[(buf, view)]);
    Ok(())
}

pub(super) fn transpose(
    b: &mut Builder<'_>,
    node: &Node,
    layer: &Transpose,
) -> Result<(), LowerError> {
    let x = b.arg(operand(node, 0)?)?;
    let size = b.ty(node.outputs[0]).dtype.size_bytes();
    let out = b.output_for_readers(node.outputs[0]);
    let op = Permute::new(b.cpu(), size, x.view, &layer.perm, out.1, b.threads())?;
    b.push(op, &[&x], &[out]);
    Ok(())
}

pub(super) fn depth_to_space(
    b: &mut Builder<'_>,
    node: &Node,
    layer: &DepthToSpace,
) -> Result<(), LowerError> {
    let (x, size, out) = source(b, node)?;
    let op = DepthToSpaceOp::new(size, x.view, layer.block, out.1, b.threads())?;
    b.push(op, &[&x], &[out]);
    Ok(())
}

pub(super) fn space_to_depth(
    b: &mut Builder<'_>,
    node: &Node,
    layer: &SpaceToDepth,
) -> Result<(), LowerError> {
    let (x, size, out) = source(b, node)?;
    let op = SpaceToDepthOp::new(size, x.view, layer.block, out.1, b.threads())?;
    b.push(op, &[&x], &[out]);
    Ok(())
}

pub(super) fn cast(b: &mut Builder<'_>, node: &Node, layer: &Cast) -> Result<(), LowerError> {
    let from = b.ty(operand(node, 0)?).dtype;
    let (x, _, out) = source(b, node)?;
    b.push(CastOp::new(from, layer.to, x.view, out.1, b.threads())?, &[&x], &[out]);
    Ok(())
}

pub(super) fn concat(b: &mut Builder<'_>, node: &Node, layer: &Concat) -> Result<(), LowerError> {
    let ty = b.ty(node.outputs[0]);
    let axis = axis(&ty.shape, layer.axis)?;
    let parts = (0..node.inputs.len())
        .map(|i| b.arg(operand(node, i)?))
        .collect::<Result<Vec<Arg>, _>>()?;
    let out = b.output(node.outputs[0]);
    let views: Vec<View> = parts.iter().map(|p| p.view).collect();
    let op = ConcatOp::new(ty.dtype.size_bytes(), &views, axis, out.1, b.threads())?;
    b.push(op, &parts.iter().collect::<Vec<_>>(), &[out]);
    Ok(())
}

pub(super) fn split(b: &mut Builder<'_>, node: &Node, layer: &Split) -> Result<(), LowerError> {
    let x = operand(node, 0)?;
    let shape = b.shape(x);
    let (axis, sizes) = layer.resolve(&shape)?;
    let x = b.arg(x)?;
    let mut start = vec![0; shape.rank()];
    let step = vec![1; shape.rank()];
    for (&part, extent) in node.outputs.iter().zip(sizes) {
        let size = b.ty(part).dtype.size_bytes();
        let out = b.output(part);
        let op = SliceOp::new(size, x.view, &start, &step, out.1, b.threads())?;
        b.push(op, &[&x], &[out]);
        start[axis] += extent;
    }
    Ok(())
}

pub(super) fn slice(b: &mut Builder<'_>, node: &Node, layer: &Slice) -> Result<(), LowerError> {
    let shape = b.shape(operand(node, 0)?);
    let (starts, ends) = (integers(b, operand(node, 1)?)?, integers(b, operand(node, 2)?)?);
    let axes = optional(node, 3).map(|id| integers(b, id)).transpose()?;
    let steps = optional(node, 4).map(|id| integers(b, id)).transpose()?;
    let ranges = layer.resolve(&shape, &starts, &ends, axes.as_deref(), steps.as_deref())?;
    let start: Vec<usize> = ranges.iter().map(|r| r.start).collect();
    let step: Vec<i64> = ranges.iter().map(|r| r.step as i64).collect();
    let (x, size, out) = source(b, node)?;
    b.push(SliceOp::new(size, x.view, &start, &step, out.1, b.threads())?, &[&x], &[out]);
    Ok(())
}

pub(super) fn pad(b: &mut Builder<'_>, node: &Node, layer: &Pad) -> Result<(), LowerError> {
    let ty = b.ty(operand(node, 0)?);
    let pads = integers(b, operand(node, 1)?)?;
    let axes = optional(node, 3).map(|id| integers(b, id)).transpose()?;
    let amounts = layer.resolve(&ty.shape, &pads, axes.as_deref())?;
    let before: Vec<i64> = amounts.iter().map(|a| a.0).collect();
    let fill = match layer.mode {
        PadMode::Constant => PadFill::Constant(fill_value(b, optional(node, 2), ty.dtype)?),
        PadMode::Reflect => PadFill::Reflect,
        PadMode::Edge => PadFill::Edge,
        PadMode::Wrap => PadFill::Wrap,
    };
    let (x, size, out) = source(b, node)?;
    b.push(PadOp::new(size, x.view, &before, fill, out.1, b.threads())?, &[&x], &[out]);
    Ok(())
}

/// The elements of an operand that must be constant.
fn integers(b: &Builder<'_>, id: ValueId) -> Result<Vec<i64>, LowerError> {
    Ok(b.need_constant(id)?.to_i64().into_owned())
}

/// The bytes of the filling, zero where none is given.
fn fill_value(
    b: &Builder<'_>,
    value: Option<ValueId>,
    dtype: DType,
) -> Result<[u8; 8], LowerError> {
    let mut bytes = [0; 8];
    if let Some(id) = value {
        let value = b.need_constant(id)?;
        if value.dtype() != dtype || value.elements() != 1 {
            let got = format!("{} {}", value.dtype(), value.shape());
            return Err(LowerError::Unsupported(format!("a pad value of {got} for {dtype}")));
        }
        bytes[..value.bytes().len()].copy_from_slice(value.bytes());
    }
    Ok(bytes)
}

pub(super) fn gather(b: &mut Builder<'_>, node: &Node, layer: &Gather) -> Result<(), LowerError> {
    let axis = axis(&b.shape(operand(node, 0)?), layer.axis)?;
    let indices = super::indexed::indices(b, operand(node, 1)?)?;
    let (x, size, out) = source(b, node)?;
    let op = GatherOp::new(size, x.view, axis, indices.view, out.1, b.threads())?;
    b.push(op, &[&x, &indices], &[out]);
    Ok(())
}

pub(super) fn expand(b: &mut Builder<'_>, node: &Node) -> Result<(), LowerError> {
    let (x, size, out) = source(b, node)?;
    b.push(BroadcastOp::new(size, x.view, out.1, b.threads())?, &[&x], &[out]);
    Ok(())
}

pub(super) fn tile(b: &mut Builder<'_>, node: &Node) -> Result<(), LowerError> {
    let (x, size, out) = source(b, node)?;
    b.push(TileOp::new(size, x.view, out.1, b.threads())?, &[&x], &[out]);
    Ok(())
}

/// Operand 0, its element size, and a buffer for the one result.
fn source(b: &mut Builder<'_>, node: &Node) -> Result<(Arg, usize, (BufId, View)), LowerError> {
    let x = operand(node, 0)?;
    let size = b.ty(x).dtype.size_bytes();
    let x = b.arg(x)?;
    Ok((x, size, b.output(node.outputs[0])))
}

fn axis(shape: &Shape, axis: i64) -> Result<usize, LowerError> {
    shape.axis(axis).ok_or_else(|| LowerError::Unsupported(format!("axis {axis} of {shape}")))
}
