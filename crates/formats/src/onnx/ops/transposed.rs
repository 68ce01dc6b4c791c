//! Transposed convolutions.

use super::context::{Context, Fail, unsupported};
use super::picture::{Space, enter, leave};
use super::{Row, row, volume};
use depthwise_layers::ir::ValueId;
use depthwise_layers::{Activation, ConvTranspose2d, Reshape};
use depthwise_tensor::{Hw, Pad2d, Tensor};

pub(super) const ROWS: &[Row] = &[row("ConvTranspose", 7, conv_transpose)];

/// One axis: pads before and after, and elements added after.
type Ends = (usize, usize, usize);

fn conv_transpose(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let (x, w, b) = (c.input(0)?, c.input(1)?, c.optional(2));
    // Of weights that follow from constants, as those in half precision do, the extents are enough.
    let Some(shape) = c.weight_shape(w) else {
        return match c.facts(w).poisoned {
            true => Err(Fail::Poisoned),
            false => unsupported("its weights are not constant"),
        };
    };
    let taps = shape.get(2..).unwrap_or_default().to_vec();
    if taps.len() == 3 {
        return Ok(vec![volume::conv_transpose(c, x, w, b)?]);
    }
    let space = Space::of(taps.len())?;
    let as_list = |taps: &[usize]| taps.iter().map(|&n| n as i64).collect::<Vec<_>>();
    if let Some(kernel) = c.ints_attr("kernel_shape")?
        && kernel != as_list(&taps)
    {
        return unsupported(format!("filters {shape} do not fit kernel_shape {kernel:?}"));
    }
    let kernel = space.hw("kernel", &as_list(&taps))?;
    let mut pair = |name: &str| match c.ints_attr(name)? {
        Some(list) => space.hw(name, &list),
        None => Ok(Hw::ONE),
    };
    let (stride, dilation) = (pair("strides")?, pair("dilations")?);
    let groups = c.int_or("group", 1)?;
    let Some(groups) = usize::try_from(groups).ok().filter(|&groups| groups > 0) else {
        return unsupported(format!("group = {groups}"));
    };
    let reach = |taps: usize, dilation: usize| {
        dilation.saturating_mul(taps.saturating_sub(1)).saturating_add(1)
    };
    let reach = [reach(kernel.h, dilation.h), reach(kernel.w, dilation.w)];
    let [rows, columns] = ends(c, space, x, reach, [stride.h, stride.w])?;
    let op = ConvTranspose2d {
        stride,
        dilation,
        padding: Pad2d { top: rows.0, bottom: rows.1, left: columns.0, right: columns.1 },
        output_padding: Hw { h: rows.2, w: columns.2 },
        groups,
        activation: Activation::Identity,
    };
    let x = enter(c, space, "nhwc", x);
    if !shape[0].is_multiple_of(groups) {
        return unsupported(format!("group {groups} does not divide {} channels", shape[0]));
    }
    let w = match c.tensor(w).cloned() {
        Some(weights) => {
            let w = filters(&weights, groups, kernel)?;
            c.constant("ohwi", w)
        }
        None => turned_filters(c, w, groups, &shape, kernel),
    };
    let y = c.add_many("", op, &[Some(x), Some(w), b], 1)[0];
    Ok(vec![leave(c, space, y)])
}

/// `IC,OC/groups,KH,KW` to `OC,KH,KW,IC/groups`.
fn filters(weights: &Tensor, groups: usize, kernel: Hw) -> Result<Tensor, Fail> {
    let shape = weights.shape();
    let (ic, per_group) = (shape[0], shape[1]);
    let depth = ic / groups;
    let taps = kernel.h * kernel.w;
    let from = weights.to_f32();
    let mut to = Vec::with_capacity(from.len());
    for group in 0..groups {
        for oc in 0..per_group {
            for tap in 0..taps {
                let channels = group * depth..(group + 1) * depth;
                to.extend(channels.map(|ic| from[(ic * per_group + oc) * taps + tap]));
            }
        }
    }
    let dims = [groups * per_group, kernel.h, kernel.w, depth];
    Tensor::from_vec(&dims, to).map_err(|error| Fail::Unsupported(error.to_string()))
}

/// As [`filters`], by operations on weights that are not constant yet.
fn turned_filters(
    c: &mut Context<'_, '_>,
    w: ValueId,
    groups: usize,
    shape: &[usize],
    kernel: Hw,
) -> ValueId {
    let (depth, per_group) = (shape[0] / groups, shape[1]);
    let extents = |dims: &[usize]| dims.iter().map(|&n| n as i64).collect::<Vec<_>>();
    let split = c.ints("split", &extents(&[groups, depth, per_group, kernel.h, kernel.w]));
    let w = c.add("groups", Reshape { allow_zero: true }, &[w, split]);
    let w = c.transpose("ohwi.groups", w, &[0, 2, 3, 4, 1]);
    let whole = c.ints("whole", &extents(&[groups * per_group, kernel.h, kernel.w, depth]));
    c.add("ohwi", Reshape { allow_zero: true }, &[w, whole])
}

/// The ends of rows and columns. With SAME the result has `stride` times the extent; a given shape
/// needs the extents of the input, which are known of the inputs of the network.
fn ends(
    c: &mut Context<'_, '_>,
    space: Space,
    x: ValueId,
    reach: [usize; 2],
    stride: [usize; 2],
) -> Result<[Ends; 2], Fail> {
    let axes = space.axes();
    let added = c.ints_attr("output_padding")?.unwrap_or_else(|| vec![0; axes]);
    let pads = c.ints_attr("pads")?.unwrap_or_else(|| vec![0; 2 * axes]);
    let target = c.ints_attr("output_shape")?;
    let auto = c.text_or("auto_pad", "NOTSET")?;
    if added.len() != axes || pads.len() != 2 * axes {
        return unsupported(format!("pads {pads:?}, output_padding {added:?}"));
    }
    // Signals have one axis, the last.
    let first = 2 - axes;
    let mut all = [(0, 0, 0); 2];
    for axis in 0..axes {
        let (reach, stride) = (reach[first + axis] as i64, stride[first + axis] as i64);
        let added = added[axis];
        let cut = match (&target, auto.as_str()) {
            (Some(target), _) => {
                let Some(extent) = c.input_extents(x).and_then(|dims| dims.get(2 + axis).copied())
                else {
                    return unsupported("output_shape of an input whose extents are not known");
                };
                let size = target.get(target.len() - axes + axis).copied().unwrap_or(0);
                let natural = stride.saturating_mul(extent as i64 - 1).saturating_add(reach);
                // A larger result ends in elements that no tap reaches.
                if natural.saturating_add(added) < size {
                    all[first + axis] = resolved(0, 0, size.saturating_sub(natural))?;
                    continue;
                }
                natural.saturating_add(added).saturating_sub(size)
            }
            (None, "SAME_UPPER" | "SAME_LOWER") => added + reach - stride,
            (None, "NOTSET" | "VALID" | "") => 0,
            (None, other) => return unsupported(format!("auto_pad = {other} is not supported")),
        };
        let explicit = target.is_none() && !auto.starts_with("SAME");
        let (before, after) = match explicit {
            true => (pads[axis], pads[axes + axis]),
            // The odd one goes to the end, unless SAME_UPPER says otherwise.
            false if auto == "SAME_UPPER" => (cut / 2, cut - cut / 2),
            false => (cut - cut / 2, cut / 2),
        };
        all[first + axis] = resolved(before, after, added)?;
    }
    Ok(all)
}

/// Pads below zero at the end are elements added.
fn resolved(before: i64, after: i64, added: i64) -> Result<Ends, Fail> {
    let more = added + (-after).max(0);
    match (usize::try_from(before), usize::try_from(after.max(0)), usize::try_from(more)) {
        (Ok(before), Ok(after), Ok(more)) => Ok((before, after, more)),
        _ => unsupported(format!("pads {before} and {after}, output_padding {added}")),
    }
}
