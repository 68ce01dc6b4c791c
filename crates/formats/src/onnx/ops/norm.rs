//! Normalizations.

use super::context::{Context, Fail, unsupported};
use super::{Row, row};
use depthwise_layers::ir::ValueId;
use depthwise_layers::{
    BatchNorm, BinaryFn, Flatten, Reduce, ReduceFn, Reshape, ShapeOf, Softmax, Unary, UnaryFn,
    Unsqueeze,
};
use depthwise_tensor::MAX_RANK;

pub(super) const ROWS: &[Row] = &[
    row("BatchNormalization", 7, batch_norm),
    row("InstanceNormalization", 7, instance_norm),
    row("LayerNormalization", 17, layer_norm),
    row("LogSoftmax", 7, |c| softmax(c, true)),
    row("Softmax", 7, |c| softmax(c, false)),
];

fn batch_norm(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let operands = [c.input(0)?, c.input(1)?, c.input(2)?, c.input(3)?, c.input(4)?];
    let epsilon = c.float_or("epsilon", 1e-5)?;
    c.only("training_mode", 0)?;
    // Statistics per element instead of per channel; version 9 dropped it.
    c.only("spatial", 1)?;
    c.ignore(&["momentum"]);
    Ok(vec![c.add("", BatchNorm { epsilon, axis: 1 }, &operands)])
}

/// Since version 13 along one axis; before, over all axes from one on taken together.
fn softmax(c: &mut Context<'_, '_>, log: bool) -> Result<Vec<ValueId>, Fail> {
    let x = c.input(0)?;
    let default = if c.version < 13 { 1 } else { -1 };
    let axis = c.int_or("axis", default)?;
    let rank = c.facts(x).rank.map(|rank| rank as i64);
    let last = axis == -1 || rank.map(|rank| rank - 1) == Some(axis);
    if c.version >= 13 || last {
        return Ok(vec![c.add("", Softmax { axis, log }, &[x])]);
    }
    let shape = c.add("shape", ShapeOf { start: 0, end: None }, &[x]);
    let flat = c.add("flat", Flatten { axis }, &[x]);
    let y = c.add("", Softmax { axis: 1, log }, &[flat]);
    Ok(vec![c.add("unflat", Reshape { allow_zero: true }, &[y, shape])])
}

/// The parts of a normalization over `axes`: `x` minus its mean, the deviation, the mean.
struct Centred {
    difference: ValueId,
    deviation: ValueId,
    mean: ValueId,
}

/// `x - mean(x)` and `sqrt(var(x) + epsilon)` over axes that are kept.
fn centre(
    c: &mut Context<'_, '_>,
    x: ValueId,
    axes: &[i64],
    epsilon: f32,
) -> Result<Centred, Fail> {
    let dtype = c.dtype(x)?;
    let reduce = || Reduce { function: ReduceFn::Mean, axes: axes.to_vec(), keep_dims: true };
    let mean = c.add("mean", reduce(), &[x]);
    let difference = c.binary("difference", BinaryFn::Sub, x, mean);
    let square = c.binary("square", BinaryFn::Mul, difference, difference);
    let variance = c.add("variance", reduce(), &[square]);
    let epsilon = c.scalar("epsilon", dtype, epsilon.into());
    let variance = c.binary("variance.raised", BinaryFn::Add, variance, epsilon);
    let deviation = c.add("deviation", Unary { function: UnaryFn::Sqrt }, &[variance]);
    Ok(Centred { difference, deviation, mean })
}

/// Over all axes from one on, then scale and bias by broadcasting. The mean and the inverse of
/// the deviation are further results.
fn layer_norm(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let (x, scale, bias) = (c.input(0)?, c.input(1)?, c.optional(2));
    let epsilon = c.float_or("epsilon", 1e-5)?;
    let axis = c.int_or("axis", -1)?;
    // The type of the sums: references and kernels here never sum in less than f32.
    c.ignore(&["stash_type"]);
    let first = if axis < 0 { axis } else { axis - c.rank(x)? as i64 };
    if !(-(MAX_RANK as i64)..0).contains(&first) {
        return unsupported(format!("axis = {axis} is out of range"));
    }
    let axes: Vec<i64> = (first..0).collect();
    let Centred { difference, deviation, mean } = centre(c, x, &axes, epsilon)?;
    let normal = c.binary("normal", BinaryFn::Div, difference, deviation);
    let y = c.binary(if bias.is_none() { "" } else { "scaled" }, BinaryFn::Mul, normal, scale);
    let y = match bias {
        None => y,
        Some(bias) => c.binary("", BinaryFn::Add, y, bias),
    };
    let mut results = vec![y];
    if c.wants_output(1) || c.wants_output(2) {
        let inverse = Unary { function: UnaryFn::Reciprocal };
        results.extend([mean, c.add("inverse", inverse, &[deviation])]);
    }
    Ok(results)
}

/// Over the pixels of each channel.
fn instance_norm(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let (x, scale, bias) = (c.input(0)?, c.input(1)?, c.input(2)?);
    let epsilon = c.float_or("epsilon", 1e-5)?;
    let rank = c.rank(x)? as i64;
    if rank < 3 {
        return unsupported(format!("its input has {rank} dimensions; it takes 3 or more"));
    }
    let axes: Vec<i64> = (2..rank).collect();
    // From C to C,1,1 so that it meets the channel axis.
    let columns = || Unsqueeze { axes: (1..rank - 1).collect() };
    let (scale, bias) = (c.add("scale", columns(), &[scale]), c.add("bias", columns(), &[bias]));
    let Centred { difference, deviation, .. } = centre(c, x, &axes, epsilon)?;
    let normal = c.binary("normal", BinaryFn::Div, difference, deviation);
    let scaled = c.binary("scaled", BinaryFn::Mul, normal, scale);
    Ok(vec![c.binary("", BinaryFn::Add, scaled, bias)])
}
