//! Interpolation.

use super::{operand, optional};
use crate::error::LowerError;
use crate::plan::{Arg, BufId, Builder, Operand};
use depthwise_kernels::layout::{CopyElements, Permute, View};
use depthwise_kernels::resize::{AxisTaps, ResizeF32, ResizeSpec};
use depthwise_layers::ir::Node;
use depthwise_layers::{LayerError, Resize, ResizeAxis};
use depthwise_tensor::{DType, Nhwc, Shape};

pub(super) fn resize(b: &mut Builder<'_>, node: &Node, layer: &Resize) -> Result<(), LowerError> {
    let (x, out) = (operand(node, 0)?, node.outputs[0]);
    let sizes = optional(node, 1).map(|id| b.need_constant(id).map(|t| t.to_i64().into_owned()));
    let scales = optional(node, 2).map(|id| b.need_constant(id).map(|t| t.to_f32().into_owned()));
    let (sizes, scales) = (sizes.transpose()?, scales.transpose()?);
    let axes = layer.resolve(&b.shape(x), sizes.as_deref(), scales.as_deref())?;
    let mut changed: Vec<usize> = (0..axes.len()).filter(|&i| !axes[i].is_identity()).collect();
    let last_row = axes.len().saturating_sub(3);
    if axes.len() == 4
        && matches!(b.ty(x).dtype, DType::I8 | DType::U8)
        && changed.iter().all(|axis| [1, 2].contains(axis))
    {
        return super::quantized::nearest(b, node, layer, &[axes[1], axes[2]]);
    }
    if axes.len() >= 3 && changed.iter().all(|i| (last_row..last_row + 2).contains(i)) {
        // The axes of a picture: no other order is needed.
        let x = b.padded_arg(x)?;
        let result = b.output(out);
        return picture(b, layer, &x, &[axes[last_row], axes[last_row + 1]], result);
    }
    b.need_f32(x)?;
    let mut x = b.arg(x)?;
    if changed.is_empty() {
        changed.push(0);
    }
    let passes: Vec<Vec<usize>> = changed.chunks(2).map(<[usize]>::to_vec).collect();
    for (i, pair) in passes.iter().enumerate() {
        let mut dims = x.view.shape.dims().to_vec();
        pair.iter().for_each(|&axis| dims[axis] = axes[axis].output);
        let result = if i + 1 == passes.len() {
            b.output(out)
        } else {
            b.temporary(Shape::new(&dims).map_err(LayerError::from)?)
        };
        let resized: Vec<ResizeAxis> = pair.iter().map(|&axis| axes[axis]).collect();
        x = through_a_picture(b, layer, &x, pair, &resized, result)?;
    }
    Ok(())
}

/// Resizes one or two axes anywhere: brings them before the last of the others, and back.
fn through_a_picture(
    b: &mut Builder<'_>,
    layer: &Resize,
    x: &Arg,
    pair: &[usize],
    axes: &[ResizeAxis],
    result: (BufId, View),
) -> Result<Arg, LowerError> {
    let rank = x.view.shape.rank();
    let mut order: Vec<usize> = (0..rank).filter(|axis| !pair.contains(axis)).collect();
    // Where no axis is left, a new one of extent 1 comes last.
    let channel = order.pop();
    order.extend(pair);
    order.extend(channel);
    let in_order = |shape: &Shape| {
        let mut dims: Vec<usize> = order.iter().map(|&axis| shape[axis]).collect();
        if channel.is_none() {
            dims.push(1);
        }
        Shape::new(&dims).map_err(LayerError::from)
    };
    let (threads, cpu) = (b.threads(), *b.cpu());
    let before = b.temporary(in_order(&x.view.shape)?);
    let after = b.temporary(in_order(&result.1.shape)?);
    match channel {
        Some(_) => {
            let op = Permute::new(&cpu, 4, x.view, &order, before.1, threads)?;
            b.push(op, &[x], &[before]);
        }
        None => b.push(CopyElements::new(4, x.view, before.1, threads)?, &[x], &[before]),
    }
    picture(b, layer, &Arg { operand: Operand::Buf(before.0), view: before.1 }, axes, after)?;
    let after = Arg { operand: Operand::Buf(after.0), view: after.1 };
    match channel {
        Some(_) => {
            let mut back = vec![0; rank];
            order.iter().enumerate().for_each(|(i, &axis)| back[axis] = i);
            let op = Permute::new(&cpu, 4, after.view, &back, result.1, threads)?;
            b.push(op, &[&after], &[result]);
        }
        None => {
            b.push(CopyElements::new(4, after.view, result.1, threads)?, &[&after], &[result]);
        }
    }
    Ok(Arg { operand: Operand::Buf(result.0), view: result.1 })
}

/// Resizes the axes (one or two) before the last; those before them are pictures.
fn picture(
    b: &mut Builder<'_>,
    layer: &Resize,
    x: &Arg,
    axes: &[ResizeAxis],
    result: (BufId, View),
) -> Result<(), LowerError> {
    let extents = |shape: &Shape| {
        let (c, rest) = shape.dims().split_last().expect("a picture has a last axis");
        let (pictures, sides) = rest.split_at(rest.len() - axes.len());
        Nhwc { n: pictures.iter().product(), h: sides[0], w: *sides.get(1).unwrap_or(&1), c: *c }
    };
    let spec = ResizeSpec {
        input: extents(&x.view.shape),
        output: extents(&result.1.shape),
        ld_in: x.view.ld,
        ld_out: result.1.ld,
        rows: taps(layer, axes.first()),
        cols: taps(layer, axes.get(1)),
    };
    b.push(ResizeF32::new(b.cpu(), spec, b.threads())?, &[x], &[result]);
    Ok(())
}

pub(super) fn taps(layer: &Resize, axis: Option<&ResizeAxis>) -> AxisTaps {
    let Some(axis) = axis else {
        return AxisTaps { taps: 1, index: vec![0], weight: vec![1.0] };
    };
    let all: Vec<Vec<(usize, f64)>> = (0..axis.output).map(|o| layer.taps(axis, o)).collect();
    let taps = all.first().map_or(1, Vec::len);
    let flat = || all.iter().flatten();
    AxisTaps {
        taps,
        index: flat().map(|&(at, _)| at as u32).collect(),
        weight: flat().map(|&(_, weight)| weight as f32).collect(),
    }
}
