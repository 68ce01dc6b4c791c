//! Matrix products.

use super::context::{Context, Fail};
use super::{Row, row};
use depthwise_layers::ir::ValueId;
use depthwise_layers::{Activation, BinaryFn, Dense, MatMul};

pub(super) const ROWS: &[Row] = &[
    row("Gemm", 7, gemm),
    row("MatMul", 7, |c| {
        let (a, b) = (c.input(0)?, c.input(1)?);
        Ok(vec![c.add("", MatMul, &[a, b])])
    }),
];

/// `alpha * A * B + beta * C`, A and B transposed where asked for.
///
/// With constant B this is a [`Dense`], whose weights are B's columns, and whose bias is C where
/// nothing is scaled and C is a row. Scales and other forms of C come after as operations of
/// their own, which passes fold.
fn gemm(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let (a, b, bias) = (c.input(0)?, c.input(1)?, c.optional(2));
    let (alpha, beta) = (c.float_or("alpha", 1.0)?, c.float_or("beta", 1.0)?);
    let (trans_a, trans_b) = (c.flag("transA", false)?, c.flag("transB", false)?);
    let bias = bias.filter(|_| beta != 0.0);
    let a = if trans_a { c.transpose("a.transposed", a, &[1, 0]) } else { a };

    let outputs = c.weight_shape(b).map(|b| b.get(usize::from(!trans_b)).copied());
    let Some(outputs) = outputs else {
        let b = if trans_b { c.transpose("b.transposed", b, &[1, 0]) } else { b };
        let role = if alpha == 1.0 && bias.is_none() { "" } else { "product" };
        let y = c.add(role, MatMul, &[a, b]);
        return finish(c, y, alpha, beta, bias);
    };
    let row = bias.filter(|&bias| {
        let shape = c.weight_shape(bias);
        alpha == 1.0
            && beta == 1.0
            && shape.is_some_and(|s| s.rank() == 1 && s.first().copied() == outputs)
    });
    let rest = if row.is_some() { None } else { bias };
    let w = if trans_b { b } else { c.transpose("b.transposed", b, &[1, 0]) };
    let role = if alpha == 1.0 && rest.is_none() { "" } else { "product" };
    let op = Dense { activation: Activation::Identity };
    let y = c.add_many(role, op, &[Some(a), Some(w), row], 1)[0];
    finish(c, y, alpha, beta, rest)
}

/// `alpha * y + beta * bias`
fn finish(
    c: &mut Context<'_, '_>,
    y: ValueId,
    alpha: f32,
    beta: f32,
    bias: Option<ValueId>,
) -> Result<Vec<ValueId>, Fail> {
    let role = if bias.is_some() { "scaled" } else { "" };
    let y = scaled(c, role, "alpha", y, alpha)?;
    let Some(bias) = bias else { return Ok(vec![y]) };
    let bias = scaled(c, "bias", "beta", bias, beta)?;
    Ok(vec![c.binary("", BinaryFn::Add, y, bias)])
}

fn scaled(
    c: &mut Context<'_, '_>,
    role: &str,
    name: &str,
    x: ValueId,
    factor: f32,
) -> Result<ValueId, Fail> {
    if factor == 1.0 {
        return Ok(x);
    }
    let dtype = c.dtype(x)?;
    let factor = c.scalar(name, dtype, factor.into());
    Ok(c.binary(role, BinaryFn::Mul, x, factor))
}
