//! Elements and slices put where indices say.

use crate::check::{Inputs, axis, invalid};
use crate::gather_places::{corner, elements_axis, is_index, slices, wrapped};
use crate::reference::{Operands, collect, from_f64, from_i64, max, min, position};
use crate::{Arg, Layer, LayerError, TensorType};
use depthwise_tensor::{Shape, Tensor};

/// What becomes of an element and the update that comes to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ScatterFn {
    /// The update; of several at one place the last.
    Replace,
    /// The sum.
    Add,
    /// The product.
    Mul,
    /// The larger, NaN if either is.
    Max,
    /// The smaller, NaN if either is.
    Min,
}

impl ScatterFn {
    fn of_floats(self, x: f64, update: f64) -> f64 {
        match self {
            ScatterFn::Replace => update,
            ScatterFn::Add => x + update,
            ScatterFn::Mul => x * update,
            ScatterFn::Max => max(x, update),
            ScatterFn::Min => min(x, update),
        }
    }

    fn of_ints(self, x: i64, update: i64) -> i64 {
        match self {
            ScatterFn::Replace => update,
            ScatterFn::Add => x.wrapping_add(update),
            ScatterFn::Mul => x.wrapping_mul(update),
            ScatterFn::Max => x.max(update),
            ScatterFn::Min => x.min(update),
        }
    }
}

/// A copy of x with each update at the place that [`GatherElements`](crate::GatherElements) would
/// take it from. Inputs: x; indices (`i64` or `i32`, negative from the end); updates, of the
/// extents of the indices and the dtype of x.
#[derive(Clone, Debug, PartialEq)]
pub struct ScatterElements {
    /// The axis, negative from the end.
    pub axis: i64,
    /// What happens at a place.
    pub function: ScatterFn,
}

/// A copy of x with each update, a slice, at the place that [`GatherNd`](crate::GatherNd) without
/// shared dimensions would take it from. Inputs: as [`ScatterElements`], the updates with the
/// extents that the choice would have.
#[derive(Clone, Debug, PartialEq)]
pub struct ScatterNd {
    /// What happens at a place.
    pub function: ScatterFn,
}

/// x, indices and updates, the latter two of which belong together.
fn operands_of<'a>(
    kind: &'static str,
    inputs: &'a [Option<Arg<'a>>],
) -> Result<(TensorType, TensorType, TensorType), LayerError> {
    let inputs = Inputs::new(kind, inputs, "3", &[0, 1, 2], 3)?;
    let indices = inputs.typed(1, "i64 or i32", is_index)?;
    Ok((inputs.any(0)?.ty, indices.ty, inputs.like_first(2)?.ty))
}

/// The copy of x, with update number `i` at `places[i]`.
fn updated(
    function: ScatterFn,
    x: &Tensor,
    places: &[usize],
    updates: &Tensor,
) -> Result<Tensor, LayerError> {
    let ty = TensorType::of(x);
    if x.dtype().is_float() {
        let (mut y, updates) = (x.to_f64().into_owned(), updates.to_f64());
        for (&place, &update) in places.iter().zip(updates.iter()) {
            y[place] = function.of_floats(y[place], update);
        }
        return from_f64(ty, y);
    }
    let (mut y, updates) = (x.to_i64().into_owned(), updates.to_i64());
    for (&place, &update) in places.iter().zip(updates.iter()) {
        y[place] = function.of_ints(y[place], update);
    }
    from_i64(ty, y)
}

impl Layer for ScatterElements {
    fn kind(&self) -> &'static str {
        "ScatterElements"
    }

    fn infer(&self, inputs: &[Option<Arg<'_>>]) -> Result<Vec<TensorType>, LayerError> {
        let (x, indices, updates) = operands_of(self.kind(), inputs)?;
        elements_axis(self.kind(), &x.shape, self.axis, &indices.shape)?;
        if updates.shape != indices.shape {
            let (updates, indices) = (updates.shape, indices.shape);
            return Err(invalid!(self.kind(), "updates {updates} for indices {indices}"));
        }
        Ok(vec![x])
    }

    fn reference(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, LayerError> {
        let operands = Operands::new(self, inputs)?;
        let (x, indices) = (operands.get(0), operands.get(1));
        let chosen = indices.to_i64();
        let axis = axis(self.kind(), x.shape(), self.axis)?;
        let places = collect(indices.shape(), |index| {
            let mut place = index.to_vec();
            let chosen = chosen[position(indices.shape(), index)];
            place[axis] = wrapped(self.kind(), chosen, x.shape()[axis])?;
            Ok(position(x.shape(), &place))
        })?;
        let places = places.into_iter().collect::<Result<Vec<_>, LayerError>>()?;
        Ok(vec![updated(self.function, x, &places, operands.get(2))?])
    }
}

impl Layer for ScatterNd {
    fn kind(&self) -> &'static str {
        "ScatterNd"
    }

    fn infer(&self, inputs: &[Option<Arg<'_>>]) -> Result<Vec<TensorType>, LayerError> {
        let (x, indices, updates) = operands_of(self.kind(), inputs)?;
        let want = Shape::new(&slices(self.kind(), &x.shape, 0, &indices.shape)?)?;
        if updates.shape != want {
            return Err(invalid!(self.kind(), "updates {}, not {want}", updates.shape));
        }
        Ok(vec![x])
    }

    fn reference(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, LayerError> {
        let operands = Operands::new(self, inputs)?;
        let (x, indices, updates) = (operands.get(0), operands.get(1), operands.get(2));
        let depth = indices.shape()[indices.shape().rank() - 1];
        let inner: usize = x.shape()[depth..].iter().product();
        let mut places = Vec::new();
        for coordinates in indices.to_i64().chunks(depth) {
            let start = corner(self.kind(), x.shape(), &[], coordinates)?;
            places.extend(start..start + inner);
        }
        Ok(vec![updated(self.function, x, &places, updates)?])
    }
}
