//! Blocks of pixels moved to batches, and to channels.

use super::context::{Context, Fail, unsupported};
use super::fold::Fold;
use super::{Row, row};
use depthwise_layers::ir::ValueId;
use depthwise_layers::{DepthToSpace, Pad, PadMode, Slice, SpaceToDepth};
use depthwise_tensor::Hw;

pub(super) const ROWS: &[Row] = &[
    row(5, "DEPTH_TO_SPACE", depth_to_space),
    row(26, "SPACE_TO_DEPTH", space_to_depth),
    row(37, "BATCH_TO_SPACE_ND", batch_to_space),
    row(38, "SPACE_TO_BATCH_ND", space_to_batch),
];

/// The extents of a picture whose every extent is fixed.
fn extents(c: &Context<'_, '_>, x: ValueId) -> Result<[i64; 4], Fail> {
    let shape = c.ty(x).shape;
    match *shape.dims() {
        _ if c.has_free() => unsupported("blocks of pictures of free extents"),
        [n, h, w, ch] => Ok([n, h, w, ch].map(|d| d as i64)),
        _ => unsupported(format!("blocks of {shape}, which is no picture")),
    }
}

fn block(c: &Context<'_, '_>) -> Result<Hw, Fail> {
    Ok(Hw::square(c.positive(0, 0, "the block")?))
}

fn depth_to_space(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let (x, block) = (c.input(0)?, block(c)?);
    Ok(vec![c.add("", DepthToSpace { block }, &[x])?])
}

fn space_to_depth(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let (x, block) = (c.input(0)?, block(c)?);
    Ok(vec![c.add("", SpaceToDepth { block }, &[x])?])
}

/// Block, and pads or crops: height first.
fn block_operands(c: &mut Context<'_, '_>) -> Result<([i64; 2], [i64; 4]), Fail> {
    let (block, border) = (c.ints(1, "block")?, c.ints(2, "border")?);
    match (&block[..], &border[..]) {
        (&[h, w], &[top, bottom, left, right])
            if h > 0 && w > 0 && border.iter().all(|&n| n >= 0) =>
        {
            Ok(([h, w], [top, bottom, left, right]))
        }
        _ => unsupported(format!("the block {block:?} with the border {border:?}")),
    }
}

fn space_to_batch(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let x = c.input(0)?;
    if c.fold == Some(Fold::PassThrough) {
        return Ok(vec![x]);
    }
    let ([bh, bw], [top, bottom, left, right]) = block_operands(c)?;
    let pads = c.list("pads", &[0, top, left, 0, 0, bottom, right, 0]);
    let padded = c.add("padded", Pad { mode: PadMode::Constant }, &[x, pads])?;
    let [n, h, w, ch] = extents(c, padded)?;
    if h % bh != 0 || w % bw != 0 {
        return unsupported(format!("blocks of {bh} by {bw} of {h} rows and {w} columns"));
    }
    let parts = c.reshape("parts", padded, &[n, h / bh, bh, w / bw, bw, ch])?;
    let moved = c.transpose("moved", parts, &[2, 4, 0, 1, 3, 5])?;
    let batches = n.saturating_mul(bh).saturating_mul(bw);
    Ok(vec![c.reshape("", moved, &[batches, h / bh, w / bw, ch])?])
}

fn batch_to_space(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let x = c.input(0)?;
    if c.fold == Some(Fold::PassThrough) {
        return Ok(vec![x]);
    }
    let ([bh, bw], [top, bottom, left, right]) = block_operands(c)?;
    let [n, h, w, ch] = extents(c, x)?;
    if n.checked_rem(bh.saturating_mul(bw)) != Some(0) {
        return unsupported(format!("blocks of {bh} by {bw} out of {n} pictures"));
    }
    let batches = n / (bh * bw);
    let (rows, cols) = (h.saturating_mul(bh), w.saturating_mul(bw));
    let parts = c.reshape("parts", x, &[bh, bw, batches, h, w, ch])?;
    let moved = c.transpose("moved", parts, &[2, 3, 0, 4, 1, 5])?;
    let whole = c.reshape("whole", moved, &[batches, rows, cols, ch])?;
    let starts = c.list("starts", &[top, left]);
    let ends = c.list("ends", &[rows.saturating_sub(bottom), cols.saturating_sub(right)]);
    let axes = c.list("axes", &[1, 2]);
    Ok(vec![c.add("", Slice, &[whole, starts, ends, axes])?])
}
