//! Checks that layers make of their inputs.

use crate::{Arg, LayerError};
use depthwise_tensor::{DType, Shape};

/// [`LayerError::Invalid`] of a layer, with a formatted reason.
macro_rules! invalid {
    ($layer:expr, $($reason:tt)*) => {
        $crate::LayerError::Invalid { layer: $layer, reason: format!($($reason)*) }
    };
}
pub(crate) use invalid;

/// The inputs of a layer, their number checked.
pub(crate) struct Inputs<'a> {
    layer: &'static str,
    args: &'a [Option<Arg<'a>>],
}

impl<'a> Inputs<'a> {
    /// Takes from `required.0` to `most` inputs, of which those at `required` are present.
    pub(crate) fn new(
        layer: &'static str,
        args: &'a [Option<Arg<'a>>],
        want: &'static str,
        required: &[usize],
        most: usize,
    ) -> Result<Inputs<'a>, LayerError> {
        let least = required.iter().max().map_or(0, |last| last + 1);
        if args.len() > most || args.len() < least {
            return Err(LayerError::Arity { layer, want, got: args.len() });
        }
        match required.iter().find(|&&i| args[i].is_none()) {
            Some(&input) => Err(LayerError::Missing { layer, input }),
            None => Ok(Inputs { layer, args }),
        }
    }

    /// An input that may be left out.
    pub(crate) fn opt(&self, i: usize) -> Option<Arg<'a>> {
        self.args.get(i).copied().flatten()
    }

    /// A required input of any type.
    pub(crate) fn any(&self, i: usize) -> Result<Arg<'a>, LayerError> {
        self.opt(i).ok_or(LayerError::Missing { layer: self.layer, input: i })
    }

    /// A required input whose dtype passes the test.
    pub(crate) fn typed(
        &self,
        i: usize,
        want: &'static str,
        test: impl Fn(DType) -> bool,
    ) -> Result<Arg<'a>, LayerError> {
        let arg = self.any(i)?;
        if test(arg.ty.dtype) {
            Ok(arg)
        } else {
            Err(LayerError::DType { layer: self.layer, input: i, want, got: arg.ty.dtype })
        }
    }

    /// A required input of floats.
    pub(crate) fn float(&self, i: usize) -> Result<Arg<'a>, LayerError> {
        self.typed(i, "floats", DType::is_float)
    }

    /// A required input of floats or integers.
    pub(crate) fn number(&self, i: usize) -> Result<Arg<'a>, LayerError> {
        self.typed(i, "numbers", |d| d.is_float() || d.is_int())
    }

    /// A required input of truth values.
    pub(crate) fn bools(&self, i: usize) -> Result<Arg<'a>, LayerError> {
        self.typed(i, "truth values", |d| d == DType::Bool)
    }

    /// A required input of the dtype of input 0.
    pub(crate) fn like_first(&self, i: usize) -> Result<Arg<'a>, LayerError> {
        let first = self.any(0)?.ty.dtype;
        self.typed(i, "the dtype of input 0", |d| d == first)
    }

    /// A required weight: floats of any width, so that a file may store `f16` beside `f32`
    /// activations.
    pub(crate) fn weight(&self, i: usize) -> Result<Arg<'a>, LayerError> {
        self.float(i)
    }

    /// A weight that may be left out; otherwise as [`Inputs::weight`].
    pub(crate) fn opt_weight(&self, i: usize) -> Result<Option<Arg<'a>>, LayerError> {
        self.opt(i).map(|_| self.weight(i)).transpose()
    }

    /// An input of the dtype of input `of`, where it is present.
    pub(crate) fn opt_like(&self, i: usize, of: usize) -> Result<Option<Arg<'a>>, LayerError> {
        let Some(arg) = self.opt(i) else { return Ok(None) };
        let want = self.any(of)?.ty.dtype;
        if arg.ty.dtype == want {
            return Ok(Some(arg));
        }
        let want = "the dtype of the other operands";
        Err(LayerError::DType { layer: self.layer, input: i, want, got: arg.ty.dtype })
    }

    /// Refuses an input whose extents are not exactly these; absent ones pass.
    pub(crate) fn expect_shape(&self, i: usize, dims: &[usize]) -> Result<(), LayerError> {
        match self.opt(i) {
            Some(arg) if arg.ty.shape.dims() != dims => Err(invalid!(
                self.layer,
                "input {i} has extents {:?}; they must be {dims:?}",
                arg.ty.shape
            )),
            _ => Ok(()),
        }
    }

    /// The value of a required input that is a list of integers known beforehand.
    pub(crate) fn ints(&self, i: usize) -> Result<Vec<i64>, LayerError> {
        let arg = self.typed(i, "i64 or i32", |d| matches!(d, DType::I64 | DType::I32))?;
        if arg.ty.shape.rank() > 1 {
            return Err(invalid!(
                self.layer,
                "input {i} must be a list, but has {} dimensions",
                arg.ty.shape.rank()
            ));
        }
        let value = arg.value.ok_or(LayerError::NotConstant { layer: self.layer, input: i })?;
        Ok(value.to_i64().into_owned())
    }

    /// As [`Inputs::ints`], `None` where the input is left out.
    pub(crate) fn opt_ints(&self, i: usize) -> Result<Option<Vec<i64>>, LayerError> {
        self.opt(i).map(|_| self.ints(i)).transpose()
    }

    /// As [`Inputs::ints`], all of them extents.
    pub(crate) fn extents(&self, i: usize) -> Result<Vec<usize>, LayerError> {
        extents(self.layer, &self.ints(i)?)
    }
}

/// Integers as extents.
pub(crate) fn extents(layer: &'static str, ints: &[i64]) -> Result<Vec<usize>, LayerError> {
    let extent = |&d: &i64| {
        usize::try_from(d).map_err(|_| invalid!(layer, "{d} in {ints:?} cannot be an extent"))
    };
    ints.iter().map(extent).collect()
}

/// The axis of `shape` that `axis` names.
pub(crate) fn axis(layer: &'static str, shape: &Shape, axis: i64) -> Result<usize, LayerError> {
    shape.axis(axis).ok_or_else(|| {
        invalid!(layer, "axis {axis} is out of range for {} dimensions", shape.rank())
    })
}

/// The distinct axes, in the order given, that `axes` names among `rank`.
pub(crate) fn distinct_axes(
    layer: &'static str,
    rank: usize,
    axes: &[i64],
) -> Result<Vec<usize>, LayerError> {
    let mut found = Vec::new();
    for &axis in axes {
        let at = if axis < 0 { axis.checked_add(rank as i64) } else { Some(axis) };
        let at = at
            .filter(|a| (0..rank as i64).contains(a))
            .ok_or_else(|| invalid!(layer, "axis {axis} is out of range for {rank} dimensions"))?
            as usize;
        if found.contains(&at) {
            return Err(invalid!(layer, "axis {at} is named twice in {axes:?}"));
        }
        found.push(at);
    }
    Ok(found)
}

/// Refuses a shape of another rank.
pub(crate) fn nhwc(
    layer: &'static str,
    input: usize,
    shape: &Shape,
) -> Result<depthwise_tensor::Nhwc, LayerError> {
    shape.nhwc().ok_or_else(|| {
        invalid!(layer, "input {input} must have 4 dimensions (NHWC), but has {}", shape.rank())
    })
}
