//! Interpolation.

use super::context::{Context, Fail, unsupported};
use super::{Row, crop, row};
use depthwise_layers::ir::ValueId;
use depthwise_layers::{Concat, Coordinates, Gather, NearestRounding, Resize, ResizeMode, ShapeOf};
use depthwise_tensor::Tensor;

pub(super) const ROWS: &[Row] =
    &[row("Resize", 10, resize), Row { until: 9, ..row("Upsample", 7, upsample) }];

/// Factors as an attribute in version 7, as an operand in 9.
fn upsample(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let x = c.input(0)?;
    let scales = match c.floats_attr("scales")? {
        Some(scales) => {
            let tensor = Tensor::from_vec(&[scales.len()], scales);
            c.constant("scales", tensor.expect("one extent fits its list"))
        }
        None => c.input(1)?,
    };
    simple(c, x, scales)
}

fn resize(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let x = c.input(0)?;
    if c.version == 10 {
        let scales = c.input(1)?;
        return simple(c, x, scales);
    }
    let antialias = c.flag("antialias", false)?;
    let largest = match c.text_or("keep_aspect_ratio_policy", "stretch")?.as_str() {
        "stretch" => None,
        "not_larger" => Some(false),
        "not_smaller" => Some(true),
        other => return unsupported(format!("keep_aspect_ratio_policy = {other}")),
    };
    let coordinates = match c.text_or("coordinate_transformation_mode", "half_pixel")?.as_str() {
        "half_pixel" => Coordinates::HalfPixel,
        "half_pixel_symmetric" => Coordinates::HalfPixelSymmetric,
        "pytorch_half_pixel" => Coordinates::PytorchHalfPixel,
        "align_corners" => Coordinates::AlignCorners,
        "asymmetric" => Coordinates::Asymmetric,
        "tf_crop_and_resize" => return crop::resize(c, x, antialias, largest.is_some()),
        other => return unsupported(format!("coordinate_transformation_mode = {other}")),
    };
    // The value outside the picture, which only crops can reach.
    c.ignore(&["extrapolation_value"]);
    let mode = mode(c, antialias)?;
    let axes = c.ints_attr("axes")?;
    let (scales, sizes) = (given(c, 2), given(c, 3));
    let (sizes, scales) = match (sizes, scales, largest) {
        (Some(_), _, Some(largest)) => {
            let (sizes, scales) = in_proportion(c, x, axes.as_deref(), largest)?;
            (Some(sizes), Some(scales))
        }
        (Some(sizes), _, None) => (Some(all_sizes(c, x, sizes, axes)?), None),
        (None, Some(scales), _) => (None, Some(all_scales(c, x, scales, axes)?)),
        (None, None, _) => return unsupported("neither sizes nor scales are given"),
    };
    Ok(c.add_many("", Resize { mode, coordinates }, &[Some(x), sizes, scales], 1))
}

/// An operand that is neither left out nor empty: version 11 has no other way to leave one out.
pub(super) fn given(c: &Context<'_, '_>, index: usize) -> Option<ValueId> {
    c.optional(index).filter(|&value| c.tensor(value).is_none_or(|tensor| tensor.elements() > 0))
}

pub(super) fn mode(c: &mut Context<'_, '_>, antialias: bool) -> Result<ResizeMode, Fail> {
    let rounding = match c.text_or("nearest_mode", "round_prefer_floor")?.as_str() {
        "round_prefer_floor" => NearestRounding::RoundPreferFloor,
        "round_prefer_ceil" => NearestRounding::RoundPreferCeil,
        "floor" => NearestRounding::Floor,
        "ceil" => NearestRounding::Ceil,
        other => return unsupported(format!("nearest_mode = {other} is not supported")),
    };
    let a = c.float_or("cubic_coeff_a", -0.75)?;
    let exclude_outside = c.flag("exclude_outside", false)?;
    match c.text_or("mode", "nearest")?.as_str() {
        "nearest" => Ok(ResizeMode::Nearest(rounding)),
        "linear" if antialias => Ok(ResizeMode::LinearAntialias { exclude_outside }),
        "cubic" if antialias => Ok(ResizeMode::CubicAntialias { a, exclude_outside }),
        "linear" if exclude_outside => unsupported("exclude_outside with mode = linear"),
        "linear" => Ok(ResizeMode::Linear),
        "cubic" => Ok(ResizeMode::Cubic { a, exclude_outside }),
        other => unsupported(format!("mode = {other} is not supported")),
    }
}

/// Up to version 10 positions map as `o / s`, and the nearest sample is the one before when
/// growing, the one after when shrinking (ONNX Runtime's reading, since the text leaves it open).
fn simple(c: &mut Context<'_, '_>, x: ValueId, scales: ValueId) -> Result<Vec<ValueId>, Fail> {
    let mode = match c.text_or("mode", "nearest")?.as_str() {
        "nearest" => ResizeMode::Nearest(simple_rounding(c, scales)?),
        "linear" | "bilinear" => ResizeMode::Linear,
        other => return unsupported(format!("mode = {other} is not supported")),
    };
    let op = Resize { mode, coordinates: Coordinates::Asymmetric };
    Ok(c.add_many("", op, &[Some(x), None, Some(scales)], 1))
}

fn simple_rounding(c: &Context<'_, '_>, scales: ValueId) -> Result<NearestRounding, Fail> {
    let Some(tensor) = c.tensor(scales) else {
        return match c.facts(scales).poisoned {
            true => Err(Fail::Poisoned),
            false => unsupported("its scales are not constant"),
        };
    };
    let factors = tensor.to_f32();
    match (factors.iter().any(|&s| s < 1.0), factors.iter().any(|&s| s > 1.0)) {
        (true, true) => unsupported("it grows along one axis and shrinks along another"),
        (true, false) => Ok(NearestRounding::Ceil),
        (false, _) => Ok(NearestRounding::Floor),
    }
}

/// The axes by position from the start, each at most once.
pub(super) fn positions(axes: &[i64], rank: usize) -> Result<Vec<usize>, Fail> {
    let mut seen = vec![false; rank];
    let mut position = |&axis: &i64| {
        let from_start = if axis < 0 { axis + rank as i64 } else { axis };
        let axis = usize::try_from(from_start).ok().filter(|&axis| axis < rank);
        match axis {
            Some(axis) if !std::mem::replace(&mut seen[axis], true) => Ok(axis),
            _ => unsupported(format!("axes {axes:?} of an input with {rank} dimensions")),
        }
    };
    axes.iter().map(&mut position).collect()
}

/// Scales of every axis, where the file gives those of some.
fn all_scales(
    c: &mut Context<'_, '_>,
    x: ValueId,
    scales: ValueId,
    axes: Option<Vec<i64>>,
) -> Result<ValueId, Fail> {
    let Some(axes) = axes else { return Ok(scales) };
    let rank = c.rank(x)?;
    let axes = positions(&axes, rank)?;
    let Some(given) = c.tensor(scales).map(|tensor| tensor.to_f32().into_owned()) else {
        return unsupported("its scales are not constant");
    };
    if given.len() != axes.len() {
        return unsupported(format!("{} scales for {} axes", given.len(), axes.len()));
    }
    let mut all = vec![1f32; rank];
    axes.iter().zip(given).for_each(|(&axis, scale)| all[axis] = scale);
    let tensor = Tensor::from_vec(&[rank], all).expect("one extent fits its list");
    Ok(c.constant("scales", tensor))
}

/// Sizes and scales of every axis, by the largest of the scales that operand 3 asks for, or the
/// smallest: all axes share it, and sizes are rounded to it.
fn in_proportion(
    c: &mut Context<'_, '_>,
    x: ValueId,
    axes: Option<&[i64]>,
    largest: bool,
) -> Result<(ValueId, ValueId), Fail> {
    let (Some(sizes), Some(extents)) = (c.constant_ints(3, "sizes")?, c.input_extents(x)) else {
        return unsupported("keep_aspect_ratio_policy for extents that are not known");
    };
    let axes = match axes {
        Some(axes) => positions(axes, extents.len())?,
        None => (0..extents.len()).collect(),
    };
    if sizes.len() != axes.len() || axes.iter().any(|&axis| extents[axis] == 0) {
        return unsupported(format!("keep_aspect_ratio_policy with {sizes:?} for {extents:?}"));
    }
    let ratio = |(&size, &axis): (&i64, &usize)| size as f32 / extents[axis] as f32;
    let ratios = sizes.iter().zip(&axes).map(ratio);
    let scale = ratios.reduce(if largest { f32::max } else { f32::min }).unwrap_or(1.0);
    let mut scales = vec![1f32; extents.len()];
    let mut all: Vec<i64> = extents.iter().map(|&extent| extent as i64).collect();
    for &axis in &axes {
        scales[axis] = scale;
        all[axis] = (scale * extents[axis] as f32).round() as i64;
    }
    let scales = Tensor::from_vec(&[scales.len()], scales).expect("one extent fits its list");
    Ok((c.ints("sizes", &all), c.constant("scales", scales)))
}

/// Sizes of every axis, where the file gives those of some: the others keep theirs.
fn all_sizes(
    c: &mut Context<'_, '_>,
    x: ValueId,
    sizes: ValueId,
    axes: Option<Vec<i64>>,
) -> Result<ValueId, Fail> {
    let sizes = c.as_i64("sizes", sizes);
    let Some(axes) = axes else { return Ok(sizes) };
    let rank = c.rank(x)?;
    let axes = positions(&axes, rank)?;
    let extents = c.add("extents", ShapeOf { start: 0, end: None }, &[x]);
    let both = c.add("extents.sizes", Concat { axis: 0 }, &[extents, sizes]);
    // Behind the own extents stand the given sizes, in the order of their axes.
    let choice: Vec<i64> = (0..rank)
        .map(|axis| match axes.iter().position(|&a| a == axis) {
            Some(place) => (rank + place) as i64,
            None => axis as i64,
        })
        .collect();
    let choice = c.ints("choice", &choice);
    Ok(c.add("all.sizes", Gather { axis: 0 }, &[both, choice]))
}
