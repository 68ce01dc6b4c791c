//! The best elements along an axis.

use crate::check::{Inputs, axis, invalid};
use crate::gather_places::is_index;
use crate::reference::{Operands, collect, position, rearrange};
use crate::{Arg, Layer, LayerError, TensorType};
use depthwise_tensor::{DType, Shape, Tensor};
use std::cmp::Ordering;

/// The largest (or smallest) elements along an axis, best first, and their positions, `i64`.
///
/// Of equals the first comes first; NaN counts as larger than every number. Inputs: x; the number of
/// elements, `i64`, known beforehand.
#[derive(Clone, Debug, PartialEq)]
pub struct TopK {
    /// The axis, negative from the end.
    pub axis: i64,
    /// Whether the largest are sought, or the smallest.
    pub largest: bool,
}

impl TopK {
    /// The order of the results.
    fn order(&self, a: f64, b: f64) -> Ordering {
        let ascending = a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()));
        if self.largest { ascending.reverse() } else { ascending }
    }
}

impl Layer for TopK {
    fn kind(&self) -> &'static str {
        "TopK"
    }

    fn infer(&self, inputs: &[Option<Arg<'_>>]) -> Result<Vec<TensorType>, LayerError> {
        let inputs = Inputs::new(self.kind(), inputs, "2", &[0, 1], 2)?;
        let x = inputs.number(0)?.ty;
        inputs.typed(1, "i64 or i32", is_index)?;
        let k = match inputs.extents(1)?[..] {
            [k] => k,
            _ => return Err(invalid!(self.kind(), "input 1 must be one number")),
        };
        let axis = axis(self.kind(), &x.shape, self.axis)?;
        if k > x.shape[axis] {
            return Err(invalid!(self.kind(), "{k} of {} elements", x.shape[axis]));
        }
        let mut dims = x.shape.to_vec();
        dims[axis] = k;
        let shape = Shape::new(&dims)?;
        Ok(vec![TensorType { dtype: x.dtype, shape }, TensorType { dtype: DType::I64, shape }])
    }

    fn reference(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, LayerError> {
        let operands = Operands::new(self, inputs)?;
        let x = operands.get(0);
        let axis = axis(self.kind(), x.shape(), self.axis)?;
        let shape = operands.outputs[0].shape;
        let (floats, ints) = (x.to_f64(), x.to_i64());
        let mut line = shape.to_vec();
        line[axis] = 1;
        let lines = Shape::new(&line)?;
        // The positions of the best, for each line along the axis.
        let best = collect(&lines, |index| {
            let place = |i: usize| {
                let mut source = index.to_vec();
                source[axis] = i;
                position(x.shape(), &source)
            };
            let order = |&a: &usize, &b: &usize| {
                let (a, b) = (place(a), place(b));
                match x.dtype().is_float() {
                    true => self.order(floats[a], floats[b]),
                    false if self.largest => ints[b].cmp(&ints[a]),
                    false => ints[a].cmp(&ints[b]),
                }
            };
            let mut positions: Vec<usize> = (0..x.shape()[axis]).collect();
            // Stable: of equals the first stays first.
            positions.sort_by(order);
            positions.truncate(shape[axis]);
            positions
        })?;
        let at = |index: &[usize]| {
            let mut line = index.to_vec();
            line[axis] = 0;
            best[position(&lines, &line)][index[axis]]
        };
        let values = rearrange(x, shape, &[], |index| {
            let mut source = index.to_vec();
            source[axis] = at(index);
            Some(position(x.shape(), &source))
        })?;
        let positions = collect(&shape, |index| at(index) as i64)?;
        Ok(vec![values, Tensor::from_vec(shape.dims(), positions)?])
    }
}
