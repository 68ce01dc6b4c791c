//! Functions of one or two operands.

use super::operand;
use crate::error::LowerError;
use crate::plan::Builder;
use depthwise_kernels::eltwise::{
    BinaryF32, BinaryOp, CompareF32, CompareOp, PReluF32, SelectOp, UnaryF32, UnaryOp,
};
use depthwise_layers::ir::Node;
use depthwise_layers::{Activate, Binary, BinaryFn, Unary, UnaryFn};
use depthwise_tensor::Activation;

pub(super) fn activate(
    b: &mut Builder<'_>,
    node: &Node,
    layer: &Activate,
) -> Result<(), LowerError> {
    lower_unary(b, node, UnaryOp::Activation(layer.activation))
}

pub(super) fn unary(b: &mut Builder<'_>, node: &Node, layer: &Unary) -> Result<(), LowerError> {
    let function = match layer.function {
        UnaryFn::Neg => UnaryOp::Neg,
        UnaryFn::Abs => UnaryOp::Abs,
        UnaryFn::Exp => UnaryOp::Exp,
        UnaryFn::Log => UnaryOp::Log,
        UnaryFn::Sqrt => UnaryOp::Sqrt,
        UnaryFn::Reciprocal => UnaryOp::Reciprocal,
        UnaryFn::Square => UnaryOp::Square,
        UnaryFn::Rsqrt => UnaryOp::Rsqrt,
        UnaryFn::Erf => UnaryOp::Erf,
        UnaryFn::Sin => UnaryOp::Sin,
        UnaryFn::Cos => UnaryOp::Cos,
        UnaryFn::Floor => UnaryOp::Floor,
        UnaryFn::Ceil => UnaryOp::Ceil,
        UnaryFn::Round => UnaryOp::Round,
        UnaryFn::Sign => UnaryOp::Sign,
        other => return Err(LowerError::Unsupported(format!("{other:?}"))),
    };
    lower_unary(b, node, function)
}

fn lower_unary(b: &mut Builder<'_>, node: &Node, function: UnaryOp) -> Result<(), LowerError> {
    let x = b.padded_arg(operand(node, 0)?)?;
    let (buf, view) = b.output(node.outputs[0]);
    let op = UnaryF32::new(b.cpu(), function, x.view.rows(), view.rows(), b.threads())?;
    b.push(op, &[&x], &[(buf, view)]);
    Ok(())
}

pub(super) fn binary(b: &mut Builder<'_>, node: &Node, layer: &Binary) -> Result<(), LowerError> {
    let function = match layer.function {
        BinaryFn::Add => BinaryOp::Add,
        BinaryFn::Sub => BinaryOp::Sub,
        BinaryFn::Mul => BinaryOp::Mul,
        BinaryFn::Div => BinaryOp::Div,
        BinaryFn::Min => BinaryOp::Min,
        BinaryFn::Max => BinaryOp::Max,
        BinaryFn::Pow => BinaryOp::Pow,
        other => return compare(b, node, other, layer.activation),
    };
    let x = b.padded_arg(operand(node, 0)?)?;
    let y = b.padded_arg(operand(node, 1)?)?;
    let (buf, out) = b.output(node.outputs[0]);
    let op = BinaryF32::new(b.cpu(), function, layer.activation, x.view, y.view, out, b.threads())?;
    b.push(op, &[&x, &y], &[(buf, out)]);
    Ok(())
}

fn compare(
    b: &mut Builder<'_>,
    node: &Node,
    function: BinaryFn,
    activation: Activation,
) -> Result<(), LowerError> {
    let function = match function {
        BinaryFn::Equal => CompareOp::Equal,
        BinaryFn::Less => CompareOp::Less,
        BinaryFn::LessOrEqual => CompareOp::LessOrEqual,
        BinaryFn::Greater => CompareOp::Greater,
        BinaryFn::GreaterOrEqual => CompareOp::GreaterOrEqual,
        other => return Err(LowerError::Unsupported(format!("{other:?}"))),
    };
    if activation != Activation::Identity {
        return Err(LowerError::Unsupported("an activation on truth values".into()));
    }
    let x = b.padded_arg(operand(node, 0)?)?;
    let y = b.padded_arg(operand(node, 1)?)?;
    let (buf, out) = b.output(node.outputs[0]);
    let op = CompareF32::new(function, x.view, y.view, out, b.threads())?;
    b.push(op, &[&x, &y], &[(buf, out)]);
    Ok(())
}

pub(super) fn prelu(b: &mut Builder<'_>, node: &Node) -> Result<(), LowerError> {
    let x = b.padded_arg(operand(node, 0)?)?;
    let slope = b.padded_arg(operand(node, 1)?)?;
    let (buf, out) = b.output(node.outputs[0]);
    let op = PReluF32::new(b.cpu(), x.view, slope.view, out, b.threads())?;
    b.push(op, &[&x, &slope], &[(buf, out)]);
    Ok(())
}

pub(super) fn select(b: &mut Builder<'_>, node: &Node) -> Result<(), LowerError> {
    let condition = b.arg(operand(node, 0)?)?;
    let (x, y) = (b.arg(operand(node, 1)?)?, b.arg(operand(node, 2)?)?);
    let size = b.ty(node.outputs[0]).dtype.size_bytes();
    let (buf, out) = b.output(node.outputs[0]);
    let op = SelectOp::new(size, condition.view, x.view, y.view, out, b.threads())?;
    b.push(op, &[&condition, &x, &y], &[(buf, out)]);
    Ok(())
}
