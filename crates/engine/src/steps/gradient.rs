//! Training: layers whose weights come with every run, and gradients.

use super::{operand, optional};
use crate::error::LowerError;
use crate::plan::{Arg, BufId, Builder};
use depthwise_kernels::batch_norm::{
    BatchNormF32, BatchNormGradF32, BatchSumsF32, GradSumsF32, segments,
};
use depthwise_kernels::conv2d_bwd::{FoldF32, PatchesF32, WeightGradF32, WeightGradSpec};
use depthwise_kernels::dwconv_bwd::{DwGradSpec, DwInputGradF32, DwWeightGradF32};
use depthwise_kernels::dwconv_f32::{DwConvF32, DwSpec, PackDwF32};
use depthwise_kernels::eltwise::{BinaryF32, BinaryOp, UnaryF32, UnaryOp};
use depthwise_kernels::gemm_f32::{MatMulF32, MatMulSpec};
use depthwise_kernels::layout::View;
use depthwise_kernels::scatter::{GatherGradF32, GatherShape, MaxPoolGradF32, SpreadF32, Taps};
use depthwise_layers::ir::{Node, ValueId};
use depthwise_layers::{
    ActivateGrad, BatchNormGrad, BatchNormTrain, Conv2d, Conv2dInputGrad, Conv2dWeightGrad, Dense,
    DepthwiseConv2d, DepthwiseInputGrad, DepthwiseWeightGrad, GatherGrad, Pool2dGrad, PoolKind,
    ResizeGrad,
};
use depthwise_tensor::{Activation, ConvGeometry, DType, Pad2d, Shape, WindowAxis};

type Place = (BufId, View);

fn unsupported(reason: impl Into<String>) -> LowerError {
    LowerError::Unsupported(reason.into())
}

fn shape(dims: &[usize]) -> Result<Shape, LowerError> {
    Shape::new(dims).map_err(|e| unsupported(e.to_string()))
}

/// `[rows, columns]` of a matrix, where it starts, and from row to row.
fn push_matmul(
    b: &mut Builder<'_>,
    (lhs, rhs): (&Arg, &Arg),
    [m, k, n]: [usize; 3],
    [lda, ldb]: [usize; 2],
    b_transposed: bool,
    out: Place,
) -> Result<(), LowerError> {
    let ldc = out.1.ld;
    let spec = MatMulSpec { batches: vec![[0; 3]], m, k, n, lda, ldb, ldc, b_transposed };
    b.push(MatMulF32::new(b.cpu(), spec, b.threads())?, &[lhs, rhs], &[out]);
    Ok(())
}

/// Weights `OC,KH,KW,C` as `OC` rows.
fn weight_rows(b: &mut Builder<'_>, w: ValueId) -> Result<Arg, LowerError> {
    b.need_f32(w)?;
    b.dense_arg(w)
}

/// Patches of a picture, or the picture itself where the convolution is a product.
fn patches(b: &mut Builder<'_>, x: ValueId, g: &ConvGeometry) -> Result<Arg, LowerError> {
    if g.groups != 1 {
        return Err(unsupported(format!("{} groups with weights that are not constant", g.groups)));
    }
    if g.is_pointwise() {
        return b.padded_arg(x);
    }
    let x = b.arg(x)?;
    let columns = g.kernel.area() * g.input.c;
    let place = b.temporary(shape(&[g.output.pixels(), columns])?);
    let op = PatchesF32::new(*g, x.view.ld, place.1.ld, b.threads())?;
    b.push(op, &[&x], &[place]);
    Ok(Arg::of(place))
}

/// Bias, residual and activation of a result that has been computed, in place where it can be.
fn finish(
    b: &mut Builder<'_>,
    product: Place,
    addends: &[Option<ValueId>],
    activation: Activation,
    out: ValueId,
) -> Result<(), LowerError> {
    let addends: Vec<ValueId> = addends.iter().flatten().copied().collect();
    let mut now = product;
    for (i, &addend) in addends.iter().enumerate() {
        let other = b.padded_arg(addend)?;
        let last = i + 1 == addends.len();
        let to = if last { b.output(out) } else { b.temporary(now.1.shape) };
        let act = if last { activation } else { Activation::Identity };
        let from = Arg::of(now);
        let (cpu, threads) = (*b.cpu(), b.threads());
        let op = BinaryF32::new(&cpu, BinaryOp::Add, act, from.view, other.view, to.1, threads)?;
        b.push(op, &[&from, &other], &[to]);
        now = to;
    }
    if addends.is_empty() {
        let to = b.output(out);
        let from = Arg::of(now);
        let function = UnaryOp::Activation(activation);
        let op = UnaryF32::new(b.cpu(), function, from.view.rows(), to.1.rows(), b.threads())?;
        b.push(op, &[&from], &[to]);
    }
    Ok(())
}

/// Whether a layer has no more than its product.
fn is_plain(addends: &[Option<ValueId>], activation: Activation) -> bool {
    addends.iter().all(Option::is_none) && activation == Activation::Identity
}

/// A convolution whose weights are not constant.
pub(super) fn conv2d(b: &mut Builder<'_>, node: &Node, layer: &Conv2d) -> Result<(), LowerError> {
    let (x, w) = (operand(node, 0)?, operand(node, 1)?);
    let g = layer.geometry(b.shape(x), b.shape(w))?;
    b.need_f32(x)?;
    let rows = patches(b, x, &g)?;
    let weights = weight_rows(b, w)?;
    let (m, k, n) = (g.output.pixels(), g.kernel.area() * g.input.c, g.output.c);
    let addends = [optional(node, 2), optional(node, 3)];
    let plain = is_plain(&addends, layer.activation);
    let out = node.outputs[0];
    let to = if plain { b.output(out) } else { b.temporary(b.shape(out)) };
    push_matmul(b, (&rows, &weights), [m, k, n], [rows.view.ld, k], true, to)?;
    if plain { Ok(()) } else { finish(b, to, &addends, layer.activation, out) }
}

/// A dense layer whose weights are not constant.
pub(super) fn dense(b: &mut Builder<'_>, node: &Node, layer: &Dense) -> Result<(), LowerError> {
    let (x, w) = (operand(node, 0)?, operand(node, 1)?);
    b.need_f32(x)?;
    let (n, k) = (b.shape(w)[0], b.shape(w)[1]);
    let x = b.arg(x)?;
    let weights = weight_rows(b, w)?;
    let addends = [optional(node, 2)];
    let plain = is_plain(&addends, layer.activation);
    let out = node.outputs[0];
    let to = if plain { b.output(out) } else { b.temporary(b.shape(out)) };
    push_matmul(b, (&x, &weights), [to.1.rows().rows, k, n], [x.view.ld, k], true, to)?;
    if plain { Ok(()) } else { finish(b, to, &addends, layer.activation, out) }
}

/// Depthwise weights as kernels read them.
fn packed_depthwise(
    b: &mut Builder<'_>,
    w: ValueId,
    g: &ConvGeometry,
    turned: bool,
) -> Result<Arg, LowerError> {
    b.need_f32(w)?;
    let weights = b.arg(w)?;
    let channels = g.output.c.next_multiple_of(16);
    let place = b.temporary(shape(&[g.kernel.area() + 1, channels])?);
    let op = PackDwF32::new(g.kernel, g.output.c, weights.view.ld, turned)?;
    b.push(op, &[&weights], &[place]);
    Ok(Arg::of(place))
}

/// A depthwise convolution whose weights are not constant.
pub(super) fn depthwise(
    b: &mut Builder<'_>,
    node: &Node,
    layer: &DepthwiseConv2d,
) -> Result<(), LowerError> {
    let (x, w) = (operand(node, 0)?, operand(node, 1)?);
    let geometry = layer.geometry(b.shape(x), b.shape(w))?;
    let x = b.padded_arg(x)?;
    let weights = packed_depthwise(b, w, &geometry, false)?;
    let bias = [optional(node, 2)];
    let out = node.outputs[0];
    let to = if bias[0].is_none() { b.output(out) } else { b.temporary(b.shape(out)) };
    let activation = if bias[0].is_none() { layer.activation } else { Activation::Identity };
    let (ld_in, ld_out) = (x.view.ld, to.1.ld);
    let spec = DwSpec { geometry, ld_in, ld_out, residual_ld: None, activation };
    let op = DwConvF32::streamed(b.cpu(), spec, b.threads())?;
    b.push(op, &[&x, &weights], &[to]);
    if bias[0].is_none() { Ok(()) } else { finish(b, to, &bias, layer.activation, out) }
}

pub(super) fn conv2d_input(
    b: &mut Builder<'_>,
    node: &Node,
    layer: &Conv2dInputGrad,
) -> Result<(), LowerError> {
    let (dy, w) = (operand(node, 0)?, operand(node, 1)?);
    let g = layer.geometry(b.shape(dy), b.shape(w))?;
    b.need_f32(dy)?;
    if g.groups != 1 {
        return Err(unsupported(format!("{} groups", g.groups)));
    }
    let dy = b.arg(dy)?;
    let weights = weight_rows(b, w)?;
    let (m, k, n) = (g.output.pixels(), g.output.c, g.kernel.area() * g.input.c);
    if g.is_pointwise() {
        let to = b.output(node.outputs[0]);
        return push_matmul(b, (&dy, &weights), [m, k, n], [dy.view.ld, n], false, to);
    }
    let place = b.temporary(shape(&[m, n])?);
    push_matmul(b, (&dy, &weights), [m, k, n], [dy.view.ld, n], false, place)?;
    let to = b.output(node.outputs[0]);
    let op = FoldF32::new(g, place.1.ld, to.1.ld, b.threads())?;
    b.push(op, &[&Arg::of(place)], &[to]);
    Ok(())
}

pub(super) fn conv2d_weight(
    b: &mut Builder<'_>,
    node: &Node,
    layer: &Conv2dWeightGrad,
) -> Result<(), LowerError> {
    let (x, dy) = (operand(node, 0)?, operand(node, 1)?);
    let g = layer.geometry(b.shape(x), b.shape(dy))?;
    b.need_f32(x)?;
    b.need_f32(dy)?;
    let rows = patches(b, x, &g)?;
    let dy = b.arg(dy)?;
    let to = b.dense_output(node.outputs[0]);
    let depth = g.kernel.area() * g.input.c;
    let spec = WeightGradSpec {
        pixels: g.output.pixels(),
        outputs: g.output.c,
        depth,
        ld_dy: dy.view.ld,
        ld_x: rows.view.ld,
        ld_dw: depth,
    };
    b.push(WeightGradF32::new(b.cpu(), spec, b.threads())?, &[&dy, &rows], &[to]);
    Ok(())
}

/// The convolution of `dy` with the taps turned round, where the gradient of the picture is one.
fn turned(g: &ConvGeometry) -> Option<ConvGeometry> {
    if g.stride.area() != 1 {
        return None;
    }
    let pad = |axis: WindowAxis| ((axis.kernel - 1) * axis.dilation).checked_sub(axis.pad_before);
    let (top, left) = (pad(g.rows())?, pad(g.cols())?);
    // What lies behind follows from the extents.
    let pad = Pad2d { top, left, bottom: 0, right: 0 };
    Some(ConvGeometry { input: g.output, output: g.input, pad, ..*g })
}

pub(super) fn depthwise_input(
    b: &mut Builder<'_>,
    node: &Node,
    layer: &DepthwiseInputGrad,
) -> Result<(), LowerError> {
    let (dy, w) = (operand(node, 0)?, operand(node, 1)?);
    let g = layer.geometry(b.shape(dy), b.shape(w))?;
    if g.input.c != g.output.c {
        return Err(unsupported(format!("{} channels from {}", g.output.c, g.input.c)));
    }
    let dy = b.padded_arg(dy)?;
    let turned = turned(&g);
    let weights = packed_depthwise(b, w, &g, turned.is_some())?;
    let to = b.output(node.outputs[0]);
    let (ld_dy, ld_x) = (dy.view.ld, to.1.ld);
    if let Some(geometry) = turned {
        let activation = Activation::Identity;
        let spec = DwSpec { geometry, ld_in: ld_dy, ld_out: ld_x, residual_ld: None, activation };
        b.push(DwConvF32::streamed(b.cpu(), spec, b.threads())?, &[&dy, &weights], &[to]);
        return Ok(());
    }
    let spec = DwGradSpec { geometry: g, ld_x, ld_dy };
    b.push(DwInputGradF32::new(b.cpu(), spec, b.threads())?, &[&dy, &weights], &[to]);
    Ok(())
}

pub(super) fn depthwise_weight(
    b: &mut Builder<'_>,
    node: &Node,
    layer: &DepthwiseWeightGrad,
) -> Result<(), LowerError> {
    let (x, dy) = (operand(node, 0)?, operand(node, 1)?);
    let geometry = layer.geometry(b.shape(x), b.shape(dy))?;
    let (x, dy) = (b.padded_arg(x)?, b.padded_arg(dy)?);
    let to = b.dense_output(node.outputs[0]);
    let spec = DwGradSpec { geometry, ld_x: x.view.ld, ld_dy: dy.view.ld };
    b.push(DwWeightGradF32::new(b.cpu(), spec, b.threads())?, &[&x, &dy], &[to]);
    Ok(())
}

/// Refuses channels that are not the last axis.
fn check_axis(b: &Builder<'_>, x: ValueId, axis: i64) -> Result<(), LowerError> {
    let shape = b.shape(x);
    match shape.axis(axis).map(|axis| axis + 1) == Some(shape.rank()) {
        true => Ok(()),
        false => Err(unsupported(format!("channels along axis {axis} of {shape}"))),
    }
}

/// Room for the partial sums of both directions.
fn sums_place(b: &mut Builder<'_>, x: &View) -> Result<Place, LowerError> {
    let rows = x.rows();
    Ok(b.temporary(shape(&[2 * segments(rows.rows), rows.c])?))
}

pub(super) fn batch_norm(
    b: &mut Builder<'_>,
    node: &Node,
    layer: &BatchNormTrain,
) -> Result<(), LowerError> {
    let x = operand(node, 0)?;
    check_axis(b, x, layer.axis)?;
    let x = b.padded_arg(x)?;
    let sums = sums_place(b, &x.view)?;
    b.push(BatchSumsF32::new(b.cpu(), x.view.rows(), b.threads())?, &[&x], &[sums]);
    let mut inputs = vec![x.clone(), Arg::of(sums)];
    let mut weights = [false; 2];
    for (i, there) in weights.iter_mut().enumerate() {
        if let Some(id) = optional(node, 1 + i) {
            b.need_f32(id)?;
            inputs.push(b.arg(id)?);
            *there = true;
        }
    }
    let places: Vec<Place> = node.outputs.iter().map(|&id| b.output(id)).collect();
    let rows = (x.view.rows(), places[0].1.rows());
    let op = BatchNormF32::new(b.cpu(), rows, layer.epsilon, weights, b.threads())?;
    b.push(op, &inputs.iter().collect::<Vec<_>>(), &places);
    Ok(())
}

pub(super) fn batch_norm_grad(
    b: &mut Builder<'_>,
    node: &Node,
    layer: &BatchNormGrad,
) -> Result<(), LowerError> {
    let (dy, x) = (operand(node, 0)?, operand(node, 1)?);
    check_axis(b, x, layer.axis)?;
    let (dy, x) = (b.padded_arg(dy)?, b.padded_arg(x)?);
    let (mean, var) = (b.arg(operand(node, 3)?)?, b.arg(operand(node, 4)?)?);
    let sums = sums_place(b, &x.view)?;
    let op = GradSumsF32::new(b.cpu(), dy.view.rows(), x.view.rows(), b.threads())?;
    b.push(op, &[&dy, &x, &mean], &[sums]);
    let gamma = optional(node, 2);
    let mut inputs = vec![dy.clone(), x.clone(), mean, var, Arg::of(sums)];
    if let Some(id) = gamma {
        b.need_f32(id)?;
        inputs.push(b.arg(id)?);
    }
    let places: Vec<Place> = node.outputs.iter().map(|&id| b.output(id)).collect();
    let rows = (dy.view.rows(), x.view.rows(), places[0].1.rows());
    let op = BatchNormGradF32::new(b.cpu(), rows, layer.epsilon, gamma.is_some(), b.threads())?;
    b.push(op, &inputs.iter().collect::<Vec<_>>(), &places);
    Ok(())
}

pub(super) fn activate(
    b: &mut Builder<'_>,
    node: &Node,
    layer: &ActivateGrad,
) -> Result<(), LowerError> {
    let dy = b.padded_arg(operand(node, 0)?)?;
    let at = b.padded_arg(operand(node, 1)?)?;
    let function = match layer.from_output {
        true => BinaryOp::SlopeOfOutput(layer.activation),
        false => BinaryOp::Slope(layer.activation),
    };
    let to = b.output(node.outputs[0]);
    let (cpu, threads) = (*b.cpu(), b.threads());
    let identity = Activation::Identity;
    let op = BinaryF32::new(&cpu, function, identity, dy.view, at.view, to.1, threads)?;
    b.push(op, &[&dy, &at], &[to]);
    Ok(())
}

pub(super) fn pool(b: &mut Builder<'_>, node: &Node, layer: &Pool2dGrad) -> Result<(), LowerError> {
    let dy = operand(node, 0)?;
    b.need_f32(dy)?;
    let g = layer.geometry(b.shape(dy))?;
    let dy = b.arg(dy)?;
    if layer.pool.kind == PoolKind::Max {
        let x = operand(node, 1)?;
        b.need_f32(x)?;
        let x = b.arg(x)?;
        let to = b.output(node.outputs[0]);
        let ld = [dy.view.ld, x.view.ld, to.1.ld];
        b.push(MaxPoolGradF32::new(g, ld, b.threads())?, &[&dy, &x], &[to]);
        return Ok(());
    }
    let all = layer.pool.kind == PoolKind::Average { include_pad: true };
    let axis = |axis: WindowAxis, after: usize| -> Taps {
        (0..axis.output)
            .map(|o| {
                let (first, end) = axis.taps(o);
                let padded = axis.input + axis.pad_before + after;
                let declared =
                    padded.saturating_sub(o * axis.stride).div_ceil(axis.dilation).min(axis.kernel);
                let count = if all { declared } else { end - first };
                let part = 1.0 / count.max(1) as f32;
                (first..end).map(|k| (axis.position(o, k), part)).collect()
            })
            .collect()
    };
    let taps = (axis(g.rows(), g.pad.bottom), axis(g.cols(), g.pad.right));
    let to = b.output(node.outputs[0]);
    let op = SpreadF32::new(g.input, taps, (dy.view.ld, to.1.ld), b.threads())?;
    b.push(op, &[&dy], &[to]);
    Ok(())
}

pub(super) fn resize(
    b: &mut Builder<'_>,
    node: &Node,
    layer: &ResizeGrad,
) -> Result<(), LowerError> {
    let dy = operand(node, 0)?;
    b.need_f32(dy)?;
    let Some(dx) = b.shape(node.outputs[0]).nhwc() else {
        return Err(unsupported("other than pictures"));
    };
    if !layer.axes[0].is_identity() || !layer.axes[3].is_identity() {
        return Err(unsupported("interpolation between pictures or channels"));
    }
    let axis = |axis: usize| -> Taps {
        let taps = |o| layer.taps(axis, o).into_iter().map(|(at, w)| (at, w as f32)).collect();
        (0..layer.axes[axis].output).map(taps).collect()
    };
    let dy = b.arg(dy)?;
    let to = b.output(node.outputs[0]);
    let taps = (axis(1), axis(2));
    let op = SpreadF32::new(dx, taps, (dy.view.ld, to.1.ld), b.threads())?;
    b.push(op, &[&dy], &[to]);
    Ok(())
}

pub(super) fn gather(
    b: &mut Builder<'_>,
    node: &Node,
    layer: &GatherGrad,
) -> Result<(), LowerError> {
    let (dy, indices) = (operand(node, 0)?, operand(node, 1)?);
    b.need_f32(dy)?;
    if b.ty(indices).dtype != DType::I64 {
        return Err(unsupported(format!("indices of {}", b.ty(indices).dtype)));
    }
    let count = b.shape(indices).elements();
    let extents = shape(&layer.shape)?;
    let Some(axis) = extents.axis(layer.gather.axis) else {
        return Err(unsupported(format!("axis {} of {extents}", layer.gather.axis)));
    };
    let product = |dims: &[usize]| dims.iter().product();
    let sizes = GatherShape {
        outer: product(&extents[..axis]),
        extent: extents[axis],
        count,
        inner: product(&extents[axis + 1..]),
    };
    let (dy, indices) = (b.dense_arg(dy)?, b.arg(indices)?);
    let to = b.dense_output(node.outputs[0]);
    b.push(GatherGradF32::new(sizes, b.threads())?, &[&dy, &indices], &[to]);
    Ok(())
}
