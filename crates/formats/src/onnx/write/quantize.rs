//! Real numbers as integers and back.
//!
//! Engines look for a DequantizeLinear directly before an operator, so that of a constant is written
//! where an operator asks for it, behind the constant in the form that the operator needs.

use super::values::{Form, Writer, operand, optional};
use super::{Attr, Refused, refuse};
use depthwise_layers::ir::{Node, ValueId};
use depthwise_layers::{Dequantize, Quantize};
use depthwise_tensor::{DType, Tensor};

/// Constant integers that stand for real numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scaled {
    /// The integers.
    pub(super) stored: ValueId,
    scale: ValueId,
    zero: Option<ValueId>,
    /// The axis of several scales, from the start; `None` for one scale.
    pub(super) axis: Option<usize>,
}

pub(super) fn quantize(w: &mut Writer<'_>, node: &Node, op: &Quantize) -> Result<(), Refused> {
    if !matches!(op.dtype, DType::I8 | DType::U8) {
        return refuse(format!("QuantizeLinear gives i8 and u8, not {}", op.dtype));
    }
    let x = operand(node, 0)?;
    let form = w.common(&[x]);
    let mut inputs = vec![w.get(x, form)?];
    let axis = axis(w, node, x, op.axis)?;
    inputs.extend(scales(w, operand(node, 1)?, optional(node, 2), op.dtype)?);
    w.result(node.outputs[0], form, "QuantizeLinear", inputs, attributes(form, axis));
    Ok(())
}

pub(super) fn dequantize(w: &mut Writer<'_>, node: &Node, op: &Dequantize) -> Result<(), Refused> {
    let (stored, y) = (operand(node, 0)?, node.outputs[0]);
    let axis = axis(w, node, stored, op.axis)?;
    let (scale, zero) = (operand(node, 1)?, optional(node, 2));
    if w.tensor(stored).is_some() && !w.graph.outputs().contains(&y) {
        w.scaled.insert(y, Scaled { stored, scale, zero, axis });
        return Ok(());
    }
    let form = w.common(&[stored]);
    let mut inputs = vec![w.get(stored, form)?];
    let dtype = w.dtype(stored);
    inputs.extend(scales(w, scale, zero, dtype)?);
    w.result(y, form, "DequantizeLinear", inputs, attributes(form, axis));
    Ok(())
}

/// The axis of the scales, where there are several.
fn axis(w: &Writer<'_>, node: &Node, x: ValueId, axis: i64) -> Result<Option<usize>, Refused> {
    if w.known.ty(operand(node, 1)?).shape.elements() == 1 {
        return Ok(None);
    }
    let shape = w.known.ty(x).shape;
    let found = shape.axis(axis);
    let missing = || Refused(format!("axis {axis} of {} dimensions", shape.rank()));
    found.ok_or_else(missing).map(Some)
}

fn attributes(form: Form, axis: Option<usize>) -> Vec<(&'static str, Attr)> {
    let axis = axis.map(|axis| ("axis", Attr::Int(form.axis(axis) as i64)));
    axis.into_iter().collect()
}

/// Scale and zero point: extents as the format wants them, the zero point in the type of the integers.
fn scales(
    w: &mut Writer<'_>,
    scale: ValueId,
    zero: Option<ValueId>,
    dtype: DType,
) -> Result<[String; 2], Refused> {
    let (Some(factor), zeros) = (w.tensor(scale), zero.map(|zero| w.tensor(zero))) else {
        return refuse("scales that are not constant");
    };
    let count = factor.elements();
    let zeros = match zeros {
        None => vec![0; count],
        Some(Some(zeros)) => zeros.to_i64().into_owned(),
        Some(None) => return refuse("zero points that are not constant"),
    };
    let dims: &[usize] = if count == 1 { &[] } else { &[count] };
    let factor = factor.reshape(dims)?;
    let zeros = match dtype {
        DType::I8 => Tensor::from_vec(dims, narrow::<i8>(&zeros)?)?,
        DType::U8 => Tensor::from_vec(dims, narrow::<u8>(&zeros)?)?,
        DType::I32 => Tensor::from_vec(dims, narrow::<i32>(&zeros)?)?,
        other => return refuse(format!("DequantizeLinear takes i8, u8 and i32, not {other}")),
    };
    Ok([w.constant("scale", factor), w.constant("zero_point", zeros)])
}

fn narrow<T: TryFrom<i64>>(zeros: &[i64]) -> Result<Vec<T>, Refused> {
    let one = |&zero: &i64| {
        T::try_from(zero).map_err(|_| Refused(format!("a zero point of {zero}, beyond its type")))
    };
    zeros.iter().map(one).collect()
}

impl Writer<'_> {
    /// The elements of a constant as they are stored: those of a real number, or the integers that
    /// stand for it.
    pub(super) fn stored(&self, id: ValueId) -> Option<&Tensor> {
        match self.scaled.get(&id) {
            Some(scaled) => self.tensor(scaled.stored),
            None => self.tensor(id),
        }
    }

    /// Writes the stored elements of a constant, rearranged so that axis `axis(from)` is where `from`
    /// was, with what makes real numbers of them; gives the name of these.
    pub(super) fn rearranged(
        &mut self,
        id: ValueId,
        tensor: Tensor,
        axis: impl Fn(usize) -> Option<usize>,
    ) -> Result<String, Refused> {
        let own = self.graph.value(id).name.clone();
        let Some(Scaled { scale, zero, axis: along, .. }) = self.scaled.get(&id).copied() else {
            let name = self.fresh(&own);
            self.initializers.push((name.clone(), tensor));
            return Ok(name);
        };
        let along = match along {
            None => None,
            Some(from) => match axis(from) {
                Some(to) => Some(to),
                None => return refuse(format!("scales along axis {from} of its weights")),
            },
        };
        let dtype = tensor.dtype();
        let name = self.fresh(&format!("{own}.integers"));
        self.initializers.push((name.clone(), tensor));
        let mut inputs = vec![name];
        inputs.extend(scales(self, scale, zero, dtype)?);
        let real = self.fresh(&own);
        let attributes = attributes(Form::Plain, along);
        self.push("DequantizeLinear", inputs, vec![real.clone()], attributes);
        Ok(real)
    }
}
