//! Pools, borders and sizes of pictures and signals.

use super::context::{Context, Fail, unsupported};
use super::{Row, row};
use depthwise_layers::ir::ValueId;
use depthwise_layers::{
    Concat, Coordinates, Gather, NearestRounding, Pad, PadMode, Padding, Pool2d, PoolKind, Reduce,
    ReduceFn, Resize, ResizeMode, ShapeOf, Squeeze, Unsqueeze,
};
use depthwise_tensor::{Hw, Tensor};
use serde_json::Value;

const AVERAGE: PoolKind = PoolKind::Average { include_pad: false };

pub(super) const ROWS: &[Row] = &[
    row("AveragePooling1D", |c| pool(c, AVERAGE, 1)),
    row("AveragePooling2D", |c| pool(c, AVERAGE, 2)),
    row("Cropping1D", |c| border(c, "cropping", 1, -1)),
    row("Cropping2D", |c| border(c, "cropping", 2, -1)),
    row("GlobalAveragePooling1D", |c| global_pool(c, ReduceFn::Mean, 1)),
    row("GlobalAveragePooling2D", |c| global_pool(c, ReduceFn::Mean, 2)),
    row("GlobalMaxPooling1D", |c| global_pool(c, ReduceFn::Max, 1)),
    row("GlobalMaxPooling2D", |c| global_pool(c, ReduceFn::Max, 2)),
    row("MaxPooling1D", |c| pool(c, PoolKind::Max, 1)),
    row("MaxPooling2D", |c| pool(c, PoolKind::Max, 2)),
    row("Resizing", resizing),
    row("UpSampling1D", |c| up_sampling(c, 1)),
    row("UpSampling2D", |c| up_sampling(c, 2)),
    row("ZeroPadding1D", |c| border(c, "padding", 1, 1)),
    row("ZeroPadding2D", |c| border(c, "padding", 2, 1)),
];

fn pool(c: &mut Context<'_, '_>, kind: PoolKind, axes: usize) -> Result<Vec<ValueId>, Fail> {
    c.channels_last()?;
    let kernel = c.extent("pool_size", axes, 2)?;
    // Without strides the windows stand side by side.
    let stride = match c.value("strides") {
        None => kernel,
        Some(_) => c.extent("strides", axes, 1)?,
    };
    let padding = match c.text("padding", "valid")? {
        "same" => Padding::Same,
        "valid" => Padding::Valid,
        other => return unsupported(format!("padding = {other} is not supported")),
    };
    let pool = Pool2d { kind, kernel, stride, dilation: Hw::ONE, padding, ceil_mode: false };
    let x = c.input()?;
    if axes == 2 {
        return Ok(vec![c.add("", pool, &[x])?]);
    }
    let x = c.add("row", Unsqueeze { axes: vec![1] }, &[x])?;
    let y = c.add("", pool, &[x])?;
    Ok(vec![c.add("signal", Squeeze { axes: vec![1] }, &[y])?])
}

fn global_pool(
    c: &mut Context<'_, '_>,
    function: ReduceFn,
    axes: usize,
) -> Result<Vec<ValueId>, Fail> {
    c.channels_last()?;
    let keep_dims = c.flag("keepdims", false)?;
    let x = c.input()?;
    let axes = (1..=axes as i64).collect();
    Ok(vec![c.add("", Reduce { function, axes, keep_dims }, &[x])?])
}

/// Zeros around pictures, or that much cut off: a number for all sides, one per axis, or a pair
/// per axis.
fn border(
    c: &mut Context<'_, '_>,
    key: &'static str,
    axes: usize,
    sign: i64,
) -> Result<Vec<ValueId>, Fail> {
    c.channels_last()?;
    let value = c.value(key).unwrap_or(&Value::Null);
    let sides = match (value, axes) {
        (Value::Array(list), 1) => pair(list).map(|pair| vec![pair]),
        (Value::Array(list), _) => list.iter().map(one_or_pair).collect(),
        (one, _) => one_or_pair(one).map(|pair| vec![pair; axes]),
    };
    let Some(sides) = sides.filter(|sides| sides.len() == axes) else {
        return unsupported(format!("{key} = {value} is not supported"));
    };
    let x = c.input()?;
    // All begins, then all ends; neither samples nor channels.
    let part = |of: fn(&(i64, i64)) -> i64| {
        let inner = sides.iter().map(move |side| sign * of(side));
        std::iter::once(0).chain(inner).chain([0])
    };
    let pads: Vec<i64> = part(|side| side.0).chain(part(|side| side.1)).collect();
    let pads = c.list("pads", &pads);
    Ok(vec![c.add("", Pad { mode: PadMode::Constant }, &[x, pads])?])
}

/// Below 2^32, so that signs and sums of such numbers fit.
fn count(value: &Value) -> Option<i64> {
    value.as_u64().and_then(|n| u32::try_from(n).ok()).map(i64::from)
}

fn pair(list: &[Value]) -> Option<(i64, i64)> {
    match list {
        [before, after] => Some((count(before)?, count(after)?)),
        _ => None,
    }
}

fn one_or_pair(value: &Value) -> Option<(i64, i64)> {
    match value {
        Value::Array(list) => pair(list),
        one => count(one).map(|n| (n, n)),
    }
}

/// By whole factors: repeated elements, or half-pixel bilinear.
fn up_sampling(c: &mut Context<'_, '_>, axes: usize) -> Result<Vec<ValueId>, Fail> {
    c.channels_last()?;
    let size = c.extent("size", axes, 2)?;
    let resize = match c.text("interpolation", "nearest")? {
        "nearest" => Resize {
            mode: ResizeMode::Nearest(NearestRounding::Floor),
            coordinates: Coordinates::Asymmetric,
        },
        "bilinear" => BILINEAR,
        other => return unsupported(format!("interpolation = {other} is not supported")),
    };
    let x = c.input()?;
    let scales = match axes {
        1 => vec![1.0, size.w as f32, 1.0],
        _ => vec![1.0, size.h as f32, size.w as f32, 1.0],
    };
    let scales = c.constant("scales", Tensor::from_vec(&[scales.len()], scales).expect("one list"));
    Ok(vec![c.add_with("", resize, &[Some(x), None, Some(scales)])?])
}

const BILINEAR: Resize = Resize { mode: ResizeMode::Linear, coordinates: Coordinates::HalfPixel };

/// To a given size.
fn resizing(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    c.channels_last()?;
    let (Some(h), Some(w)) = (c.int("height")?, c.int("width")?) else {
        return unsupported("it has no height or no width");
    };
    if h < 1 || w < 1 {
        return unsupported(format!("a size of {h}x{w}"));
    }
    for key in ["crop_to_aspect_ratio", "pad_to_aspect_ratio", "antialias"] {
        if c.flag(key, false)? {
            return unsupported(format!("{key} = true is not supported"));
        }
    }
    // For what does not happen.
    c.ignore(&["fill_mode", "fill_value"]);
    match c.text("interpolation", "bilinear")? {
        "bilinear" => {}
        other => return unsupported(format!("interpolation = {other} is not supported")),
    }
    let x = c.input()?;
    let all = c.add("extents", ShapeOf { start: 0, end: None }, &[x])?;
    let mut part = |role: &str, axis: i64| {
        let which = c.list(role, &[axis]);
        c.add(role, Gather { axis: 0 }, &[all, which])
    };
    let (n, channels) = (part("samples", 0)?, part("channels", 3)?);
    let hw = c.list("height.width", &[h, w]);
    let sizes = c.add("sizes", Concat { axis: 0 }, &[n, hw, channels])?;
    let y = c.add("", BILINEAR, &[x, sizes])?;
    c.resized(y, x, (h, w));
    Ok(vec![y])
}
