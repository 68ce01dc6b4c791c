//! What a converter works with: the settings of a layer, its weights, its operands, and the graph
//! that grows.

use super::super::error::KerasError;
use super::super::import::Importer;
use super::super::model::Layer;
use super::super::weights::Scope;
use depthwise_layers::ir::ValueId;
use depthwise_layers::{Activation, Binary, BinaryFn, Op, Reshape, TensorType};
use depthwise_tensor::{Hw, Tensor};
use serde_json::Value;

/// Why a layer was not converted.
#[derive(Debug)]
pub(in super::super) enum Fail {
    /// Something that is not supported, or makes no sense: the reason.
    Unsupported(String),
    /// It depends on a layer that was not converted.
    Poisoned,
    /// The file is broken.
    Error(KerasError),
}

impl From<KerasError> for Fail {
    fn from(error: KerasError) -> Fail {
        Fail::Error(error)
    }
}

/// An error with this reason.
pub(super) fn unsupported<T>(reason: impl Into<String>) -> Result<T, Fail> {
    Err(Fail::Unsupported(reason.into()))
}

/// An argument of a call.
#[derive(Clone, Debug)]
pub(in super::super) enum Operand<'m> {
    /// A value; `None` where it depends on a layer that was not imported.
    Value(Option<ValueId>),
    List(Vec<Operand<'m>>),
    Literal(&'m Value),
}

impl Operand<'_> {
    /// Appends all values that it is made of.
    pub(in super::super) fn values(&self, to: &mut Vec<Option<ValueId>>) {
        match self {
            Operand::Value(value) => to.push(*value),
            Operand::List(list) => list.iter().for_each(|operand| operand.values(to)),
            Operand::Literal(_) => {}
        }
    }
}

/// A layer during its conversion.
pub(in super::super) struct Context<'c, 'm> {
    importer: &'c mut Importer<'m>,
    pub(super) layer: &'c Layer<'m>,
    name: &'c str,
    scope: Scope,
    args: Vec<Operand<'m>>,
    kwargs: Vec<(&'m str, Operand<'m>)>,
    /// Settings and named arguments that the converter has asked for.
    read: Vec<&'static str>,
    /// Named arguments that the converter has taken as values.
    taken: Vec<&'static str>,
    /// No setting makes a difference.
    idle: bool,
}

/// Settings that change nothing of what a trained layer computes.
fn is_idle(key: &str) -> bool {
    const KEYS: &[&str] = &[
        "name",
        "trainable",
        "dtype",
        "batch_input_shape",
        "build_config",
        "momentum",
        "synchronized",
        "renorm_momentum",
        "seed",
        "sparse",
        "ragged",
        "autocast",
    ];
    let endings = ["_initializer", "_regularizer", "_constraint"];
    KEYS.contains(&key) || endings.iter().any(|ending| key.ends_with(ending))
}

impl<'c, 'm> Context<'c, 'm> {
    pub(in super::super) fn new(
        importer: &'c mut Importer<'m>,
        layer: &'c Layer<'m>,
        name: &'c str,
        scope: Scope,
        args: Vec<Operand<'m>>,
        kwargs: Vec<(&'m str, Operand<'m>)>,
    ) -> Context<'c, 'm> {
        Context {
            importer,
            layer,
            name,
            scope,
            args,
            kwargs,
            read: Vec::new(),
            taken: Vec::new(),
            idle: false,
        }
    }

    /// First number of the version of Keras that wrote the file.
    pub(super) fn version(&self) -> u32 {
        self.importer.version
    }

    // Operands.

    /// All values and numbers that the layer is called with, lists written out.
    pub(super) fn operands(&mut self) -> Result<Vec<ValueId>, Fail> {
        let args = self.args.clone();
        let mut values = Vec::new();
        for arg in &args {
            self.push(arg, &mut values)?;
        }
        Ok(values)
    }

    fn push(&mut self, operand: &Operand<'m>, to: &mut Vec<ValueId>) -> Result<(), Fail> {
        match operand {
            Operand::Value(Some(value)) => to.push(*value),
            Operand::Value(None) => return Err(Fail::Poisoned),
            Operand::List(list) => {
                for operand in list {
                    self.push(operand, to)?;
                }
            }
            Operand::Literal(literal) => match literal.as_f64() {
                Some(number) => to.push(self.constant("number", Tensor::scalar(number as f32))),
                None => return unsupported(format!("its argument {literal}")),
            },
        }
        Ok(())
    }

    /// The one value that the layer is called with.
    pub(super) fn input(&mut self) -> Result<ValueId, Fail> {
        match self.operands()?[..] {
            [value] => Ok(value),
            ref values => unsupported(format!("{} operands where one is asked for", values.len())),
        }
    }

    /// A value or a number given by name.
    pub(super) fn named_operand(&mut self, name: &'static str) -> Result<Option<ValueId>, Fail> {
        self.read.push(name);
        self.taken.push(name);
        let Some(operand) = self.kwarg(name) else { return Ok(None) };
        let mut values = Vec::new();
        self.push(&operand, &mut values)?;
        Ok(values.first().copied())
    }

    fn kwarg(&self, name: &str) -> Option<Operand<'m>> {
        let (_, operand) = self.kwargs.iter().find(|(key, _)| *key == name)?;
        match operand {
            Operand::Literal(Value::Null) => None,
            operand => Some(operand.clone()),
        }
    }

    /// Number of dimensions of a value, where it is known.
    pub(super) fn rank(&self, value: ValueId) -> Option<usize> {
        self.importer.ty(value).map(|ty| ty.shape.rank())
    }

    /// Gives a picture the type of another with these extents, where that is known.
    pub(super) fn resized(&mut self, y: ValueId, like: ValueId, (h, w): (i64, i64)) {
        let Some(ty) = self.importer.ty(like) else { return };
        let [n, _, _, channels] = *ty.shape.dims() else { return };
        if let Ok(ty) = TensorType::new(ty.dtype, &[n, h as usize, w as usize, channels]) {
            self.importer.set_ty(y, ty);
        }
    }

    /// Whether a value is known to hold no floats.
    pub(super) fn is_integer(&self, value: ValueId) -> bool {
        self.importer.ty(value).is_some_and(|ty| !ty.dtype.is_float())
    }

    // Settings.

    /// A setting, or an argument of that name; `None` where it is null.
    pub(super) fn value(&mut self, key: &'static str) -> Option<&'m Value> {
        self.read.push(key);
        let argument = self.kwargs.iter().find_map(|(name, operand)| match operand {
            Operand::Literal(value) if *name == key => Some(*value),
            _ => None,
        });
        argument.or_else(|| self.layer.config.get(key)).filter(|value| !value.is_null())
    }

    /// Marks settings as known to make no difference.
    pub(super) fn ignore(&mut self, keys: &[&'static str]) {
        self.read.extend(keys);
    }

    /// Marks all settings as known to make no difference.
    pub(super) fn ignore_settings(&mut self) {
        self.idle = true;
    }

    fn odd<T>(&self, key: &str, value: &Value) -> Result<T, Fail> {
        let mut text = value.to_string();
        if text.len() > 100 {
            text = text.chars().take(100).collect::<String>() + " ...";
        }
        unsupported(format!("{key} = {text} is not supported"))
    }

    /// A whole number.
    pub(super) fn int(&mut self, key: &'static str) -> Result<Option<i64>, Fail> {
        match self.value(key) {
            None => Ok(None),
            Some(value) => match value.as_i64() {
                Some(number) => Ok(Some(number)),
                None => self.odd(key, value),
            },
        }
    }

    /// A number.
    pub(super) fn float(&mut self, key: &'static str, default: f32) -> Result<f32, Fail> {
        Ok(self.opt_float(key)?.unwrap_or(default))
    }

    /// A number that may be left out.
    pub(super) fn opt_float(&mut self, key: &'static str) -> Result<Option<f32>, Fail> {
        let Some(value) = self.value(key) else { return Ok(None) };
        // The first versions of Keras 2 wrote numbers of NumPy as objects.
        let number = value.as_f64().or_else(|| value.get("value")?.as_f64());
        match number {
            Some(number) => Ok(Some(number as f32)),
            None => self.odd(key, value),
        }
    }

    /// A truth value.
    pub(super) fn flag(&mut self, key: &'static str, default: bool) -> Result<bool, Fail> {
        match self.value(key) {
            None => Ok(default),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(value) => self.odd(key, value),
        }
    }

    /// A text.
    pub(super) fn text(&mut self, key: &'static str, default: &'m str) -> Result<&'m str, Fail> {
        match self.value(key) {
            None => Ok(default),
            Some(Value::String(text)) => Ok(text),
            Some(value) => self.odd(key, value),
        }
    }

    /// A list of whole numbers, or one of them.
    pub(super) fn ints(&mut self, key: &'static str) -> Result<Option<Vec<i64>>, Fail> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let list = match value {
            Value::Array(list) => list.iter().map(Value::as_i64).collect(),
            one => one.as_i64().map(|number| vec![number]),
        };
        match list {
            Some(list) => Ok(Some(list)),
            None => self.odd(key, value),
        }
    }

    /// A list of numbers, lists in it written out, or one of them.
    pub(super) fn floats(&mut self, key: &'static str) -> Result<Option<Vec<f32>>, Fail> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let mut list = Vec::new();
        if collect_floats(value, &mut list).is_none() {
            return self.odd(key, value);
        }
        Ok(Some(list))
    }

    /// Positive extents along the axes of a picture (2), or of a signal (1), where the height is
    /// 1. One number stands for all axes.
    pub(super) fn extent(
        &mut self,
        key: &'static str,
        axes: usize,
        default: usize,
    ) -> Result<Hw, Fail> {
        let Some(list) = self.ints(key)? else {
            let h = if axes == 1 { 1 } else { default };
            return Ok(Hw { h, w: default });
        };
        let positive = |n: i64| usize::try_from(n).ok().filter(|&n| n > 0);
        let hw = match list[..] {
            [w] if axes == 1 => positive(w).map(|w| Hw { h: 1, w }),
            [n] => positive(n).map(Hw::square),
            [h, w] if axes == 2 => positive(h).zip(positive(w)).map(|(h, w)| Hw { h, w }),
            _ => None,
        };
        match hw {
            Some(hw) => Ok(hw),
            None => unsupported(format!("{key} = {list:?} is not supported")),
        }
    }

    /// Refuses any order of axes but the one in which channels come last.
    pub(super) fn channels_last(&mut self) -> Result<(), Fail> {
        match self.text("data_format", "channels_last")? {
            "channels_last" => Ok(()),
            other => unsupported(format!("data_format = {other} is not supported")),
        }
    }

    /// Refuses arithmetic in other types than floats.
    pub(super) fn check_policy(&mut self) -> Result<(), Fail> {
        let Some(dtype) = self.layer.config.get("dtype").filter(|dtype| !dtype.is_null()) else {
            return Ok(());
        };
        let policy = dtype.as_str().or_else(|| dtype.pointer("/config/name")?.as_str());
        match policy {
            Some("float32" | "mixed_float16" | "mixed_bfloat16" | "float16" | "bfloat16") => Ok(()),
            Some("int32" | "int64" | "uint8" | "bool") => Ok(()),
            _ => self.odd("dtype", dtype),
        }
    }

    /// Refuses the layer where it has settings or arguments that the converter does not know.
    pub(super) fn check_all_read(&mut self) -> Result<(), Fail> {
        let unread = |key: &str, value: &Value| {
            !value.is_null() && !is_idle(key) && !self.read.contains(&key)
        };
        for (key, value) in self.layer.config {
            if !self.idle && unread(key, value) {
                return self.odd(key, value);
            }
        }
        for (key, operand) in &self.kwargs {
            match operand {
                // Keras 3 replaces what it recorded by what the model is called with.
                Operand::Literal(Value::Bool(training))
                    if *key == "training" && (!training || self.version() >= 3) => {}
                Operand::Literal(value) if !unread(key, value) => {}
                _ if self.taken.contains(key) => {}
                _ => return unsupported(format!("its argument {key}")),
            }
        }
        Ok(())
    }

    // Weights.

    /// A weight that may be missing, under one of these names, which is number `index` of the
    /// layer.
    pub(super) fn opt_weight(&self, names: &[&str], index: usize) -> Result<Option<Tensor>, Fail> {
        for name in names {
            if let Some(tensor) = self.importer.weights.find(&self.scope, name, index)? {
                return Ok(Some(tensor));
            }
        }
        Ok(None)
    }

    /// A weight, as [`Context::opt_weight`].
    pub(super) fn weight(&self, names: &[&str], index: usize) -> Result<Tensor, Fail> {
        let missing = || KerasError::Weights {
            layer: self.name.to_owned(),
            reason: format!("the file has no {}", names[0]),
        };
        Ok(self.opt_weight(names, index)?.ok_or_else(missing)?)
    }

    /// Adds a constant made of the weights of the layer; once, where it is called many times.
    pub(super) fn weight_const(
        &mut self,
        role: &str,
        make: impl FnOnce(&Context<'_, 'm>) -> Result<Tensor, Fail>,
    ) -> Result<ValueId, Fail> {
        if let Some(known) = self.importer.shared(self.layer.config, role) {
            return Ok(known);
        }
        let tensor = make(self)?;
        let name = self.role_name(role);
        Ok(self.importer.share(self.layer.config, role, &name, tensor))
    }

    /// Adds a weight as it is stored, in single precision.
    pub(super) fn plain_weight(&mut self, names: &[&str], index: usize) -> Result<ValueId, Fail> {
        let names = names.to_vec();
        self.weight_const(names[0], |c| {
            let tensor = c.weight(&names, index)?;
            reshaped(&tensor, tensor.shape())
        })
    }

    // The graph.

    /// Adds an operation. The one with an empty role bears the layer's name, helpers bear it with
    /// their role.
    pub(super) fn add(
        &mut self,
        role: &str,
        op: impl Into<Op>,
        inputs: &[ValueId],
    ) -> Result<ValueId, Fail> {
        let inputs: Vec<_> = inputs.iter().copied().map(Some).collect();
        self.add_with(role, op, &inputs)
    }

    /// Adds an operation with operands that may be left out.
    pub(super) fn add_with(
        &mut self,
        role: &str,
        op: impl Into<Op>,
        inputs: &[Option<ValueId>],
    ) -> Result<ValueId, Fail> {
        let name = self.role_name(role);
        self.importer.add_node(&name, op.into(), inputs)
    }

    fn role_name(&self, role: &str) -> String {
        if role.is_empty() { self.name.to_owned() } else { format!("{}.{role}", self.name) }
    }

    /// Adds a constant.
    pub(super) fn constant(&mut self, role: &str, tensor: Tensor) -> ValueId {
        let name = self.role_name(role);
        self.importer.add_const(&name, tensor)
    }

    /// Adds a list of numbers as a constant; one number as a scalar.
    pub(super) fn numbers(&mut self, role: &str, list: Vec<f32>) -> ValueId {
        let tensor = match list[..] {
            [one] => Tensor::scalar(one),
            _ => Tensor::from_vec(&[list.len()], list).expect("one extent fits its list"),
        };
        self.constant(role, tensor)
    }

    /// Adds a list of integers.
    pub(super) fn list(&mut self, role: &str, list: &[i64]) -> ValueId {
        let tensor = Tensor::from_slice(&[list.len()], list).expect("one extent fits its list");
        self.constant(role, tensor)
    }

    /// Adds a function of two operands.
    pub(super) fn binary(
        &mut self,
        role: &str,
        function: BinaryFn,
        a: ValueId,
        b: ValueId,
    ) -> Result<ValueId, Fail> {
        self.add(role, Binary { function, activation: Activation::Identity }, &[a, b])
    }

    /// Adds other extents for the same elements: -1 takes what is left, 0 copies.
    pub(super) fn reshape(
        &mut self,
        role: &str,
        x: ValueId,
        dims: &[i64],
    ) -> Result<ValueId, Fail> {
        let dims = self.list("extents", dims);
        self.add(role, Reshape { allow_zero: false }, &[x, dims])
    }
}

fn collect_floats(value: &Value, to: &mut Vec<f32>) -> Option<()> {
    match value {
        Value::Array(list) => list.iter().try_for_each(|value| collect_floats(value, to)),
        value => {
            to.push(value.as_f64()? as f32);
            Some(())
        }
    }
}

/// The elements in single precision, under other extents.
pub(super) fn reshaped(tensor: &Tensor, dims: &[usize]) -> Result<Tensor, Fail> {
    let floats = tensor.to_f32().into_owned();
    Tensor::from_vec(dims, floats).map_err(|error| Fail::Unsupported(error.to_string()))
}

/// A matrix with its axes exchanged, under other extents.
pub(super) fn transposed(
    tensor: &Tensor,
    (rows, columns): (usize, usize),
    dims: &[usize],
) -> Result<Tensor, Fail> {
    let x = tensor.to_f32();
    let mut y = Vec::with_capacity(x.len());
    for column in 0..columns {
        y.extend((0..rows).map(|row| x[row * columns + column]));
    }
    Tensor::from_vec(dims, y).map_err(|error| Fail::Unsupported(error.to_string()))
}
