//! Parts of tensors, and tensors put together.

use super::context::{Context, Fail, unsupported};
use super::{Row, row};
use depthwise_layers::ir::ValueId;
use depthwise_layers::{Concat, Gather, Pad, PadMode, Slice, Split, SplitParts};

pub(super) const ROWS: &[Row] = &[
    row("Concat", 7, concat),
    row("Gather", 7, |c| {
        let (x, indices, axis) = (c.input(0)?, c.input(1)?, c.int_or("axis", 0)?);
        Ok(vec![c.add("", Gather { axis }, &[x, indices])])
    }),
    row("Pad", 7, pad),
    row("Slice", 7, slice),
    row("Split", 7, split),
];

fn concat(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let Some(axis) = c.int_attr("axis")? else {
        return unsupported("its attribute \"axis\" is missing");
    };
    let operands = c.operands()?;
    match operands[..] {
        [] => unsupported("it has no inputs"),
        [only] => Ok(vec![only]),
        _ => Ok(vec![c.add("", Concat { axis }, &operands)]),
    }
}

/// Positions are attributes before version 10, operands since.
fn slice(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let x = c.input(0)?;
    if c.version < 10 {
        let (starts, ends) = (c.ints_attr("starts")?, c.ints_attr("ends")?);
        let (Some(starts), Some(ends)) = (starts, ends) else {
            return unsupported("its attributes \"starts\" and \"ends\" are missing");
        };
        let axes = c.ints_attr("axes")?.map(|axes| c.ints("axes", &axes));
        let operands =
            [Some(x), Some(c.ints("starts", &starts)), Some(c.ints("ends", &ends)), axes];
        return Ok(c.add_many("", Slice, &operands, 1));
    }
    c.input(1)?;
    c.input(2)?;
    let mut operands = vec![Some(x)];
    for (index, role) in ["starts", "ends", "axes", "steps"].into_iter().enumerate() {
        let value = c.optional(index + 1);
        operands.push(value.map(|value| c.as_i64(role, value)));
    }
    while operands.last() == Some(&None) {
        operands.pop();
    }
    Ok(c.add_many("", Slice, &operands, 1))
}

/// Sizes are an attribute before version 13, an operand since; without them the parts are equal.
fn split(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let x = c.input(0)?;
    let axis = c.int_or("axis", 0)?;
    let sizes = match c.ints_attr("split")? {
        Some(sizes) => Some(sizes),
        None => c.constant_ints(1, "sizes")?,
    };
    let count = c.outputs();
    if let Some(declared) = c.int_attr("num_outputs")?
        && declared != count as i64
    {
        return unsupported(format!("num_outputs is {declared}, but it has {count} outputs"));
    }
    let sizes = sizes.or_else(|| uneven(&c.input_extents(x)?, axis, count));
    let parts = match sizes {
        None => SplitParts::Equal(count),
        Some(sizes) => {
            let whole: Option<Vec<usize>> =
                sizes.iter().map(|&n| usize::try_from(n).ok()).collect();
            match whole {
                Some(whole) if whole.len() == count => SplitParts::Sizes(whole),
                _ => return unsupported(format!("sizes {sizes:?} for {count} outputs")),
            }
        }
    };
    Ok(c.add_many("", Split { axis, parts }, &[Some(x)], count))
}

/// The sizes of parts that are not equal, since the last is what is left of the axis; `None` where
/// all are equal.
fn uneven(extents: &[usize], axis: i64, count: usize) -> Option<Vec<i64>> {
    let axis = if axis < 0 { axis + extents.len() as i64 } else { axis };
    let extent = *extents.get(usize::try_from(axis).ok()?)?;
    if count == 0 || extent.is_multiple_of(count) {
        return None;
    }
    let size = extent.div_ceil(count);
    let part = |i: usize| extent.saturating_sub(i * size).min(size) as i64;
    Some((0..count).map(part).collect())
}

/// Pads and value are attributes before version 11, operands since.
fn pad(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let x = c.input(0)?;
    let mode = match c.text_or("mode", "constant")?.as_str() {
        "constant" => PadMode::Constant,
        "reflect" => PadMode::Reflect,
        "edge" => PadMode::Edge,
        "wrap" => PadMode::Wrap,
        other => return unsupported(format!("mode = {other} is not supported")),
    };
    let mut operands = vec![Some(x)];
    if c.version < 11 {
        let Some(pads) = c.ints_attr("pads")? else {
            return unsupported("its attribute \"pads\" is missing");
        };
        operands.push(Some(c.ints("pads", &pads)));
        let value = c.float_or("value", 0.0)?;
        if value != 0.0 {
            let dtype = c.dtype(x)?;
            operands.push(Some(c.scalar("value", dtype, value.into())));
        }
    } else {
        let pads = c.input(1)?;
        operands.push(Some(c.as_i64("pads", pads)));
        operands.push(c.optional(2));
        let axes = c.optional(3);
        operands.push(axes.map(|axes| c.as_i64("axes", axes)));
    }
    while operands.last() == Some(&None) {
        operands.pop();
    }
    Ok(c.add_many("", Pad { mode }, &operands, 1))
}
