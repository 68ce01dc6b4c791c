//! Integers that stand for real numbers.
//!
//! An operator on such integers becomes the one on real numbers, with a Dequantize before and a
//! Quantize behind it; what computes in integers again is a pass's concern.

use super::context::{Context, Fail, unsupported};
use super::picture::{Filters, convolution};
use super::{Row, row};
use depthwise_layers::ir::ValueId;
use depthwise_layers::{
    BinaryFn, Dequantize, MatMul, Quantize, Reduce, ReduceFn, Unary, UnaryFn, Unsqueeze,
};
use depthwise_tensor::{DType, Tensor};

pub(super) const ROWS: &[Row] = &[
    row("ConvInteger", 10, conv_integer),
    row("DequantizeLinear", 10, dequantize_linear),
    row("DynamicQuantizeLinear", 11, dynamic_quantize_linear),
    row("MatMulInteger", 10, matmul_integer),
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
    let (q, scale, zero) = (c.input(first)?, single(c, role, first + 1)?, c.optional(first + 2));
    Ok(c.add_many(role, Dequantize { axis }, &[Some(q), Some(scale), zero], 1)[0])
}

/// Input `index`, a scale, in single precision; it may come in half.
fn single(c: &mut Context<'_, '_>, role: &str, index: usize) -> Result<ValueId, Fail> {
    let scale = c.input(index)?;
    Ok(match c.facts(scale).dtype {
        Some(DType::F16 | DType::Bf16) => c.as_dtype(role, scale, DType::F32),
        _ => scale,
    })
}

/// Quantizes a result with inputs `first` (scale) and `first + 1` (zero point, which tells the type).
fn result(c: &mut Context<'_, '_>, y: ValueId, first: usize) -> Result<Vec<ValueId>, Fail> {
    let (scale, zero) = (single(c, "y.scale", first)?, c.optional(first + 1));
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

/// Integers less their zero points, as real numbers. A list of zero points stands along the axis
/// before `trailing` others.
fn shifted(
    c: &mut Context<'_, '_>,
    role: &str,
    q: ValueId,
    zero: Option<ValueId>,
    trailing: usize,
) -> Result<ValueId, Fail> {
    let x = c.as_dtype(role, q, DType::F32);
    let Some(zero) = zero else { return Ok(x) };
    let mut zero = c.as_dtype(&format!("{role}.zero"), zero, DType::F32);
    if c.rank(zero)? == 1 && trailing > 0 && c.facts(zero).len != Some(1) {
        let axes = (1..=trailing as i64).collect();
        zero = c.add(&format!("{role}.zero.wide"), Unsqueeze { axes }, &[zero]);
    }
    Ok(c.binary(&format!("{role}.shifted"), BinaryFn::Sub, x, zero))
}

/// Sums of products of integers, computed as those of real numbers: exact up to 2^24, and rounded
/// to `f32` from there.
fn conv_integer(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let (x, w) = (c.input(0)?, c.input(1)?);
    let (x_zero, w_zero) = (c.optional(2), c.optional(3));
    let shape = c.weight_shape(w);
    let x = shifted(c, "x", x, x_zero, 0)?;
    let filter_axes = c.rank(w)?.saturating_sub(1);
    let w = shifted(c, "w", w, w_zero, filter_axes)?;
    let y = convolution(c, "conv", x, Filters { value: w, shape }, None)?;
    Ok(vec![c.as_dtype("", y, DType::I32)])
}

/// As [`conv_integer`]. Zero points of a belong to rows, those of b to columns.
fn matmul_integer(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let (a, b) = (c.input(0)?, c.input(1)?);
    let (a_zero, b_zero) = (c.optional(2), c.optional(3));
    let a = shifted(c, "a", a, a_zero, 1)?;
    let b = shifted(c, "b", b, b_zero, 0)?;
    let y = c.add("product", MatMul, &[a, b]);
    Ok(vec![c.as_dtype("", y, DType::I32)])
}

/// Bytes with the scale and zero point that cover the elements and 0, and these two.
fn dynamic_quantize_linear(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let x = c.input(0)?;
    let zero = c.scalar("zero", DType::F32, 0.0);
    let mut end = |role: &str, function, towards| {
        let reduce = Reduce { function, axes: Vec::new(), keep_dims: false };
        let end = c.add(&format!("{role}.own"), reduce, &[x]);
        c.binary(role, towards, end, zero)
    };
    let most = end("most", ReduceFn::Max, BinaryFn::Max);
    let least = end("least", ReduceFn::Min, BinaryFn::Min);
    let range = c.binary("range", BinaryFn::Sub, most, least);
    let steps = c.scalar("steps", DType::F32, 255.0);
    let scale = c.binary("scale", BinaryFn::Div, range, steps);
    let below = c.binary("below", BinaryFn::Sub, zero, least);
    let below = c.binary("below.steps", BinaryFn::Div, below, scale);
    let one = c.scalar("one", DType::F32, 1.0);
    let bytes = Quantize { dtype: DType::U8, axis: 0 };
    let point = c.add("zero.point", bytes.clone(), &[below, one]);
    let quotient = c.binary("quotient", BinaryFn::Div, x, scale);
    let quotient = c.add("nearest", Unary { function: UnaryFn::Round }, &[quotient]);
    let real_point = c.as_dtype("zero.point", point, DType::F32);
    let moved = c.binary("moved", BinaryFn::Add, quotient, real_point);
    Ok(vec![c.add("", bytes, &[moved, one]), scale, point])
}
