//! Operators whose operands name places: indices of elements and slices, points of a picture.

use super::context::{Context, Fail, unsupported};
use super::picture::{Space, enter, leave};
use super::{Row, row};
use depthwise_layers::ir::ValueId;
use depthwise_layers::{
    BinaryFn, Concat, Gather, GatherElements, GatherNd, GridSample, MatMul, Outside, Pad, PadMode,
    Reshape, SampleMode, ScatterElements, ScatterFn, ScatterNd, ShapeOf, TopK,
};
use depthwise_tensor::{DType, Tensor};

pub(super) const ROWS: &[Row] = &[
    row("AffineGrid", 20, affine_grid),
    row("CenterCropPad", 18, center_crop_pad),
    row("GatherElements", 11, |c| {
        let (x, indices, axis) = (c.input(0)?, c.input(1)?, c.int_or("axis", 0)?);
        Ok(vec![c.add("", GatherElements { axis }, &[x, indices])])
    }),
    row("GatherND", 11, gather_nd),
    row("GridSample", 16, grid_sample),
    Row { until: 10, ..row("Scatter", 9, scatter_elements) },
    row("ScatterElements", 11, scatter_elements),
    row("ScatterND", 11, |c| {
        let operands = [c.input(0)?, c.input(1)?, c.input(2)?];
        let function = scatter_function(c)?;
        Ok(vec![c.add("", ScatterNd { function }, &operands)])
    }),
    row("TopK", 7, top_k),
];

fn gather_nd(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let (x, indices, batch_dims) = (c.input(0)?, c.input(1)?, c.int_or("batch_dims", 0)?);
    let Ok(batch_dims) = usize::try_from(batch_dims) else {
        return unsupported(format!("batch_dims = {batch_dims}"));
    };
    Ok(vec![c.add("", GatherNd { batch_dims }, &[x, indices])])
}

fn scatter_function(c: &mut Context<'_, '_>) -> Result<ScatterFn, Fail> {
    match c.text_or("reduction", "none")?.as_str() {
        "none" => Ok(ScatterFn::Replace),
        "add" => Ok(ScatterFn::Add),
        "mul" => Ok(ScatterFn::Mul),
        "max" => Ok(ScatterFn::Max),
        "min" => Ok(ScatterFn::Min),
        other => unsupported(format!("reduction = {other} is not supported")),
    }
}

fn scatter_elements(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let operands = [c.input(0)?, c.input(1)?, c.input(2)?];
    let (axis, function) = (c.int_or("axis", 0)?, scatter_function(c)?);
    Ok(vec![c.add("", ScatterElements { axis, function }, &operands)])
}

/// How many is an attribute before version 10, an operand since.
fn top_k(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let x = c.input(0)?;
    let k = match c.int_attr("k")? {
        Some(k) => c.ints("k", &[k]),
        None => {
            let k = c.input(1)?;
            c.as_i64("k", k)
        }
    };
    let (axis, largest) = (c.int_or("axis", -1)?, c.flag("largest", true)?);
    // Any order will do where none is asked for.
    c.ignore(&["sorted"]);
    Ok(c.add_many("", TopK { axis, largest }, &[Some(x), Some(k)], 2))
}

fn grid_sample(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let (x, grid) = (c.input(0)?, c.input(1)?);
    let space = Space::of(c.rank(x)?.saturating_sub(2))?;
    if space != Space::Picture {
        return unsupported("samples of a signal");
    }
    // Version 20 has other names for two of them.
    let mode = match c.text_or("mode", "linear")?.as_str() {
        "nearest" => SampleMode::Nearest,
        "bilinear" | "linear" => SampleMode::Linear,
        "bicubic" | "cubic" => SampleMode::Cubic,
        other => return unsupported(format!("mode = {other} is not supported")),
    };
    let outside = match c.text_or("padding_mode", "zeros")?.as_str() {
        "zeros" => Outside::Zeros,
        "border" => Outside::Border,
        "reflection" => Outside::Reflection,
        other => return unsupported(format!("padding_mode = {other} is not supported")),
    };
    let align_corners = c.flag("align_corners", false)?;
    let x = enter(c, space, "nhwc", x);
    let y = c.add("sampled", GridSample { mode, outside, align_corners }, &[x, grid]);
    Ok(vec![leave(c, space, y)])
}

/// Most points of a grid that is made while the file is read: 4096 by 4096.
const MOST_POINTS: usize = 1 << 24;

/// The points of a picture (or volume) of a given size under affine maps: a product of the maps with
/// the coordinates of all points, which are constants.
fn affine_grid(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let theta = c.input(0)?;
    let align_corners = c.flag("align_corners", false)?;
    let Some(size) = c.constant_ints(1, "size")? else {
        return unsupported("its input number 1 is missing");
    };
    let (batch, extents) = match size[..] {
        [n, _, ref extents @ ..] if matches!(extents.len(), 2 | 3) => (n, extents),
        _ => return unsupported(format!("a size of {size:?}")),
    };
    let points = extents.iter().try_fold(1usize, |product, &extent| {
        product.checked_mul(usize::try_from(extent).ok()?).filter(|&n| n <= MOST_POINTS)
    });
    let Some(points) = points else { return unsupported(format!("a size of {size:?}")) };
    let axes = extents.len();
    let mut coordinates = Vec::with_capacity(points * (axes + 1));
    for point in 0..points {
        let mut rest = point;
        // The last axis, that of the columns, comes first.
        for &extent in extents.iter().rev() {
            let extent = extent as usize;
            coordinates.push(coordinate(rest % extent, extent, align_corners));
            rest /= extent;
        }
        coordinates.push(1.0);
    }
    let shape = [1, points, axes + 1];
    let coordinates = Tensor::from_vec(&shape, coordinates).expect("as many as the extents say");
    let coordinates = c.constant("points", coordinates);
    let dtype = c.dtype(theta)?;
    let coordinates = c.as_dtype("points", coordinates, dtype);
    let maps = c.transpose("maps", theta, &[0, 2, 1]);
    let moved = c.add("moved", MatMul, &[coordinates, maps]);
    let extents: Vec<i64> = [&[batch], extents, &[axes as i64]].concat();
    let extents = c.ints("extents", &extents);
    Ok(vec![c.add("", Reshape { allow_zero: false }, &[moved, extents])])
}

/// Where pixel `i` of `extent` lies between -1 and 1; the middle of one alone is 0.
fn coordinate(i: usize, extent: usize, align_corners: bool) -> f32 {
    match align_corners {
        true if extent == 1 => 0.0,
        true => (2.0 * i as f64 / (extent - 1) as f64 - 1.0) as f32,
        false => ((2 * i + 1) as f64 / extent as f64 - 1.0) as f32,
    }
}

/// Crops and pads alike are pads, below zero and above; of an odd number the end has one more.
fn center_crop_pad(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let (x, target) = (c.input(0)?, c.input(1)?);
    let target = c.as_i64("target", target);
    let axes = match c.ints_attr("axes")? {
        Some(axes) => axes,
        None => (0..c.rank(x)? as i64).collect(),
    };
    let rank = c.rank(x)? as i64;
    let from_start = |&axis: &i64| if axis < 0 { axis + rank } else { axis };
    let axes: Vec<i64> = axes.iter().map(from_start).collect();
    let extents = c.add("extents", ShapeOf { start: 0, end: None }, &[x]);
    let axes = c.ints("axes", &axes);
    let extents = c.add("extents.chosen", Gather { axis: 0 }, &[extents, axes]);
    let more = c.binary("more", BinaryFn::Sub, target, extents);
    let two = c.scalar("two", DType::I64, 2.0);
    // Rounds toward zero.
    let before = c.binary("before", BinaryFn::Div, more, two);
    let after = c.binary("after", BinaryFn::Sub, more, before);
    let pads = c.add("pads", Concat { axis: 0 }, &[before, after]);
    let operands = [Some(x), Some(pads), None, Some(axes)];
    Ok(c.add_many("", Pad { mode: PadMode::Constant }, &operands, 1))
}
