//! Pools, interpolation, blocks of pixels.

use super::activation::plain;
use super::convolution::{SAME, VALID, Window, around, steps};
use super::kinds::*;
use super::moving::{border, copy, gather_along, padded, permuted, transpose};
use super::values::{Target, Writer, operand, optional};
use super::{Refused, refuse};
use crate::tflite::wire::{Field, Record};
use depthwise_layers::ir::Node;
use depthwise_layers::{
    Coordinates, DepthToSpace, NearestRounding, Padding, Pool2d, PoolKind, Resize, ResizeAxis,
    ResizeMode, SpaceToDepth, TensorType,
};
use depthwise_tensor::{Hw, Pad2d, PoolGeometry, Shape, Tensor};

fn block(block: Hw) -> Result<Record, Refused> {
    match block.h == block.w {
        true => Ok(Record::new().with(0, Field::I32(block.h as i32))),
        false => refuse(format!("blocks of {block} pixels, which are not square")),
    }
}

pub(super) fn depth_to_space(
    w: &mut Writer<'_>,
    node: &Node,
    op: &DepthToSpace,
) -> Result<(), Refused> {
    let (options, x) = (block(op.block)?, w.value(operand(node, 0)?)?);
    w.run(DEPTH_TO_SPACE, options, &[x], Target::Value(node.outputs[0]));
    Ok(())
}

pub(super) fn space_to_depth(
    w: &mut Writer<'_>,
    node: &Node,
    op: &SpaceToDepth,
) -> Result<(), Refused> {
    let (options, x) = (block(op.block)?, w.value(operand(node, 0)?)?);
    w.run(SPACE_TO_DEPTH, options, &[x], Target::Value(node.outputs[0]));
    Ok(())
}

/// The border that makes VALID windows of all windows: the padding, less what no window reaches,
/// and what the last windows reach past it.
fn full_border(g: &PoolGeometry) -> Pad2d {
    let after = |input: usize, before: usize, output: usize, kernel: usize, stride: usize| {
        ((output - 1) * stride + kernel).saturating_sub(before + input)
    };
    let (i, o) = (g.input, g.output);
    Pad2d {
        top: g.pad.top,
        left: g.pad.left,
        bottom: after(i.h, g.pad.top, o.h, g.kernel.h, g.stride.h),
        right: after(i.w, g.pad.left, o.w, g.kernel.w, g.stride.w),
    }
}

/// The format's rule for the windows of a pool that it has as one operator.
pub(super) fn plain_rule(shape: &Shape, op: &Pool2d) -> Option<u8> {
    let g = op.geometry(*shape).ok().filter(|_| op.dilation == Hw::ONE)?;
    let window =
        Window { input: g.input.hw(), kernel: op.kernel, stride: op.stride, dilation: op.dilation };
    let pad = full_border(&g);
    // The format's averages leave the padding out, so only VALID ones and those agree.
    let counts_pad = op.kind == PoolKind::Average { include_pad: true } && pad != Pad2d::ZERO;
    let rule = match op.padding {
        Padding::Same => Some(SAME),
        _ => window.rule(pad),
    };
    rule.filter(|_| !counts_pad)
}

pub(super) fn pool2d(w: &mut Writer<'_>, node: &Node, op: &Pool2d) -> Result<(), Refused> {
    let (id, y) = (operand(node, 0)?, node.outputs[0]);
    if op.dilation != Hw::ONE {
        return refuse("dilated pools have no form in TFLite");
    }
    let g = op.geometry(w.shape(id))?;
    let pad = full_border(&g);
    let x = w.value(id)?;
    let kind = if op.kind == PoolKind::Max { MAX_POOL_2D } else { AVERAGE_POOL_2D };
    let options = |rule: u8| {
        steps(rule, op.stride)
            .with(3, Field::I32(op.kernel.w as i32))
            .with(4, Field::I32(op.kernel.h as i32))
            .with(5, Field::U8(0))
    };
    if let Some(rule) = plain_rule(&w.shape(id), op) {
        w.run(kind, options(rule), &[x], Target::Value(y));
        return Ok(());
    }
    let pads = around(pad);
    let ty = padded(w.ty(id), &pads)?;
    let lowest = (op.kind == PoolKind::Max).then(|| w.scalar("lowest", f32::MIN));
    let x = border(w, x, &pads, lowest, Target::Part("padded", ty))?;
    let counts = counts(op, &g);
    let area = op.kernel.h * op.kernel.w;
    if op.kind == PoolKind::Max || counts.iter().all(|&count| count == area) {
        w.run(kind, options(VALID), &[x], Target::Value(y));
        return Ok(());
    }
    // The mean over the window, times its cells, over those that count.
    let mean = w.run(kind, options(VALID), &[x], Target::Part("mean", w.ty(y)));
    let factors = counts.iter().map(|&count| area as f32 / count.max(1) as f32).collect();
    let dims = [1, g.output.h, g.output.w, 1];
    let factors = w.constant("factors", &Tensor::from_vec(&dims, factors)?);
    w.run(MUL, plain(), &[mean, factors], Target::Value(y));
    Ok(())
}

/// The cells that count in the divisor of an average, by window.
fn counts(op: &Pool2d, g: &PoolGeometry) -> Vec<usize> {
    let include = op.kind == PoolKind::Average { include_pad: true };
    let along = |input: usize, pads: (usize, usize), kernel: usize, stride: usize, o: usize| {
        let (first, end) = match include {
            true => (0, pads.0 + input + pads.1),
            false => (pads.0, pads.0 + input),
        };
        let start = o * stride;
        (start + kernel).min(end).saturating_sub(start.max(first))
    };
    let (pad, kernel, stride) = (g.pad, g.kernel, g.stride);
    let mut counts = Vec::new();
    for oh in 0..g.output.h {
        let rows = along(g.input.h, (pad.top, pad.bottom), kernel.h, stride.h, oh);
        for ow in 0..g.output.w {
            counts.push(rows * along(g.input.w, (pad.left, pad.right), kernel.w, stride.w, ow));
        }
    }
    counts
}

/// The format's mappings of positions: how each reads here, and its flags "align corners" and
/// "half-pixel centres".
const MAPPINGS: [(Coordinates, NearestRounding, [u8; 2]); 3] = [
    (Coordinates::Asymmetric, NearestRounding::Floor, [0, 0]),
    (Coordinates::HalfPixel, NearestRounding::RoundPreferCeil, [0, 1]),
    (Coordinates::AlignCorners, NearestRounding::RoundPreferCeil, [1, 0]),
];

/// The format resizes rows and columns; where others change, axes are exchanged around it. A
/// mapping is the right one if it takes the same samples at every position.
pub(super) fn resize(w: &mut Writer<'_>, node: &Node, op: &Resize) -> Result<(), Refused> {
    let (id, y) = (operand(node, 0)?, node.outputs[0]);
    let sizes = optional(node, 1).map(|id| w.known_ints(id, "sizes")).transpose()?;
    let scales = match optional(node, 2) {
        None => None,
        Some(id) => match w.tensor(id) {
            Some(tensor) => Some(tensor.to_f32().into_owned()),
            None => return refuse("scales that are not known before the network runs"),
        },
    };
    let axes = op.resolve(&w.shape(id), sizes.as_deref(), scales.as_deref())?;
    let changed: Vec<usize> = (0..axes.len()).filter(|&at| !axes[at].is_identity()).collect();
    let x = w.value(id)?;
    if changed.is_empty() {
        return copy(w, y, x);
    }
    if !matches!(op.mode, ResizeMode::Nearest(_) | ResizeMode::Linear) {
        return refuse(format!("the interpolation {:?} has no form in TFLite", op.mode));
    }
    let mapping = MAPPINGS.into_iter().find(|mapping| same_samples(op, mapping, &axes, &changed));
    let perm = match (axes.len(), &changed[..]) {
        (4, [1] | [2] | [1, 2]) => Some([0, 1, 2, 3]),
        (4, [3] | [2, 3]) => Some([0, 2, 3, 1]),
        _ => None,
    };
    match mapping.zip(perm) {
        Some(((.., flags), perm)) => {
            let is_linear = op.mode == ResizeMode::Linear;
            interpolate(w, node, x, &axes, perm, flags, is_linear)
        }
        None if op.mode == ResizeMode::Linear => {
            refuse(format!("{:?} over axes {changed:?} has no form in TFLite", op.coordinates))
        }
        None => pick(w, node, x, op, &axes, &changed),
    }
}

fn same_samples(
    op: &Resize,
    (coordinates, rounding, _): &(Coordinates, NearestRounding, [u8; 2]),
    axes: &[ResizeAxis],
    changed: &[usize],
) -> bool {
    let mode = match op.mode {
        ResizeMode::Nearest(_) => ResizeMode::Nearest(*rounding),
        other => other,
    };
    let theirs = Resize { mode, coordinates: *coordinates };
    changed.iter().all(|&at| {
        let ours = axes[at];
        let own = ResizeAxis { scale: ours.output as f64 / ours.input as f64, ..ours };
        (0..ours.output).all(|o| {
            let (a, b) = (op.taps(&ours, o), theirs.taps(&own, o));
            // A sample without weight may be any; weights may differ by rounding.
            let weigh = |taps: &[(usize, f64)], at: usize| -> f64 {
                taps.iter().filter(|tap| tap.0 == at).map(|tap| tap.1).sum()
            };
            let all = a.iter().chain(&b).map(|tap| tap.0);
            all.into_iter().all(|at| (weigh(&a, at) - weigh(&b, at)).abs() < 1e-6)
        })
    })
}

/// Writes the interpolation of axes 1 and 2 of the picture with its axes in this order.
fn interpolate(
    w: &mut Writer<'_>,
    node: &Node,
    x: i32,
    axes: &[ResizeAxis],
    perm: [usize; 4],
    [align, half]: [u8; 2],
    is_linear: bool,
) -> Result<(), Refused> {
    let y = node.outputs[0];
    let straight = perm == [0, 1, 2, 3];
    let mut picture = x;
    if !straight {
        let turned = permuted(w.type_of(x), &perm)?;
        picture = transpose(w, x, &perm, Target::Part("turned", turned))?;
    }
    let size = [axes[perm[1]].output as i64, axes[perm[2]].output as i64];
    let inputs = [picture, w.list("size", &size)?];
    let (mut kind, first) =
        if is_linear { (RESIZE_BILINEAR, 2) } else { (RESIZE_NEAREST_NEIGHBOR, 0) };
    // Later versions brought half-pixel centres, and aligned corners of the nearest sample.
    if half == 1 || (align == 1 && !is_linear) {
        kind = kind.version(3);
    }
    let options = Record::new().with(first, Field::U8(align)).with(first + 1, Field::U8(half));
    if straight {
        w.run(kind, options, &inputs, Target::Value(y));
        return Ok(());
    }
    let turned = permuted(w.ty(y), &perm)?;
    let result = w.run(kind, options, &inputs, Target::Part("resized", turned));
    let mut back = [0; 4];
    perm.iter().enumerate().for_each(|(to, &from)| back[from] = to);
    transpose(w, result, &back, Target::Value(y))?;
    Ok(())
}

/// Nearest samples by their numbers, axis by axis.
fn pick(
    w: &mut Writer<'_>,
    node: &Node,
    x: i32,
    op: &Resize,
    axes: &[ResizeAxis],
    changed: &[usize],
) -> Result<(), Refused> {
    let y = node.outputs[0];
    let mut value = x;
    for (step, &at) in changed.iter().enumerate() {
        let samples: Vec<i64> =
            (0..axes[at].output).map(|o| op.taps(&axes[at], o)[0].0 as i64).collect();
        let samples = w.list("samples", &samples)?;
        let before = w.type_of(value);
        let mut dims = before.shape.to_vec();
        dims[at] = axes[at].output;
        let ty = TensorType::new(before.dtype, &dims)?;
        let last = step + 1 == changed.len();
        let target = if last { Target::Value(y) } else { Target::Part("picked", ty) };
        value = gather_along(w, value, samples, at, target);
    }
    Ok(())
}
