//! What the operands of a quantized operation stand for.

use crate::passes::Rewriter;
use depthwise_layers::Op;
use depthwise_layers::ir::{Def, NodeId, ValueId};
use depthwise_tensor::{DType, Tensor};

/// How far back the element type of a value is looked for.
const MAX_DEPTH: usize = 64;

/// What 8-bit integers of one scale stand for: `scale * (q - zero)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Params {
    pub(super) dtype: DType,
    pub(super) scale: f32,
    pub(super) zero: i32,
}

impl Params {
    /// The real number that an integer stands for.
    pub(super) fn real(&self, q: i64) -> f64 {
        f64::from(self.scale) * (q - i64::from(self.zero)) as f64
    }

    /// The integer that stands for a real number; NaN as 0.
    pub(super) fn nearest(&self, x: f64) -> i64 {
        let (least, most) = if self.dtype == DType::I8 { (-128, 127) } else { (0, 255) };
        let steps = (x / f64::from(self.scale)).round_ties_even() as i64;
        steps.saturating_add(self.zero.into()).clamp(least, most)
    }
}

/// The element type of a value, as far as the graph tells.
pub(super) fn dtype_of(rw: &Rewriter<'_>, id: ValueId) -> Option<DType> {
    let mut id = id;
    for _ in 0..MAX_DEPTH {
        if let Some(ty) = rw.ty(id) {
            return Some(ty.dtype);
        }
        let node = match &rw.graph().value(id).def {
            Def::Input(ty) => return Some(ty.dtype),
            Def::Const(tensor) => return Some(tensor.dtype()),
            Def::Released(ty) => return Some(ty.dtype),
            Def::Node { node, .. } => rw.node(*node),
        };
        match &node.op {
            Op::Quantize(layer) => return Some(layer.dtype),
            Op::Dequantize(_) => return Some(DType::F32),
            Op::QConv2d(layer) => return Some(layer.output.dtype),
            Op::QDepthwiseConv2d(layer) => return Some(layer.output.dtype),
            Op::QDense(layer) => return Some(layer.output.dtype),
            Op::QBinary(layer) => return Some(layer.output.dtype),
            Op::QPool2d(layer) => return Some(layer.output.dtype),
            Op::QMean(layer) => return Some(layer.output.dtype),
            Op::QResize(layer) => return Some(layer.output.dtype),
            Op::QSoftmax(layer) => return Some(layer.output.dtype),
            Op::QLookup(_) => id = node.inputs.get(1).copied().flatten()?,
            op if super::movement::keeps_elements(op) => id = node.inputs.first().copied()??,
            _ => return None,
        }
    }
    None
}

/// Scale and zero point among the inputs of a Quantize or Dequantize, of one each.
fn one_scale(rw: &Rewriter<'_>, id: NodeId) -> Option<(f32, i32)> {
    let scale = rw.constant(rw.input(id, 1)?)?;
    let &[scale] = scale.data::<f32>().ok()? else { return None };
    let zero = match rw.input(id, 2) {
        None => 0,
        Some(zero) => match rw.constant(zero)?.to_i64()[..] {
            [zero] => i32::try_from(zero).ok()?,
            _ => return None,
        },
    };
    (scale.is_finite() && scale > 0.0).then_some((scale, zero))
}

fn params(rw: &Rewriter<'_>, id: NodeId, dtype: DType) -> Option<Params> {
    let (scale, zero) = one_scale(rw, id)?;
    let range = if dtype == DType::I8 { -128..=127 } else { 0..=255 };
    let eight_bits = matches!(dtype, DType::I8 | DType::U8);
    (eight_bits && range.contains(&zero)).then_some(Params { dtype, scale, zero })
}

/// What a Quantize makes.
pub(super) fn quantize(rw: &Rewriter<'_>, id: NodeId) -> Option<Params> {
    let Op::Quantize(layer) = &rw.node(id).op else { return None };
    params(rw, id, layer.dtype)
}

/// The integers of one scale that a real value stands for.
pub(super) fn dequantized(rw: &Rewriter<'_>, id: ValueId) -> Option<(ValueId, Params)> {
    let (node, found) = rw.producer(id)?;
    let Op::Dequantize(_) = found.op else { return None };
    let stored = rw.input(node, 0)?;
    Some((stored, params(rw, node, dtype_of(rw, stored)?)?))
}

/// Constant integers that stand for weights or a bias.
pub(super) struct Integers {
    /// The constant.
    pub(super) id: ValueId,
    pub(super) tensor: Tensor,
    /// One scale, or one per slice of the axis.
    pub(super) scales: Vec<f32>,
    /// As many zero points.
    pub(super) zeros: Vec<i32>,
    /// The axis of several scales.
    pub(super) axis: usize,
}

impl Integers {
    /// The scale of a slice.
    pub(super) fn scale(&self, slice: usize) -> f32 {
        self.scales[if self.scales.len() == 1 { 0 } else { slice }]
    }

    /// The zero point of a slice.
    pub(super) fn zero(&self, slice: usize) -> i32 {
        self.zeros[if self.zeros.len() == 1 { 0 } else { slice }]
    }

    /// The real number that element `i` of a list stands for.
    pub(super) fn real(&self, i: usize) -> f64 {
        let q = self.tensor.to_i64()[i] - i64::from(self.zero(i));
        f64::from(self.scale(i)) * q as f64
    }

    /// Whether there is one scale, or one for each slice of this axis.
    pub(super) fn goes_along(&self, axis: usize) -> bool {
        self.scales.len() == 1 || self.axis == axis
    }
}

/// The constant integers that a real value stands for.
pub(super) fn integers(rw: &Rewriter<'_>, id: ValueId) -> Option<Integers> {
    let (node, found) = rw.producer(id)?;
    let Op::Dequantize(layer) = &found.op else { return None };
    let id = rw.input(node, 0)?;
    let tensor = rw.graph().constant(id)?.clone();
    let scales = rw.constant(rw.input(node, 1)?)?.data::<f32>().ok()?.to_vec();
    let zeros = match rw.input(node, 2) {
        None => vec![0; scales.len()],
        Some(zeros) => {
            let zeros = rw.constant(zeros)?.to_i64();
            zeros.iter().map(|&zero| i32::try_from(zero)).collect::<Result<_, _>>().ok()?
        }
    };
    let axis = if scales.len() == 1 { 0 } else { tensor.shape().axis(layer.axis)? };
    let fits = scales.len() == zeros.len()
        && !scales.is_empty()
        && scales.iter().all(|&scale| scale.is_finite() && scale > 0.0);
    fits.then_some(Integers { id, tensor, scales, zeros, axis })
}
