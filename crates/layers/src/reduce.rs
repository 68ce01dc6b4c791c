//! Reductions over whole axes.

use crate::check::{Inputs, axis, distinct_axes, invalid};
use crate::reference::{
    Operands, collect, from_f64, from_i64, int_range, max, min, position, with_room,
};
use crate::{Arg, Layer, LayerError, TensorType};
use depthwise_tensor::{DType, Shape, Tensor};
use std::cmp::Ordering;

/// What a reduction computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReduceFn {
    /// Arithmetic mean.
    Mean,
    /// Sum.
    Sum,
    /// Largest element.
    Max,
    /// Smallest element.
    Min,
    /// Product.
    Prod,
    /// Sum of absolute values.
    L1,
    /// Square root of the sum of squares.
    L2,
    /// Sum of squares.
    SumSquare,
    /// Logarithm of the sum.
    LogSum,
    /// Logarithm of the sum of exponentials.
    LogSumExp,
}

/// A reduction over `axes`. Global average pooling of an NHWC picture is the mean over axes 1 and
/// 2 with `keep_dims`.
///
/// Of no elements: the sum is 0, the product 1, the mean NaN (0 for integers), the extremes the
/// infinities (the limits of the dtype for integers). The mean of integers truncates toward zero.
#[derive(Clone, Debug, PartialEq)]
pub struct Reduce {
    /// What is computed.
    pub function: ReduceFn,
    /// Axes to reduce, negative from the end. Empty means every axis.
    pub axes: Vec<i64>,
    /// Keep reduced axes with extent 1.
    pub keep_dims: bool,
}

/// Position of the largest (or smallest) element along an axis, as `i64`. Ties go to the first,
/// or to the last where `select_last`; NaN beats every number.
#[derive(Clone, Debug, PartialEq)]
pub struct ArgExtreme {
    /// Position of the largest, else of the smallest.
    pub largest: bool,
    /// The axis, negative from the end.
    pub axis: i64,
    /// Keep the axis with extent 1.
    pub keep_dims: bool,
    /// Ties go to the last position.
    pub select_last: bool,
}

/// A view of `x` as the cells of a result: which axes are gone, and the shapes without them.
struct Cells {
    reduced: Vec<bool>,
    /// The result with reduced axes kept.
    kept: Shape,
    /// The result.
    output: Shape,
    /// Elements of x per cell.
    count: usize,
}

impl Cells {
    fn new(layer: &'static str, x: &Shape, axes: &[i64], keep: bool) -> Result<Cells, LayerError> {
        let axes = distinct_axes(layer, x.rank(), axes)?;
        let all = axes.is_empty();
        let reduced: Vec<bool> = (0..x.rank()).map(|a| all || axes.contains(&a)).collect();
        let dims = x.iter().zip(&reduced);
        let kept: Vec<usize> = dims.clone().map(|(&d, &gone)| if gone { 1 } else { d }).collect();
        let output: Vec<usize> = dims
            .clone()
            .filter(|(_, gone)| keep || !**gone)
            .map(|(&d, &gone)| if gone { 1 } else { d })
            .collect();
        let count = dims.filter(|(_, gone)| **gone).map(|(d, _)| d).product();
        Ok(Cells { reduced, kept: Shape::new(&kept)?, output: Shape::new(&output)?, count })
    }

    /// For every cell, the elements of x that belong to it, in row-major order.
    fn gather<T: Copy>(&self, x: &Shape, values: &[T]) -> Result<Vec<Vec<T>>, LayerError> {
        let mut cells = with_room(self.kept.elements())?;
        cells.resize(self.kept.elements(), Vec::new());
        let cell_of = collect(x, |index| {
            let cell: Vec<usize> = index
                .iter()
                .zip(&self.reduced)
                .map(|(&i, &gone)| if gone { 0 } else { i })
                .collect();
            position(&self.kept, &cell)
        })?;
        for (&value, cell) in values.iter().zip(cell_of) {
            cells[cell].push(value);
        }
        Ok(cells)
    }
}

impl ReduceFn {
    /// Whether the function takes integers.
    pub const fn takes_ints(self) -> bool {
        !matches!(self, ReduceFn::L2 | ReduceFn::LogSum | ReduceFn::LogSumExp)
    }

    fn of_floats(self, x: &[f64]) -> f64 {
        let sum = |f: fn(f64) -> f64| x.iter().map(|&x| f(x)).sum::<f64>();
        match self {
            ReduceFn::Mean => sum(|x| x) / x.len() as f64,
            ReduceFn::Sum => sum(|x| x),
            ReduceFn::Max => x.iter().copied().fold(f64::NEG_INFINITY, max),
            ReduceFn::Min => x.iter().copied().fold(f64::INFINITY, min),
            ReduceFn::Prod => x.iter().product(),
            ReduceFn::L1 => sum(f64::abs),
            ReduceFn::L2 => sum(|x| x * x).sqrt(),
            ReduceFn::SumSquare => sum(|x| x * x),
            ReduceFn::LogSum => sum(|x| x).ln(),
            ReduceFn::LogSumExp => {
                let top = x.iter().copied().fold(f64::NEG_INFINITY, max);
                if !top.is_finite() {
                    return top;
                }
                top + x.iter().map(|x| (x - top).exp()).sum::<f64>().ln()
            }
        }
    }

    /// Modulo 2^64; the extremes of nothing are the limits of the dtype.
    fn of_ints(self, x: &[i64], dtype: DType) -> i64 {
        let wide = x.iter().map(|&x| i128::from(x));
        let (least, most) = int_range(dtype);
        match self {
            ReduceFn::Mean => (wide.sum::<i128>() / x.len().max(1) as i128) as i64,
            ReduceFn::Sum => x.iter().fold(0, |a, &b| a.wrapping_add(b)),
            ReduceFn::Max => x.iter().copied().max().unwrap_or(least),
            ReduceFn::Min => x.iter().copied().min().unwrap_or(most),
            ReduceFn::Prod => x.iter().fold(1, |a, &b| a.wrapping_mul(b)),
            ReduceFn::L1 => x.iter().fold(0, |a, &b| a.wrapping_add(b.wrapping_abs())),
            ReduceFn::SumSquare => x.iter().fold(0, |a, &b| a.wrapping_add(b.wrapping_mul(b))),
            ReduceFn::L2 | ReduceFn::LogSum | ReduceFn::LogSumExp => 0,
        }
    }
}

impl Reduce {
    /// Number of elements that go into one element of the result, and the shape of the result.
    ///
    /// # Errors
    /// [`LayerError::Invalid`] where an axis is out of range or named twice.
    pub fn resolve(&self, x: &Shape) -> Result<(usize, Shape), LayerError> {
        let cells = Cells::new(self.kind(), x, &self.axes, self.keep_dims)?;
        Ok((cells.count, cells.output))
    }
}

impl Layer for Reduce {
    fn kind(&self) -> &'static str {
        "Reduce"
    }

    fn infer(&self, inputs: &[Option<Arg<'_>>]) -> Result<Vec<TensorType>, LayerError> {
        let inputs = Inputs::new(self.kind(), inputs, "1", &[0], 1)?;
        let x = if self.function.takes_ints() { inputs.number(0)? } else { inputs.float(0)? }.ty;
        let (_, shape) = self.resolve(&x.shape)?;
        Ok(vec![TensorType { dtype: x.dtype, shape }])
    }

    fn reference(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, LayerError> {
        let operands = Operands::new(self, inputs)?;
        let (x, ty) = (operands.get(0), operands.output());
        let cells = Cells::new(self.kind(), x.shape(), &self.axes, self.keep_dims)?;
        let result = if ty.dtype.is_float() {
            let cells = cells.gather(x.shape(), &x.to_f64())?;
            from_f64(ty, cells.iter().map(|c| self.function.of_floats(c)).collect())?
        } else {
            let cells = cells.gather(x.shape(), &x.to_i64())?;
            from_i64(ty, cells.iter().map(|c| self.function.of_ints(c, ty.dtype)).collect())?
        };
        Ok(vec![result])
    }
}

impl Layer for ArgExtreme {
    fn kind(&self) -> &'static str {
        "ArgExtreme"
    }

    fn infer(&self, inputs: &[Option<Arg<'_>>]) -> Result<Vec<TensorType>, LayerError> {
        let inputs = Inputs::new(self.kind(), inputs, "1", &[0], 1)?;
        let x = inputs.number(0)?.ty.shape;
        let axis = axis(self.kind(), &x, self.axis)?;
        if x[axis] == 0 {
            return Err(invalid!(self.kind(), "axis {axis} of {x} has extent 0, so no extreme"));
        }
        let shape = Cells::new(self.kind(), &x, &[self.axis], self.keep_dims)?.output;
        Ok(vec![TensorType { dtype: DType::I64, shape }])
    }

    fn reference(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, LayerError> {
        let operands = Operands::new(self, inputs)?;
        let x = operands.get(0);
        let cells = Cells::new(self.kind(), x.shape(), &[self.axis], self.keep_dims)?;
        let positions = if x.dtype().is_float() {
            let order = |a: f64, b: f64| match (a.is_nan(), b.is_nan()) {
                (true, true) => Ordering::Equal,
                // NaN beats every number, in either direction.
                (true, false) => Ordering::Greater,
                (false, true) => Ordering::Less,
                _ if self.largest => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
                _ => b.partial_cmp(&a).unwrap_or(Ordering::Equal),
            };
            let cells = cells.gather(x.shape(), &x.to_f64())?;
            cells.iter().map(|c| self.best(c, order)).collect()
        } else {
            let order = |a: i64, b: i64| if self.largest { a.cmp(&b) } else { b.cmp(&a) };
            let cells = cells.gather(x.shape(), &x.to_i64())?;
            cells.iter().map(|c| self.best(c, order)).collect()
        };
        Ok(vec![from_i64(operands.output(), positions)?])
    }
}

impl ArgExtreme {
    /// Position of the greatest under `order`.
    fn best<T: Copy>(&self, cell: &[T], order: impl Fn(T, T) -> Ordering) -> i64 {
        let mut best = 0;
        for i in 1..cell.len() {
            match order(cell[i], cell[best]) {
                Ordering::Greater => best = i,
                Ordering::Equal if self.select_last => best = i,
                _ => {}
            }
        }
        best as i64
    }
}
