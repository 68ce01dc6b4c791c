//! From the file's layers to a graph: order, calls, models in models, inputs and outputs. What a
//! layer means is said in `ops/`.

use super::call::{Argument, Call, ResultOf};
use super::container::Container;
use super::error::{KerasError, UnsupportedLayer};
use super::model::{Layer, Network, is_network};
use super::ops::{self, Context, Fail, Operand};
use super::weights::{Scope, Weights};
use depthwise_layers::ir::{Dim, Graph, InputType, ValueId};
use depthwise_layers::{Activate, Activation, Arg, Cast, LayerError, Op, TensorType};
use depthwise_tensor::{DType, MAX_RANK, Shape, Tensor};
use serde_json::{Map, Value};
use std::collections::{HashMap, HashSet};

/// Longest name of a value that starts with the names of the models around it.
const MAX_PATH: usize = 512;

/// Builds the graph of a model.
pub(super) fn import(container: &Container) -> Result<Graph, KerasError> {
    let model = &container.model;
    let class = model.get("class_name").and_then(Value::as_str).unwrap_or("");
    let empty = Value::Null;
    let config = model.get("config").unwrap_or(&empty);
    if !is_network(class, config) {
        return Err(KerasError::Container(format!(
            "its class is \"{class}\"; Functional and Sequential models can be read, models with \
             code of their own cannot"
        )));
    }
    let network = Network::parse(class, config)?;
    let mut importer = Importer::new(container, network.name);
    let frame = Frame { network: &network, path: String::new(), scope: None };
    let outputs = importer.network(&frame, None)?;
    if !importer.unsupported.is_empty() {
        return Err(KerasError::Unsupported(importer.unsupported));
    }
    importer.finish(&network, &outputs)
}

/// A model during its import.
struct Frame<'f, 'm> {
    network: &'f Network<'m>,
    /// Names of the models around its layers, each with a slash.
    path: String,
    /// Where the weights of its layers are, unless it is the outermost.
    scope: Option<Scope>,
}

/// The results of a call; `None` for those that depend on a layer that was not imported.
type Results = Vec<Option<ValueId>>;

/// The results of all calls so far, by layer and number of the call.
type Known = HashMap<(usize, usize), Results>;

/// The state between layers.
pub(super) struct Importer<'m> {
    pub(super) graph: Graph,
    pub(super) weights: &'m Weights,
    /// First number of the version of Keras.
    pub(super) version: u32,
    /// Types of the values, where all extents but the number of samples are known.
    types: Vec<Option<TensorType>>,
    /// Constants made of the weights of a layer, by its config and their role, for layers that are
    /// called more than once.
    shared: HashMap<(usize, String), ValueId>,
    unsupported: Vec<UnsupportedLayer>,
    /// The configs of the layers in `unsupported`.
    reported: HashSet<usize>,
    calls_left: usize,
    max_calls: usize,
}

/// Tells layers apart by where their config is.
fn identity(config: &Map<String, Value>) -> usize {
    std::ptr::from_ref(config) as usize
}

impl<'m> Importer<'m> {
    fn new(container: &'m Container, name: &str) -> Importer<'m> {
        // A call takes more bytes than that, unless models stand in models.
        let max_calls = container.model_len / 16 + 16;
        Importer {
            graph: Graph::new(name),
            weights: &container.weights,
            version: container.version,
            types: Vec::new(),
            shared: HashMap::new(),
            unsupported: Vec::new(),
            reported: HashSet::new(),
            calls_left: max_calls,
            max_calls,
        }
    }

    /// Imports all layers of a model; its outputs. Without operands it is the outermost model,
    /// whose inputs become those of the graph.
    fn network(
        &mut self,
        frame: &Frame<'_, 'm>,
        operands: Option<&[Option<ValueId>]>,
    ) -> Result<Results, KerasError> {
        let network = frame.network;
        let positions: HashMap<&str, usize> =
            network.layers.iter().enumerate().map(|(at, layer)| (layer.name, at)).collect();
        let mut known = Known::new();
        for (number, input) in network.inputs.iter().enumerate() {
            let at = position(&positions, network, input, "the list of inputs")?;
            let value = match operands {
                Some(operands) => match operands.get(number) {
                    Some(&operand) => operand,
                    None => {
                        return Err(KerasError::Config {
                            place: format!("model \"{}\"", network.name),
                            reason: format!("it is called with {} inputs", operands.len()),
                        });
                    }
                },
                None => Some(self.input(&network.layers[at.0])?),
            };
            known.insert((at.0, 0), vec![value]);
        }
        for (at, call) in order(network, &positions, &known)? {
            self.call(frame, &positions, &mut known, at, call)?;
        }
        let outputs = network.outputs.iter();
        outputs.map(|output| lookup(&positions, network, &known, output, "the outputs")).collect()
    }

    /// Imports one call of a layer.
    fn call(
        &mut self,
        frame: &Frame<'_, 'm>,
        positions: &HashMap<&str, usize>,
        known: &mut Known,
        at: usize,
        number: usize,
    ) -> Result<(), KerasError> {
        let too_large = KerasError::TooLarge(self.max_calls);
        self.calls_left = self.calls_left.checked_sub(1).ok_or(too_large)?;
        let layer = &frame.network.layers[at];
        let mut name = format!("{}{}", frame.path, layer.name);
        if number > 0 {
            name += &format!(":{number}");
        }
        let reader = format!("layer \"{name}\"");
        let find = |result: &ResultOf<'m>| lookup(positions, frame.network, known, result, &reader);
        let (args, kwargs) = operands(&layer.calls[number], find)?;
        let scope = scope_of(frame, layer);
        let results = if is_network(layer.class, layer.value) {
            self.inner(layer, &name, scope, &args)?
        } else {
            self.layer(layer, &name, scope, args, kwargs)?
        };
        known.insert((at, number), results);
        Ok(())
    }

    /// Imports a call of a model.
    fn inner(
        &mut self,
        layer: &Layer<'m>,
        name: &str,
        scope: Scope,
        args: &[Operand<'m>],
    ) -> Result<Results, KerasError> {
        let network = Network::parse(layer.class, layer.value)?;
        let mut inputs = Vec::new();
        for arg in args {
            arg.values(&mut inputs);
        }
        let mut path = format!("{name}/");
        if path.len() > MAX_PATH {
            path.clear();
        }
        self.network(&Frame { network: &network, path, scope: Some(scope) }, Some(&inputs))
    }

    /// Imports a call of a layer, or reports the layer.
    fn layer(
        &mut self,
        layer: &Layer<'m>,
        name: &str,
        scope: Scope,
        args: Vec<Operand<'m>>,
        kwargs: Vec<(&'m str, Operand<'m>)>,
    ) -> Result<Results, KerasError> {
        let mut context = Context::new(self, layer, name, scope, args, kwargs);
        let reason = match ops::convert(&mut context) {
            Ok(results) => return Ok(results.into_iter().map(Some).collect()),
            Err(Fail::Error(error)) => return Err(error),
            Err(Fail::Poisoned) => None,
            Err(Fail::Unsupported(reason)) => Some(reason),
        };
        if let Some(reason) = reason
            && self.reported.insert(identity(layer.config))
        {
            let class = ops::kind(layer).to_owned();
            self.unsupported.push(UnsupportedLayer { layer: name.to_owned(), class, reason });
        }
        Ok(Vec::new())
    }

    /// Adds an input of the graph.
    fn input(&mut self, layer: &Layer<'m>) -> Result<ValueId, KerasError> {
        let fail = |reason: String| KerasError::Config {
            place: format!("input \"{}\"", layer.name),
            reason,
        };
        let keys = ["batch_shape", "batch_input_shape"];
        let shape = keys.iter().find_map(|key| layer.config.get(*key)).or(layer.shape);
        let Some(shape) = shape.and_then(Value::as_array) else {
            return Err(fail("its shape is not known; build the model with an Input".into()));
        };
        if shape.len() > MAX_RANK {
            return Err(fail(format!("{} dimensions; at most {MAX_RANK}", shape.len())));
        }
        let mut dims = Vec::new();
        for (axis, extent) in shape.iter().enumerate() {
            dims.push(match extent {
                Value::Null if axis == 0 => Dim::Free("batch".into()),
                Value::Null => Dim::Free(String::new()),
                extent => match extent.as_u64().and_then(|n| usize::try_from(n).ok()) {
                    Some(extent) => Dim::Fixed(extent),
                    None => return Err(fail(format!("{extent} is no extent"))),
                },
            });
        }
        let dtype = match layer.config.get("dtype").and_then(Value::as_str) {
            Some("int32") => DType::I32,
            Some("int64") => DType::I64,
            Some("uint8") => DType::U8,
            Some("bool") => DType::Bool,
            None | Some("float32") => DType::F32,
            Some(other) => return Err(fail(format!("its type {other} is not supported"))),
        };
        let fixed = |(axis, dim): (usize, &Dim)| match dim {
            Dim::Fixed(extent) => Some(*extent),
            Dim::Free(_) => (axis == 0).then_some(1),
        };
        let known: Option<Vec<usize>> = dims.iter().enumerate().map(fixed).collect();
        let shape = known.and_then(|dims| Shape::new(&dims).ok());
        self.types.push(shape.map(|shape| TensorType { dtype, shape }));
        Ok(self.graph.add_input(layer.name, InputType { dtype, dims }))
    }

    pub(super) fn ty(&self, id: ValueId) -> Option<TensorType> {
        self.types[id.index()]
    }

    /// Says what type a value has.
    pub(super) fn set_ty(&mut self, id: ValueId, ty: TensorType) {
        self.types[id.index()] = Some(ty);
    }

    /// A constant that a layer has made of its weights at an earlier call.
    pub(super) fn shared(&self, config: &Map<String, Value>, role: &str) -> Option<ValueId> {
        self.shared.get(&(identity(config), role.to_owned())).copied()
    }

    /// Adds a constant that a layer has made of its weights, for all its calls.
    pub(super) fn share(
        &mut self,
        config: &Map<String, Value>,
        role: &str,
        name: &str,
        tensor: Tensor,
    ) -> ValueId {
        let id = self.add_const(name, tensor);
        self.shared.insert((identity(config), role.to_owned()), id);
        id
    }

    pub(super) fn add_const(&mut self, name: &str, tensor: Tensor) -> ValueId {
        self.types.push(Some(TensorType::of(&tensor)));
        self.graph.add_const(name, tensor)
    }

    /// Adds a node with one result, its operands checked by the layer where their types are known.
    pub(super) fn add_node(
        &mut self,
        name: &str,
        op: Op,
        inputs: &[Option<ValueId>],
    ) -> Result<ValueId, Fail> {
        let known = inputs.iter().flatten().all(|&id| self.ty(id).is_some());
        let mut ty = None;
        if known {
            let arg =
                |id: ValueId| self.ty(id).map(|ty| Arg { ty, value: self.graph.constant(id) });
            let args: Vec<_> = inputs.iter().map(|input| input.and_then(arg)).collect();
            let types = op.layer().infer(&args);
            ty = match types {
                Ok(types) => types.first().copied(),
                // It depends on the number of samples.
                Err(LayerError::NotConstant { .. }) => None,
                Err(error) => return Err(Fail::Unsupported(error.to_string())),
            };
        }
        self.types.push(ty);
        Ok(self.graph.add_node(name, op, inputs, &[name])[0])
    }

    /// Declares the outputs, drops what none of them needs, and checks the whole.
    fn finish(
        mut self,
        network: &Network<'m>,
        outputs: &[Option<ValueId>],
    ) -> Result<Graph, KerasError> {
        let inputs: HashSet<String> =
            network.inputs.iter().map(|input| input.layer.to_owned()).collect();
        let mut names = inputs;
        for (output, value) in network.outputs.iter().zip(outputs) {
            let Some(mut value) = *value else { continue };
            let mut name = output.layer.to_owned();
            let mut number = 0;
            while !names.insert(name.clone()) {
                number += 1;
                name = format!("{}:{number}", output.layer);
            }
            if self.graph.producer(value).is_none() || self.graph.outputs().contains(&value) {
                value = self.copy(&name, value);
            }
            self.graph.rename_value(value, name);
            self.graph.add_output(value);
        }
        self.graph.sort();
        self.graph.verify()?;
        Ok(self.graph)
    }

    /// A value of its own for an output that is an input, a constant, or another output.
    fn copy(&mut self, name: &str, value: ValueId) -> ValueId {
        let copy: Op = match self.ty(value).map_or(DType::F32, |ty| ty.dtype) {
            DType::F32 => Activate { activation: Activation::Identity }.into(),
            to => Cast { to }.into(),
        };
        self.types.push(self.ty(value));
        self.graph.add_node(name, copy, &[Some(value)], &[name])[0]
    }
}

/// The scope of a layer of a model.
fn scope_of(frame: &Frame<'_, '_>, layer: &Layer<'_>) -> Scope {
    match &frame.scope {
        None => Scope {
            outermost: layer.name.to_owned(),
            group: layer.group.clone(),
            layer: layer.name.to_owned(),
        },
        Some(around) => Scope {
            outermost: around.outermost.clone(),
            group: format!("{}/layers/{}", around.group, layer.group),
            layer: layer.name.to_owned(),
        },
    }
}

/// The arguments of a call, with values in place of results.
#[expect(clippy::type_complexity, reason = "positional and named operands")]
fn operands<'m>(
    call: &Call<'m>,
    find: impl Fn(&ResultOf<'m>) -> Result<Option<ValueId>, KerasError> + Copy,
) -> Result<(Vec<Operand<'m>>, Vec<(&'m str, Operand<'m>)>), KerasError> {
    let args = call.args.iter().map(|argument| operand(argument, find));
    let args = args.collect::<Result<_, _>>()?;
    let kwargs = call.kwargs.iter().map(|(name, argument)| Ok((*name, operand(argument, find)?)));
    Ok((args, kwargs.collect::<Result<_, KerasError>>()?))
}

fn operand<'m>(
    argument: &Argument<'m>,
    find: impl Fn(&ResultOf<'m>) -> Result<Option<ValueId>, KerasError> + Copy,
) -> Result<Operand<'m>, KerasError> {
    Ok(match argument {
        Argument::Result(result) => Operand::Value(find(result)?),
        Argument::List(list) => {
            Operand::List(list.iter().map(|one| operand(one, find)).collect::<Result<_, _>>()?)
        }
        Argument::Literal(value) => Operand::Literal(value),
    })
}

fn undefined(reader: &str, result: &ResultOf<'_>) -> KerasError {
    KerasError::Undefined {
        reader: reader.to_owned(),
        result: format!(
            "result {} of call {} of layer \"{}\"",
            result.index, result.call, result.layer
        ),
    }
}

/// Layer and call that give a result.
fn position(
    positions: &HashMap<&str, usize>,
    network: &Network<'_>,
    result: &ResultOf<'_>,
    reader: &str,
) -> Result<(usize, usize), KerasError> {
    let at = positions.get(result.layer).copied().ok_or_else(|| undefined(reader, result))?;
    let layer = &network.layers[at];
    // An input counts as called once. Where there is one call, whoever counts from 0 or 1 means it.
    let calls = layer.calls.len().max(1);
    let call = match result.call.checked_sub(layer.first_call) {
        Some(call) => call,
        None if calls == 1 => 0,
        None => return Err(undefined(reader, result)),
    };
    if call >= calls {
        return Err(undefined(reader, result));
    }
    Ok((at, call))
}

/// The value of a result that has been imported.
fn lookup(
    positions: &HashMap<&str, usize>,
    network: &Network<'_>,
    known: &Known,
    result: &ResultOf<'_>,
    reader: &str,
) -> Result<Option<ValueId>, KerasError> {
    let at = position(positions, network, result, reader)?;
    match known.get(&at) {
        // Of a layer that was not imported.
        Some(results) if results.is_empty() => Ok(None),
        Some(results) => {
            let value = results.get(result.index).copied();
            value.ok_or_else(|| undefined(reader, result))
        }
        None => Err(undefined(reader, result)),
    }
}

/// All calls, each after those whose results it reads, but for those that are known.
fn order(
    network: &Network<'_>,
    positions: &HashMap<&str, usize>,
    known: &Known,
) -> Result<Vec<(usize, usize)>, KerasError> {
    let mut order = Vec::new();
    // Calls being visited and done.
    let mut open = HashSet::new();
    let mut done: HashSet<(usize, usize)> = known.keys().copied().collect();
    let mut stack: Vec<((usize, usize), bool)> = Vec::new();
    let all = network.layers.iter().enumerate();
    let all = all.flat_map(|(at, layer)| (0..layer.calls.len()).map(move |call| (at, call)));
    for start in all {
        stack.push((start, false));
        while let Some((at, finished)) = stack.pop() {
            if finished {
                open.remove(&at);
                if done.insert(at) {
                    order.push(at);
                }
                continue;
            }
            let layer = &network.layers[at.0];
            if done.contains(&at) {
                continue;
            }
            if !open.insert(at) {
                return Err(KerasError::Cycle(layer.name.to_owned()));
            }
            stack.push((at, true));
            let Some(call) = layer.calls.get(at.1) else {
                return Err(KerasError::Config {
                    place: format!("layer \"{}\"", layer.name),
                    reason: "it is never called, but its result is read".into(),
                });
            };
            for result in call.results() {
                let before =
                    position(positions, network, result, &format!("layer \"{}\"", layer.name))?;
                if !done.contains(&before) {
                    stack.push((before, false));
                }
            }
        }
    }
    Ok(order)
}
