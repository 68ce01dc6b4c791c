//! Activations and functions of one operand.

use super::context::{Context, Fail};
use super::{Row, row};
use depthwise_layers::ir::ValueId;
use depthwise_layers::{Activate, Activation, BinaryFn, PRelu, Softmax, Unary, UnaryFn};
use depthwise_tensor::Tensor;

pub(super) const ROWS: &[Row] = &[
    row(14, "LOGISTIC", |c| activation(c, Activation::Sigmoid)),
    row(19, "RELU", |c| activation(c, Activation::RELU)),
    row(20, "RELU_N1_TO_1", |c| activation(c, Activation::Clip { min: -1.0, max: 1.0 })),
    row(21, "RELU6", |c| activation(c, Activation::RELU6)),
    row(25, "SOFTMAX", softmax),
    row(28, "TANH", |c| activation(c, Activation::Tanh)),
    row(50, "LOG_SOFTMAX", |c| {
        let x = c.input(0)?;
        Ok(vec![c.add("", Softmax { axis: -1, log: true }, &[x])?])
    }),
    row(54, "PRELU", prelu),
    row(98, "LEAKY_RELU", |c| {
        let alpha = c.f32(0, 0.0)?;
        activation(c, Activation::LeakyRelu { alpha })
    }),
    row(111, "ELU", |c| activation(c, Activation::Elu { alpha: 1.0 })),
    row(117, "HARD_SWISH", |c| activation(c, Activation::HardSwish)),
    row(150, "GELU", |c| {
        let approximate = c.flag(0)?;
        activation(c, if approximate { Activation::GeluTanh } else { Activation::Gelu })
    }),
    row(152, "RELU_0_TO_1", |c| activation(c, Activation::Clip { min: 0.0, max: 1.0 })),
    row(8, "FLOOR", |c| unary(c, UnaryFn::Floor)),
    row(47, "EXP", |c| unary(c, UnaryFn::Exp)),
    row(59, "NEG", |c| unary(c, UnaryFn::Neg)),
    row(66, "SIN", |c| unary(c, UnaryFn::Sin)),
    row(73, "LOG", |c| unary(c, UnaryFn::Log)),
    row(75, "SQRT", |c| unary(c, UnaryFn::Sqrt)),
    row(76, "RSQRT", |c| unary(c, UnaryFn::Rsqrt)),
    row(87, "LOGICAL_NOT", |c| unary(c, UnaryFn::Not)),
    row(92, "SQUARE", |c| unary(c, UnaryFn::Square)),
    row(101, "ABS", |c| unary(c, UnaryFn::Abs)),
    row(104, "CEIL", |c| unary(c, UnaryFn::Ceil)),
    row(108, "COS", |c| unary(c, UnaryFn::Cos)),
    row(116, "ROUND", |c| unary(c, UnaryFn::Round)),
    row(158, "SIGN", |c| unary(c, UnaryFn::Sign)),
];

fn activation(c: &mut Context<'_, '_>, activation: Activation) -> Result<Vec<ValueId>, Fail> {
    let x = c.input(0)?;
    Ok(vec![c.add("", Activate { activation }, &[x])?])
}

fn unary(c: &mut Context<'_, '_>, function: UnaryFn) -> Result<Vec<ValueId>, Fail> {
    let x = c.input(0)?;
    Ok(vec![c.add("", Unary { function }, &[x])?])
}

fn prelu(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let (x, slope) = (c.input(0)?, c.input(1)?);
    Ok(vec![c.add("", PRelu, &[x, slope])?])
}

fn softmax(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let mut x = c.input(0)?;
    let beta = c.f32(0, 0.0)?;
    // Files that leave it out mean 1.
    if beta != 1.0 && beta != 0.0 {
        let factor = c.constant("beta", Tensor::scalar(beta));
        x = c.binary("scaled", BinaryFn::Mul, x, factor)?;
    }
    Ok(vec![c.add("", Softmax { axis: -1, log: false }, &[x])?])
}
