//! Matrix product of two activations.

use crate::check::{Inputs, invalid};
use crate::layer::product;
use crate::reference::{Operands, broadcast_position, collect, from_f64, from_i64};
use crate::{Arg, Layer, LayerError, TensorType};
use depthwise_tensor::{Shape, Tensor, broadcast};
use std::ops::Range;

/// `y[.., m, n] = sum over k of a[.., m, k] * b[.., k, n]`, NumPy's `matmul`: leading dimensions
/// broadcast; a vector on either side gets a dimension that is dropped again.
#[derive(Clone, Debug, PartialEq)]
pub struct MatMul;

/// A product whose operands are seen as stacks of matrices.
struct Product {
    /// Leading dimensions of the two stacks, and of the result.
    stacks: (Shape, Shape, Shape),
    m: usize,
    k: usize,
    n: usize,
    /// Extents of the result.
    output: Shape,
}

impl MatMul {
    fn resolve(&self, a: &Shape, b: &Shape) -> Result<Product, LayerError> {
        let kind = self.kind();
        if a.rank() == 0 || b.rank() == 0 {
            return Err(invalid!(kind, "operands {a} and {b}: a scalar has no matrix product"));
        }
        let (lead_a, m) = match a.dims() {
            [lead @ .., m, _] => (lead, Some(*m)),
            _ => (&[][..], None),
        };
        let (lead_b, k, n) = match b.dims() {
            [lead @ .., k, n] => (lead, *k, Some(*n)),
            _ => (&[][..], b[0], None),
        };
        if a[a.rank() - 1] != k {
            return Err(invalid!(kind, "{a} by {b}: {} columns meet {k} rows", a[a.rank() - 1]));
        }
        let (lead_a, lead_b) = (Shape::new(lead_a)?, Shape::new(lead_b)?);
        let lead = broadcast(&lead_a, &lead_b)?;
        let dims: Vec<usize> = lead.iter().copied().chain(m).chain(n).collect();
        let output = Shape::new(&dims)?;
        let stacks = (lead_a, lead_b, lead);
        Ok(Product { stacks, m: m.unwrap_or(1), k, n: n.unwrap_or(1), output })
    }
}

impl Layer for MatMul {
    fn kind(&self) -> &'static str {
        "MatMul"
    }

    fn infer(&self, inputs: &[Option<Arg<'_>>]) -> Result<Vec<TensorType>, LayerError> {
        let inputs = Inputs::new(self.kind(), inputs, "2", &[0, 1], 2)?;
        let (a, b) = (inputs.number(0)?.ty, inputs.like_first(1)?.ty);
        let shape = self.resolve(&a.shape, &b.shape)?.output;
        Ok(vec![TensorType { dtype: a.dtype, shape }])
    }

    fn macs(&self, inputs: &[Option<TensorType>], outputs: &[TensorType]) -> u64 {
        let (Some(Some(a)), [y]) = (inputs.first(), outputs) else { return 0 };
        product(y.shape.elements(), a.shape.last().map_or(&[], std::slice::from_ref))
    }

    fn weights(&self) -> Range<usize> {
        0..2
    }

    fn reference(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, LayerError> {
        let operands = Operands::new(self, inputs)?;
        let (a, b) = (operands.get(0), operands.get(1));
        let Product { stacks: (lead_a, lead_b, lead), m, k, n, .. } =
            self.resolve(a.shape(), b.shape())?;
        let full = Shape::new(&[lead.dims(), &[m, n]].concat())?;
        // Positions of the first elements of a row of a and a column of b.
        let start = |index: &[usize]| {
            let (stack, cell) = index.split_at(lead.rank());
            let (i, j) = (broadcast_position(&lead_a, stack), broadcast_position(&lead_b, stack));
            ((i * m + cell[0]) * k, j * k * n + cell[1])
        };
        let ty = operands.output();
        let result = if ty.dtype.is_float() {
            let (x, y) = (a.to_f64(), b.to_f64());
            let dot = |(i, j): (usize, usize)| (0..k).map(|l| x[i + l] * y[j + l * n]).sum();
            from_f64(ty, collect(&full, |index| dot(start(index)))?)?
        } else {
            let (x, y) = (a.to_i64(), b.to_i64());
            let dot = |(i, j): (usize, usize)| {
                let products = (0..k).map(|l| x[i + l].wrapping_mul(y[j + l * n]));
                products.fold(0i64, i64::wrapping_add)
            };
            from_i64(ty, collect(&full, |index| dot(start(index)))?)?
        };
        Ok(vec![result])
    }
}
