//! Pointwise functions that can be the tail of a convolution.

use super::context::{Context, Fail, unsupported};
use super::{Row, row};
use depthwise_layers::ir::ValueId;
use depthwise_layers::{Activate, Activation, BinaryFn, PRelu, Unary, UnaryFn};
use depthwise_tensor::DType;

pub(super) const ROWS: &[Row] = &[
    row("Celu", 12, celu),
    row("Clip", 7, clip),
    row("Elu", 7, |c| {
        let alpha = c.float_or("alpha", 1.0)?;
        activate(c, Activation::Elu { alpha })
    }),
    row("Gelu", 20, gelu),
    row("HardSigmoid", 7, |c| {
        let (alpha, beta) = (c.float_or("alpha", 0.2)?, c.float_or("beta", 0.5)?);
        activate(c, Activation::HardSigmoid { alpha, beta })
    }),
    row("HardSwish", 14, |c| activate(c, Activation::HardSwish)),
    row("LeakyRelu", 7, |c| {
        let alpha = c.float_or("alpha", 0.01)?;
        activate(c, Activation::LeakyRelu { alpha })
    }),
    row("Mish", 18, mish),
    row("PRelu", 7, |c| {
        let (x, slope) = (c.input(0)?, c.input(1)?);
        Ok(vec![c.add("", PRelu, &[x, slope])])
    }),
    row("Relu", 7, relu),
    row("Selu", 7, selu),
    row("Sigmoid", 7, |c| activate(c, Activation::Sigmoid)),
    row("Softplus", 7, |c| activate(c, Activation::Softplus)),
    row("Softsign", 7, softsign),
    row("Swish", 24, swish),
    row("Tanh", 7, |c| activate(c, Activation::Tanh)),
];

fn activate(c: &mut Context<'_, '_>, activation: Activation) -> Result<Vec<ValueId>, Fail> {
    let x = c.input(0)?;
    Ok(vec![c.add("", Activate { activation }, &[x])])
}

fn apply(c: &mut Context<'_, '_>, role: &str, activation: Activation, x: ValueId) -> ValueId {
    c.add(role, Activate { activation }, &[x])
}

fn relu(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let x = c.input(0)?;
    match c.facts(x).dtype {
        Some(dtype) if dtype.is_int() => {
            let zero = c.scalar("zero", dtype, 0.0);
            Ok(vec![c.binary("", BinaryFn::Max, x, zero)])
        }
        _ => activate(c, Activation::RELU),
    }
}

/// Bounds are attributes before version 11 and operands since; each may be left out.
fn clip(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let x = c.input(0)?;
    if c.version < 11 {
        let min = c.float_or("min", f32::MIN)?;
        let max = c.float_or("max", f32::MAX)?;
        return activate(c, Activation::Clip { min, max });
    }
    let (low, high) = (c.optional(1), c.optional(2));
    // Integers and doubles have bounds that the f32 of an activation cannot hold.
    let small_float =
        !matches!(c.facts(x).dtype, Some(dtype) if dtype.is_int() || dtype == DType::F64);
    let bound = |value: Option<ValueId>, none: f32| match value {
        None => Some(none),
        Some(value) => match c.tensor(value)?.to_f32()[..] {
            [bound] => Some(bound),
            _ => None,
        },
    };
    let bounds = bound(low, f32::NEG_INFINITY).zip(bound(high, f32::INFINITY));
    if let Some((min, max)) = bounds
        && small_float
    {
        return activate(c, Activation::Clip { min, max });
    }
    let raised = match low {
        None => x,
        Some(low) => c.binary(if high.is_none() { "" } else { "low" }, BinaryFn::Max, x, low),
    };
    Ok(vec![match high {
        None => raised,
        Some(high) => c.binary("", BinaryFn::Min, raised, high),
    }])
}

fn gelu(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    match c.text_or("approximate", "none")?.as_str() {
        "none" => activate(c, Activation::Gelu),
        "tanh" => activate(c, Activation::GeluTanh),
        other => unsupported(format!("approximate = {other} is not supported")),
    }
}

/// `x * sigmoid(alpha * x)`
fn swish(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let (x, alpha) = (c.input(0)?, c.float_or("alpha", 1.0)?);
    if alpha == 1.0 {
        return activate(c, Activation::Silu);
    }
    let scaled = scale(c, "scaled", x, alpha)?;
    let gate = apply(c, "gate", Activation::Sigmoid, scaled);
    Ok(vec![c.binary("", BinaryFn::Mul, x, gate)])
}

/// `x * tanh(softplus(x))`
fn mish(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let x = c.input(0)?;
    let gate = apply(c, "softplus", Activation::Softplus, x);
    let gate = apply(c, "tanh", Activation::Tanh, gate);
    Ok(vec![c.binary("", BinaryFn::Mul, x, gate)])
}

/// `gamma * elu(x)`, with the constants of Klambauer et al. 2017.
fn selu(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let x = c.input(0)?;
    let alpha = c.float_or("alpha", 1.673_263_2)?;
    let gamma = c.float_or("gamma", 1.050_701)?;
    let y = apply(c, "elu", Activation::Elu { alpha }, x);
    Ok(vec![scale(c, "", y, gamma)?])
}

/// `alpha * elu(x / alpha)`
fn celu(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let (x, alpha) = (c.input(0)?, c.float_or("alpha", 1.0)?);
    let y = scale(c, "inverse", x, 1.0 / alpha)?;
    let y = apply(c, "elu", Activation::Elu { alpha: 1.0 }, y);
    Ok(vec![scale(c, "", y, alpha)?])
}

/// `x / (1 + |x|)`
fn softsign(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let x = c.input(0)?;
    let dtype = c.dtype(x)?;
    let size = c.add("abs", Unary { function: UnaryFn::Abs }, &[x]);
    let one = c.scalar("one", dtype, 1.0);
    let size = c.binary("size", BinaryFn::Add, size, one);
    Ok(vec![c.binary("", BinaryFn::Div, x, size)])
}

fn scale(c: &mut Context<'_, '_>, role: &str, x: ValueId, factor: f32) -> Result<ValueId, Fail> {
    let dtype = c.dtype(x)?;
    let factor = c.scalar(&format!("{role}.factor"), dtype, factor.into());
    Ok(c.binary(role, BinaryFn::Mul, x, factor))
}
