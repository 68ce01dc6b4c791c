//! Numbers in equal steps.

use crate::check::{Inputs, invalid};
use crate::reference::{Operands, collect, from_f64, from_i64};
use crate::{Arg, Layer, LayerError, TensorType};
use depthwise_tensor::Tensor;

/// `start, start + delta, ..` before `limit`. Inputs: start, limit, delta, scalars of one dtype.
#[derive(Clone, Debug, PartialEq)]
pub struct Range;

impl Range {
    /// Number of elements; an error where the numbers make no list.
    fn count(&self, values: [&Tensor; 3]) -> Result<usize, LayerError> {
        let kind = self.kind();
        if values[0].dtype().is_float() {
            let [start, limit, delta] = values.map(|t| t.to_f64()[0]);
            let count = ((limit - start) / delta).ceil();
            if delta == 0.0 || !count.is_finite() {
                return Err(invalid!(kind, "from {start} to {limit} in steps of {delta}"));
            }
            return Ok(count.max(0.0) as usize);
        }
        let [start, limit, delta] = values.map(|t| i128::from(t.to_i64()[0]));
        if delta == 0 {
            return Err(invalid!(kind, "from {start} to {limit} in steps of {delta}"));
        }
        let (span, step) = if delta > 0 { (limit - start, delta) } else { (start - limit, -delta) };
        // Rounded up; both are below 2^65.
        let count = if span > 0 { (span + step - 1) / step } else { 0 };
        Ok(usize::try_from(count).unwrap_or(usize::MAX))
    }
}

impl Layer for Range {
    fn kind(&self) -> &'static str {
        "Range"
    }

    fn infer(&self, inputs: &[Option<Arg<'_>>]) -> Result<Vec<TensorType>, LayerError> {
        let inputs = Inputs::new(self.kind(), inputs, "3", &[0, 1, 2], 3)?;
        let args = [inputs.number(0)?, inputs.like_first(1)?, inputs.like_first(2)?];
        for (i, arg) in args.iter().enumerate() {
            if arg.ty.shape.elements() != 1 {
                let shape = arg.ty.shape;
                return Err(invalid!(self.kind(), "input {i} must be a scalar, but is {shape}"));
            }
        }
        let value = |input: usize| {
            args[input].value.ok_or(LayerError::NotConstant { layer: self.kind(), input })
        };
        let count = self.count([value(0)?, value(1)?, value(2)?])?;
        Ok(vec![TensorType::new(args[0].ty.dtype, &[count])?])
    }

    fn reference(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, LayerError> {
        let operands = Operands::new(self, inputs)?;
        let ty = operands.output();
        let (start, delta) = (operands.get(0), operands.get(2));
        let result = if ty.dtype.is_float() {
            let (start, delta) = (start.to_f64()[0], delta.to_f64()[0]);
            from_f64(ty, collect(&ty.shape, |index| start + index[0] as f64 * delta)?)?
        } else {
            let (start, delta) = (start.to_i64()[0], delta.to_i64()[0]);
            let at = |index: &[usize]| start.wrapping_add(delta.wrapping_mul(index[0] as i64));
            from_i64(ty, collect(&ty.shape, at)?)?
        };
        Ok(vec![result])
    }
}
