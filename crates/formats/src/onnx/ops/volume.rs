//! Pools over three axes, as pools over two of them and one more.

use super::context::{Context, Fail, unsupported};
use super::picture::{Space, explicit};
use depthwise_layers::ir::ValueId;
use depthwise_layers::{Concat, Padding, Pool2d, PoolKind, Reshape, ShapeOf};
use depthwise_tensor::{Hw, Pad2d};

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
    let triple = |name: &str, list: &[i64]| match *list {
        [d, h, w] => {
            let plane = Space::Picture.hw(name, &[h, w])?;
            Ok((Space::Signal.hw(name, &[d])?.w, plane))
        }
        _ => unsupported(format!("its {name} {list:?} do not fit the number of axes")),
    };
    let mut attribute = |name: &str| match c.ints_attr(name)? {
        Some(list) => triple(name, &list),
        None => Ok((1, Hw::ONE)),
    };
    let (strides, dilations) = (attribute("strides")?, attribute("dilations")?);
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
    let down = |h: usize| Hw { h, w: 1 };
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
