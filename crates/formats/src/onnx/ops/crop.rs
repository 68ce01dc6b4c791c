//! Interpolation in a window of a picture.

use super::context::{Context, Fail, unsupported};
use super::resize::{given, mode, positions};
use depthwise_layers::ir::ValueId;
use depthwise_layers::{BinaryFn, Gather, ResizeAxis, Select};
use depthwise_tensor::{DType, Tensor};

/// Most positions along an axis whose samples are listed while the file is read.
const MOST_PLACES: usize = 1 << 16;

const CROPS: &str = "coordinate_transformation_mode = tf_crop_and_resize";

/// A window of the picture, resized. The window is a constant, in shares of the extents, and may
/// reach outside, where the result is `extrapolation_value`. Along each axis the result is a sum of
/// gathered samples times constant weights.
pub(super) fn resize(
    c: &mut Context<'_, '_>,
    x: ValueId,
    antialias: bool,
    in_proportion: bool,
) -> Result<Vec<ValueId>, Fail> {
    let outside = c.float_or("extrapolation_value", 0.0)?;
    let mode = mode(c, antialias)?;
    if antialias || in_proportion {
        return unsupported(format!("{CROPS} with antialias or keep_aspect_ratio_policy"));
    }
    let Some(extents) = c.input_extents(x) else {
        return unsupported(format!("{CROPS} for extents that are not known"));
    };
    let axes = match c.ints_attr("axes")? {
        Some(axes) => positions(&axes, extents.len())?,
        None => (0..extents.len()).collect(),
    };
    let window = given(c, 1).and_then(|value| c.tensor(value)).map(|roi| roi.to_f32().into_owned());
    let scales = given(c, 2).and_then(|value| c.tensor(value)).map(|s| s.to_f32().into_owned());
    let sizes = match given(c, 3) {
        Some(_) => c.constant_ints(3, "sizes")?,
        None => scales.map(|scales| {
            let size = |(&scale, &axis): (&f32, &usize)| (extents[axis] as f32 * scale) as i64;
            scales.iter().zip(&axes).map(size).collect()
        }),
    };
    let (Some(window), Some(sizes)) = (window, sizes) else {
        return unsupported(format!("{CROPS} without a constant window and constant sizes"));
    };
    let size_of = |&size: &i64| usize::try_from(size).ok().filter(|&n| n <= MOST_PLACES);
    let sizes: Option<Vec<usize>> = sizes.iter().map(size_of).collect();
    let sizes = sizes.filter(|sizes| sizes.len() == axes.len() && window.len() == 2 * axes.len());
    let Some(sizes) = sizes else {
        return unsupported(format!("{CROPS}: its window or sizes do not fit {extents:?}"));
    };
    let dtype = c.dtype(x)?;
    let (mut y, mut masks) = (x, Vec::new());
    for (i, (&axis, &output)) in axes.iter().zip(&sizes).enumerate() {
        let input = extents[axis];
        let (start, end) = (f64::from(window[i]), f64::from(window[axes.len() + i]));
        if input == output && (start, end) == (0.0, 1.0) {
            continue;
        }
        if input == 0 || !(start.is_finite() && end.is_finite()) {
            return unsupported(format!("{CROPS}: {start} to {end} of {input} elements"));
        }
        let last = input as f64 - 1.0;
        let coordinate = |o: usize| match output {
            1 => 0.5 * (start + end) * last,
            _ => start * last + o as f64 * (end - start) * last / (output as f64 - 1.0),
        };
        let scale = output as f64 / input as f64;
        let line = ResizeAxis { input, output, scale };
        let taps: Vec<_> = (0..output).map(|o| mode.taps(&line, coordinate(o))).collect();
        // Along this axis of the result, and 1 along the others.
        let mut shape = vec![1; extents.len()];
        shape[axis] = output;
        y = interpolated(c, y, axis, &taps, &shape, dtype);
        let inside = |o| (0.0..=last).contains(&coordinate(o));
        if !(0..output).all(inside) {
            let inside: Vec<bool> = (0..output).map(inside).collect();
            let mask = Tensor::from_bools(&shape, &inside);
            masks.push(mask.expect("as many truth values as the extents say"));
        }
    }
    for (i, mask) in masks.into_iter().enumerate() {
        let mask = c.constant(&format!("inside{i}"), mask);
        let fill = c.scalar(&format!("outside{i}"), dtype, outside.into());
        y = c.add(&format!("filled{i}"), Select, &[mask, y, fill]);
    }
    Ok(vec![y])
}

/// Along one axis, the sums of samples times weights. `shape` has the extents of the weights.
fn interpolated(
    c: &mut Context<'_, '_>,
    x: ValueId,
    axis: usize,
    taps: &[Vec<(usize, f64)>],
    shape: &[usize],
    dtype: DType,
) -> ValueId {
    let role = |what: &str, tap: usize| format!("axis{axis}.{what}{tap}");
    let mut sum = None;
    for tap in 0..taps.first().map_or(0, Vec::len) {
        let places: Vec<i64> = taps.iter().map(|taps| taps[tap].0 as i64).collect();
        let weights: Vec<f32> = taps.iter().map(|taps| taps[tap].1 as f32).collect();
        let places = c.ints(&role("places", tap), &places);
        let mut part = c.add(&role("samples", tap), Gather { axis: axis as i64 }, &[x, places]);
        if weights.iter().any(|&weight| weight != 1.0) {
            let weights = Tensor::from_vec(shape, weights).expect("one extent fits its list");
            let weights = c.constant(&role("weights", tap), weights);
            let weights = c.as_dtype(&role("weights", tap), weights, dtype);
            part = c.binary(&role("part", tap), BinaryFn::Mul, part, weights);
        }
        sum = Some(match sum {
            None => part,
            Some(sum) => c.binary(&role("sum", tap), BinaryFn::Add, sum, part),
        });
    }
    // Nothing is listed where the result is empty.
    sum.unwrap_or_else(|| {
        let none = c.ints(&role("places", 0), &[]);
        c.add(&role("samples", 0), Gather { axis: axis as i64 }, &[x, none])
    })
}
