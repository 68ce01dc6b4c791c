//! Activations, as operators and fused into others.

use super::kinds::*;
use super::quantize::{Scales, Stored};
use super::values::{Target, Writer, operand};
use super::{Refused, moving, refuse};
use crate::tflite::wire::{Field, Record};
use depthwise_layers::ir::{Node, ValueId};
use depthwise_layers::{Activate, Activation};
use depthwise_tensor::Tensor;

/// The number of an activation that operators can end with.
pub(super) fn fused(activation: Activation) -> Option<u8> {
    match activation {
        Activation::Identity => Some(0),
        Activation::RELU => Some(1),
        Activation::Clip { min: -1.0, max: 1.0 } => Some(2),
        Activation::RELU6 => Some(3),
        _ => None,
    }
}

/// Writes an operator with an activation: fused where the format can, else as an operator behind it.
/// `field` is where the options hold the fused one.
pub(super) fn with_tail(
    w: &mut Writer<'_>,
    id: ValueId,
    activation: Activation,
    kind: Kind,
    field: u16,
    options: Record,
    inputs: &[i32],
) -> Result<(), Refused> {
    // Integers of the result's scale may not reach beyond what it clamps to.
    let number = fused(activation).or(w.integer.then_some(0));
    if let Some(number) = number {
        w.run(kind, options.with(field, Field::U8(number)), inputs, Target::Value(id));
        return Ok(());
    }
    let ty = w.ty(id);
    let y = w.run(kind, options.with(field, Field::U8(0)), inputs, Target::Part("linear", ty));
    activate(w, id, activation, y)
}

pub(super) fn activate_node(w: &mut Writer<'_>, node: &Node, op: &Activate) -> Result<(), Refused> {
    let x = w.value(operand(node, 0)?)?;
    activate(w, node.outputs[0], op.activation, x)
}

/// Operators without options that matter, by activation.
fn simple(activation: Activation) -> Option<Kind> {
    Some(match activation {
        Activation::RELU => RELU,
        Activation::RELU6 => RELU6,
        Activation::Clip { min: -1.0, max: 1.0 } => RELU_N1_TO_1,
        Activation::Clip { min: 0.0, max: 1.0 } => RELU_0_TO_1,
        Activation::Elu { alpha: 1.0 } => ELU,
        Activation::Sigmoid => LOGISTIC,
        Activation::Tanh => TANH,
        Activation::HardSwish => HARD_SWISH,
        _ => return None,
    })
}

/// Writes an activation of a tensor as the value of a layer.
pub(super) fn activate(
    w: &mut Writer<'_>,
    id: ValueId,
    activation: Activation,
    x: i32,
) -> Result<(), Refused> {
    let target = Target::Value(id);
    if let Some(kind) = simple(activation) {
        w.run(kind, Record::new(), &[x], target);
        return Ok(());
    }
    match activation {
        Activation::Identity => moving::copy(w, id, x)?,
        Activation::Clip { min, max } => clip(w, x, min, max, target)?,
        Activation::LeakyRelu { alpha } => {
            w.run(LEAKY_RELU, Record::new().with(0, Field::F32(alpha)), &[x], target);
        }
        Activation::Gelu | Activation::GeluTanh => {
            let approximate = u8::from(activation == Activation::GeluTanh);
            w.run(GELU, Record::new().with(0, Field::U8(approximate)), &[x], target);
        }
        Activation::Silu => {
            let ty = w.type_of(x);
            let gate = w.run(LOGISTIC, Record::new(), &[x], Target::Part("gate", ty));
            if w.integer {
                // What LOGISTIC gives.
                w.set_scales(gate, Scales::one(1.0 / 256.0, -128));
            }
            w.run(MUL, plain(), &[x, gate], target);
        }
        Activation::Elu { alpha } => elu(w, x, alpha, target),
        Activation::HardSigmoid { alpha, beta } if w.integer => {
            hard_sigmoid_of_integers(w, x, alpha, beta, id)?;
        }
        Activation::HardSigmoid { alpha, beta } => {
            let ty = w.type_of(x);
            let (alpha, beta) = (w.scalar("slope", alpha), w.scalar("middle", beta));
            let scaled = w.run(MUL, plain(), &[x, alpha], Target::Part("scaled", ty));
            let moved = w.run(ADD, plain(), &[scaled, beta], Target::Part("moved", ty));
            w.run(RELU_0_TO_1, Record::new(), &[moved], target);
        }
        Activation::Softplus => softplus(w, x, target),
        other => return refuse(format!("the activation {other} has no form in TFLite")),
    }
    Ok(())
}

/// `(x + beta / alpha) * alpha`: the sum has the integers of the result under a larger scale, so that
/// it clamps as the result does and the product only changes the scale.
fn hard_sigmoid_of_integers(
    w: &mut Writer<'_>,
    x: i32,
    alpha: f32,
    beta: f32,
    id: ValueId,
) -> Result<(), Refused> {
    let Some(Stored { scales, .. }) = w.stored(id).cloned() else {
        return refuse("its result has no scale");
    };
    let (scale, zero) = (scales.scale[0], scales.zero[0]);
    let number = |w: &mut Writer<'_>, role: &str, number: f32| {
        let (q, scale): (i8, f32) = match number {
            0.0 => (0, 1.0),
            number => (if number < 0.0 { -127 } else { 127 }, number.abs() / 127.0),
        };
        let tensor = w.constant(role, &Tensor::scalar(q));
        w.set_scales(tensor, Scales::one(scale, 0));
        tensor
    };
    let (middle, slope) = (number(w, "middle", beta / alpha), number(w, "slope", alpha));
    let ty = w.type_of(x);
    let sum = w.run(ADD, plain(), &[x, middle], Target::Part("moved", ty));
    w.set_scales(sum, Scales::one(scale / alpha, zero));
    w.run(MUL, plain(), &[sum, slope], Target::Value(id));
    Ok(())
}

/// Options of arithmetic without a fused activation.
pub(super) fn plain() -> Record {
    Record::new().with(0, Field::U8(0))
}

fn clip(w: &mut Writer<'_>, x: i32, min: f32, max: f32, target: Target<'_>) -> Result<(), Refused> {
    let (low, high) = (min != f32::NEG_INFINITY, max != f32::INFINITY);
    let mut y = x;
    if low {
        let bound = w.scalar("min", min);
        let ty = w.type_of(x);
        let to = if high { Target::Part("raised", ty) } else { target };
        y = w.run(MAXIMUM, Record::new(), &[y, bound], to);
    }
    if high {
        let bound = w.scalar("max", max);
        w.run(MINIMUM, Record::new(), &[y, bound], target);
    }
    match (low || high, target) {
        (false, Target::Value(id)) => moving::copy(w, id, x),
        _ => Ok(()),
    }
}

/// `max(x, 0) + alpha * elu(min(x, 0))`
fn elu(w: &mut Writer<'_>, x: i32, alpha: f32, target: Target<'_>) {
    let ty = w.type_of(x);
    let (zero, alpha) = (w.scalar("zero", 0.0), w.scalar("alpha", alpha));
    let above = w.run(RELU, Record::new(), &[x], Target::Part("above", ty));
    let below = w.run(MINIMUM, Record::new(), &[x, zero], Target::Part("below", ty));
    let curve = w.run(ELU, Record::new(), &[below], Target::Part("curve", ty));
    let scaled = w.run(MUL, plain(), &[curve, alpha], Target::Part("scaled", ty));
    w.run(ADD, plain(), &[above, scaled], target);
}

/// `max(x, 0) + ln(1 + exp(-|x|))`, which overflows nowhere.
fn softplus(w: &mut Writer<'_>, x: i32, target: Target<'_>) {
    let ty = w.type_of(x);
    let one = w.scalar("one", 1.0);
    let mut step =
        |kind: Kind, role: &str, x: i32| w.run(kind, Record::new(), &[x], Target::Part(role, ty));
    let above = step(RELU, "above", x);
    let size = step(ABS, "size", x);
    let size = step(NEG, "negative", size);
    let power = step(EXP, "power", size);
    let sum = w.run(ADD, plain(), &[power, one], Target::Part("sum", ty));
    let rest = w.run(LOG, Record::new(), &[sum], Target::Part("rest", ty));
    w.run(ADD, plain(), &[above, rest], target);
}
