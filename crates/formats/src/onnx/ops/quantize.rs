//! Integers that stand for real numbers.
//!
//! An operator on such integers becomes the one on real numbers, with a Dequantize before and a
//! Quantize behind it; what computes in integers again is a pass's concern.

use super::context::{Context, Fail, unsupported};
use super::picture::{Filters, convolution};
use super::{Row, row};
use depthwise_layers::ir::ValueId;
use depthwise_layers::{BinaryFn, Dequantize, MatMul, Quantize};
use depthwise_tensor::{DType, Tensor};

pub(super) const ROWS: &[Row] = &[
    row("DequantizeLinear", 10, dequantize_linear),
    row("QLinearConv", 10, qlinear_conv),
    row("QLinearMatMul", 10, qlinear_matmul),
    row("QuantizeLinear", 10, quantize_linear),
];

/// Operators of ONNX Runtime's own domain.
pub(super) const MICROSOFT: &[Row] = &[
    row("QLinearAdd", 1, |c| qlinear_binary(c, BinaryFn::Add)),
    row("QLinearMul", 1, |c| qlinear_binary(c, BinaryFn::Mul)),
];

/// Attributes whose defaults change nothing.
fn plain(c: &mut Context<'_, '_>) -> Result<i64, Fail> {
    c.only("block_size", 0)?;
    // How a quotient is rounded to a type that is narrower than that of x.
    c.ignore(&["precision", "saturate"]);
    c.int_or("axis", 1)
}

fn quantize_linear(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let (x, scale, zero) = (c.input(0)?, c.input(1)?, c.optional(2));
    let axis = plain(c)?;
    let wanted = c.int_or("output_dtype", 0)?;
    let dtype = match (zero, wanted) {
        (Some(zero), _) => c.dtype(zero)?,
        (None, 0) => DType::U8,
        (None, _) => c.dtype_attr("output_dtype")?,
    };
    let x = c.as_dtype("wide", x, DType::F32);
    let scale = c.as_dtype("scale", scale, DType::F32);
    Ok(vec![quantize(c, x, (Some(scale), zero), dtype, axis)?])
}

fn dequantize_linear(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let (q, scale, zero) = (c.input(0)?, c.input(1)?, c.optional(2));
    let axis = plain(c)?;
    let to = c.dtype(scale)?;
    let scale = c.as_dtype("scale", scale, DType::F32);
    let role = if to == DType::F32 { "" } else { "wide" };
    let x = c.add_many(role, Dequantize { axis }, &[Some(q), Some(scale), zero], 1)[0];
    Ok(vec![c.as_dtype("", x, to)])
}

fn quantize(
    c: &mut Context<'_, '_>,
    x: ValueId,
    (scale, zero): (Option<ValueId>, Option<ValueId>),
    dtype: DType,
    axis: i64,
) -> Result<ValueId, Fail> {
    if !matches!(dtype, DType::I8 | DType::U8 | DType::I16 | DType::I32) {
        return unsupported(format!("integers of type {dtype}"));
    }
    Ok(c.add_many("", Quantize { dtype, axis }, &[Some(x), scale, zero], 1)[0])
}

/// The real numbers of inputs `first` (integers), `first + 1` (scale) and `first + 2` (zero point).
fn real(c: &mut Context<'_, '_>, role: &str, first: usize, axis: i64) -> Result<ValueId, Fail> {
    let (q, scale, zero) = (c.input(first)?, c.input(first + 1)?, c.optional(first + 2));
    Ok(c.add_many(role, Dequantize { axis }, &[Some(q), Some(scale), zero], 1)[0])
}

/// Quantizes a result with inputs `first` (scale) and `first + 1` (zero point, which tells the type).
fn result(c: &mut Context<'_, '_>, y: ValueId, first: usize) -> Result<Vec<ValueId>, Fail> {
    let (scale, zero) = (c.input(first)?, c.optional(first + 1));
    let dtype = zero.map_or(Ok(DType::U8), |zero| c.dtype(zero))?;
    Ok(vec![quantize(c, y, (Some(scale), zero), dtype, 0)?])
}

/// The elements of a scale, which must be constant.
fn scales(c: &Context<'_, '_>, index: usize) -> Result<Vec<f32>, Fail> {
    match c.tensor(c.input(index)?) {
        Some(scale) => Ok(scale.to_f32().into_owned()),
        None => unsupported("scales that are not constant"),
    }
}

/// Inputs: x, w, y with scale and zero point each (y without the integers), bias. The bias is of scale
/// `x_scale * w_scale`.
fn qlinear_conv(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let x = real(c, "x", 0, 0)?;
    let w = real(c, "w", 3, 0)?;
    let bias = match c.optional(8) {
        None => None,
        Some(bias) => {
            let (x_scale, w_scale) = (scales(c, 1)?, scales(c, 4)?);
            let &[x_scale] = &x_scale[..] else {
                return unsupported(format!("{} scales for its input", x_scale.len()));
            };
            let all: Vec<f32> = w_scale.iter().map(|w_scale| x_scale * w_scale).collect();
            let dims: &[usize] = if all.len() == 1 { &[] } else { &[all.len()] };
            let scale = Tensor::from_slice(dims, &all).expect("as many as there are");
            let scale = c.constant("bias.scale", scale);
            Some(c.add("bias", Dequantize { axis: 0 }, &[bias, scale]))
        }
    };
    let filters = c.tensor(c.input(3)?).map(|w| *w.shape());
    let y = convolution(c, "conv", x, Filters { value: w, shape: filters }, bias)?;
    result(c, y, 6)
}

fn qlinear_matmul(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let a = real(c, "a", 0, -2)?;
    let b = real(c, "b", 3, -1)?;
    let y = c.add("product", MatMul, &[a, b]);
    result(c, y, 6)
}

fn qlinear_binary(c: &mut Context<'_, '_>, function: BinaryFn) -> Result<Vec<ValueId>, Fail> {
    let a = real(c, "a", 0, 0)?;
    let b = real(c, "b", 3, 0)?;
    let y = c.binary("real", function, a, b);
    result(c, y, 6)
}
