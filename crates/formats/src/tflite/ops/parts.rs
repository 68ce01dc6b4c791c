//! Parts of tensors, and tensors of parts.

use super::context::{Context, Fail, unsupported};
use super::{Row, row};
use depthwise_layers::ir::ValueId;
use depthwise_layers::{
    Concat, ConstantOfShape, Gather, GatherNd, Pad, PadMode, ScatterFn, ScatterNd, Slice, Split,
    SplitParts, Squeeze, TopK, Unsqueeze,
};
use depthwise_tensor::{DType, Shape, Tensor};

pub(super) const ROWS: &[Row] = &[
    row(2, "CONCATENATION", concatenation),
    row(34, "PAD", |c| pad(c, PadMode::Constant)),
    row(36, "GATHER", gather),
    row(48, "TOPK_V2", top_k),
    row(107, "GATHER_ND", gather_nd),
    row(122, "SCATTER_ND", scatter_nd),
    row(45, "STRIDED_SLICE", strided_slice),
    row(49, "SPLIT", split),
    row(60, "PADV2", |c| pad(c, PadMode::Constant)),
    row(65, "SLICE", slice),
    row(83, "PACK", pack),
    row(88, "UNPACK", unpack),
    row(100, "MIRROR_PAD", mirror_pad),
    row(102, "SPLIT_V", split_v),
];

fn concatenation(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let all = c.all_inputs()?;
    let (axis, activation) = (i64::from(c.i32(0, 0)?), c.activation(1)?);
    let y = c.add("", Concat { axis }, &all)?;
    Ok(vec![c.activate(y, activation)?])
}

/// The operand of pads, a pair per axis, as all begins and then all ends.
fn pads(c: &mut Context<'_, '_>) -> Result<Vec<i64>, Fail> {
    let pairs = c.ints(1, "pads")?;
    let part = |first: usize| pairs.iter().skip(first).step_by(2).copied();
    Ok(part(0).chain(part(1)).collect())
}

fn pad(c: &mut Context<'_, '_>, mode: PadMode) -> Result<Vec<ValueId>, Fail> {
    let x = c.input(0)?;
    let pads = pads(c)?;
    if pads.iter().any(|&pad| pad < 0) {
        return unsupported("negative pads");
    }
    let value = c.optional(2)?;
    let pads = c.list("pads", &pads);
    c.add_many("", Pad { mode }, &[Some(x), Some(pads), value])
}

fn mirror_pad(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    match c.i8(0)? {
        0 => pad(c, PadMode::Reflect),
        // With the edge itself in the mirror: for one row the same as the edge repeated.
        1 if pads(c)?.iter().all(|pad| (0..=1).contains(pad)) => pad(c, PadMode::Edge),
        1 => unsupported("symmetric pads of more than 1"),
        other => unsupported(format!("the mirror mode number {other}")),
    }
}

fn gather(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let (x, indices) = (c.input(0)?, c.input(1)?);
    if c.i32(1, 0)? != 0 {
        return unsupported("batches of indices");
    }
    let axis = c.i32(0, 0)?.into();
    let indices = c.as_dtype("indices", indices, DType::I64)?;
    Ok(vec![c.add("", Gather { axis }, &[x, indices])?])
}

fn gather_nd(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let (x, indices) = (c.input(0)?, c.input(1)?);
    let indices = c.as_dtype("indices", indices, DType::I64)?;
    Ok(vec![c.add("", GatherNd { batch_dims: 0 }, &[x, indices])?])
}

/// Updates in a tensor of zeros; those of one place are added up.
fn scatter_nd(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let (indices, updates, extents) = (c.input(0)?, c.input(1)?, c.ints(2, "extents")?);
    let indices = c.as_dtype("indices", indices, DType::I64)?;
    let dtype = c.ty(updates).dtype;
    let value = Shape::new(&[1]).ok().and_then(|shape| Tensor::zeros(dtype, shape).ok());
    let Some(value) = value else { return unsupported(format!("updates of {dtype}")) };
    let extents = c.list("extents", &extents);
    let zeros = c.add("zeros", ConstantOfShape { value }, &[extents])?;
    let op = ScatterNd { function: ScatterFn::Add };
    Ok(vec![c.add("", op, &[zeros, indices, updates])?])
}

fn top_k(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let x = c.input(0)?;
    let [k] = c.ints(1, "number of elements")?[..] else {
        return unsupported("several numbers of elements");
    };
    let Some(to @ (DType::I32 | DType::I64)) = c.result_dtype(1) else {
        return unsupported("positions that are neither i32 nor i64");
    };
    let k = c.list("k", &[k]);
    let best = c.add_many("best", TopK { axis: -1, largest: true }, &[Some(x), Some(k)])?;
    let [values, positions] = best[..] else { return unsupported("it has no results") };
    Ok(vec![values, c.as_dtype("positions", positions, to)?])
}

fn slice(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let x = c.input(0)?;
    let (starts, sizes) = (c.ints(1, "starts")?, c.ints(2, "sizes")?);
    let end = |(&start, &size): (&i64, &i64)| {
        if size < 0 { i64::MAX } else { start.saturating_add(size) }
    };
    let ends: Vec<i64> = starts.iter().zip(&sizes).map(end).collect();
    if starts.len() != sizes.len() || starts.iter().any(|&start| start < 0) {
        return unsupported(format!("starts {starts:?} with sizes {sizes:?}"));
    }
    let (starts, ends) = (c.list("starts", &starts), c.list("ends", &ends));
    Ok(vec![c.add("", Slice, &[x, starts, ends])?])
}

/// What a strided slice takes of one axis.
struct Range {
    start: i64,
    end: i64,
    step: i64,
}

/// A strided slice resolved: ranges by axis, and the axes that it adds and drops.
struct Strided {
    ranges: Vec<Range>,
    /// Axes of x that are dropped.
    dropped: Vec<i64>,
    /// Axes of the result that are new.
    added: Vec<i64>,
}

/// NumPy's rules by bit masks: an entry stands for an axis, for all axes that are left (ellipsis)
/// or for a new one.
fn strided(c: &mut Context<'_, '_>, rank: usize) -> Result<Strided, Fail> {
    let (begins, ends, steps) = (c.ints(1, "begins")?, c.ints(2, "ends")?, c.ints(3, "steps")?);
    let count = begins.len();
    if ends.len() != count || steps.len() != count || count > c.max_rank() {
        return unsupported(format!("{count} begins, {} ends, {} steps", ends.len(), steps.len()));
    }
    let mut masks = [0; 5];
    for (field, mask) in masks.iter_mut().enumerate() {
        *mask = c.i32(field, 0)?;
    }
    let [begin, end, ellipsis, new_axis, shrink] = masks;
    let relative = c.flag(5)?;
    let bit = |mask: i32, i: usize| mask >> i & 1 == 1;
    let named = (0..count).filter(|&i| !bit(ellipsis, i) && !bit(new_axis, i)).count();
    let mut s = Strided { ranges: Vec::new(), dropped: Vec::new(), added: Vec::new() };
    // Axes of the result so far.
    let mut kept = 0;
    for i in 0..count {
        if bit(ellipsis, i) {
            let rest = rank.saturating_sub(named);
            s.ranges.extend((0..rest).map(|_| Range { start: 0, end: i64::MAX, step: 1 }));
            kept += rest as i64;
        } else if bit(new_axis, i) {
            s.added.push(kept);
            kept += 1;
        } else if bit(shrink, i) {
            let start = begins[i];
            let end = if start == -1 { i64::MAX } else { start.saturating_add(1) };
            s.dropped.push(s.ranges.len() as i64);
            s.ranges.push(Range { start, end, step: 1 });
        } else {
            let (up, step) = (steps[i] > 0, steps[i]);
            let (first, last) = if up { (0, i64::MAX) } else { (i64::MAX, i64::MIN) };
            let start = if bit(begin, i) { first } else { begins[i] };
            let limit = if relative { start.saturating_add(ends[i]) } else { ends[i] };
            let end = if bit(end, i) { last } else { limit };
            s.ranges.push(Range { start, end, step });
            kept += 1;
        }
    }
    Ok(s)
}

fn strided_slice(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let x = c.input(0)?;
    let s = strided(c, c.rank(x))?;
    if s.ranges.len() > c.rank(x) {
        return unsupported(format!("{} ranges of {} axes", s.ranges.len(), c.rank(x)));
    }
    let list = |of: fn(&Range) -> i64| s.ranges.iter().map(of).collect::<Vec<_>>();
    let starts = c.list("starts", &list(|r| r.start));
    let ends = c.list("ends", &list(|r| r.end));
    let axes = c.list("axes", &(0..s.ranges.len() as i64).collect::<Vec<_>>());
    let steps = c.list("steps", &list(|r| r.step));
    let mut y = c.add("", Slice, &[x, starts, ends, axes, steps])?;
    if !s.dropped.is_empty() {
        y = c.add("dropped", Squeeze { axes: s.dropped }, &[y])?;
    }
    if !s.added.is_empty() {
        y = c.add("added", Unsqueeze { axes: s.added }, &[y])?;
    }
    Ok(vec![y])
}

fn split(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let (axis, x) = (c.axis(0)?, c.input(1)?);
    let parts = c.outputs();
    let shape = c.ty(x).shape;
    match shape.axis(axis) {
        Some(at) if parts > 0 && shape[at].is_multiple_of(parts) => {}
        _ => return unsupported(format!("{parts} equal parts of axis {axis} of {shape}")),
    }
    c.add_many("", Split { axis, parts: SplitParts::Equal(parts) }, &[Some(x)])
}

fn split_v(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let x = c.input(0)?;
    let (sizes, axis) = (c.ints(1, "sizes")?, c.axis(2)?);
    let shape = c.ty(x).shape;
    let Some(at) = shape.axis(axis) else { return unsupported(format!("axis {axis} of {shape}")) };
    let known: i64 = sizes.iter().filter(|&&size| size > 0).fold(0, |a, &b| a.saturating_add(b));
    let rest = (shape[at] as i64).saturating_sub(known);
    if sizes.len() != c.outputs() || sizes.iter().filter(|&&size| size < 0).count() > 1 {
        return unsupported(format!("sizes {sizes:?} for {} results", c.outputs()));
    }
    let size = |&size: &i64| usize::try_from(if size < 0 { rest } else { size });
    let Ok(sizes) = sizes.iter().map(size).collect::<Result<Vec<_>, _>>() else {
        return unsupported(format!("sizes {sizes:?} of axis {axis} of {shape}"));
    };
    c.add_many("", Split { axis, parts: SplitParts::Sizes(sizes) }, &[Some(x)])
}

fn pack(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let axis = i64::from(c.i32(1, 0)?);
    let all = c.all_inputs()?;
    let wide = |&x: &ValueId| c.add("part", Unsqueeze { axes: vec![axis] }, &[x]);
    let all = all.iter().map(wide).collect::<Result<Vec<_>, _>>()?;
    Ok(vec![c.add("", Concat { axis }, &all)?])
}

fn unpack(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let x = c.input(0)?;
    let axis = i64::from(c.i32(1, 0)?);
    let (parts, shape) = (c.outputs(), c.ty(x).shape);
    if shape.axis(axis).map(|at| shape[at]) != Some(parts) {
        return unsupported(format!("{parts} slices of axis {axis} of {shape}"));
    }
    let parts = c.add_many("parts", Split { axis, parts: SplitParts::Equal(parts) }, &[Some(x)])?;
    parts.into_iter().map(|part| c.add("", Squeeze { axes: vec![axis] }, &[part])).collect()
}
