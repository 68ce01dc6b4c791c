//! Activations, as layers and as tails of others.

use super::values::{Form, Writer, operand};
use super::{Attr, Refused, refuse};
use depthwise_layers::ir::{Node, ValueId};
use depthwise_layers::{Activate, Activation};
use depthwise_tensor::DType;

pub(super) fn activate(w: &mut Writer<'_>, node: &Node, op: &Activate) -> Result<(), Refused> {
    let x = operand(node, 0)?;
    let form = w.common(&[x]);
    let name = w.get(x, form)?;
    let dtype = w.dtype(x);
    finish(w, node.outputs[0], form, op.activation, name, dtype)
}

/// Writes an activation whose result is the value of a layer; a tail that does nothing is an
/// Identity.
pub(super) fn finish(
    w: &mut Writer<'_>,
    id: ValueId,
    form: Form,
    activation: Activation,
    x: String,
    dtype: DType,
) -> Result<(), Refused> {
    let (op_type, inputs, attributes) = match activation {
        Activation::Identity => ("Identity", vec![x], vec![]),
        Activation::RELU => ("Relu", vec![x], vec![]),
        Activation::Clip { min, max } => {
            let mut bound = |role: &str, bound: f32, none: f32| match bound == none {
                true => Ok(String::new()),
                false => w.scalar(role, dtype, bound.into()),
            };
            let low = bound("min", min, f32::NEG_INFINITY)?;
            let high = bound("max", max, f32::INFINITY)?;
            ("Clip", vec![x, low, high], vec![])
        }
        Activation::LeakyRelu { alpha } => {
            ("LeakyRelu", vec![x], vec![("alpha", Attr::Float(alpha))])
        }
        Activation::Elu { alpha } => ("Elu", vec![x], vec![("alpha", Attr::Float(alpha))]),
        Activation::Sigmoid => ("Sigmoid", vec![x], vec![]),
        Activation::Tanh => ("Tanh", vec![x], vec![]),
        Activation::HardSigmoid { alpha, beta } => {
            let attributes = vec![("alpha", Attr::Float(alpha)), ("beta", Attr::Float(beta))];
            ("HardSigmoid", vec![x], attributes)
        }
        Activation::HardSwish => ("HardSwish", vec![x], vec![]),
        Activation::Silu => {
            let gate = w.part("gate", "Sigmoid", vec![x.clone()], vec![]);
            ("Mul", vec![x, gate], vec![])
        }
        Activation::Gelu => ("Gelu", vec![x], vec![]),
        Activation::GeluTanh => ("Gelu", vec![x], vec![("approximate", Attr::Text("tanh"))]),
        Activation::Softplus => ("Softplus", vec![x], vec![]),
        other => return refuse(format!("the activation {other} has no form in ONNX")),
    };
    w.result(id, form, op_type, inputs, attributes);
    Ok(())
}

/// Writes an operator with an activation behind it.
pub(super) fn with_tail(
    w: &mut Writer<'_>,
    id: ValueId,
    form: Form,
    activation: Activation,
    op_type: &'static str,
    inputs: Vec<String>,
    attributes: Vec<(&'static str, Attr)>,
) -> Result<(), Refused> {
    if activation == Activation::Identity {
        w.result(id, form, op_type, inputs, attributes);
        return Ok(());
    }
    let y = w.part("linear", op_type, inputs, attributes);
    let dtype = w.dtype(id);
    finish(w, id, form, activation, y, dtype)
}
