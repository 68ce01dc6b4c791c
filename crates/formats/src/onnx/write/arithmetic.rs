//! Functions of one and more operands, element by element.

use super::values::{Form, TO_NCHW, Writer, operand, transposed};
use super::{Attr, Refused, activation, number};
use depthwise_layers::ir::{Node, ValueId};
use depthwise_layers::{Binary, BinaryFn, Cast, Unary, UnaryFn};
use depthwise_tensor::Tensor;

pub(super) fn unary(w: &mut Writer<'_>, node: &Node, op: &Unary) -> Result<(), Refused> {
    let (x, y) = (operand(node, 0)?, node.outputs[0]);
    let form = w.common(&[x]);
    let x = w.get(x, form)?;
    let op_type = match op.function {
        UnaryFn::Neg => "Neg",
        UnaryFn::Abs => "Abs",
        UnaryFn::Exp => "Exp",
        UnaryFn::Log => "Log",
        UnaryFn::Sqrt => "Sqrt",
        UnaryFn::Reciprocal => "Reciprocal",
        UnaryFn::Square => {
            w.result(y, form, "Mul", vec![x.clone(), x], vec![]);
            return Ok(());
        }
        UnaryFn::Rsqrt => {
            let root = w.part("root", "Sqrt", vec![x], vec![]);
            w.result(y, form, "Reciprocal", vec![root], vec![]);
            return Ok(());
        }
        UnaryFn::Erf => "Erf",
        UnaryFn::Sin => "Sin",
        UnaryFn::Cos => "Cos",
        UnaryFn::Floor => "Floor",
        UnaryFn::Ceil => "Ceil",
        UnaryFn::Round => "Round",
        UnaryFn::Sign => "Sign",
        UnaryFn::Not => "Not",
        other => return super::refuse(format!("the function {other:?} has no form in ONNX")),
    };
    w.result(y, form, op_type, vec![x], vec![]);
    Ok(())
}

pub(super) fn binary(w: &mut Writer<'_>, node: &Node, op: &Binary) -> Result<(), Refused> {
    let (operands, form) = broadcast(w, node, 2)?;
    let (a, b, y) = (operands[0].clone(), operands[1].clone(), node.outputs[0]);
    let is_float = w.dtype(operand(node, 0)?).is_float();
    let tail = |w: &mut Writer<'_>, op_type, attributes| {
        let inputs = vec![a.clone(), b.clone()];
        activation::with_tail(w, y, form, op.activation, op_type, inputs, attributes)
    };
    let op_type = match op.function {
        BinaryFn::Add => "Add",
        BinaryFn::Sub => "Sub",
        BinaryFn::Mul => "Mul",
        BinaryFn::Div => "Div",
        BinaryFn::Min => "Min",
        BinaryFn::Max => "Max",
        BinaryFn::Pow => "Pow",
        BinaryFn::Rem => return tail(w, "Mod", vec![("fmod", Attr::Int(1))]),
        BinaryFn::Mod if !is_float => "Mod",
        BinaryFn::Mod => {
            let (inputs, dtype) = floored(w, a, b)?;
            return activation::with_tail(w, y, form, op.activation, dtype, inputs, vec![]);
        }
        BinaryFn::Equal => "Equal",
        BinaryFn::Less => "Less",
        BinaryFn::LessOrEqual => "LessOrEqual",
        BinaryFn::Greater => "Greater",
        BinaryFn::GreaterOrEqual => "GreaterOrEqual",
        BinaryFn::And => "And",
        BinaryFn::Or => "Or",
        BinaryFn::Xor => "Xor",
        other => return super::refuse(format!("the function {other:?} has no form in ONNX")),
    };
    tail(w, op_type, vec![])
}

/// A remainder of floats with the sign of `b`: that with the sign of `a`, and `b` more where the
/// signs differ. Gives the last operator and its operands.
fn floored(
    w: &mut Writer<'_>,
    a: String,
    b: String,
) -> Result<(Vec<String>, &'static str), Refused> {
    let rest = w.part("rest", "Mod", vec![a, b.clone()], vec![("fmod", Attr::Int(1))]);
    let signs: Vec<String> = [("sign.rest", &rest), ("sign.b", &b)]
        .into_iter()
        .map(|(role, x)| w.part(role, "Sign", vec![x.clone()], vec![]))
        .collect();
    // Of opposite signs where their sum is 0 and neither is.
    let negated = w.part("sign.negated", "Neg", vec![signs[1].clone()], vec![]);
    let opposite = w.part("opposite", "Equal", vec![signs[0].clone(), negated], vec![]);
    let moved = w.part("moved", "Add", vec![rest.clone(), b], vec![]);
    Ok((vec![opposite, moved, rest], "Where"))
}

pub(super) fn select(w: &mut Writer<'_>, node: &Node) -> Result<(), Refused> {
    let (operands, form) = broadcast(w, node, 3)?;
    w.result(node.outputs[0], form, "Where", operands, vec![]);
    Ok(())
}

pub(super) fn prelu(w: &mut Writer<'_>, node: &Node) -> Result<(), Refused> {
    let (operands, form) = broadcast(w, node, 2)?;
    w.result(node.outputs[0], form, "PRelu", operands, vec![]);
    Ok(())
}

pub(super) fn cast(w: &mut Writer<'_>, node: &Node, op: &Cast) -> Result<(), Refused> {
    let x = operand(node, 0)?;
    let form = w.common(&[x]);
    let (same, name) = (w.dtype(x) == op.to, w.get(x, form)?);
    match same {
        true => w.result(node.outputs[0], form, "Identity", vec![name], vec![]),
        false => {
            let to = Attr::Int(number(op.to).into());
            w.result(node.outputs[0], form, "Cast", vec![name], vec![("to", to)]);
        }
    }
    Ok(())
}

/// The first operands of a layer that broadcasts them, all in one form, and that form.
///
/// Where it is NCHW, an operand of fewer dimensions has to become a picture: a constant is written
/// as one; another is given leading axes, unless it is a scalar.
fn broadcast(
    w: &mut Writer<'_>,
    node: &Node,
    count: usize,
) -> Result<(Vec<String>, Form), Refused> {
    let ids = (0..count).map(|at| operand(node, at)).collect::<Result<Vec<_>, _>>()?;
    let form = w.common(&ids);
    let names = ids.iter().map(|&id| match (form, w.rank(id)) {
        (Form::Plain, _) | (Form::Nchw, 0) => w.plain(id),
        (Form::Nchw, 4) => w.get(id, Form::Nchw),
        (Form::Nchw, _) => as_picture(w, id),
    });
    let names = names.collect::<Result<Vec<_>, _>>()?;
    Ok((names, form))
}

/// The NCHW form of a value of up to three dimensions, seen as a picture.
fn as_picture(w: &mut Writer<'_>, id: ValueId) -> Result<String, Refused> {
    let missing = 4usize.checked_sub(w.rank(id));
    let Some(missing) = missing else {
        return super::refuse(format!("an operand of {} dimensions beside a picture", w.rank(id)));
    };
    let one_scale = w.scaled.get(&id).is_none_or(|scaled| scaled.axis.is_none());
    if let Some(tensor) = w.stored(id).filter(|_| one_scale) {
        let picture = lifted(tensor, missing)?;
        let picture = transposed(&picture, &TO_NCHW)?;
        // Axes of extent 1 in front say nothing.
        let dims = picture.shape().dims();
        let front = dims.iter().take_while(|&&extent| extent == 1).count().min(3);
        let short = picture.reshape(&dims[front..]).map_err(|e| Refused(e.to_string()))?;
        return w.rearranged(id, short, |_| None);
    }
    let axes = w.list("axes", &(0..missing as i64).collect::<Vec<_>>());
    let name = w.plain(id)?;
    let picture = w.part("picture", "Unsqueeze", vec![name, axes], vec![]);
    let turned = w.fresh("picture.nchw");
    w.transpose(picture, &TO_NCHW, turned.clone());
    Ok(turned)
}

fn lifted(tensor: &Tensor, missing: usize) -> Result<Tensor, Refused> {
    let dims = [&vec![1; missing][..], tensor.shape().dims()].concat();
    tensor.reshape(&dims).map_err(|error| Refused(error.to_string()))
}
