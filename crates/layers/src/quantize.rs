//! Real numbers as integers and back: `real = scale * (q - zero_point)`.

use crate::check::{Inputs, axis, invalid};
use crate::reference::{Operands, from_i64, int_range};
use crate::{Arg, Layer, LayerError, TensorType};
use depthwise_tensor::{DType, Shape, Tensor};

/// `q = clamp(round(x / scale) + zero_point)`: the quotient in `f32`, halves to even, clamped to the
/// range of the integer type (ONNX QuantizeLinear). NaN gives the zero point.
///
/// | input | shape |
/// |---|---|
/// | x, floats | any |
/// | scale, `f32` | one element, or one per slice of `axis` |
/// | zero point, integers, may be left out (0) | as the scale |
#[derive(Clone, Debug, PartialEq)]
pub struct Quantize {
    /// Type of the integers: `i8`, `u8`, `i16` or `i32`.
    pub dtype: DType,
    /// Axis of the scales where there are several, negative from the end.
    pub axis: i64,
}

/// `x = (q - zero_point) * scale`: the difference exact, rounded to `f32`, then the product in
/// `f32` (ONNX DequantizeLinear).
///
/// | input | shape |
/// |---|---|
/// | q, integers | any |
/// | scale, `f32` | one element, or one per slice of `axis` |
/// | zero point, integers, may be left out (0) | as the scale |
#[derive(Clone, Debug, PartialEq)]
pub struct Dequantize {
    /// Axis of the scales where there are several, negative from the end.
    pub axis: i64,
}

/// Which scale an element has.
struct Slices {
    count: usize,
    inner: usize,
}

impl Slices {
    fn of(&self, element: usize) -> usize {
        element / self.inner % self.count
    }
}

/// Checks scales and zero points against what they scale.
fn slices(
    layer: &'static str,
    inputs: &Inputs<'_>,
    x: &Shape,
    along: i64,
) -> Result<Slices, LayerError> {
    let scale = inputs.typed(1, "f32", |d| d == DType::F32)?.ty.shape;
    let is_list = |shape: &Shape| shape.rank() < 2;
    if !is_list(&scale) || scale.elements() == 0 {
        return Err(invalid!(layer, "scales must be one or a list, but are {scale}"));
    }
    let count = scale.elements();
    if inputs.opt(2).is_some() {
        let zero = inputs.typed(2, "integers", DType::is_int)?.ty.shape;
        if !is_list(&zero) || zero.elements() != count {
            return Err(invalid!(layer, "{count} scales, but zero points of extents {zero}"));
        }
    }
    if count == 1 {
        return Ok(Slices { count, inner: 1 });
    }
    let along = axis(layer, x, along)?;
    if x[along] != count {
        return Err(invalid!(layer, "{count} scales for axis {along} of {x}"));
    }
    let inner: usize = x[along + 1..].iter().product();
    Ok(Slices { count, inner: inner.max(1) })
}

fn zero_points(operands: &Operands<'_>, count: usize) -> Vec<i64> {
    operands.opt(2).map_or_else(|| vec![0; count], |zero| zero.to_i64().into_owned())
}

impl Layer for Quantize {
    fn kind(&self) -> &'static str {
        "Quantize"
    }

    fn infer(&self, inputs: &[Option<Arg<'_>>]) -> Result<Vec<TensorType>, LayerError> {
        let inputs = Inputs::new(self.kind(), inputs, "2 or 3", &[0, 1], 3)?;
        let shape = inputs.float(0)?.ty.shape;
        slices(self.kind(), &inputs, &shape, self.axis)?;
        if !matches!(self.dtype, DType::I8 | DType::U8 | DType::I16 | DType::I32) {
            return Err(invalid!(self.kind(), "to {}; it gives i8, u8, i16 or i32", self.dtype));
        }
        Ok(vec![TensorType { dtype: self.dtype, shape }])
    }

    fn reference(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, LayerError> {
        let operands = Operands::new(self, inputs)?;
        let args: Vec<_> = inputs.iter().map(|t| t.map(Arg::constant)).collect();
        let checked = Inputs::new(self.kind(), &args, "2 or 3", &[0, 1], 3)?;
        let ty = operands.output();
        let slices = slices(self.kind(), &checked, &ty.shape, self.axis)?;
        let scales = operands.get(1).to_f32();
        let zeros = zero_points(&operands, slices.count);
        let (least, most) = int_range(self.dtype);
        let quantized = |(i, &x): (usize, &f32)| {
            let slice = slices.of(i);
            // `as` saturates, and takes NaN to 0.
            let steps = (x / scales[slice]).round_ties_even() as i64;
            steps.saturating_add(zeros[slice]).clamp(least, most)
        };
        let values = operands.get(0).to_f32().iter().enumerate().map(quantized).collect();
        Ok(vec![from_i64(ty, values)?])
    }
}

impl Layer for Dequantize {
    fn kind(&self) -> &'static str {
        "Dequantize"
    }

    fn infer(&self, inputs: &[Option<Arg<'_>>]) -> Result<Vec<TensorType>, LayerError> {
        let inputs = Inputs::new(self.kind(), inputs, "2 or 3", &[0, 1], 3)?;
        let shape = inputs.typed(0, "integers", DType::is_int)?.ty.shape;
        slices(self.kind(), &inputs, &shape, self.axis)?;
        Ok(vec![TensorType { dtype: DType::F32, shape }])
    }

    fn reference(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, LayerError> {
        let operands = Operands::new(self, inputs)?;
        let args: Vec<_> = inputs.iter().map(|t| t.map(Arg::constant)).collect();
        let checked = Inputs::new(self.kind(), &args, "2 or 3", &[0, 1], 3)?;
        let ty = operands.output();
        let slices = slices(self.kind(), &checked, &ty.shape, self.axis)?;
        let scales = operands.get(1).to_f32();
        let zeros = zero_points(&operands, slices.count);
        let real = |(i, &q): (usize, &i64)| {
            let slice = slices.of(i);
            q.wrapping_sub(zeros[slice]) as f32 * scales[slice]
        };
        let values: Vec<f32> = operands.get(0).to_i64().iter().enumerate().map(real).collect();
        Ok(vec![Tensor::from_vec(ty.shape.dims(), values)?])
    }
}
