//! Tensors from nothing.

use super::context::{Context, Fail, unsupported};
use super::{Row, row};
use depthwise_layers::ir::ValueId;
use depthwise_layers::{ConstantOfShape, Range};
use depthwise_tensor::Tensor;

pub(super) const ROWS: &[Row] = &[
    row("Constant", 7, constant),
    row("ConstantOfShape", 9, constant_of_shape),
    row("Range", 11, |c| {
        let operands = [c.input(0)?, c.input(1)?, c.input(2)?];
        // How the sum of narrow floats is held.
        c.ignore(&["stash_type"]);
        Ok(vec![c.add("", Range, &operands)])
    }),
];

fn constant(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let list = "one extent fits its list";
    let tensor = if let Some(tensor) = c.tensor_attr("value")? {
        tensor
    } else if let Some(x) = c.float_attr("value_float")? {
        Tensor::scalar(x)
    } else if let Some(n) = c.int_attr("value_int")? {
        Tensor::scalar(n)
    } else if let Some(floats) = c.floats_attr("value_floats")? {
        Tensor::from_vec(&[floats.len()], floats).expect(list)
    } else if let Some(ints) = c.ints_attr("value_ints")? {
        Tensor::from_vec(&[ints.len()], ints).expect(list)
    } else {
        return unsupported("its value is missing, sparse or a text");
    };
    Ok(vec![c.constant("", tensor)])
}

fn constant_of_shape(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let shape = c.input(0)?;
    let value = c.tensor_attr("value")?.unwrap_or_else(|| Tensor::scalar(0f32));
    if value.elements() != 1 {
        return unsupported(format!("its value has {} elements, not 1", value.elements()));
    }
    let shape = c.as_i64("shape", shape);
    Ok(vec![c.add("", ConstantOfShape { value }, &[shape])])
}
