//! A model as the file describes it: layers, their calls, inputs and outputs.

use super::call::{Argument, Call, ResultOf, calls, ends};
use super::error::KerasError;
use serde_json::{Map, Value};
use std::collections::HashMap;

/// One layer of a model.
#[derive(Debug)]
pub(super) struct Layer<'m> {
    pub(super) class: &'m str,
    /// Where Python finds the class.
    pub(super) module: &'m str,
    pub(super) name: &'m str,
    pub(super) config: &'m Map<String, Value>,
    /// The config as it stands in the file; of old Sequential models a list.
    pub(super) value: &'m Value,
    pub(super) calls: Vec<Call<'m>>,
    /// The number that the file gives the first of the calls.
    pub(super) first_call: usize,
    /// Its group among the weights of an archive: its class in snake case, and a number where the
    /// model has had that class before.
    pub(super) group: String,
    /// The shape of an input that is not declared by a layer of its own.
    pub(super) shape: Option<&'m Value>,
}

/// A Functional or Sequential model.
#[derive(Debug)]
pub(super) struct Network<'m> {
    pub(super) name: &'m str,
    pub(super) layers: Vec<Layer<'m>>,
    pub(super) inputs: Vec<ResultOf<'m>>,
    pub(super) outputs: Vec<ResultOf<'m>>,
}

/// Longest name of a layer.
const MAX_NAME: usize = 256;

/// Whether a class is a model, which has layers of its own.
pub(super) fn is_network(class: &str, config: &Value) -> bool {
    let has_layers = config.get("layers").is_some_and(Value::is_array);
    let list = class == "Sequential" && config.is_array();
    (has_layers || list) && matches!(class, "Functional" | "Model" | "Sequential")
}

fn fail(place: &str, reason: impl Into<String>) -> KerasError {
    KerasError::Config { place: place.to_owned(), reason: reason.into() }
}

impl<'m> Network<'m> {
    /// A model from its class and its `config`.
    pub(super) fn parse(class: &str, config: &'m Value) -> Result<Network<'m>, KerasError> {
        let name = config.get("name").and_then(Value::as_str).unwrap_or("model");
        let place = format!("model \"{name}\"");
        let layers = config.get("layers").unwrap_or(config).as_array();
        let layers = layers.ok_or_else(|| fail(&place, "it has no list of layers"))?;
        let mut counts = HashMap::new();
        let mut parsed = Vec::new();
        for layer in layers {
            parsed.push(Layer::parse(layer, &mut counts, &place)?);
        }
        if class == "Sequential" {
            return Network::sequential(name, parsed, config.get("build_input_shape"), &place);
        }
        let end = |which: &str| {
            let found = config.get(which).and_then(ends).filter(|list| !list.is_empty());
            found.ok_or_else(|| fail(&place, format!("its {which} are missing or not understood")))
        };
        let (inputs, outputs) = (end("input_layers")?, end("output_layers")?);
        Ok(Network { name, layers: parsed, inputs, outputs })
    }

    /// Each layer is called once, with the result of the one before.
    fn sequential(
        name: &'m str,
        mut layers: Vec<Layer<'m>>,
        shape: Option<&'m Value>,
        place: &str,
    ) -> Result<Network<'m>, KerasError> {
        let Some(first) = layers.first() else { return Err(fail(place, "it has no layers")) };
        if first.class != "InputLayer" {
            let input = Layer {
                class: "InputLayer",
                module: "",
                name: "input",
                config: first.config,
                value: first.value,
                calls: Vec::new(),
                first_call: 0,
                group: String::new(),
                shape,
            };
            layers.insert(0, input);
        }
        let whole = |layer: &Layer<'m>| ResultOf { layer: layer.name, call: 0, index: 0 };
        let inputs = vec![whole(&layers[0])];
        let mut before = inputs[0].clone();
        for layer in &mut layers[1..] {
            let args = vec![Argument::Result(before)];
            layer.calls = vec![Call { args, kwargs: Vec::new() }];
            layer.first_call = 0;
            before = whole(layer);
        }
        Ok(Network { name, layers, inputs, outputs: vec![before] })
    }
}

impl<'m> Layer<'m> {
    fn parse(
        value: &'m Value,
        counts: &mut HashMap<&'m str, usize>,
        place: &str,
    ) -> Result<Layer<'m>, KerasError> {
        let text = |key: &str| value.get(key).and_then(Value::as_str);
        let class = text("class_name").ok_or_else(|| fail(place, "a layer has no class"))?;
        let empty = || fail(place, format!("a layer of class {class} has no config"));
        let config = value.get("config").ok_or_else(empty)?;
        static NOTHING: std::sync::LazyLock<Map<String, Value>> =
            std::sync::LazyLock::new(Map::new);
        let map = config.as_object().unwrap_or(&NOTHING);
        let name = text("name").or_else(|| map.get("name")?.as_str());
        let name =
            name.ok_or_else(|| fail(place, format!("a layer of class {class} has no name")))?;
        if name.len() > MAX_NAME {
            return Err(fail(place, format!("the name of a layer has {} bytes", name.len())));
        }
        let nodes = value.get("inbound_nodes").filter(|nodes| !nodes.is_null());
        let calls = nodes.map_or(Some(Vec::new()), calls);
        let calls = calls.ok_or_else(|| {
            fail(&format!("layer \"{name}\""), "its inbound_nodes are not understood")
        })?;
        let count = counts.entry(class).or_insert(0);
        let group = match *count {
            0 => snake_case(class),
            n => format!("{}_{n}", snake_case(class)),
        };
        *count += 1;
        let module = text("module").unwrap_or("");
        let first_call = usize::from(skips_first(nodes, class, config));
        let value = config;
        let config = map;
        Ok(Layer { class, module, name, config, value, calls, first_call, group, shape: None })
    }
}

/// In Keras 2 a model with an input layer counts its own definition as its call number 0.
fn skips_first(nodes: Option<&Value>, class: &str, config: &Value) -> bool {
    let keras2 = nodes.and_then(|nodes| nodes.get(0)).is_some_and(Value::is_array);
    let first = config.get("layers").unwrap_or(config).get(0);
    let input = first.and_then(|layer| layer.get("class_name")?.as_str()) == Some("InputLayer");
    keras2 && is_network(class, config) && input
}

/// As Keras does it: `DepthwiseConv2D` is `depthwise_conv2d`, `PReLU` is `p_re_lu`.
fn snake_case(name: &str) -> String {
    let chars: Vec<char> = name.chars().filter(|c| c.is_alphanumeric() || *c == '_').collect();
    let mut snake = String::new();
    for (at, &c) in chars.iter().enumerate() {
        if c.is_uppercase() && at > 0 && chars[at - 1] != '_' {
            let starts_word = chars.get(at + 1).is_some_and(|c| c.is_lowercase());
            if starts_word || chars[at - 1].is_lowercase() {
                snake.push('_');
            }
        }
        snake.extend(c.to_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_classes_become_those_of_groups() {
        let cases = [
            ("Conv2D", "conv2d"),
            ("DepthwiseConv2D", "depthwise_conv2d"),
            ("Conv2DTranspose", "conv2d_transpose"),
            ("PReLU", "p_re_lu"),
            ("LeakyReLU", "leaky_re_lu"),
            ("ReLU", "re_lu"),
            ("ELU", "elu"),
            ("GlobalAveragePooling2D", "global_average_pooling2d"),
            ("UpSampling2D", "up_sampling2d"),
            ("TFOpLambda", "tf_op_lambda"),
        ];
        for (class, group) in cases {
            assert_eq!(snake_case(class), group);
        }
    }
}
