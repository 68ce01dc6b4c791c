//! Pools and interpolation.

use super::context::{Context, Fail, unsupported};
use super::convolution::{hw, padding};
use super::{Row, row};
use depthwise_layers::ir::ValueId;
use depthwise_layers::{Coordinates, NearestRounding, Pool2d, PoolKind, Resize, ResizeMode};
use depthwise_tensor::Hw;

pub(super) const ROWS: &[Row] = &[
    row(1, "AVERAGE_POOL_2D", |c| pool(c, PoolKind::Average { include_pad: false })),
    row(17, "MAX_POOL_2D", |c| pool(c, PoolKind::Max)),
    row(23, "RESIZE_BILINEAR", |c| {
        let coordinates = coordinates(c, 2)?;
        resize(c, Resize { mode: ResizeMode::Linear, coordinates })
    }),
    row(97, "RESIZE_NEAREST_NEIGHBOR", resize_nearest),
];

fn pool(c: &mut Context<'_, '_>, kind: PoolKind) -> Result<Vec<ValueId>, Fail> {
    let x = c.input(0)?;
    let pool = Pool2d {
        kind,
        kernel: hw(c, 3, 0, "window")?,
        stride: hw(c, 1, 0, "stride")?,
        dilation: Hw::ONE,
        padding: padding(c)?,
        ceil_mode: false,
    };
    let activation = c.activation(5)?;
    let y = c.add("", pool, &[x])?;
    Ok(vec![c.activate(y, activation)?])
}

/// The mapping of positions: fields "align corners" and "half-pixel centres".
fn coordinates(c: &Context<'_, '_>, align: usize) -> Result<Coordinates, Fail> {
    match (c.flag(align)?, c.flag(align + 1)?) {
        (true, true) => unsupported("aligned corners together with half-pixel centres"),
        (true, false) => Ok(Coordinates::AlignCorners),
        (false, true) => Ok(Coordinates::HalfPixel),
        (false, false) => Ok(Coordinates::Asymmetric),
    }
}

fn resize_nearest(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let coordinates = coordinates(c, 0)?;
    // Aligned corners round half away from zero. Half-pixel centres take the sample whose cell
    // holds the centre: the floor of (o + 0.5) / s, which is o' = (o + 0.5) / s - 0.5 rounded with
    // halves up.
    let rounding = match coordinates {
        Coordinates::Asymmetric => NearestRounding::Floor,
        _ => NearestRounding::RoundPreferCeil,
    };
    resize(c, Resize { mode: ResizeMode::Nearest(rounding), coordinates })
}

fn resize(c: &mut Context<'_, '_>, resize: Resize) -> Result<Vec<ValueId>, Fail> {
    let x = c.input(0)?;
    let hw = match c.ints(1, "sizes")?[..] {
        [h, w] if h > 0 && w > 0 => [h, w],
        ref sizes => return unsupported(format!("the sizes {sizes:?}")),
    };
    let sizes = c.picture_extents(x, hw)?;
    Ok(vec![c.add("", resize, &[x, sizes])?])
}
