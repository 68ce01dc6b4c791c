//! Operators over pictures: convolutions, pools, blocks of pixels.
//!
//! The file has them as NCHW; here a [`Conv2d`] or [`Pool2d`] is NHWC between two transposes.
//! Signals (`N,C,L`) are pictures of height 1.

use super::context::{Context, Fail, unsupported};
use super::{Row, row, volume};
use depthwise_layers::ir::ValueId;
use depthwise_layers::{
    Activation, BinaryFn, Concat, ConstantOfShape, Conv2d, Gather, MaxPositions, Pad, PadMode,
    Padding, Pool2d, PoolKind, Reduce, ReduceFn, Reshape, ScatterElements, ScatterFn, ShapeOf,
    Squeeze, Unary, UnaryFn, Unsqueeze,
};
use depthwise_tensor::{Hw, Pad2d, Shape, Tensor};

pub(super) const ROWS: &[Row] = &[
    row("AveragePool", 7, average_pool),
    row("Conv", 7, conv),
    row("DepthToSpace", 7, depth_to_space),
    row("GlobalAveragePool", 7, |c| global_pool(c, ReduceFn::Mean)),
    row("GlobalMaxPool", 7, |c| global_pool(c, ReduceFn::Max)),
    row("LpPool", 7, lp_pool),
    row("MaxPool", 7, max_pool),
    row("MaxUnpool", 9, max_unpool),
    row("SpaceToDepth", 7, space_to_depth),
];

/// Axes of an NHWC picture by their place in NCHW, and back.
const TO_NHWC: &[usize] = &[0, 2, 3, 1];
const TO_NCHW: &[usize] = &[0, 3, 1, 2];

/// The number of axes along which a window moves.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Space {
    Signal,
    Picture,
}

impl Space {
    pub(super) fn of(axes: usize) -> Result<Space, Fail> {
        match axes {
            1 => Ok(Space::Signal),
            2 => Ok(Space::Picture),
            n => unsupported(format!("windows over {n} axes")),
        }
    }

    /// Number of axes.
    pub(super) fn axes(self) -> usize {
        match self {
            Space::Signal => 1,
            Space::Picture => 2,
        }
    }

    /// Height and width of a list with an entry per axis.
    pub(super) fn hw(self, name: &str, list: &[i64]) -> Result<Hw, Fail> {
        let positive = |n: i64| match usize::try_from(n) {
            Ok(n) if n > 0 => Ok(n),
            _ => unsupported(format!("its {name} {list:?} are not positive")),
        };
        match (self, list) {
            (Space::Signal, &[w]) => Ok(Hw { h: 1, w: positive(w)? }),
            (Space::Picture, &[h, w]) => Ok(Hw { h: positive(h)?, w: positive(w)? }),
            _ => unsupported(format!("its {name} {list:?} do not fit the number of axes")),
        }
    }
}

/// The attributes that convolutions and pools share.
struct Window {
    space: Space,
    stride: Hw,
    dilation: Hw,
    padding: Padding,
}

fn window(c: &mut Context<'_, '_>, space: Space) -> Result<Window, Fail> {
    let mut pair = |name: &str| match c.ints_attr(name)? {
        Some(list) => space.hw(name, &list),
        None => Ok(Hw::ONE),
    };
    let (stride, dilation) = (pair("strides")?, pair("dilations")?);
    let pads = c.ints_attr("pads")?;
    let padding = match c.text_or("auto_pad", "NOTSET")?.as_str() {
        "NOTSET" | "" => explicit(space, pads.as_deref())?,
        "SAME_UPPER" => Padding::Same,
        "SAME_LOWER" => Padding::SameLower,
        "VALID" => Padding::Valid,
        other => return unsupported(format!("auto_pad = {other} is not supported")),
    };
    Ok(Window { space, stride, dilation, padding })
}

/// All begins, then all ends.
pub(super) fn explicit(space: Space, pads: Option<&[i64]>) -> Result<Padding, Fail> {
    let Some(pads) = pads else { return Ok(Padding::Valid) };
    let whole: Option<Vec<usize>> = pads.iter().map(|&n| usize::try_from(n).ok()).collect();
    match (space, whole.as_deref()) {
        (Space::Signal, Some(&[left, right])) => {
            Ok(Padding::Explicit(Pad2d { left, right, ..Pad2d::ZERO }))
        }
        (Space::Picture, Some(&[top, left, bottom, right])) => {
            Ok(Padding::Explicit(Pad2d { top, left, bottom, right }))
        }
        _ => unsupported(format!("its pads {pads:?} are negative or of another number")),
    }
}

/// The NHWC picture of an NCHW one, or of a signal.
pub(super) fn enter(c: &mut Context<'_, '_>, space: Space, role: &str, x: ValueId) -> ValueId {
    let x = match space {
        Space::Picture => x,
        Space::Signal => c.add(&format!("{role}.row"), Unsqueeze { axes: vec![2] }, &[x]),
    };
    c.transpose(role, x, TO_NHWC)
}

/// The way back from [`enter`].
pub(super) fn leave(c: &mut Context<'_, '_>, space: Space, y: ValueId) -> ValueId {
    let y = c.transpose("nchw", y, TO_NCHW);
    match space {
        Space::Picture => y,
        Space::Signal => c.add("signal", Squeeze { axes: vec![2] }, &[y]),
    }
}

fn conv(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let (x, value, b) = (c.input(0)?, c.input(1)?, c.optional(2));
    let shape = c.weight_shape(value);
    if shape.is_some_and(|shape| shape.rank() == 5) {
        return Ok(vec![volume::conv(c, x, value, b)?]);
    }
    Ok(vec![convolution(c, "", x, Filters { value, shape }, b)?])
}

/// Filters of a convolution, and their extents where they are constant.
pub(super) struct Filters {
    pub(super) value: ValueId,
    pub(super) shape: Option<Shape>,
}

/// A convolution with the attributes of the node.
pub(super) fn convolution(
    c: &mut Context<'_, '_>,
    role: &str,
    x: ValueId,
    filters: Filters,
    b: Option<ValueId>,
) -> Result<ValueId, Fail> {
    let w = filters.value;
    let kernel = c.ints_attr("kernel_shape")?;
    let axes = match &kernel {
        Some(kernel) => kernel.len(),
        None => c.rank(w)?.saturating_sub(2),
    };
    let window = window(c, Space::of(axes)?)?;
    let groups = c.int_or("group", 1)?;
    let Some(groups) = usize::try_from(groups).ok().filter(|&groups| groups > 0) else {
        return unsupported(format!("group = {groups}"));
    };
    if let Some(shape) = filters.shape {
        check_filters(&shape, axes, groups, kernel.as_deref())?;
    }
    let op = Conv2d {
        stride: window.stride,
        dilation: window.dilation,
        padding: window.padding,
        groups,
        activation: Activation::Identity,
    };
    let x = enter(c, window.space, "nhwc", x);
    // Filters are OC,IC,KH,KW in the file and OC,KH,KW,IC here: the same change of axes.
    let w = enter(c, window.space, "ohwi", w);
    let y = c.add_many(role, op, &[Some(x), Some(w), b], 1)[0];
    Ok(leave(c, window.space, y))
}

fn check_filters(
    filters: &[usize],
    axes: usize,
    groups: usize,
    kernel: Option<&[i64]>,
) -> Result<(), Fail> {
    let taps = filters.get(2..).unwrap_or_default();
    let fits = |kernel: &[i64]| kernel.iter().copied().eq(taps.iter().map(|&n| n as i64));
    if taps.len() != axes || filters.len() < 3 || !kernel.is_none_or(fits) {
        return unsupported(format!("filters {filters:?} do not fit kernel_shape {kernel:?}"));
    }
    if !filters[0].is_multiple_of(groups) {
        return unsupported(format!("group {groups} does not divide {} filters", filters[0]));
    }
    Ok(())
}

/// The second result has the positions of the largest elements.
fn max_pool(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let column_major = c.flag("storage_order", false)?;
    let mut results = pool(c, PoolKind::Max)?;
    if !c.wants_output(1) {
        return Ok(results);
    }
    let x = c.input(0)?;
    let Some(kernel) = c.ints_attr("kernel_shape")?.filter(|kernel| kernel.len() < 3) else {
        return unsupported("positions of the largest elements of windows over three axes");
    };
    let space = Space::of(kernel.len())?;
    let Pool2d { kernel, stride, dilation, padding, ceil_mode, .. } =
        windows(c, space, PoolKind::Max, &kernel)?;
    let op = MaxPositions { kernel, stride, dilation, padding, ceil_mode, column_major };
    let x = enter(c, space, "positions.nhwc", x);
    let positions = c.add("positions", op, &[x]);
    results.push(leave(c, space, positions));
    Ok(results)
}

/// Elements put where a pool found them, in a result of zeros. Positions count the elements of a
/// result of the size that the pool's input has; a larger one is padded at the ends.
fn max_unpool(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let (x, positions, larger) = (c.input(0)?, c.input(1)?, c.optional(2));
    let Some(kernel) = c.ints_attr("kernel_shape")? else {
        return unsupported("its attribute \"kernel_shape\" is missing");
    };
    let axes = kernel.len();
    let strides = c.ints_attr("strides")?.unwrap_or_else(|| vec![1; axes]);
    let pads = c.ints_attr("pads")?.unwrap_or_else(|| vec![0; 2 * axes]);
    let rank = c.rank(x)?;
    if rank != axes + 2 || strides.len() != axes || pads.len() != 2 * axes {
        return unsupported(format!("{rank} dimensions, strides {strides:?}, pads {pads:?}"));
    }
    // (extent - 1) * stride + kernel - pads, of batch and channels the extent itself.
    let more = |axis: usize| {
        let pads = pads[axis].saturating_add(pads[axes + axis]);
        kernel[axis].saturating_sub(strides[axis]).saturating_sub(pads)
    };
    let more: Vec<i64> = [0, 0].into_iter().chain((0..axes).map(more)).collect();
    let strides: Vec<i64> = [&[1, 1], &strides[..]].concat();
    let extents = c.add("extents", ShapeOf { start: 0, end: None }, &[x]);
    let (strides, more) = (c.ints("strides", &strides), c.ints("more", &more));
    let extents = c.binary("extents.apart", BinaryFn::Mul, extents, strides);
    let extents = c.binary("extents.whole", BinaryFn::Add, extents, more);
    let dtype = c.dtype(x)?;
    let zero = Tensor::zeros(dtype, Shape::new(&[1]).expect("one extent"));
    let Ok(value) = zero else { return unsupported(format!("elements of {dtype}")) };
    let zeros = c.add("zeros", ConstantOfShape { value }, &[extents]);
    let all = c.ints("all", &[-1]);
    let flat = |c: &mut Context<'_, '_>, role: &str, value| {
        c.add(role, Reshape { allow_zero: false }, &[value, all])
    };
    let (zeros, updates) = (flat(c, "zeros.flat", zeros), flat(c, "flat", x));
    let positions = flat(c, "positions.flat", positions);
    let op = ScatterElements { axis: 0, function: ScatterFn::Replace };
    let y = c.add("scattered", op, &[zeros, positions, updates]);
    let y = c.add("unpooled", Reshape { allow_zero: false }, &[y, extents]);
    let Some(larger) = larger else { return Ok(vec![y]) };
    let larger = c.as_i64("larger", larger);
    let ends = c.binary("ends", BinaryFn::Sub, larger, extents);
    let begins = c.ints("begins", &vec![0; rank]);
    let pads = c.add("pads", Concat { axis: 0 }, &[begins, ends]);
    Ok(vec![c.add("", Pad { mode: PadMode::Constant }, &[y, pads])])
}

fn average_pool(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let include_pad = c.flag("count_include_pad", false)?;
    pool(c, PoolKind::Average { include_pad })
}

fn pool(c: &mut Context<'_, '_>, kind: PoolKind) -> Result<Vec<ValueId>, Fail> {
    let x = c.input(0)?;
    pool_of(c, "", kind, x)
}

/// The root of the sum of powers: a mean times the number of cells, those of the padding included.
fn lp_pool(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let x = c.input(0)?;
    let p = c.int_or("p", 2)?;
    if !(1..=16).contains(&p) {
        return unsupported(format!("p = {p}"));
    }
    let taps: i64 = match c.ints_attr("kernel_shape")? {
        Some(kernel) => kernel.iter().fold(1, |a, &b| a.saturating_mul(b)),
        None => 1,
    };
    if c.flag("ceil_mode", false)? {
        return unsupported("ceil_mode = 1 is not supported");
    }
    let dtype = c.dtype(x)?;
    let (power, inverse) =
        (c.scalar("p", dtype, p as f64), c.scalar("inverse", dtype, 1.0 / p as f64));
    let size = c.add("size", Unary { function: UnaryFn::Abs }, &[x]);
    let powers = c.binary("powers", BinaryFn::Pow, size, power);
    let mean = pool_of(c, "mean", PoolKind::Average { include_pad: true }, powers)?[0];
    let taps = c.scalar("taps", dtype, taps as f64);
    let sum = c.binary("sum", BinaryFn::Mul, mean, taps);
    Ok(vec![c.binary("", BinaryFn::Pow, sum, inverse)])
}

fn pool_of(
    c: &mut Context<'_, '_>,
    role: &str,
    kind: PoolKind,
    x: ValueId,
) -> Result<Vec<ValueId>, Fail> {
    let Some(kernel) = c.ints_attr("kernel_shape")? else {
        return unsupported("its attribute \"kernel_shape\" is missing");
    };
    if kernel.len() == 3 {
        return volume::pool(c, role, kind, x, &kernel);
    }
    let space = Space::of(kernel.len())?;
    let op = windows(c, space, kind, &kernel)?;
    let x = enter(c, space, "nhwc", x);
    let y = c.add(role, op, &[x]);
    Ok(vec![leave(c, space, y)])
}

/// A pool over one or two axes with the attributes of the node.
fn windows(
    c: &mut Context<'_, '_>,
    space: Space,
    kind: PoolKind,
    kernel: &[i64],
) -> Result<Pool2d, Fail> {
    let kernel = space.hw("kernel_shape", kernel)?;
    let Window { stride, dilation, padding, .. } = window(c, space)?;
    let ceil_mode = c.flag("ceil_mode", false)?;
    let (padding, ceil_mode) = match padding {
        // These give the number of windows themselves.
        Padding::Same | Padding::SameLower => (padding, false),
        Padding::Valid => (Padding::Explicit(Pad2d::ZERO), ceil_mode),
        Padding::Explicit(_) => (padding, ceil_mode),
    };
    Ok(Pool2d { kind, kernel, stride, dilation, padding, ceil_mode })
}

fn global_pool(c: &mut Context<'_, '_>, function: ReduceFn) -> Result<Vec<ValueId>, Fail> {
    let x = c.input(0)?;
    let axes: Vec<i64> = (2..c.rank(x)? as i64).collect();
    if axes.is_empty() {
        return unsupported("its input has no axes after the channels");
    }
    Ok(vec![c.add("", Reduce { function, axes, keep_dims: true }, &[x])])
}

fn block_size(c: &mut Context<'_, '_>) -> Result<i64, Fail> {
    match c.int_attr("blocksize")? {
        Some(block) if (1..=1 << 16).contains(&block) => Ok(block),
        block => unsupported(format!("blocksize = {block:?}")),
    }
}

/// `N, b*b*C, H, W` to `N, C, H*b, W*b`.
fn depth_to_space(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let x = c.input(0)?;
    let block = block_size(c)?;
    // Channels are rows of the block, columns, depth; or depth first.
    let (split, perm): (_, &[usize]) = match c.text_or("mode", "DCR")?.as_str() {
        "DCR" => ([block, block, -1], &[0, 3, 4, 1, 5, 2]),
        "CRD" => ([-1, block, block], &[0, 1, 4, 2, 5, 3]),
        other => return unsupported(format!("mode = {other} is not supported")),
    };
    let extents = c.add("extents", ShapeOf { start: 0, end: None }, &[x]);
    let (batch, size) = (part(c, "batch", extents, &[0]), part(c, "size", extents, &[2, 3]));
    let split = c.ints("split", &split);
    let split = c.add("split.extents", Concat { axis: 0 }, &[batch, split, size]);
    let x = c.add("split.pixels", Reshape { allow_zero: false }, &[x, split]);
    let x = c.transpose("pixels", x, perm);
    let y = merged(c, extents, [1, 1, block, block], [1, block * block, 1, 1]);
    Ok(vec![c.add("", Reshape { allow_zero: false }, &[x, y])])
}

/// `N, C, H*b, W*b` to `N, b*b*C, H, W`.
fn space_to_depth(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let x = c.input(0)?;
    let block = block_size(c)?;
    let extents = c.add("extents", ShapeOf { start: 0, end: None }, &[x]);
    let blocks = merged(c, extents, [1; 4], [1, 1, block, block]);
    let side = c.ints("side", &[block]);
    let rows = part(c, "rows", blocks, &[0, 1, 2]);
    let columns = part(c, "columns", blocks, &[3]);
    let split = c.add("split.extents", Concat { axis: 0 }, &[rows, side, columns, side]);
    let x = c.add("split.pixels", Reshape { allow_zero: false }, &[x, split]);
    // As in `depth_to_space`; version 28 brought the choice.
    let perm = match c.text_or("mode", "DCR")?.as_str() {
        "DCR" => [0, 3, 5, 1, 2, 4],
        "CRD" => [0, 1, 3, 5, 2, 4],
        other => return unsupported(format!("mode = {other} is not supported")),
    };
    let x = c.transpose("pixels", x, &perm);
    let y = merged(c, extents, [1, block * block, 1, 1], [1, 1, block, block]);
    let y = c.add("", Reshape { allow_zero: false }, &[x, y]);
    Ok(vec![y])
}

/// Some of a list of extents.
fn part(c: &mut Context<'_, '_>, role: &str, extents: ValueId, which: &[i64]) -> ValueId {
    let which = c.ints(&format!("{role}.axes"), which);
    c.add(role, Gather { axis: 0 }, &[extents, which])
}

/// Extents times one list and over another.
fn merged(c: &mut Context<'_, '_>, extents: ValueId, times: [i64; 4], over: [i64; 4]) -> ValueId {
    let (times, over) = (c.ints("times", &times), c.ints("over", &over));
    let product = c.binary("product", BinaryFn::Mul, extents, times);
    c.binary("result.extents", BinaryFn::Div, product, over)
}
