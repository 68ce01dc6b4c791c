//! Windows over three axes, as windows over two of them and one more.

use super::context::{Context, Fail, unsupported};
use super::picture::{Space, explicit};
use depthwise_layers::ir::ValueId;
use depthwise_layers::{
    Activation, Concat, Conv2d, ConvTranspose2d, Op, Padding, Pool2d, PoolKind, Reshape, ShapeOf,
};
use depthwise_tensor::{Hw, Pad2d, Tensor};

/// Axes of `N,D,H,W,C` by their place in `N,C,D,H,W`, and back.
const CHANNELS_LAST: &[usize] = &[0, 2, 3, 4, 1];
const CHANNELS_SECOND: &[usize] = &[0, 4, 1, 2, 3];

/// Over rows and columns of every slice, then over slices: a window is a product of ranges, so its
/// maximum is that of the maxima, and its mean (of the cells inside, or of all) that of the means.
pub(super) fn pool(
    c: &mut Context<'_, '_>,
    role: &str,
    kind: PoolKind,
    x: ValueId,
    kernel: &[i64],
) -> Result<Vec<ValueId>, Fail> {
    let (strides, dilations) = (attribute(c, "strides")?, attribute(c, "dilations")?);
    let kernel = triple("kernel_shape", kernel)?;
    let (slices, plane) = padding(c)?;
    // SAME gives the number of windows itself.
    let ceil_mode = c.flag("ceil_mode", false)? && matches!(plane, Padding::Explicit(_));

    let x = c.transpose(&format!("{role}.ndhwc"), x, CHANNELS_LAST);
    let (rest, any) = (extents(c, "slice", x, [2, 5]), c.ints("any", &[-1]));
    let x_planes = reshape(c, "planes", x, &[any, rest]);
    let op = Pool2d {
        kind,
        kernel: kernel.1,
        stride: strides.1,
        dilation: dilations.1,
        padding: plane,
        ceil_mode,
    };
    let y = c.add("plane", op, &[x_planes]);
    // A picture of a row for each slice.
    let slices_of = extents(c, "slices", x, [0, 2]);
    let (plane, channels) = (extents(c, "windows", y, [1, 4]), extents(c, "channels", x, [4, 5]));
    let rows = reshape(c, "rows", y, &[slices_of, any, channels]);
    let op = Pool2d {
        kind,
        kernel: down(kernel.0),
        stride: down(strides.0),
        dilation: down(dilations.0),
        padding: slices,
        ceil_mode,
    };
    let y = c.add(role, op, &[rows]);
    let lead = extents(c, "results", y, [0, 2]);
    let y = reshape(c, "volume", y, &[lead, plane]);
    Ok(vec![c.transpose("ncdhw", y, CHANNELS_SECOND)])
}

/// A number for slices, and two for rows and columns.
fn triple(name: &str, list: &[i64]) -> Result<(usize, Hw), Fail> {
    match *list {
        [d, h, w] => {
            let plane = Space::Picture.hw(name, &[h, w])?;
            Ok((Space::Signal.hw(name, &[d])?.w, plane))
        }
        _ => unsupported(format!("its {name} {list:?} do not fit the number of axes")),
    }
}

/// The attribute of this name, 1 for every axis where it is missing.
fn attribute(c: &mut Context<'_, '_>, name: &str) -> Result<(usize, Hw), Fail> {
    match c.ints_attr(name)? {
        Some(list) => triple(name, &list),
        None => Ok((1, Hw::ONE)),
    }
}

/// Most slices of a filter: the filters that sort results into place are as many times larger.
const MAX_SLICES: usize = 32;

/// Filters over three axes, and the groups that they are in.
struct Filters {
    weights: Tensor,
    groups: usize,
    /// Filters in all, and input channels of each.
    count: usize,
    depth: usize,
}

impl Filters {
    /// Filters in groups of `depth` input channels, as `shape` counts both.
    fn new(
        c: &mut Context<'_, '_>,
        w: ValueId,
        shape: impl FnOnce(&[usize], usize) -> (usize, usize),
    ) -> Result<Filters, Fail> {
        let Some(weights) = c.tensor(w).cloned() else {
            return unsupported("filters over three axes that are not constant");
        };
        let groups = usize::try_from(c.int_or("group", 1)?).unwrap_or(0);
        let dims = weights.shape().dims();
        let fits = dims.len() == 5 && groups > 0 && dims[0].is_multiple_of(groups);
        // Without elements nothing bounds the number of filters.
        let fits = fits && weights.elements() > 0;
        if !fits || dims[2] > MAX_SLICES {
            return unsupported(format!("filters {} in {groups} groups", weights.shape()));
        }
        let kernel: Vec<i64> = dims[2..].iter().map(|&n| n as i64).collect();
        if let Some(given) = c.ints_attr("kernel_shape")?
            && given != kernel
        {
            let shape = weights.shape();
            return unsupported(format!("filters {shape} do not fit kernel_shape {given:?}"));
        }
        let (count, depth) = shape(dims, groups);
        Ok(Filters { weights, groups, count, depth })
    }

    /// Filters `OC*KD,KH,KW,IC/groups` over rows and columns, those of the slices of a filter side by
    /// side, from the place of each element; and filters `OC,KD,1,KD` over slices that bring what each
    /// of them gives to where it belongs.
    fn split(&self, at: impl Fn(usize, usize) -> usize) -> Result<[Tensor; 2], Fail> {
        let &[_, _, slices, kh, kw] = self.weights.shape().dims() else {
            return unsupported(format!("filters {}", self.weights.shape()));
        };
        let (from, taps) = (self.weights.to_f32(), kh * kw);
        let mut planes = Vec::with_capacity(from.len());
        for filter in 0..self.count {
            for slice in 0..slices {
                for tap in 0..taps {
                    let place = |channel| (at(filter, channel) * slices + slice) * taps + tap;
                    planes.extend((0..self.depth).map(|channel| from[place(channel)]));
                }
            }
        }
        let identity = (0..slices * slices).map(|i| f32::from(i / slices == i % slices));
        let sorting: Vec<f32> = (0..self.count).flat_map(|_| identity.clone()).collect();
        let made = |dims: &[usize], data| {
            Tensor::from_vec(dims, data).map_err(|error| Fail::Unsupported(error.to_string()))
        };
        let planes = made(&[self.count * slices, kh, kw, self.depth], planes)?;
        Ok([planes, made(&[self.count, slices, 1, slices], sorting)?])
    }
}

/// Over rows and columns of every slice, once for each slice of the filters; then over slices, where
/// the sums of what the slices of a filter give are taken.
pub(super) fn conv(
    c: &mut Context<'_, '_>,
    x: ValueId,
    w: ValueId,
    b: Option<ValueId>,
) -> Result<ValueId, Fail> {
    let filters = Filters::new(c, w, |dims, _| (dims[0], dims[1]))?;
    let (strides, dilations) = (attribute(c, "strides")?, attribute(c, "dilations")?);
    let (slices, plane) = padding(c)?;
    let weights = filters.split(|filter, channel| filter * filters.depth + channel)?;
    let op = |stride, dilation, padding, groups| Conv2d {
        stride,
        dilation,
        padding,
        groups,
        activation: Activation::Identity,
    };
    let plane = op(strides.1, dilations.1, plane, filters.groups);
    let along = op(down(strides.0), down(dilations.0), slices, filters.count);
    Ok(over_planes(c, x, (plane.into(), along.into()), weights, b))
}

/// As [`conv`], transposed.
pub(super) fn conv_transpose(
    c: &mut Context<'_, '_>,
    x: ValueId,
    w: ValueId,
    b: Option<ValueId>,
) -> Result<ValueId, Fail> {
    let filters = Filters::new(c, w, |dims, groups| (groups * dims[1], dims[0] / groups))?;
    let (strides, dilations) = (attribute(c, "strides")?, attribute(c, "dilations")?);
    let auto = c.text_or("auto_pad", "NOTSET")?;
    if !matches!(auto.as_str(), "NOTSET" | "VALID" | "") || c.ints_attr("output_shape")?.is_some() {
        return unsupported("auto_pad or output_shape over three axes");
    }
    let mut list = |name: &str, len| -> Result<Vec<usize>, Fail> {
        let list = c.ints_attr(name)?.unwrap_or_else(|| vec![0; len]);
        let whole: Option<Vec<_>> = list.iter().map(|&n| usize::try_from(n).ok()).collect();
        match whole.filter(|list| list.len() == len) {
            Some(whole) => Ok(whole),
            None => unsupported(format!("{name} {list:?}")),
        }
    };
    let (pads, added) = (list("pads", 6)?, list("output_padding", 3)?);
    let per_group = filters.count / filters.groups;
    let weights = filters.split(|filter, channel| {
        let (group, filter) = (filter / per_group, filter % per_group);
        (group * filters.depth + channel) * per_group + filter
    })?;
    let op = |stride, dilation, padding, output_padding, groups| ConvTranspose2d {
        stride,
        dilation,
        padding,
        output_padding,
        groups,
        activation: Activation::Identity,
    };
    let around = Pad2d { top: pads[1], left: pads[2], bottom: pads[4], right: pads[5] };
    let more = Hw { h: added[1], w: added[2] };
    let plane = op(strides.1, dilations.1, around, more, filters.groups);
    let around = Pad2d { top: pads[0], bottom: pads[3], ..Pad2d::ZERO };
    let more = Hw { h: added[0], w: 0 };
    let along = op(down(strides.0), down(dilations.0), around, more, filters.count);
    Ok(over_planes(c, x, (plane.into(), along.into()), weights, b))
}

/// One operation over rows and columns, and one over slices, that end in the axes of the file.
fn over_planes(
    c: &mut Context<'_, '_>,
    x: ValueId,
    (plane, along): (Op, Op),
    [planes, sorting]: [Tensor; 2],
    b: Option<ValueId>,
) -> ValueId {
    let x = c.transpose("ndhwc", x, CHANNELS_LAST);
    let (rest, any) = (extents(c, "slice", x, [2, 5]), c.ints("any", &[-1]));
    let x_planes = reshape(c, "planes", x, &[any, rest]);
    let w = c.constant("planes.ohwi", planes);
    let y = c.add("plane", plane, &[x_planes, w]);
    // A picture of a row for each slice.
    let slices = extents(c, "slices", x, [0, 2]);
    let (plane, channels) = (extents(c, "windows", y, [1, 3]), extents(c, "channels", y, [3, 4]));
    let rows = reshape(c, "rows", y, &[slices, any, channels]);
    let w = c.constant("slices.ohwi", sorting);
    let y = c.add_many("", along, &[Some(rows), Some(w), b], 1)[0];
    let (lead, last) = (extents(c, "results", y, [0, 2]), extents(c, "filters", y, [3, 4]));
    let y = reshape(c, "volume", y, &[lead, plane, last]);
    c.transpose("ncdhw", y, CHANNELS_SECOND)
}

/// Along the rows of a picture.
fn down(h: usize) -> Hw {
    Hw { h, w: 1 }
}

/// The padding of slices, as rows of a picture, and of rows and columns.
fn padding(c: &mut Context<'_, '_>) -> Result<(Padding, Padding), Fail> {
    let pads = c.ints_attr("pads")?.unwrap_or_else(|| vec![0; 6]);
    match c.text_or("auto_pad", "NOTSET")?.as_str() {
        "NOTSET" | "" => {}
        "VALID" => {
            let none = Padding::Explicit(Pad2d::ZERO);
            return Ok((none, none));
        }
        "SAME_UPPER" => return Ok((Padding::Same, Padding::Same)),
        "SAME_LOWER" => return Ok((Padding::SameLower, Padding::SameLower)),
        other => return unsupported(format!("auto_pad = {other} is not supported")),
    }
    let [front, top, left, back, bottom, right] = pads[..] else {
        return unsupported(format!("its pads {pads:?} are of another number"));
    };
    let slices = explicit(Space::Picture, Some(&[front, 0, back, 0]))?;
    Ok((slices, explicit(Space::Picture, Some(&[top, left, bottom, right]))?))
}

/// Some of the extents of a value.
fn extents(c: &mut Context<'_, '_>, role: &str, x: ValueId, [start, end]: [i64; 2]) -> ValueId {
    c.add(role, ShapeOf { start, end: Some(end) }, &[x])
}

fn reshape(c: &mut Context<'_, '_>, role: &str, x: ValueId, extents: &[ValueId]) -> ValueId {
    let shape = c.add(&format!("{role}.extents"), Concat { axis: 0 }, extents);
    c.add(role, Reshape { allow_zero: false }, &[x, shape])
}
