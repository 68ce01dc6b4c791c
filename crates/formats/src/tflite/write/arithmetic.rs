//! Functions of one and more operands, element by element.

use super::activation::{plain, with_tail};
use super::kinds::*;
use super::values::{Target, Writer, number, operand};
use super::{Refused, moving, refuse};
use crate::tflite::wire::{Field, Record};
use depthwise_layers::ir::Node;
use depthwise_layers::{Binary, BinaryFn, Cast, Unary, UnaryFn};
use depthwise_tensor::DType;

pub(super) fn unary(w: &mut Writer<'_>, node: &Node, op: &Unary) -> Result<(), Refused> {
    let (x, target) = (w.value(operand(node, 0)?)?, Target::Value(node.outputs[0]));
    let is_float = w.type_of(x).dtype.is_float();
    let kind = match op.function {
        UnaryFn::Neg => NEG,
        UnaryFn::Abs => ABS,
        UnaryFn::Exp => EXP,
        UnaryFn::Log => LOG,
        UnaryFn::Sqrt => SQRT,
        UnaryFn::Square if is_float => SQUARE,
        UnaryFn::Square => {
            w.run(MUL, plain(), &[x, x], target);
            return Ok(());
        }
        UnaryFn::Reciprocal => {
            let one = w.scalar("one", 1.0);
            w.run(DIV, plain(), &[one, x], target);
            return Ok(());
        }
        UnaryFn::Rsqrt => RSQRT,
        UnaryFn::Sin => SIN,
        UnaryFn::Cos => COS,
        UnaryFn::Floor => FLOOR,
        UnaryFn::Ceil => CEIL,
        UnaryFn::Round => ROUND,
        UnaryFn::Sign => SIGN,
        UnaryFn::Not => LOGICAL_NOT,
        other => return refuse(format!("the function {other:?} has no form in TFLite")),
    };
    w.run(kind, Record::new(), &[x], target);
    Ok(())
}

/// The operator of a function, whether it can end with an activation, and its version for operands
/// that broadcast to more than four axes.
fn kind_of(function: BinaryFn, dtype: DType) -> Result<(Kind, bool), Refused> {
    Ok(match function {
        BinaryFn::Add => (ADD, true),
        BinaryFn::Sub => (SUB, true),
        BinaryFn::Mul => (MUL, true),
        BinaryFn::Div => (DIV, true),
        BinaryFn::Min => (MINIMUM, false),
        BinaryFn::Max => (MAXIMUM, false),
        BinaryFn::Pow => (POW, false),
        BinaryFn::Mod => (FLOOR_MOD, false),
        BinaryFn::Equal => (EQUAL, false),
        BinaryFn::Less => (LESS, false),
        BinaryFn::LessOrEqual => (LESS_EQUAL, false),
        BinaryFn::Greater => (GREATER, false),
        BinaryFn::GreaterOrEqual => (GREATER_EQUAL, false),
        BinaryFn::And => (LOGICAL_AND, false),
        BinaryFn::Or => (LOGICAL_OR, false),
        BinaryFn::Xor => (NOT_EQUAL, false),
        other => return refuse(format!("the function {other:?} of {dtype} has no form in TFLite")),
    })
}

pub(super) fn binary(w: &mut Writer<'_>, node: &Node, op: &Binary) -> Result<(), Refused> {
    let (a, b) = (operand(node, 0)?, operand(node, 1)?);
    let (kind, fuses) = kind_of(op.function, w.ty(a).dtype)?;
    let (inputs, y) = ([w.value(a)?, w.value(b)?], node.outputs[0]);
    if fuses {
        return with_tail(w, y, op.activation, kind, 0, Record::new(), &inputs);
    }
    if op.activation == depthwise_layers::Activation::Identity {
        w.run(kind, Record::new(), &inputs, Target::Value(y));
        return Ok(());
    }
    let ty = w.ty(y);
    let linear = w.run(kind, Record::new(), &inputs, Target::Part("linear", ty));
    super::activation::activate(w, y, op.activation, linear)
}

pub(super) fn select(w: &mut Writer<'_>, node: &Node) -> Result<(), Refused> {
    let inputs = [0, 1, 2].map(|at| operand(node, at).and_then(|id| w.value(id)));
    let [condition, a, b] = inputs;
    w.run(SELECT_V2, Record::new(), &[condition?, a?, b?], Target::Value(node.outputs[0]));
    Ok(())
}

pub(super) fn prelu(w: &mut Writer<'_>, node: &Node) -> Result<(), Refused> {
    let inputs = [w.value(operand(node, 0)?)?, w.value(operand(node, 1)?)?];
    w.run(PRELU, Record::new(), &inputs, Target::Value(node.outputs[0]));
    Ok(())
}

pub(super) fn cast(w: &mut Writer<'_>, node: &Node, op: &Cast) -> Result<(), Refused> {
    let (id, y) = (operand(node, 0)?, node.outputs[0]);
    let from = w.ty(id).dtype;
    if from != DType::F32 && from.is_float() && op.to == DType::F32 && w.tensor(id).is_some() {
        // A constant in a narrower form.
        let tensor = w.weight(id)?;
        return moving::copy(w, y, tensor);
    }
    let x = w.value(id)?;
    if from == op.to {
        return moving::copy(w, y, x);
    }
    let byte = |dtype| Field::U8(number(dtype).cast_unsigned());
    let options = Record::new().with(0, byte(from)).with(1, byte(op.to));
    w.run(CAST, options, &[x], Target::Value(y));
    Ok(())
}
