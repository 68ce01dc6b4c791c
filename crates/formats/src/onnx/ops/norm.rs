//! Normalizations.

use super::context::{Context, Fail, unsupported};
use super::{Row, row};
use depthwise_layers::ir::ValueId;
use depthwise_layers::{
    BatchNorm, BinaryFn, Flatten, Padding, Pool2d, PoolKind, Reduce, ReduceFn, Reshape, ShapeOf,
    Softmax, Unary, UnaryFn, Unsqueeze,
};
use depthwise_tensor::{Hw, MAX_RANK, Pad2d};

pub(super) const ROWS: &[Row] = &[
    row("BatchNormalization", 7, batch_norm),
    row("GroupNormalization", 21, group_norm),
    row("InstanceNormalization", 7, instance_norm),
    row("LayerNormalization", 17, layer_norm),
    row("LRN", 7, local_response_norm),
    row("LogSoftmax", 7, |c| softmax(c, true)),
    row("LpNormalization", 7, lp_norm),
    row("MeanVarianceNormalization", 9, mean_variance_norm),
    row("RMSNormalization", 23, rms_norm),
    row("Softmax", 7, |c| softmax(c, false)),
];

fn batch_norm(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let operands = [c.input(0)?, c.input(1)?, c.input(2)?, c.input(3)?, c.input(4)?];
    let epsilon = c.float_or("epsilon", 1e-5)?;
    // Statistics per element instead of per channel; version 9 dropped it.
    c.only("spatial", 1)?;
    let momentum = c.float_or("momentum", 0.9)?;
    if c.flag("training_mode", false)? {
        return batch_statistics(c, operands, epsilon, momentum);
    }
    Ok(vec![c.add("", BatchNorm { epsilon, axis: 1 }, &operands)])
}

/// With the statistics of the batch, which the further results mix with those given.
fn batch_statistics(
    c: &mut Context<'_, '_>,
    [x, scale, bias, mean, variance]: [ValueId; 5],
    epsilon: f32,
    momentum: f32,
) -> Result<Vec<ValueId>, Fail> {
    let (rank, dtype) = (c.rank(x)? as i64, c.dtype(x)?);
    let axes: Vec<i64> = (0..rank).filter(|&axis| axis != 1).collect();
    let reduce = || Reduce { function: ReduceFn::Mean, axes: axes.clone(), keep_dims: false };
    // From C to C,1,1 so that it meets the channel axis.
    let columns = || Unsqueeze { axes: (1..rank - 1).collect() };
    let (scale, bias) = (c.add("scale", columns(), &[scale]), c.add("bias", columns(), &[bias]));
    let Centred { difference, deviation, .. } = centre(c, x, &axes, epsilon)?;
    let normal = c.binary("normal", BinaryFn::Div, difference, deviation);
    let scaled = c.binary("scaled", BinaryFn::Mul, normal, scale);
    let mut results = vec![c.binary("", BinaryFn::Add, scaled, bias)];
    if !c.wants_output(1) && !c.wants_output(2) {
        return Ok(results);
    }
    let square = c.binary("deviation.square", BinaryFn::Mul, difference, difference);
    for (role, of, given) in [("mean", x, mean), ("variance", square, variance)] {
        let batch = c.add(&format!("batch.{role}"), reduce(), &[of]);
        let (old, new) = (
            c.scalar(&format!("old.{role}"), dtype, momentum.into()),
            c.scalar(&format!("new.{role}"), dtype, 1.0 - f64::from(momentum)),
        );
        let old = c.binary(&format!("kept.{role}"), BinaryFn::Mul, given, old);
        let new = c.binary(&format!("added.{role}"), BinaryFn::Mul, batch, new);
        results.push(c.binary(&format!("running.{role}"), BinaryFn::Add, old, new));
    }
    Ok(results)
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

/// Over the pixels and channels of each group of channels; scale and bias per channel.
fn group_norm(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let (x, scale, bias) = (c.input(0)?, c.input(1)?, c.input(2)?);
    let epsilon = c.float_or("epsilon", 1e-5)?;
    c.ignore(&["stash_type"]);
    let Some(groups) = c.int_attr("num_groups")?.filter(|&groups| groups > 0) else {
        return unsupported("its attribute \"num_groups\" is missing or not positive");
    };
    let rank = c.rank(x)? as i64;
    if rank < 3 {
        return unsupported(format!("its input has {rank} dimensions; it takes 3 or more"));
    }
    let shape = c.add("shape", ShapeOf { start: 0, end: None }, &[x]);
    let split = c.ints("groups", &[0, groups, -1]);
    let rows = c.add("rows", Reshape { allow_zero: false }, &[x, split]);
    let Centred { difference, deviation, .. } = centre(c, rows, &[-1], epsilon)?;
    let normal = c.binary("normal", BinaryFn::Div, difference, deviation);
    let normal = c.add("whole", Reshape { allow_zero: true }, &[normal, shape]);
    let columns = || Unsqueeze { axes: (1..rank - 1).collect() };
    let (scale, bias) = (c.add("scale", columns(), &[scale]), c.add("bias", columns(), &[bias]));
    let scaled = c.binary("scaled", BinaryFn::Mul, normal, scale);
    Ok(vec![c.binary("", BinaryFn::Add, scaled, bias)])
}

/// Divided by the sum of sizes, or by the root of the sum of squares, along an axis.
fn lp_norm(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let x = c.input(0)?;
    let axes = vec![c.int_or("axis", -1)?];
    let function = match c.int_or("p", 2)? {
        1 => ReduceFn::L1,
        2 => ReduceFn::L2,
        p => return unsupported(format!("p = {p}")),
    };
    let size = c.add("size", Reduce { function, axes, keep_dims: true }, &[x]);
    let dtype = c.dtype(x)?;
    // Where all is 0, the result is 0.
    let (zero, one) = (c.scalar("zero", dtype, 0.0), c.scalar("one", dtype, 1.0));
    let empty = c.binary("empty", BinaryFn::Equal, size, zero);
    let size = c.add("divisor", depthwise_layers::Select, &[empty, one, size]);
    Ok(vec![c.binary("", BinaryFn::Div, x, size)])
}

/// Less the mean, over the deviation, of given axes.
fn mean_variance_norm(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let x = c.input(0)?;
    let axes = c.ints_attr("axes")?.unwrap_or_else(|| vec![0, 2, 3]);
    // The operator's definition adds this to the deviation itself.
    const EPSILON: f64 = 1e-9;
    let Centred { difference, deviation, .. } = centre(c, x, &axes, 0.0)?;
    let epsilon = c.scalar("least", c.dtype(x)?, EPSILON);
    let deviation = c.binary("divisor", BinaryFn::Add, deviation, epsilon);
    Ok(vec![c.binary("", BinaryFn::Div, difference, deviation)])
}

/// Divided by the root of the mean square over all axes from one on (Zhang and Sennrich 2019).
fn rms_norm(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let (x, scale) = (c.input(0)?, c.input(1)?);
    let epsilon = c.float_or("epsilon", 1e-5)?;
    let axis = c.int_or("axis", -1)?;
    c.ignore(&["stash_type"]);
    let first = if axis < 0 { axis } else { axis - c.rank(x)? as i64 };
    if !(-(MAX_RANK as i64)..0).contains(&first) {
        return unsupported(format!("axis = {axis} is out of range"));
    }
    let dtype = c.dtype(x)?;
    let square = c.binary("square", BinaryFn::Mul, x, x);
    let op = Reduce { function: ReduceFn::Mean, axes: (first..0).collect(), keep_dims: true };
    let mean = c.add("mean.square", op, &[square]);
    let epsilon = c.scalar("epsilon", dtype, epsilon.into());
    let raised = c.binary("raised", BinaryFn::Add, mean, epsilon);
    let root = c.add("root", Unary { function: UnaryFn::Sqrt }, &[raised]);
    let normal = c.binary("normal", BinaryFn::Div, x, root);
    Ok(vec![c.binary("", BinaryFn::Mul, normal, scale)])
}

/// `x / (bias + alpha * mean)^beta`, with the mean of the squares of the channels around each,
/// those beside the picture counted as 0 (Krizhevsky et al. 2012).
fn local_response_norm(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let x = c.input(0)?;
    let (alpha, beta) = (c.float_or("alpha", 1e-4)?, c.float_or("beta", 0.75)?);
    let bias = c.float_or("bias", 1.0)?;
    let size = match c.int_attr("size")? {
        Some(size @ 1..=65536) => size as usize,
        size => return unsupported(format!("size = {size:?}")),
    };
    let dtype = c.dtype(x)?;
    let square = c.binary("square", BinaryFn::Mul, x, x);
    // Channels as the rows of pictures of one channel, all pixels as columns.
    let shape = c.add("shape", ShapeOf { start: 0, end: None }, &[x]);
    let rows = c.ints("rows", &[0, 0, -1, 1]);
    let rows = c.add("channels", Reshape { allow_zero: false }, &[square, rows]);
    let before = (size - 1) / 2;
    let pool = Pool2d {
        kind: PoolKind::Average { include_pad: true },
        kernel: Hw { h: size, w: 1 },
        stride: Hw::ONE,
        dilation: Hw::ONE,
        padding: Padding::Explicit(Pad2d { top: before, bottom: size - 1 - before, ..Pad2d::ZERO }),
        ceil_mode: false,
    };
    let mean = c.add("mean", pool, &[rows]);
    let mean = c.add("whole", Reshape { allow_zero: true }, &[mean, shape]);
    let mut number = |role: &str, value: f32| c.scalar(role, dtype, value.into());
    let (alpha, beta, bias) = (number("alpha", alpha), number("beta", beta), number("bias", bias));
    let scaled = c.binary("scaled", BinaryFn::Mul, mean, alpha);
    let raised = c.binary("raised", BinaryFn::Add, scaled, bias);
    let divisor = c.binary("divisor", BinaryFn::Pow, raised, beta);
    Ok(vec![c.binary("", BinaryFn::Div, x, divisor)])
}
