//! Lets a window read past the border instead of a padded copy.

use super::{Pass, Rewriter};
use depthwise_layers::ir::{NodeId, ValueId};
use depthwise_layers::{Op, PadMode, Padding, PoolKind, Transpose};
use depthwise_tensor::Pad2d;

/// Moves a border of zeros around a picture into the padding of the convolution or average pool
/// that reads it, also across a Transpose.
///
/// A maximum pool is left alone, since its own padding never wins but a zero might; so is padding
/// by a `Same` rule, which depends on the size of the padded picture.
///
/// Measure: the number of windows that read a Pad.
pub(super) struct FoldPad;

impl Pass for FoldPad {
    fn name(&self) -> &'static str {
        "fold-pad"
    }

    fn run(&self, rw: &mut Rewriter<'_>) {
        for id in rw.live_nodes() {
            let Some(border) = border_before(rw, id) else { continue };
            let Some(op) = with_padding(&rw.node(id).op, border.pad) else { continue };
            if !rw.allow() {
                return;
            }
            let mut inputs = rw.node(id).inputs.clone();
            inputs[0] = Some(match border.perm {
                None => border.inner,
                Some(perm) => {
                    let name = rw.graph().value(border.inner).name.clone();
                    rw.add(&format!("{name}.transpose"), Transpose { perm }, &[border.inner])
                }
            });
            rw.replace_node(id, op, inputs);
        }
    }
}

/// A border of zeros around what a node reads.
struct Border {
    inner: ValueId,
    pad: Pad2d,
    /// The transpose between border and node.
    perm: Option<Vec<usize>>,
}

fn border_before(rw: &Rewriter<'_>, id: NodeId) -> Option<Border> {
    with_padding(&rw.node(id).op, Pad2d::ZERO)?;
    let zero = zero_of(&rw.node(id).op);
    let x = rw.input(id, 0)?;
    let (before, node) = rw.producer(x)?;
    match &node.op {
        Op::Pad(_) => {
            let (inner, pads) = zero_border(rw, before, zero)?;
            Some(Border { inner, pad: spatial(pads)?, perm: None })
        }
        Op::Transpose(transpose) => {
            let padded = rw.input(before, 0)?;
            let (pad_node, pad) = rw.producer(padded)?;
            // A transposed copy of the unpadded picture must not come on top of the padded one.
            let windows = rw.readers(x).iter().all(|&reader| {
                let op = &rw.node(reader).op;
                rw.input(reader, 0) == Some(x) && with_padding(op, Pad2d::ZERO).is_some()
            });
            if !matches!(pad.op, Op::Pad(_)) || !windows || rw.is_output(x) {
                return None;
            }
            let (inner, pads) = zero_border(rw, pad_node, zero)?;
            let pads: Vec<_> = transpose
                .perm
                .iter()
                .map(|&axis| pads.get(axis).copied())
                .collect::<Option<_>>()?;
            Some(Border { inner, pad: spatial(pads)?, perm: Some(transpose.perm.clone()) })
        }
        _ => None,
    }
}

/// What stands for zero in what a window reads.
fn zero_of(op: &Op) -> i32 {
    match op {
        Op::QConv2d(conv) => conv.input_zero,
        Op::QDepthwiseConv2d(conv) => conv.input_zero,
        _ => 0,
    }
}

/// The input of a Pad, and how many zeros it adds before and after each of the four axes.
fn zero_border(rw: &Rewriter<'_>, id: NodeId, zero: i32) -> Option<(ValueId, Vec<(usize, usize)>)> {
    let Op::Pad(pad) = &rw.node(id).op else { return None };
    let zero = match rw.input(id, 2) {
        None => zero == 0,
        Some(value) => rw.constant(value)?.to_f64().iter().all(|&v| v == f64::from(zero)),
    };
    if pad.mode != PadMode::Constant || !zero {
        return None;
    }
    let amounts = rw.integers(rw.input(id, 1)?)?;
    let axes: Vec<i64> = match rw.input(id, 3) {
        None => (0..4).collect(),
        Some(axes) => rw.integers(axes)?,
    };
    if amounts.len() != 2 * axes.len() {
        return None;
    }
    let mut pads = vec![(0, 0); 4];
    for (position, axis) in axes.iter().enumerate() {
        let axis = usize::try_from(if *axis < 0 { axis + 4 } else { *axis }).ok()?;
        let before = usize::try_from(amounts[position]).ok()?;
        let after = usize::try_from(amounts[position + axes.len()]).ok()?;
        *pads.get_mut(axis)? = (before, after);
    }
    Some((rw.input(id, 0)?, pads))
}

/// Pads of an NHWC picture that leave batch and channels alone.
fn spatial(pads: Vec<(usize, usize)>) -> Option<Pad2d> {
    match pads[..] {
        [(0, 0), (top, bottom), (left, right), (0, 0)] => Some(Pad2d { top, left, bottom, right }),
        _ => None,
    }
}

/// A window with this much padding on top of its own, where that is the same as padding first.
fn with_padding(op: &Op, more: Pad2d) -> Option<Op> {
    let mut op = op.clone();
    match &mut op {
        Op::Conv2d(conv) => conv.padding = widened(conv.padding, more)?,
        Op::DepthwiseConv2d(conv) => conv.padding = widened(conv.padding, more)?,
        Op::QConv2d(q) => q.conv.padding = widened(q.conv.padding, more)?,
        Op::QDepthwiseConv2d(q) => q.conv.padding = widened(q.conv.padding, more)?,
        Op::Pool2d(pool) => {
            let PoolKind::Average { include_pad } = pool.kind else { return None };
            let padding = widened(pool.padding, more)?;
            // The zeros were cells of the picture and counted in the divisor; padding of the
            // pool's own must count likewise.
            let own = pool.padding.ne(&Padding::Valid) && pool.padding.ne(&Padding::all(0));
            if pool.ceil_mode || (own && !include_pad) {
                return None;
            }
            pool.padding = padding;
            pool.kind = PoolKind::Average { include_pad: true };
        }
        _ => return None,
    }
    Some(op)
}

fn widened(padding: Padding, more: Pad2d) -> Option<Padding> {
    let own = match padding {
        Padding::Explicit(pad) => pad,
        Padding::Valid => Pad2d::ZERO,
        Padding::Same | Padding::SameLower => return None,
    };
    Some(Padding::Explicit(Pad2d {
        top: own.top.checked_add(more.top)?,
        left: own.left.checked_add(more.left)?,
        bottom: own.bottom.checked_add(more.bottom)?,
        right: own.right.checked_add(more.right)?,
    }))
}
