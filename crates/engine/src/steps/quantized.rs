//! Layers that compute in integers.

use super::convolution::shared_weight;
use super::resize::taps;
use super::{operand, optional};
use crate::error::LowerError;
use crate::plan::{Arg, Builder, Operand, Packed};
use depthwise_kernels::conv2d_qs8::{ConvQSpec, ConvQs8, PackedConvQs8};
use depthwise_kernels::dwconv_qs8::{DwConvQs8, DwQSpec, PackedDwQs8};
use depthwise_kernels::eltwise_qs8::{self, BinaryQ, BinaryQs8, Lookup, SoftmaxQs8};
use depthwise_kernels::fused::Stage;
use depthwise_kernels::gemm_qs8::{GemmQSpec, GemmQs8, PackedGemmQs8};
use depthwise_kernels::layout::{BroadcastOp, View};
use depthwise_kernels::pool::{PoolKind as Kind, PoolSpec};
use depthwise_kernels::pool_qs8::{PoolQs8, Rescale, ResizeQs8};
use depthwise_kernels::quant::{Out8, Output, Quant8};
use depthwise_kernels::resize::ResizeSpec;
use depthwise_layers::ir::{Node, ValueId};
use depthwise_layers::{
    PoolKind, QBinary, QBinaryFn, QConv2d, QDense, QDepthwiseConv2d, QMean, QPool2d, QResize,
    QSoftmax, Quantize, Requantize, Resize, ResizeAxis,
};
use depthwise_tensor::{DType, Hw, Nhwc, Pad2d, PoolGeometry, Tensor};
use std::sync::Arc;

fn out8(output: &Requantize) -> Result<Out8, LowerError> {
    let quant = Quant8::new(output.dtype, output.zero_point)?;
    Ok(Out8::clamped(quant, output.min, output.max)?)
}

/// Type and zero point of a value.
fn quant8(b: &Builder<'_>, id: ValueId, zero: i32) -> Result<Quant8, LowerError> {
    Ok(Quant8::new(b.ty(id).dtype, zero)?)
}

fn multipliers(b: &Builder<'_>, node: &Node) -> Result<Vec<f32>, LowerError> {
    Ok(b.need_constant(operand(node, 3)?)?.to_f32().into_owned())
}

pub(super) fn conv2d(b: &mut Builder<'_>, node: &Node, layer: &QConv2d) -> Result<(), LowerError> {
    let (x, w) = (operand(node, 0)?, operand(node, 1)?);
    let geometry = layer.geometry(b.shape(x), b.shape(w))?;
    let pointwise = geometry.is_pointwise();
    let (ic, oc, groups) = (geometry.input.c, geometry.output.c, geometry.groups);
    let packed = b.packed_integers(w, optional(node, 2), optional(node, 4), |cpu, weights| {
        Ok(if pointwise {
            Packed::GemmQ(Arc::new(PackedGemmQs8::pack(cpu, ic, oc, weights)?))
        } else {
            let kernel = geometry.kernel;
            Packed::ConvQ(Arc::new(PackedConvQs8::pack(cpu, kernel, (ic, oc, groups), weights)?))
        })
    })?;
    let (m, input) = (multipliers(b, node)?, quant8(b, x, layer.input_zero)?);
    let output = Output::Bytes(out8(&layer.output)?);
    let x = b.arg(x)?;
    let (buf, view) = b.output(node.outputs[0]);
    let (ld_in, ld_out) = (x.view.ld, view.ld);
    match packed {
        Packed::GemmQ(weights) => {
            let rows = geometry.output.pixels();
            let spec = GemmQSpec { m: rows, lda: ld_in, ldc: ld_out, input, output };
            let op = GemmQs8::new(weights, &m, spec, b.threads())?;
            b.push_stage(Stage::PointwiseQs8(Arc::new(op)), &[&x], &[(buf, view)]);
        }
        Packed::ConvQ(weights) => {
            let spec = ConvQSpec { geometry, ld_in, ld_out, input, output };
            let op = ConvQs8::new(weights, &m, spec, b.threads())?;
            b.push_stage(Stage::StemQs8(Arc::new(op)), &[&x], &[(buf, view)]);
        }
        _ => return Err(shared_weight()),
    }
    Ok(())
}

pub(super) fn depthwise(
    b: &mut Builder<'_>,
    node: &Node,
    layer: &QDepthwiseConv2d,
) -> Result<(), LowerError> {
    let (x, w) = (operand(node, 0)?, operand(node, 1)?);
    let geometry = layer.geometry(b.shape(x), b.shape(w))?;
    let channels = geometry.input.c;
    let multiplier = geometry.output.c.checked_div(channels).unwrap_or(1);
    let packed = b.packed_integers(w, optional(node, 2), optional(node, 4), |cpu, weights| {
        let packed = PackedDwQs8::pack(cpu, geometry.kernel, channels, multiplier, weights)?;
        Ok(Packed::DepthwiseQ(Arc::new(packed)))
    })?;
    let Packed::DepthwiseQ(weights) = packed else { return Err(shared_weight()) };
    let (m, input) = (multipliers(b, node)?, quant8(b, x, layer.input_zero)?);
    let output = out8(&layer.output)?;
    let x = b.padded_bytes(x)?;
    let (buf, view) = b.output(node.outputs[0]);
    let spec = DwQSpec { geometry, ld_in: x.view.ld, ld_out: view.ld, input, output };
    let op = DwConvQs8::new(weights, &m, spec, b.threads())?;
    b.push_stage(Stage::DepthwiseQs8(Arc::new(op)), &[&x], &[(buf, view)]);
    Ok(())
}

pub(super) fn dense(b: &mut Builder<'_>, node: &Node, layer: &QDense) -> Result<(), LowerError> {
    let (x, w) = (operand(node, 0)?, operand(node, 1)?);
    let (n, k) = match *b.shape(w).dims() {
        [n, k] => (n, k),
        _ => return Err(LowerError::Unsupported(format!("a weight of shape {}", b.shape(w)))),
    };
    let packed = b.packed_integers(w, optional(node, 2), optional(node, 4), |cpu, weights| {
        Ok(Packed::GemmQ(Arc::new(PackedGemmQs8::pack(cpu, k, n, weights)?)))
    })?;
    let Packed::GemmQ(weights) = packed else { return Err(shared_weight()) };
    let (m, input) = (multipliers(b, node)?, quant8(b, x, layer.input_zero)?);
    let output = Output::Bytes(out8(&layer.output)?);
    let x = b.arg(x)?;
    let (buf, view) = b.output(node.outputs[0]);
    let rows = view.rows().rows;
    let spec = GemmQSpec { m: rows, lda: x.view.ld, ldc: view.ld, input, output };
    b.push(GemmQs8::new(weights, &m, spec, b.threads())?, &[&x], &[(buf, view)]);
    Ok(())
}

pub(super) fn binary(b: &mut Builder<'_>, node: &Node, layer: &QBinary) -> Result<(), LowerError> {
    let (x, y) = (operand(node, 0)?, operand(node, 1)?);
    let out = out8(&layer.output)?;
    let first = (quant8(b, x, layer.a_zero)?, b.arg(x)?);
    let second = (quant8(b, y, layer.b_zero)?, b.arg(y)?);
    let (buf, view) = b.output(node.outputs[0]);
    let is_whole = |arg: &Arg| arg.view.shape == view.shape;
    let swapped = !is_whole(&first.1) && is_whole(&second.1);
    let (mut first, mut second) = if swapped { (second, first) } else { (first, second) };
    let function = match layer.function {
        QBinaryFn::Sum { a_factor, b_factor } if swapped => {
            BinaryQ::Add { a: b_factor, b: a_factor }
        }
        QBinaryFn::Sum { a_factor, b_factor } => BinaryQ::Add { a: a_factor, b: b_factor },
        QBinaryFn::Product { factor } => BinaryQ::Mul { m: factor },
    };
    if !is_whole(&first.1) {
        first.1 = broadcast(b, &first.1, view)?;
    }
    if !is_whole(&second.1) && !is_gate(&second.1, view) {
        second.1 = broadcast(b, &second.1, view)?;
    }
    let operands = ((first.0, first.1.view.rows()), (second.0, second.1.view.rows()));
    let op = BinaryQs8::new(b.cpu(), function, operands, (out, view.rows()), b.threads())?;
    b.push(op, &[&first.1, &second.1], &[(buf, view)]);
    Ok(())
}

/// Whether an operand has one row of channels for the whole result, or one for each picture.
fn is_gate(arg: &Arg, view: View) -> bool {
    let rank = view.shape.rank();
    let dims = arg.view.shape.dims();
    if dims.last() != view.shape.dims().last() {
        return false;
    }
    let pictures = arg.view.shape.rank() == rank && rank > 0 && dims[0] == view.shape[0];
    let inner = if pictures { &dims[1..dims.len() - 1] } else { &dims[..dims.len() - 1] };
    inner.iter().all(|&extent| extent == 1)
}

/// An operand repeated to the extents of the result.
fn broadcast(b: &mut Builder<'_>, arg: &Arg, view: View) -> Result<Arg, LowerError> {
    let (buf, view) = b.temporary_bytes(view.shape);
    b.push(BroadcastOp::new(1, arg.view, view, b.threads())?, &[arg], &[(buf, view)]);
    Ok(Arg { operand: Operand::Buf(buf), view })
}

pub(super) fn lookup(b: &mut Builder<'_>, node: &Node) -> Result<(), LowerError> {
    let table = b.need_constant(operand(node, 1)?)?;
    let table: [u8; 256] = table.bytes()[..].try_into().map_err(|_| {
        LowerError::Unsupported(format!("a table of {} entries", table.bytes().len()))
    })?;
    let x = b.arg(operand(node, 0)?)?;
    let (buf, view) = b.output(node.outputs[0]);
    let op = Lookup::new(table, (x.view.rows(), view.rows()), b.threads())?;
    b.push(op, &[&x], &[(buf, view)]);
    Ok(())
}

pub(super) fn pool(b: &mut Builder<'_>, node: &Node, layer: &QPool2d) -> Result<(), LowerError> {
    let x = operand(node, 0)?;
    let geometry = layer.pool.geometry(b.shape(x))?;
    let PoolKind::Average { include_pad } = layer.pool.kind else {
        return Err(LowerError::Unsupported("a maximum with scales".into()));
    };
    let input = quant8(b, x, layer.input_zero)?;
    let rescale = Rescale { input, output: out8(&layer.output)?, ratio: layer.ratio };
    window(b, node, (geometry, Kind::Average { include_pad }), rescale)
}

/// The largest of bytes, whatever they stand for.
pub(super) fn max_pool(
    b: &mut Builder<'_>,
    node: &Node,
    geometry: PoolGeometry,
) -> Result<(), LowerError> {
    let input = quant8(b, operand(node, 0)?, 0)?;
    window(b, node, (geometry, Kind::Max), Rescale { input, output: Out8::full(input), ratio: 1.0 })
}

fn window(
    b: &mut Builder<'_>,
    node: &Node,
    (geometry, kind): (PoolGeometry, Kind),
    rescale: Rescale,
) -> Result<(), LowerError> {
    let x = b.padded_bytes(operand(node, 0)?)?;
    let (buf, view) = b.output(node.outputs[0]);
    let spec = PoolSpec { geometry, kind, ld_in: x.view.ld, ld_out: view.ld };
    b.push(PoolQs8::new(b.cpu(), spec, rescale, b.threads())?, &[&x], &[(buf, view)]);
    Ok(())
}

pub(super) fn mean(b: &mut Builder<'_>, node: &Node, layer: &QMean) -> Result<(), LowerError> {
    let x = operand(node, 0)?;
    let shape = b.shape(x);
    let resolved = |&axis: &i64| shape.axis(axis);
    let mut axes: Vec<Option<usize>> = layer.axes.iter().map(resolved).collect();
    axes.sort_unstable();
    let (Some(picture), [Some(1), Some(2)]) = (shape.nhwc(), &axes[..]) else {
        let axes = &layer.axes;
        return Err(LowerError::Unsupported(format!("the mean of bytes over axes {axes:?}")));
    };
    let input = quant8(b, x, layer.input_zero)?;
    let rescale = Rescale { input, output: out8(&layer.output)?, ratio: layer.ratio };
    let kernel = picture.hw();
    let output = Nhwc { h: 1, w: 1, ..picture };
    let (stride, dilation, pad) = (Hw::ONE, Hw::ONE, Pad2d::ZERO);
    let geometry = PoolGeometry { input: picture, output, kernel, stride, dilation, pad };
    window(b, node, (geometry, Kind::Average { include_pad: false }), rescale)
}

pub(super) fn resize(b: &mut Builder<'_>, node: &Node, layer: &QResize) -> Result<(), LowerError> {
    let x = operand(node, 0)?;
    let shape = b.shape(x);
    let sizes = optional(node, 1).map(|id| b.need_constant(id).map(|t| t.to_i64().into_owned()));
    let scales = optional(node, 2).map(|id| b.need_constant(id).map(|t| t.to_f32().into_owned()));
    let (sizes, scales) = (sizes.transpose()?, scales.transpose()?);
    let [rows, cols] = layer.resolve(&shape, sizes.as_deref(), scales.as_deref())?;
    let quant = quant8(b, x, layer.input_zero)?;
    let rescale = Rescale { input: quant, output: out8(&layer.output)?, ratio: layer.ratio };
    interpolation(b, node, &layer.resize, &[rows, cols], rescale)
}

/// Bytes of the nearest samples, whatever they stand for.
pub(super) fn nearest(
    b: &mut Builder<'_>,
    node: &Node,
    layer: &Resize,
    axes: &[ResizeAxis; 2],
) -> Result<(), LowerError> {
    let quant = quant8(b, operand(node, 0)?, 0)?;
    let rescale = Rescale { input: quant, output: Out8::full(quant), ratio: 1.0 };
    interpolation(b, node, layer, axes, rescale)
}

fn interpolation(
    b: &mut Builder<'_>,
    node: &Node,
    layer: &Resize,
    [rows, cols]: &[ResizeAxis; 2],
    rescale: Rescale,
) -> Result<(), LowerError> {
    let x = operand(node, 0)?;
    let shape = b.shape(x);
    let no_picture = || LowerError::Unsupported(format!("{shape} is no picture"));
    let input = shape.nhwc().ok_or_else(no_picture)?;
    let output = Nhwc { h: rows.output, w: cols.output, ..input };
    let x = b.padded_bytes(x)?;
    let (buf, view) = b.output(node.outputs[0]);
    let spec = ResizeSpec {
        input,
        output,
        ld_in: x.view.ld,
        ld_out: view.ld,
        rows: taps(layer, Some(rows)),
        cols: taps(layer, Some(cols)),
    };
    b.push(ResizeQs8::new(b.cpu(), spec, rescale, b.threads())?, &[&x], &[(buf, view)]);
    Ok(())
}

pub(super) fn softmax(
    b: &mut Builder<'_>,
    node: &Node,
    layer: &QSoftmax,
) -> Result<(), LowerError> {
    let x = operand(node, 0)?;
    let shape = b.shape(x);
    if shape.axis(layer.axis) != shape.rank().checked_sub(1) {
        let axis = layer.axis;
        return Err(LowerError::Unsupported(format!(
            "softmax of bytes along axis {axis} of {shape}"
        )));
    }
    // The zero point of the input falls out of the difference from the largest.
    let input = (quant8(b, x, 0)?, layer.input_scale);
    let output = (out8(&layer.output)?, layer.output_scale);
    let x = b.arg(x)?;
    let (buf, view) = b.output(node.outputs[0]);
    let op = SoftmaxQs8::new(input, output, (x.view.rows(), view.rows()), b.threads())?;
    b.push(op, &[&x], &[(buf, view)]);
    Ok(())
}

/// The one scale and zero point of a Quantize or Dequantize.
fn one_scale(b: &Builder<'_>, node: &Node) -> Result<(f32, i32), LowerError> {
    let scale = b.need_constant(operand(node, 1)?)?.to_f32().into_owned();
    let zero = optional(node, 2).map(|id| b.need_constant(id).map(Tensor::to_i64)).transpose()?;
    let &[scale] = &scale[..] else {
        return Err(LowerError::Unsupported(format!("{} scales", scale.len())));
    };
    let zero = zero.map_or(0, |zero| zero.first().copied().unwrap_or(0));
    let outside = || LowerError::Unsupported(format!("a zero point of {zero}"));
    Ok((scale, i32::try_from(zero).map_err(|_| outside())?))
}

pub(super) fn quantize(
    b: &mut Builder<'_>,
    node: &Node,
    layer: &Quantize,
) -> Result<(), LowerError> {
    let (scale, zero) = one_scale(b, node)?;
    let out = Out8::full(Quant8::new(layer.dtype, zero)?);
    let x = operand(node, 0)?;
    // A dense picture stays one; its first layer reads pixels at any distance.
    let x = if b.ty(x).dtype == DType::F32 { b.arg(x)? } else { b.padded_arg(x)? };
    let (buf, view) = b.output_for_readers(node.outputs[0]);
    let rows = (x.view.rows(), view.rows());
    let op = eltwise_qs8::Quantize::new(b.cpu(), scale, out, rows, b.threads())?;
    b.push(op, &[&x], &[(buf, view)]);
    Ok(())
}

pub(super) fn dequantize(b: &mut Builder<'_>, node: &Node) -> Result<(), LowerError> {
    let (scale, zero) = one_scale(b, node)?;
    let x = operand(node, 0)?;
    let quant = quant8(b, x, zero)?;
    let x = b.arg(x)?;
    let (buf, view) = b.output(node.outputs[0]);
    let rows = (x.view.rows(), view.rows());
    let op = eltwise_qs8::Dequantize::new(b.cpu(), scale, quant, rows, b.threads())?;
    b.push(op, &[&x], &[(buf, view)]);
    Ok(())
}

/// Bytes as the floats of the same numbers, for kernels that know floats only.
pub(super) fn as_floats(b: &mut Builder<'_>, id: ValueId) -> Result<Arg, LowerError> {
    if !matches!(b.ty(id).dtype, DType::I8 | DType::U8) {
        return b.padded_arg(id);
    }
    let quant = quant8(b, id, 0)?;
    let x = b.arg(id)?;
    let (buf, view) = b.temporary(x.view.shape);
    let rows = (x.view.rows(), view.rows());
    let op = eltwise_qs8::Dequantize::new(b.cpu(), 1.0, quant, rows, b.threads())?;
    b.push(op, &[&x], &[(buf, view)]);
    Ok(Arg { operand: Operand::Buf(buf), view })
}
