//! Elements moved, joined and cut; the same elements under other extents.

use super::kinds::*;
use super::values::{Target, Writer, operand, optional};
use super::{Refused, refuse};
use crate::tflite::wire::{Field, Record};
use depthwise_layers::ir::{Node, ValueId};
use depthwise_layers::{
    Concat, ConstantOfShape, Gather, Pad, PadMode, Slice, SliceAxis, Split, TensorType, Transpose,
};
use depthwise_tensor::{DType, Shape, Tensor};

/// Lets a value be what a tensor is: the tensor itself, or a copy for an output, which has a name of
/// its own.
pub(super) fn copy(w: &mut Writer<'_>, id: ValueId, x: i32) -> Result<(), Refused> {
    if w.graph.outputs().contains(&w.in_file(id)) {
        reshape(w, x, Target::Value(id))?;
    } else {
        w.alias(id, x);
    }
    Ok(())
}

/// Writes the elements of a tensor under the extents of the target.
pub(super) fn reshape(w: &mut Writer<'_>, x: i32, target: Target<'_>) -> Result<i32, Refused> {
    let shape = match target {
        Target::Value(id) => w.shape(id),
        Target::Part(_, ty) => ty.shape,
    };
    let dims: Vec<i64> = shape.iter().map(|&n| n as i64).collect();
    let list = w.list("extents", &dims)?;
    let options = dims.iter().map(|&n| n as i32).collect();
    let options = Record::new().with(0, Field::I32s(options));
    Ok(w.run(RESHAPE, options, &[x, list], target))
}

/// Writes a tensor with its axes in another order.
pub(super) fn transpose(
    w: &mut Writer<'_>,
    x: i32,
    perm: &[usize],
    target: Target<'_>,
) -> Result<i32, Refused> {
    let perm: Vec<i64> = perm.iter().map(|&axis| axis as i64).collect();
    let list = w.list("order", &perm)?;
    // More axes than five came later.
    let kind = if perm.len() > 5 { TRANSPOSE.version(4) } else { TRANSPOSE };
    Ok(w.run(kind, Record::new(), &[x, list], target))
}

pub(super) fn transpose_node(
    w: &mut Writer<'_>,
    node: &Node,
    op: &Transpose,
) -> Result<(), Refused> {
    let x = w.value(operand(node, 0)?)?;
    transpose(w, x, &op.perm, Target::Value(node.outputs[0]))?;
    Ok(())
}

/// The type of a tensor with its axes in another order.
pub(super) fn permuted(ty: TensorType, perm: &[usize]) -> Result<TensorType, Refused> {
    let dims: Vec<usize> = perm.iter().map(|&axis| ty.shape[axis]).collect();
    Ok(TensorType::new(ty.dtype, &dims)?)
}

/// An axis from the start.
pub(super) fn axis(shape: &Shape, axis: i64) -> Result<usize, Refused> {
    let found = shape.axis(axis);
    found.ok_or_else(|| Refused(format!("axis {axis} of {} dimensions", shape.rank())))
}

pub(super) fn concat(w: &mut Writer<'_>, node: &Node, op: &Concat) -> Result<(), Refused> {
    let ids = (0..node.inputs.len()).map(|at| operand(node, at)).collect::<Result<Vec<_>, _>>()?;
    let inputs = ids.iter().map(|&id| w.value(id)).collect::<Result<Vec<_>, _>>()?;
    let axis = axis(&w.shape(node.outputs[0]), op.axis)?;
    let options = Record::new().with(0, Field::I32(axis as i32)).with(1, Field::U8(0));
    w.run(CONCATENATION, options, &inputs, Target::Value(node.outputs[0]));
    Ok(())
}

pub(super) fn constant_of_shape(
    w: &mut Writer<'_>,
    node: &Node,
    op: &ConstantOfShape,
) -> Result<(), Refused> {
    let dims: Vec<i64> = w.shape(node.outputs[0]).iter().map(|&n| n as i64).collect();
    let inputs = [w.list("extents", &dims)?, w.constant("value", &op.value.reshape(&[])?)];
    w.run(FILL, Record::new(), &inputs, Target::Value(node.outputs[0]));
    Ok(())
}

pub(super) fn expand(w: &mut Writer<'_>, node: &Node) -> Result<(), Refused> {
    let dims: Vec<i64> = w.shape(node.outputs[0]).iter().map(|&n| n as i64).collect();
    let inputs = [w.value(operand(node, 0)?)?, w.list("extents", &dims)?];
    w.run(BROADCAST_TO.version(2), Record::new(), &inputs, Target::Value(node.outputs[0]));
    Ok(())
}

pub(super) fn tile(w: &mut Writer<'_>, node: &Node) -> Result<(), Refused> {
    let repeats = w.known_ints(operand(node, 1)?, "repeats")?;
    let inputs = [w.value(operand(node, 0)?)?, w.list("repeats", &repeats)?];
    w.run(TILE, Record::new(), &inputs, Target::Value(node.outputs[0]));
    Ok(())
}

pub(super) fn gather(w: &mut Writer<'_>, node: &Node, op: &Gather) -> Result<(), Refused> {
    let (x, indices) = (operand(node, 0)?, operand(node, 1)?);
    let shape = w.shape(x);
    let axis = axis(&shape, op.axis)?;
    let indices = match w.tensor(indices) {
        // The format does not count from the end.
        Some(tensor) => {
            let extent = shape[axis] as i64;
            let from_start = |&i: &i64| if i < 0 { i + extent } else { i };
            let list: Vec<i64> = tensor.to_i64().iter().map(from_start).collect();
            w.ints("indices", tensor.shape().dims(), &list)?
        }
        None => w.value(indices)?,
    };
    let x = w.value(x)?;
    gather_along(w, x, indices, axis, Target::Value(node.outputs[0]));
    Ok(())
}

/// Writes elements of a tensor chosen along an axis.
pub(super) fn gather_along(
    w: &mut Writer<'_>,
    x: i32,
    indices: i32,
    axis: usize,
    target: Target<'_>,
) -> i32 {
    let options = Record::new().with(0, Field::I32(axis as i32)).with(1, Field::I32(0));
    w.run(GATHER, options, &[x, indices], target)
}

/// Writes a border of zeros or of a value around a tensor; the type of the result is that of the
/// target.
pub(super) fn border(
    w: &mut Writer<'_>,
    x: i32,
    pads: &[(i64, i64)],
    value: Option<i32>,
    target: Target<'_>,
) -> Result<i32, Refused> {
    let pairs: Vec<i64> = pads.iter().flat_map(|&(before, after)| [before, after]).collect();
    let pairs = w.ints("pads", &[pads.len(), 2], &pairs)?;
    Ok(match value {
        None => w.run(PAD, Record::new(), &[x, pairs], target),
        Some(value) => w.run(PADV2, Record::new(), &[x, pairs, value], target),
    })
}

/// The type of a tensor with borders.
pub(super) fn padded(ty: TensorType, pads: &[(i64, i64)]) -> Result<TensorType, Refused> {
    let dim = |(&n, &(before, after)): (&usize, &(i64, i64))| {
        usize::try_from(n as i64 + before + after)
            .map_err(|_| Refused(format!("crops of {before} and {after} of {n}")))
    };
    let dims = ty.shape.iter().zip(pads).map(dim).collect::<Result<Vec<_>, _>>()?;
    Ok(TensorType::new(ty.dtype, &dims)?)
}

/// Crops come first, as a SLICE.
pub(super) fn pad(w: &mut Writer<'_>, node: &Node, op: &Pad) -> Result<(), Refused> {
    let (id, y) = (operand(node, 0)?, node.outputs[0]);
    let pads = w.known_ints(operand(node, 1)?, "pads")?;
    let axes = optional(node, 3).map(|axes| w.known_ints(axes, "axes")).transpose()?;
    let shape = w.shape(id);
    let pads = op.resolve(&shape, &pads, axes.as_deref())?;
    let mut x = w.value(id)?;
    let crops: Vec<(i64, i64)> = pads.iter().map(|p| (p.0.min(0), p.1.min(0))).collect();
    let pads: Vec<(i64, i64)> = pads.iter().map(|p| (p.0.max(0), p.1.max(0))).collect();
    let adds = pads.iter().any(|&pad| pad != (0, 0));
    if crops.iter().any(|&crop| crop != (0, 0)) {
        let ty = padded(w.ty(id), &crops)?;
        let begins: Vec<i64> = crops.iter().map(|crop| -crop.0).collect();
        let sizes: Vec<i64> = ty.shape.iter().map(|&n| n as i64).collect();
        let target = if adds { Target::Part("cropped", ty) } else { Target::Value(y) };
        x = plain_slice(w, x, &begins, &sizes, target)?;
    } else if !adds {
        return copy(w, y, x);
    }
    if !adds {
        return Ok(());
    }
    let mirrored = |w: &mut Writer<'_>, mode: u8| {
        let pairs: Vec<i64> = pads.iter().flat_map(|&(before, after)| [before, after]).collect();
        let pairs = w.ints("pads", &[pads.len(), 2], &pairs)?;
        let options = Record::new().with(0, Field::U8(mode));
        w.run(MIRROR_PAD, options, &[x, pairs], Target::Value(y));
        Ok(())
    };
    match op.mode {
        PadMode::Constant => {
            // Integers are padded with what stands for zero.
            let value = optional(node, 2).filter(|_| !w.integer);
            let value = value.map(|value| w.value(value)).transpose()?;
            border(w, x, &pads, value, Target::Value(y))?;
            Ok(())
        }
        PadMode::Reflect => mirrored(w, 0),
        // The mirror that shows the edge itself, one row of it.
        PadMode::Edge if pads.iter().all(|pad| pad.0 <= 1 && pad.1 <= 1) => mirrored(w, 1),
        PadMode::Edge => refuse("an edge repeated more than once has no form in TFLite"),
        PadMode::Wrap => refuse("a border from the opposite end has no form in TFLite"),
    }
}

fn plain_slice(
    w: &mut Writer<'_>,
    x: i32,
    begins: &[i64],
    sizes: &[i64],
    target: Target<'_>,
) -> Result<i32, Refused> {
    let inputs = [x, w.list("begins", begins)?, w.list("sizes", sizes)?];
    Ok(w.run(SLICE, Record::new(), &inputs, target))
}

/// A window of a picture.
pub(super) fn crop(
    w: &mut Writer<'_>,
    x: i32,
    (top, left): (usize, usize),
    target: Target<'_>,
    shape: &Shape,
) -> Result<i32, Refused> {
    let sizes: Vec<i64> = shape.iter().map(|&n| n as i64).collect();
    plain_slice(w, x, &[0, top as i64, left as i64, 0], &sizes, target)
}

pub(super) fn slice(w: &mut Writer<'_>, node: &Node, op: &Slice) -> Result<(), Refused> {
    let (id, y) = (operand(node, 0)?, node.outputs[0]);
    let starts = w.known_ints(operand(node, 1)?, "starts")?;
    let ends = w.known_ints(operand(node, 2)?, "ends")?;
    let axes = optional(node, 3).map(|axes| w.known_ints(axes, "axes")).transpose()?;
    let steps = optional(node, 4).map(|steps| w.known_ints(steps, "steps")).transpose()?;
    let taken = op.resolve(&w.shape(id), &starts, &ends, axes.as_deref(), steps.as_deref())?;
    let x = w.value(id)?;
    let begins: Vec<i64> = taken.iter().map(|axis| axis.start as i64).collect();
    let lens: Vec<i64> = taken.iter().map(|axis| axis.len as i64).collect();
    if taken.iter().all(|axis| axis.step == 1) {
        plain_slice(w, x, &begins, &lens, Target::Value(y))?;
        return Ok(());
    }
    // Past the last element taken; going down past the first one there is none, so the mask says
    // "to the end".
    let end = |axis: &SliceAxis| axis.start as i64 + axis.step as i64 * axis.len as i64;
    let ends: Vec<i64> = taken.iter().map(|axis| end(axis).max(0)).collect();
    let masked = |(at, axis): (usize, &SliceAxis)| i32::from(end(axis) < 0) << at;
    let mask: i32 = taken.iter().enumerate().map(masked).sum();
    let steps: Vec<i64> = taken.iter().map(|axis| axis.step as i64).collect();
    let inputs = [x, w.list("begins", &begins)?, w.list("ends", &ends)?, w.list("steps", &steps)?];
    let options = Record::new().with(0, Field::I32(0)).with(1, Field::I32(mask));
    w.run(STRIDED_SLICE, options, &inputs, Target::Value(y));
    Ok(())
}

pub(super) fn split(w: &mut Writer<'_>, node: &Node, op: &Split) -> Result<(), Refused> {
    let id = operand(node, 0)?;
    let (axis, sizes) = op.resolve(&w.shape(id))?;
    let sizes: Vec<i64> = sizes.iter().map(|&size| size as i64).collect();
    let axis = w.constant("axis", &Tensor::scalar(axis as i32));
    let inputs = [w.value(id)?, w.list("sizes", &sizes)?, axis];
    let results: Vec<i32> = node.outputs.iter().map(|&id| w.result(Target::Value(id))).collect();
    let options = Record::new().with(0, Field::I32(sizes.len() as i32));
    w.push(SPLIT_V, options, &inputs, &results);
    Ok(())
}

/// A type of `f32`.
pub(super) fn f32s(dims: &[usize]) -> Result<TensorType, Refused> {
    Ok(TensorType::new(DType::F32, dims)?)
}
