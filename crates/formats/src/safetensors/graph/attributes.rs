//! Attributes of layers as JSON.

use depthwise_layers::*;
use depthwise_tensor::{DType, Hw, Pad2d, Shape, Tensor};
use serde_json::{Value, json};

/// A type of attribute.
pub(super) trait Attribute: Sized {
    /// The value as JSON; `None` where it has no form yet.
    fn write(&self) -> Option<Value>;

    /// The value of a text; `None` where that makes none.
    fn read(value: &Value) -> Option<Self>;
}

/// Enumerations without fields, by name.
macro_rules! names {
    ($($type:ident { $($variant:ident $name:literal),* $(,)? })*) => {
        $(impl Attribute for $type {
            fn write(&self) -> Option<Value> {
                match self {
                    $($type::$variant => Some($name.into()),)*
                    #[allow(unreachable_patterns, reason = "some of the lists grow")]
                    _ => None,
                }
            }

            fn read(value: &Value) -> Option<$type> {
                match value.as_str()? {
                    $($name => Some($type::$variant),)*
                    _ => None,
                }
            }
        })*
    };
}

names! {
    DType {
        F64 "f64", F32 "f32", F16 "f16", Bf16 "bf16", I64 "i64", I32 "i32", I16 "i16", I8 "i8",
        U8 "u8", Bool "bool",
    }
    UnaryFn {
        Neg "neg", Abs "abs", Exp "exp", Log "log", Sqrt "sqrt", Reciprocal "reciprocal",
        Square "square", Rsqrt "rsqrt", Erf "erf", Sin "sin", Cos "cos", Floor "floor",
        Ceil "ceil", Round "round", Sign "sign", Not "not",
    }
    BinaryFn {
        Add "add", Sub "sub", Mul "mul", Div "div", Min "min", Max "max", Pow "pow", Mod "mod",
        Rem "rem", Equal "equal", Less "less", LessOrEqual "less-or-equal", Greater "greater",
        GreaterOrEqual "greater-or-equal", And "and", Or "or", Xor "xor",
    }
    ReduceFn {
        Mean "mean", Sum "sum", Max "max", Min "min", Prod "prod", L1 "l1", L2 "l2",
        SumSquare "sum-square", LogSum "log-sum", LogSumExp "log-sum-exp",
    }
    PadMode { Constant "constant", Reflect "reflect", Edge "edge", Wrap "wrap" }
    NearestRounding {
        RoundPreferFloor "round-prefer-floor", RoundPreferCeil "round-prefer-ceil",
        Floor "floor", Ceil "ceil",
    }
    Coordinates {
        HalfPixel "half-pixel", HalfPixelSymmetric "half-pixel-symmetric",
        PytorchHalfPixel "pytorch-half-pixel", AlignCorners "align-corners",
        Asymmetric "asymmetric",
    }
}

impl Attribute for bool {
    fn write(&self) -> Option<Value> {
        Some((*self).into())
    }

    fn read(value: &Value) -> Option<bool> {
        value.as_bool()
    }
}

impl Attribute for usize {
    fn write(&self) -> Option<Value> {
        Some((*self).into())
    }

    fn read(value: &Value) -> Option<usize> {
        usize::try_from(value.as_u64()?).ok()
    }
}

impl Attribute for i64 {
    fn write(&self) -> Option<Value> {
        Some((*self).into())
    }

    fn read(value: &Value) -> Option<i64> {
        value.as_i64()
    }
}

/// JSON has no infinities: those are texts.
impl Attribute for f32 {
    fn write(&self) -> Option<Value> {
        Some(match self {
            x if x.is_finite() => f64::from(*x).into(),
            x => x.to_string().into(),
        })
    }

    fn read(value: &Value) -> Option<f32> {
        match value.as_str() {
            Some("inf") => Some(f32::INFINITY),
            Some("-inf") => Some(f32::NEG_INFINITY),
            Some("NaN") => Some(f32::NAN),
            Some(_) => None,
            // Exact: the text is that of the f64 nearest to an f32.
            None => Some(value.as_f64()? as f32).filter(|x| x.is_finite()),
        }
    }
}

impl<T: Attribute> Attribute for Vec<T> {
    fn write(&self) -> Option<Value> {
        self.iter().map(T::write).collect::<Option<Vec<_>>>().map(Value::Array)
    }

    fn read(value: &Value) -> Option<Vec<T>> {
        value.as_array()?.iter().map(T::read).collect()
    }
}

impl<T: Attribute> Attribute for Option<T> {
    fn write(&self) -> Option<Value> {
        match self {
            None => Some(Value::Null),
            Some(x) => x.write(),
        }
    }

    fn read(value: &Value) -> Option<Option<T>> {
        if value.is_null() { Some(None) } else { T::read(value).map(Some) }
    }
}

/// Rows, columns.
impl Attribute for Hw {
    fn write(&self) -> Option<Value> {
        Some(json!([self.h, self.w]))
    }

    fn read(value: &Value) -> Option<Hw> {
        let list: Vec<usize> = Attribute::read(value)?;
        match list[..] {
            [h, w] => Some(Hw { h, w }),
            _ => None,
        }
    }
}

/// Top, left, bottom, right.
impl Attribute for Pad2d {
    fn write(&self) -> Option<Value> {
        Some(json!([self.top, self.left, self.bottom, self.right]))
    }

    fn read(value: &Value) -> Option<Pad2d> {
        let list: Vec<usize> = Attribute::read(value)?;
        match list[..] {
            [top, left, bottom, right] => Some(Pad2d { top, left, bottom, right }),
            _ => None,
        }
    }
}

/// A rule by name, or explicit numbers.
impl Attribute for Padding {
    fn write(&self) -> Option<Value> {
        match self {
            Padding::Explicit(pad) => pad.write(),
            Padding::Same => Some("same".into()),
            Padding::SameLower => Some("same-lower".into()),
            Padding::Valid => Some("valid".into()),
        }
    }

    fn read(value: &Value) -> Option<Padding> {
        match value.as_str() {
            Some("same") => Some(Padding::Same),
            Some("same-lower") => Some(Padding::SameLower),
            Some("valid") => Some(Padding::Valid),
            Some(_) => None,
            None => Attribute::read(value).map(Padding::Explicit),
        }
    }
}

/// A name, or `{name: parameters}`.
fn tagged(name: &str, parameters: Value) -> Value {
    Value::Object([(name.to_owned(), parameters)].into_iter().collect())
}

/// Name and parameters of what [`tagged`] makes; no parameters of a bare name.
fn untagged(value: &Value) -> Option<(&str, &Value)> {
    match value {
        Value::String(name) => Some((name, &Value::Null)),
        Value::Object(map) if map.len() == 1 => map.iter().next().map(|(k, v)| (k.as_str(), v)),
        _ => None,
    }
}

impl Attribute for Activation {
    fn write(&self) -> Option<Value> {
        Some(match self {
            Activation::Identity => "identity".into(),
            Activation::Clip { min, max } => tagged("clip", vec![*min, *max].write()?),
            Activation::LeakyRelu { alpha } => tagged("leaky-relu", alpha.write()?),
            Activation::Elu { alpha } => tagged("elu", alpha.write()?),
            Activation::Sigmoid => "sigmoid".into(),
            Activation::Tanh => "tanh".into(),
            Activation::HardSigmoid { alpha, beta } => {
                tagged("hard-sigmoid", vec![*alpha, *beta].write()?)
            }
            Activation::HardSwish => "hard-swish".into(),
            Activation::Silu => "silu".into(),
            Activation::Gelu => "gelu".into(),
            Activation::GeluTanh => "gelu-tanh".into(),
            Activation::Softplus => "softplus".into(),
            _ => return None,
        })
    }

    fn read(value: &Value) -> Option<Activation> {
        let pair = |value: &Value| {
            let list: Vec<f32> = Attribute::read(value)?;
            <[f32; 2]>::try_from(list).ok()
        };
        Some(match untagged(value)? {
            ("clip", list) => {
                let [min, max] = pair(list)?;
                Activation::Clip { min, max }
            }
            ("hard-sigmoid", list) => {
                let [alpha, beta] = pair(list)?;
                Activation::HardSigmoid { alpha, beta }
            }
            ("leaky-relu", alpha) => Activation::LeakyRelu { alpha: Attribute::read(alpha)? },
            ("elu", alpha) => Activation::Elu { alpha: Attribute::read(alpha)? },
            ("identity", Value::Null) => Activation::Identity,
            ("sigmoid", Value::Null) => Activation::Sigmoid,
            ("tanh", Value::Null) => Activation::Tanh,
            ("hard-swish", Value::Null) => Activation::HardSwish,
            ("silu", Value::Null) => Activation::Silu,
            ("gelu", Value::Null) => Activation::Gelu,
            ("gelu-tanh", Value::Null) => Activation::GeluTanh,
            ("softplus", Value::Null) => Activation::Softplus,
            _ => return None,
        })
    }
}

impl Attribute for PoolKind {
    fn write(&self) -> Option<Value> {
        Some(match self {
            PoolKind::Max => "max".into(),
            PoolKind::Average { include_pad: false } => "average".into(),
            PoolKind::Average { include_pad: true } => "average-with-pad".into(),
        })
    }

    fn read(value: &Value) -> Option<PoolKind> {
        match value.as_str()? {
            "max" => Some(PoolKind::Max),
            "average" => Some(PoolKind::Average { include_pad: false }),
            "average-with-pad" => Some(PoolKind::Average { include_pad: true }),
            _ => None,
        }
    }
}

impl Attribute for ResizeMode {
    fn write(&self) -> Option<Value> {
        Some(match self {
            ResizeMode::Nearest(rounding) => tagged("nearest", rounding.write()?),
            ResizeMode::Linear => "linear".into(),
            ResizeMode::Cubic { a, exclude_outside } => {
                tagged("cubic", Value::Array(vec![a.write()?, exclude_outside.write()?]))
            }
            ResizeMode::LinearAntialias { exclude_outside } => {
                tagged("linear-antialias", exclude_outside.write()?)
            }
            ResizeMode::CubicAntialias { a, exclude_outside } => {
                let list = Value::Array(vec![a.write()?, exclude_outside.write()?]);
                tagged("cubic-antialias", list)
            }
            _ => return None,
        })
    }

    fn read(value: &Value) -> Option<ResizeMode> {
        match untagged(value)? {
            ("linear", Value::Null) => Some(ResizeMode::Linear),
            ("nearest", rounding) => Attribute::read(rounding).map(ResizeMode::Nearest),
            ("linear-antialias", exclude_outside) => Some(ResizeMode::LinearAntialias {
                exclude_outside: Attribute::read(exclude_outside)?,
            }),
            (name @ ("cubic" | "cubic-antialias"), list) => {
                let [a, exclude_outside] = &list.as_array()?[..] else { return None };
                let (a, exclude_outside) = (Attribute::read(a)?, Attribute::read(exclude_outside)?);
                Some(match name {
                    "cubic" => ResizeMode::Cubic { a, exclude_outside },
                    _ => ResizeMode::CubicAntialias { a, exclude_outside },
                })
            }
            _ => None,
        }
    }
}

/// Sizes, or a number of equal parts.
impl Attribute for SplitParts {
    fn write(&self) -> Option<Value> {
        match self {
            SplitParts::Sizes(sizes) => sizes.write(),
            SplitParts::Equal(n) => n.write(),
        }
    }

    fn read(value: &Value) -> Option<SplitParts> {
        match value {
            Value::Array(_) => Attribute::read(value).map(SplitParts::Sizes),
            _ => Attribute::read(value).map(SplitParts::Equal),
        }
    }
}

/// One element: its type, its extents, and its bytes as numbers.
impl Attribute for Tensor {
    fn write(&self) -> Option<Value> {
        let bytes: &[u8] = self.bytes();
        let dims = self.shape().dims();
        (self.elements() == 1)
            .then(|| json!({ "dtype": self.dtype().name(), "dims": dims, "bytes": bytes }))
    }

    fn read(value: &Value) -> Option<Tensor> {
        let dtype: DType = Attribute::read(value.get("dtype")?)?;
        let dims: Vec<usize> = Attribute::read(value.get("dims")?)?;
        let bytes = value.get("bytes")?.as_array()?.iter();
        let bytes: Option<Vec<u8>> = bytes.map(|byte| u8::try_from(byte.as_u64()?).ok()).collect();
        let tensor = Tensor::new(dtype, Shape::new(&dims).ok()?, bytes?.into()).ok()?;
        (tensor.elements() == 1).then_some(tensor)
    }
}

impl Attribute for ScatterFn {
    fn write(&self) -> Option<Value> {
        Some(match self {
            ScatterFn::Replace => "replace".into(),
            ScatterFn::Add => "add".into(),
            ScatterFn::Mul => "mul".into(),
            ScatterFn::Max => "max".into(),
            ScatterFn::Min => "min".into(),
            _ => return None,
        })
    }

    fn read(value: &Value) -> Option<ScatterFn> {
        match value.as_str()? {
            "replace" => Some(ScatterFn::Replace),
            "add" => Some(ScatterFn::Add),
            "mul" => Some(ScatterFn::Mul),
            "max" => Some(ScatterFn::Max),
            "min" => Some(ScatterFn::Min),
            _ => None,
        }
    }
}

impl Attribute for SampleMode {
    fn write(&self) -> Option<Value> {
        Some(match self {
            SampleMode::Nearest => "nearest".into(),
            SampleMode::Linear => "linear".into(),
            SampleMode::Cubic => "cubic".into(),
            _ => return None,
        })
    }

    fn read(value: &Value) -> Option<SampleMode> {
        match value.as_str()? {
            "nearest" => Some(SampleMode::Nearest),
            "linear" => Some(SampleMode::Linear),
            "cubic" => Some(SampleMode::Cubic),
            _ => None,
        }
    }
}

impl Attribute for Outside {
    fn write(&self) -> Option<Value> {
        Some(match self {
            Outside::Zeros => "zeros".into(),
            Outside::Border => "border".into(),
            Outside::Reflection => "reflection".into(),
            _ => return None,
        })
    }

    fn read(value: &Value) -> Option<Outside> {
        match value.as_str()? {
            "zeros" => Some(Outside::Zeros),
            "border" => Some(Outside::Border),
            "reflection" => Some(Outside::Reflection),
            _ => None,
        }
    }
}
