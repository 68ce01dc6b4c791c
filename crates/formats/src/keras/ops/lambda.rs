//! Functions that are called on values instead of layers: those of TensorFlow in files of Keras 2
//! (`TFOpLambda`), and the operations of Keras 3.

use super::super::model::Layer;
use super::activation::Function;
use super::arithmetic::concatenate;
use super::context::{Context, Fail, unsupported};
use super::{Row, row};
use depthwise_layers::ir::ValueId;
use depthwise_layers::{
    Activate, Activation, BinaryFn, Reduce, ReduceFn, Softmax, Transpose, Unary, UnaryFn,
};
use serde_json::Value;

/// The function that a layer calls, if it is a call of one.
pub(super) fn function<'m>(layer: &Layer<'m>) -> Option<&'m str> {
    let is_call = matches!(layer.class, "TFOpLambda" | "TensorFlowOpLayer");
    is_call.then(|| layer.config.get("function").and_then(Value::as_str).unwrap_or(layer.class))
}

/// Functions of TensorFlow.
pub(super) const FUNCTIONS: &[Row] = &[
    row("__operators__.add", |c| binary(c, BinaryFn::Add)),
    row("clip_by_value", |c| clip(c, "clip_value_min", "clip_value_max")),
    row("concat", |c| {
        c.ignore(&["function"]);
        concatenate(c)
    }),
    row("math.abs", |c| unary(c, UnaryFn::Abs)),
    row("math.add", |c| binary(c, BinaryFn::Add)),
    row("math.divide", |c| binary(c, BinaryFn::Div)),
    row("math.exp", |c| unary(c, UnaryFn::Exp)),
    row("math.log", |c| unary(c, UnaryFn::Log)),
    row("math.maximum", |c| binary(c, BinaryFn::Max)),
    row("math.minimum", |c| binary(c, BinaryFn::Min)),
    row("math.multiply", |c| binary(c, BinaryFn::Mul)),
    row("math.negative", |c| unary(c, UnaryFn::Neg)),
    row("math.reduce_max", |c| reduce(c, ReduceFn::Max)),
    row("math.reduce_mean", |c| reduce(c, ReduceFn::Mean)),
    row("math.reduce_sum", |c| reduce(c, ReduceFn::Sum)),
    row("math.sigmoid", |c| named(c, "sigmoid")),
    row("math.sqrt", |c| unary(c, UnaryFn::Sqrt)),
    row("math.square", |c| unary(c, UnaryFn::Square)),
    row("math.subtract", |c| binary(c, BinaryFn::Sub)),
    row("math.tanh", |c| named(c, "tanh")),
    row("math.truediv", |c| binary(c, BinaryFn::Div)),
    row("nn.relu", |c| named(c, "relu")),
    row("nn.relu6", |c| named(c, "relu6")),
    row("nn.sigmoid", |c| named(c, "sigmoid")),
    row("nn.silu", |c| named(c, "silu")),
    row("nn.softmax", softmax),
    row("nn.swish", |c| named(c, "silu")),
    row("nn.tanh", |c| named(c, "tanh")),
    row("reshape", |c| reshape(c, "shape")),
    row("transpose", |c| transpose(c, "perm")),
];

/// Operations of Keras 3, by class.
pub(super) const OPERATIONS: &[Row] = &[
    row("Absolute", |c| unary(c, UnaryFn::Abs)),
    row("Add", |c| binary(c, BinaryFn::Add)),
    row("Clip", |c| clip(c, "x_min", "x_max")),
    row("Concatenate", concatenate),
    row("Divide", |c| binary(c, BinaryFn::Div)),
    row("Elu", |c| {
        let alpha = c.float("alpha", 1.0)?;
        Function::Plain(Activation::Elu { alpha }).layer(c)
    }),
    row("Exp", |c| unary(c, UnaryFn::Exp)),
    row("Gelu", |c| {
        let tanh = c.flag("approximate", true)?;
        Function::Plain(if tanh { Activation::GeluTanh } else { Activation::Gelu }).layer(c)
    }),
    row("HardSigmoid", |c| named(c, "hard_sigmoid")),
    row("HardSilu", |c| named(c, "hard_silu")),
    row("LeakyRelu", |c| {
        let alpha = c.float("negative_slope", 0.2)?;
        Function::Plain(Activation::LeakyRelu { alpha }).layer(c)
    }),
    row("Log", |c| unary(c, UnaryFn::Log)),
    row("Max", |c| reduce(c, ReduceFn::Max)),
    row("Maximum", |c| binary(c, BinaryFn::Max)),
    row("Mean", |c| reduce(c, ReduceFn::Mean)),
    row("Minimum", |c| binary(c, BinaryFn::Min)),
    row("Multiply", |c| binary(c, BinaryFn::Mul)),
    row("Negative", |c| unary(c, UnaryFn::Neg)),
    row("Relu", |c| named(c, "relu")),
    row("Relu6", |c| named(c, "relu6")),
    row("Reshape", |c| reshape(c, "newshape")),
    row("Sigmoid", |c| named(c, "sigmoid")),
    row("Silu", |c| named(c, "silu")),
    row("Softmax", softmax),
    row("Softplus", |c| named(c, "softplus")),
    row("Sqrt", |c| unary(c, UnaryFn::Sqrt)),
    row("Square", |c| unary(c, UnaryFn::Square)),
    row("Subtract", |c| binary(c, BinaryFn::Sub)),
    row("Sum", |c| reduce(c, ReduceFn::Sum)),
    row("Tanh", |c| named(c, "tanh")),
    row("Transpose", |c| transpose(c, "axes")),
    row("TrueDivide", |c| binary(c, BinaryFn::Div)),
];

/// Two operands, broadcast as NumPy does it.
fn binary(c: &mut Context<'_, '_>, function: BinaryFn) -> Result<Vec<ValueId>, Fail> {
    c.ignore(&["function"]);
    let mut operands = c.operands()?;
    for name in ["x", "x1", "y", "x2"] {
        operands.extend(c.named_operand(name)?);
    }
    match operands[..] {
        [a, b] => Ok(vec![c.binary("", function, a, b)?]),
        ref other => unsupported(format!("{} operands where two are asked for", other.len())),
    }
}

fn unary(c: &mut Context<'_, '_>, function: UnaryFn) -> Result<Vec<ValueId>, Fail> {
    c.ignore(&["function"]);
    let x = c.input()?;
    Ok(vec![c.add("", Unary { function }, &[x])?])
}

fn named(c: &mut Context<'_, '_>, name: &str) -> Result<Vec<ValueId>, Fail> {
    c.ignore(&["function"]);
    Function::of_name(name, c.version())?.layer(c)
}

fn clip(
    c: &mut Context<'_, '_>,
    lowest: &'static str,
    highest: &'static str,
) -> Result<Vec<ValueId>, Fail> {
    c.ignore(&["function"]);
    let (Some(min), Some(max)) = (c.opt_float(lowest)?, c.opt_float(highest)?) else {
        return unsupported("bounds that are not numbers");
    };
    let x = c.input()?;
    Ok(vec![c.add("", Activate { activation: Activation::Clip { min, max } }, &[x])?])
}

fn reduce(c: &mut Context<'_, '_>, function: ReduceFn) -> Result<Vec<ValueId>, Fail> {
    c.ignore(&["function"]);
    let axes = c.ints("axis")?.unwrap_or_default();
    let keep_dims = c.flag("keepdims", false)?;
    if c.value("initial").is_some() {
        return unsupported("an initial value");
    }
    let x = c.input()?;
    Ok(vec![c.add("", Reduce { function, axes, keep_dims }, &[x])?])
}

fn softmax(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    c.ignore(&["function"]);
    let axis = c.int("axis")?.unwrap_or(-1);
    let x = c.input()?;
    Ok(vec![c.add("", Softmax { axis, log: false }, &[x])?])
}

/// To whole extents, that of the samples among them.
fn reshape(c: &mut Context<'_, '_>, key: &'static str) -> Result<Vec<ValueId>, Fail> {
    c.ignore(&["function"]);
    let dims = match c.ints(key)? {
        Some(dims) if dims.iter().all(|&extent| extent > 0 || extent == -1) => dims,
        dims => return unsupported(format!("{key} = {dims:?} is not supported")),
    };
    let x = c.input()?;
    Ok(vec![c.reshape("", x, &dims)?])
}

fn transpose(c: &mut Context<'_, '_>, key: &'static str) -> Result<Vec<ValueId>, Fail> {
    c.ignore(&["function"]);
    let axes = c.ints(key)?.unwrap_or_default();
    let x = c.input()?;
    let mut sorted = axes.clone();
    sorted.sort_unstable();
    if axes.is_empty() || !sorted.iter().copied().eq(0..axes.len() as i64) {
        return unsupported(format!("{key} = {axes:?} is no order of axes"));
    }
    let perm = axes.iter().map(|&axis| axis as usize).collect();
    Ok(vec![c.add("", Transpose { perm }, &[x])?])
}
