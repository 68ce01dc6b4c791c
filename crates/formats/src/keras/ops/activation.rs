//! Activations: as layers, and by name in other layers.

use super::context::{Context, Fail, unsupported};
use super::{Row, row};
use depthwise_layers::ir::ValueId;
use depthwise_layers::{Activate, Activation, BinaryFn, PRelu, Softmax, Unary, UnaryFn};
use depthwise_tensor::Tensor;
use serde_json::Value;

pub(super) const ROWS: &[Row] = &[
    row("Activation", |c| {
        let function = Function::read(c, "activation")?;
        function.layer(c)
    }),
    row("ELU", |c| {
        let alpha = c.float("alpha", 1.0)?;
        Function::Plain(Activation::Elu { alpha }).layer(c)
    }),
    row("LeakyReLU", |c| {
        let slope = match c.opt_float("negative_slope")? {
            Some(slope) => slope,
            None => c.float("alpha", 0.3)?,
        };
        Function::Plain(Activation::LeakyRelu { alpha: slope }).layer(c)
    }),
    row("PReLU", |c| {
        // The shape of the slopes says it as well.
        c.ignore(&["shared_axes"]);
        let (x, slope) = (c.input()?, c.plain_weight(&["alpha"], 0)?);
        Ok(vec![c.add("", PRelu, &[x, slope])?])
    }),
    row("ReLU", relu),
    row("Softmax", softmax),
];

/// What an activation computes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Function {
    Plain(Activation),
    /// Along the last axis.
    Softmax {
        log: bool,
    },
    /// `e^x`
    Exponential,
    /// `x / (1 + |x|)`
    Softsign,
    /// A scaled ELU (Klambauer et al. 2017).
    Selu,
    /// `x * tanh(ln(1 + e^x))` (Misra 2019)
    Mish,
}

/// The constants of SELU.
const SELU_ALPHA: f32 = 1.673_263_2;
const SELU_SCALE: f32 = 1.050_701;

impl Function {
    /// The activation that a setting names; the identity where it is missing.
    pub(super) fn read(c: &mut Context<'_, '_>, key: &'static str) -> Result<Function, Fail> {
        let Some(value) = c.value(key) else { return Ok(Function::Plain(Activation::Identity)) };
        let name = match value {
            Value::String(name) => Some(name.as_str()),
            Value::Object(object) => match object.get("class_name").and_then(Value::as_str) {
                Some("function") => object.get("config").and_then(Value::as_str),
                // A layer in place of a function.
                Some(class) => return of_layer(class, object.get("config")),
                None => None,
            },
            _ => None,
        };
        match name {
            Some(name) => Function::of_name(name, c.version()),
            None => unsupported(format!("{key} = {value} is not supported")),
        }
    }

    /// The function of this name in this version of Keras.
    pub(super) fn of_name(name: &str, version: u32) -> Result<Function, Fail> {
        // Names of classes and of functions, with and without package.
        let name = name.rsplit(['.', '>']).next().unwrap_or(name);
        Ok(Function::Plain(match name {
            "linear" => Activation::Identity,
            "relu" => Activation::RELU,
            "relu6" => Activation::RELU6,
            "sigmoid" => Activation::Sigmoid,
            "tanh" => Activation::Tanh,
            "hard_sigmoid" if version < 3 => Activation::HardSigmoid { alpha: 0.2, beta: 0.5 },
            "hard_sigmoid" => Activation::HardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 },
            "hard_silu" | "hard_swish" => Activation::HardSwish,
            "silu" | "swish" => Activation::Silu,
            "gelu" => Activation::Gelu,
            // With a scale of 1, CELU is ELU.
            "elu" | "celu" => Activation::Elu { alpha: 1.0 },
            "softplus" => Activation::Softplus,
            "leaky_relu" => Activation::LeakyRelu { alpha: 0.2 },
            "hard_tanh" => Activation::Clip { min: -1.0, max: 1.0 },
            "softmax" => return Ok(Function::Softmax { log: false }),
            "log_softmax" => return Ok(Function::Softmax { log: true }),
            "exponential" => return Ok(Function::Exponential),
            "softsign" => return Ok(Function::Softsign),
            "selu" => return Ok(Function::Selu),
            "mish" => return Ok(Function::Mish),
            other => return unsupported(format!("the activation {other} is not supported")),
        }))
    }

    /// What a layer computes itself, before [`Function::after_fused`].
    pub(super) fn fused(self) -> Activation {
        match self {
            Function::Plain(activation) => activation,
            _ => Activation::Identity,
        }
    }

    /// The rest of the function, where a layer has computed [`Function::fused`].
    pub(super) fn after_fused(self, c: &mut Context<'_, '_>, x: ValueId) -> Result<ValueId, Fail> {
        match self {
            Function::Plain(_) => Ok(x),
            other => other.apply(c, "activation", x),
        }
    }

    /// The function as a layer of its own.
    pub(super) fn layer(self, c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
        let x = c.input()?;
        Ok(vec![self.apply(c, "", x)?])
    }

    fn apply(self, c: &mut Context<'_, '_>, role: &str, x: ValueId) -> Result<ValueId, Fail> {
        let activate = |activation| Activate { activation };
        match self {
            Function::Plain(Activation::Identity) => Ok(x),
            Function::Plain(activation) => c.add(role, activate(activation), &[x]),
            Function::Softmax { log } => c.add(role, Softmax { axis: -1, log }, &[x]),
            Function::Exponential => c.add(role, Unary { function: UnaryFn::Exp }, &[x]),
            Function::Softsign => {
                let size = c.add("size", Unary { function: UnaryFn::Abs }, &[x])?;
                let one = c.constant("one", Tensor::scalar(1f32));
                let size = c.binary("divisor", BinaryFn::Add, size, one)?;
                c.binary(role, BinaryFn::Div, x, size)
            }
            Function::Selu => {
                let y = c.add("elu", activate(Activation::Elu { alpha: SELU_ALPHA }), &[x])?;
                let scale = c.constant("scale", Tensor::scalar(SELU_SCALE));
                c.binary(role, BinaryFn::Mul, y, scale)
            }
            Function::Mish => {
                let y = c.add("softplus", activate(Activation::Softplus), &[x])?;
                let y = c.add("gate", activate(Activation::Tanh), &[y])?;
                c.binary(role, BinaryFn::Mul, x, y)
            }
        }
    }
}

/// An activation that is given as a layer: those that need no weights and one function.
fn of_layer(class: &str, config: Option<&Value>) -> Result<Function, Fail> {
    let float = |key: &str| config.and_then(|config| config.get(key)?.as_f64());
    let plain = |activation| Ok(Function::Plain(activation));
    match class {
        "ReLU" if float("threshold").unwrap_or(0.0) == 0.0 => {
            let max = float("max_value").map_or(f32::INFINITY, |max| max as f32);
            match float("negative_slope").unwrap_or(0.0) as f32 {
                0.0 => plain(Activation::Clip { min: 0.0, max }),
                alpha if max == f32::INFINITY => plain(Activation::LeakyRelu { alpha }),
                _ => unsupported("a ReLU with both a slope and a maximum inside a layer"),
            }
        }
        "LeakyReLU" => {
            let alpha = float("negative_slope").or_else(|| float("alpha")).unwrap_or(0.3) as f32;
            plain(Activation::LeakyRelu { alpha })
        }
        "ELU" => plain(Activation::Elu { alpha: float("alpha").unwrap_or(1.0) as f32 }),
        "Softmax" if config.and_then(|c| c.get("axis")).is_none_or(|axis| *axis == -1) => {
            Ok(Function::Softmax { log: false })
        }
        other => unsupported(format!("the layer {other} as an activation is not supported")),
    }
}

fn relu(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let max = c.opt_float("max_value")?.unwrap_or(f32::INFINITY);
    let slope = c.float("negative_slope", 0.0)?;
    let threshold = c.float("threshold", 0.0)?;
    if threshold != 0.0 {
        return unsupported(format!("threshold = {threshold} is not supported"));
    }
    if slope == 0.0 {
        return Function::Plain(Activation::Clip { min: 0.0, max }).layer(c);
    }
    let x = c.input()?;
    let leaky = Activate { activation: Activation::LeakyRelu { alpha: slope } };
    if max == f32::INFINITY {
        return Ok(vec![c.add("", leaky, &[x])?]);
    }
    let y = c.add("leaky", leaky, &[x])?;
    let activation = Activation::Clip { min: f32::NEG_INFINITY, max };
    Ok(vec![c.add("", Activate { activation }, &[y])?])
}

fn softmax(c: &mut Context<'_, '_>) -> Result<Vec<ValueId>, Fail> {
    let axis = match c.ints("axis")?.as_deref() {
        None => -1,
        Some(&[axis]) => axis,
        Some(axes) => return unsupported(format!("axis = {axes:?} is not supported")),
    };
    let x = c.input()?;
    Ok(vec![c.add("", Softmax { axis, log: false }, &[x])?])
}
