//! Normalizations.

use super::context::{Context, Fail, reshaped, unsupported};
use super::{Row, row};
use depthwise_layers::ir::ValueId;
use depthwise_layers::{BatchNorm, BinaryFn, Cast, Reduce, ReduceFn, Unary, UnaryFn};
use depthwise_tensor::{DType, Tensor};

pub(super) const ROWS: &[Row] = &[
    row("BatchNormalization", batch_norm),
    row("LayerNormalization", layer_norm),
    row("Normalization", normalization),
];

/// The one axis that a setting names.
fn axis(c: &mut Context<'_, '_>, default: i64) -> Result<i64, Fail> {
    match c.ints("axis")?.as_deref() {
        None => Ok(default),
        Some(&[axis]) => Ok(axis),
        Some(axes) => unsupported(format!("axis = {axes:?} is not supported")),
    }
}

fn batch_norm(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let axis = axis(c, -1)?;
    let epsilon = c.float("epsilon", 1e-3)?;
    let (scale, center) = (c.flag("scale", true)?, c.flag("center", true)?);
    if c.flag("renorm", false)? {
        return unsupported("renorm = true is not supported");
    }
    // How training goes about it.
    c.ignore(&["virtual_batch_size", "fused", "renorm_clipping"]);
    let x = c.input()?;
    // Their numbers count only those that there are.
    let mut index = 0;
    let mut next = |c: &mut Context<'_, '_>, there: bool, name: &str| {
        if !there {
            return Ok(None);
        }
        index += 1;
        c.plain_weight(&[name], index - 1).map(Some)
    };
    let gamma = next(c, scale, "gamma")?;
    let beta = next(c, center, "beta")?;
    let mean = next(c, true, "moving_mean")?;
    let variance = next(c, true, "moving_variance")?;
    let op = BatchNorm { epsilon, axis };
    Ok(vec![c.add_with("", op, &[Some(x), gamma, beta, mean, variance])?])
}

/// `(x - mean) / sqrt(variance + epsilon) * gamma + beta`, with mean and variance of each sample
/// along the last axis (Ba et al. 2016).
fn layer_norm(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let axis = axis(c, -1)?;
    let epsilon = c.float("epsilon", 1e-3)?;
    let (scale, center) = (c.flag("scale", true)?, c.flag("center", true)?);
    if c.flag("rms_scaling", false)? {
        return unsupported("rms_scaling = true is not supported");
    }
    let x = c.input()?;
    if axis != -1 && c.rank(x).is_none_or(|rank| axis != rank as i64 - 1) {
        return unsupported(format!("axis = {axis} is not the last"));
    }
    let mean = |axes| Reduce { function: ReduceFn::Mean, axes, keep_dims: true };
    let centre = c.add("mean", mean(vec![-1]), &[x])?;
    let deviation = c.binary("deviation", BinaryFn::Sub, x, centre)?;
    let square = c.binary("square", BinaryFn::Mul, deviation, deviation)?;
    let variance = c.add("variance", mean(vec![-1]), &[square])?;
    let epsilon = c.constant("epsilon", Tensor::scalar(epsilon));
    let variance = c.binary("stable", BinaryFn::Add, variance, epsilon)?;
    let root = c.add("root", Unary { function: UnaryFn::Sqrt }, &[variance])?;
    let mut y = c.binary("normal", BinaryFn::Div, deviation, root)?;
    if scale {
        let gamma = c.plain_weight(&["gamma"], 0)?;
        y = c.binary("scaled", BinaryFn::Mul, y, gamma)?;
    }
    if center {
        let beta = c.plain_weight(&["beta"], usize::from(scale))?;
        y = c.binary("", BinaryFn::Add, y, beta)?;
    }
    Ok(vec![y])
}

/// What keeps a deviation from being 0.
const EPSILON: f32 = 1e-7;

/// `(x - mean) / max(sqrt(variance), epsilon)` along the last axis, with statistics of the
/// training data, which are settings or weights.
fn normalization(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let x = c.input()?;
    match (c.ints("axis")?.as_deref(), c.rank(x)) {
        // One mean and variance for all elements.
        (None | Some([] | [-1]), _) => {}
        (Some(&[axis]), Some(rank)) if axis == rank as i64 - 1 => {}
        (Some(axes), _) => return unsupported(format!("axis = {axes:?} is not the last")),
    }
    if c.flag("invert", false)? {
        return unsupported("invert = true is not supported");
    }
    let (mean, variance) = match (c.floats("mean")?, c.floats("variance")?) {
        (Some(mean), Some(variance)) => (mean, variance),
        _ => {
            let flat = |name: &str, index: usize| {
                let tensor = c.weight(&[name], index)?;
                let tensor = reshaped(&tensor, &[tensor.elements()])?;
                Ok::<_, Fail>(tensor.to_f32().into_owned())
            };
            (flat("mean", 0)?, flat("variance", 1)?)
        }
    };
    let deviation = variance.iter().map(|v| v.sqrt().max(EPSILON)).collect();
    let (mean, deviation) = (c.numbers("mean", mean), c.numbers("deviation", deviation));
    let x = if c.is_integer(x) { c.add("float", Cast { to: DType::F32 }, &[x])? } else { x };
    let y = c.binary("centred", BinaryFn::Sub, x, mean)?;
    Ok(vec![c.binary("", BinaryFn::Div, y, deviation)?])
}
