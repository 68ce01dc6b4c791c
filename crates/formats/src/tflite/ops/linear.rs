//! Dense layers and matrix products.

use super::context::{Context, Fail, unsupported};
use super::{Row, row};
use depthwise_layers::ir::ValueId;
use depthwise_layers::{BinaryFn, Dense, MatMul};

pub(super) const ROWS: &[Row] =
    &[row(9, "FULLY_CONNECTED", fully_connected), row(126, "BATCH_MATMUL", batch_matmul)];

fn fully_connected(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let mut x = c.input(0)?;
    let activation = c.activation(0)?;
    if c.i8(1)? != 0 {
        return unsupported("shuffled weights");
    }
    let keep_dims = c.flag(2)?;
    let weights = c.weight(1)?;
    let is_constant = weights.is_some();
    let w = match weights {
        Some(weights) => c.add_weights("weights", weights)?,
        None => c.input(1)?,
    };
    let (have, want) = (c.ty(x).shape, c.ty(w).shape);
    let &[_, depth] = want.dims() else { return unsupported(format!("weights {want}")) };
    let is_matrix = have.rank() == 2 && have[1] == depth;
    let is_stack = keep_dims && have.last() == Some(&depth);
    if !is_matrix && !is_stack {
        x = c.reshape("rows", x, &[-1, depth as i64])?;
    }
    let bias = c.bias(2)?;
    if is_constant || c.known(w).is_some() {
        return c.add_many("", Dense { activation }, &[Some(x), Some(w), bias]);
    }
    let w = c.transpose("weights.transpose", w, &[1, 0])?;
    let mut y = c.add("", MatMul, &[x, w])?;
    if let Some(bias) = bias {
        y = c.binary("biased", BinaryFn::Add, y, bias)?;
    }
    Ok(vec![c.activate(y, activation)?])
}

fn batch_matmul(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let (mut a, mut b) = (c.input(0)?, c.input(1)?);
    if c.flag(0)? {
        a = flipped(c, "a.transpose", a)?;
    }
    if c.flag(1)? {
        b = flipped(c, "b.transpose", b)?;
    }
    Ok(vec![c.add("", MatMul, &[a, b])?])
}

/// The last two axes exchanged.
fn flipped(c: &mut Context<'_, '_>, role: &str, x: ValueId) -> Result<ValueId, Fail> {
    let rank = c.rank(x);
    if rank < 2 {
        return unsupported(format!("a matrix product of {} dimensions", rank));
    }
    let mut perm: Vec<usize> = (0..rank).collect();
    perm.swap(rank - 2, rank - 1);
    c.transpose(role, x, &perm)
}
