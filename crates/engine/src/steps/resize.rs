//! Interpolation of pictures.

use super::{operand, optional};
use crate::error::LowerError;
use crate::plan::Builder;
use depthwise_kernels::resize::{AxisTaps, ResizeF32, ResizeSpec};
use depthwise_layers::ir::Node;
use depthwise_layers::{Resize, ResizeAxis};
use depthwise_tensor::Nhwc;

pub(super) fn resize(b: &mut Builder<'_>, node: &Node, layer: &Resize) -> Result<(), LowerError> {
    let x = operand(node, 0)?;
    let shape = b.shape(x);
    let sizes = optional(node, 1).map(|id| b.need_constant(id).map(|t| t.to_i64().into_owned()));
    let scales = optional(node, 2).map(|id| b.need_constant(id).map(|t| t.to_f32().into_owned()));
    let (sizes, scales) = (sizes.transpose()?, scales.transpose()?);
    let axes = layer.resolve(&shape, sizes.as_deref(), scales.as_deref())?;
    let (input, output) = match (shape.nhwc(), b.shape(node.outputs[0]).nhwc()) {
        (Some(input), Some(output)) => (input, output),
        _ => (as_picture(&axes, |a| a.input)?, as_picture(&axes, |a| a.output)?),
    };
    // A picture's axes are its last four; extents of 1 stand for what it lacks.
    let axis = |from_end: usize| axes.len().checked_sub(from_end).map(|i| axes[i]);
    for fixed in [axis(4), axis(1)].into_iter().flatten() {
        if !fixed.is_identity() {
            return Err(LowerError::Unsupported(format!(
                "resizing {shape} beyond height and width"
            )));
        }
    }
    let x = b.padded_arg(x)?;
    let (buf, view) = b.output(node.outputs[0]);
    let spec = ResizeSpec {
        input,
        output,
        ld_in: x.view.ld,
        ld_out: view.ld,
        rows: taps(layer, axis(3)),
        cols: taps(layer, axis(2)),
    };
    b.push(ResizeF32::new(b.cpu(), spec, b.threads())?, &[&x], &[(buf, view)]);
    Ok(())
}

/// A tensor of three axes is a picture without a batch; any other rank has no reading.
fn as_picture(axes: &[ResizeAxis], of: fn(&ResizeAxis) -> usize) -> Result<Nhwc, LowerError> {
    match axes {
        [h, w, c] => Ok(Nhwc { n: 1, h: of(h), w: of(w), c: of(c) }),
        _ => Err(LowerError::Unsupported(format!("resizing {} dimensions", axes.len()))),
    }
}

fn taps(layer: &Resize, axis: Option<ResizeAxis>) -> AxisTaps {
    let Some(axis) = axis else {
        return AxisTaps { taps: 1, index: vec![0], weight: vec![1.0] };
    };
    let all: Vec<Vec<(usize, f64)>> = (0..axis.output).map(|o| layer.taps(&axis, o)).collect();
    let taps = all.first().map_or(1, Vec::len);
    let flat = || all.iter().flatten();
    AxisTaps {
        taps,
        index: flat().map(|&(at, _)| at as u32).collect(),
        weight: flat().map(|&(_, weight)| weight as f32).collect(),
    }
}
