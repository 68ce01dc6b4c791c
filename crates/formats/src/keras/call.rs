//! How a layer is called: the arguments of its calls, as the file writes them.

use serde_json::{Map, Value};

/// A result of a layer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ResultOf<'m> {
    /// Name of the layer.
    pub(super) layer: &'m str,
    /// Which of its calls.
    pub(super) call: usize,
    /// Which of the results of that call.
    pub(super) index: usize,
}

/// One argument of a call.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Argument<'m> {
    Result(ResultOf<'m>),
    List(Vec<Argument<'m>>),
    /// Anything else: numbers, texts, null.
    Literal(&'m Value),
}

/// One call of a layer.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Call<'m> {
    pub(super) args: Vec<Argument<'m>>,
    pub(super) kwargs: Vec<(&'m str, Argument<'m>)>,
}

impl<'m> Argument<'m> {
    /// All results that it is made of.
    pub(super) fn results(&self) -> Vec<&ResultOf<'m>> {
        match self {
            Argument::Result(result) => vec![result],
            Argument::List(list) => list.iter().flat_map(Argument::results).collect(),
            Argument::Literal(_) => Vec::new(),
        }
    }
}

impl<'m> Call<'m> {
    /// All results that it reads.
    pub(super) fn results(&self) -> impl Iterator<Item = &ResultOf<'m>> {
        let kwargs = self.kwargs.iter().map(|(_, argument)| argument);
        self.args.iter().chain(kwargs).flat_map(Argument::results)
    }
}

/// The calls of a layer, from its `inbound_nodes`.
///
/// Keras 3 writes `{"args": [..], "kwargs": {..}}` per call. Keras 2 writes a list of inputs per
/// call, an input being `[layer, call, result, kwargs]`, or that input alone.
pub(super) fn calls(inbound_nodes: &Value) -> Option<Vec<Call<'_>>> {
    inbound_nodes.as_array()?.iter().map(call).collect()
}

fn call(node: &Value) -> Option<Call<'_>> {
    match node {
        Value::Object(node) => {
            let args = node.get("args")?.as_array()?.iter();
            let kwargs = node.get("kwargs").and_then(Value::as_object);
            let kwargs = kwargs.into_iter().flatten();
            Some(Call {
                args: args.map(keras3).collect(),
                kwargs: kwargs.map(|(name, value)| (name.as_str(), keras3(value))).collect(),
            })
        }
        Value::Array(inputs) => {
            let single = inputs.first().is_some_and(Value::is_string);
            let inputs = if single { std::slice::from_ref(node) } else { &inputs[..] };
            let mut call = Call::default();
            for input in inputs {
                let (argument, kwargs) = keras2_input(input)?;
                call.args.push(argument);
                for (name, value) in kwargs.into_iter().flatten() {
                    call.kwargs.push((name, keras2(value)));
                }
            }
            Some(call)
        }
        _ => None,
    }
}

fn keras3(value: &Value) -> Argument<'_> {
    match value {
        Value::Array(list) => many(value, list, keras3),
        Value::Object(object) if object.get("class_name") == Some(&"__keras_tensor__".into()) => {
            let history = value.pointer("/config/keras_history");
            match history.and_then(result) {
                Some(result) => Argument::Result(result),
                None => Argument::Literal(value),
            }
        }
        _ => Argument::Literal(value),
    }
}

/// A list of arguments; a literal where no result stands in it.
fn many<'m>(
    value: &'m Value,
    list: &'m [Value],
    of: fn(&'m Value) -> Argument<'m>,
) -> Argument<'m> {
    let arguments: Vec<_> = list.iter().map(of).collect();
    let literal = arguments.iter().all(|argument| matches!(argument, Argument::Literal(_)));
    if literal { Argument::Literal(value) } else { Argument::List(arguments) }
}

/// `[layer, call, result, kwargs]`; a constant has `"_CONSTANT_VALUE"` for a layer, -1, and the
/// constant.
fn keras2_input(input: &Value) -> Option<(Argument<'_>, Option<&Map<String, Value>>)> {
    let list = input.as_array()?;
    let kwargs = list.get(3).and_then(Value::as_object);
    if list.first()?.as_str()? == "_CONSTANT_VALUE" {
        return Some((Argument::Literal(list.get(2)?), kwargs));
    }
    Some((Argument::Result(result(input)?), kwargs))
}

/// A keyword argument; in it, results stand as lists that start with the name of a layer.
fn keras2(value: &Value) -> Argument<'_> {
    match (result(value), value) {
        (Some(result), _) => Argument::Result(result),
        (None, Value::Array(list)) => many(value, list, keras2),
        (None, value) => Argument::Literal(value),
    }
}

/// `[layer, call, result]`
pub(super) fn result(value: &Value) -> Option<ResultOf<'_>> {
    let [layer, call, index, ..] = &value.as_array()?[..] else { return None };
    let number = |value: &Value| usize::try_from(value.as_u64()?).ok();
    Some(ResultOf { layer: layer.as_str()?, call: number(call)?, index: number(index)? })
}

/// The `input_layers` or `output_layers` of a model: one result, a list of them, or results by
/// name.
pub(super) fn ends(value: &Value) -> Option<Vec<ResultOf<'_>>> {
    if let Some(one) = result(value) {
        return Some(vec![one]);
    }
    match value {
        Value::Array(list) => list.iter().map(result).collect(),
        Value::Object(map) => map.values().map(result).collect(),
        _ => None,
    }
}
