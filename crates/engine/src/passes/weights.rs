//! Layers with weights, as passes that change the weights see them.

use super::Rewriter;
use super::fuse_activation::activation_of;
use depthwise_layers::ir::{NodeId, ValueId};
use depthwise_layers::{Activation, BinaryFn, Op};
use depthwise_tensor::{DType, Tensor};

/// A convolution or dense layer whose weights may be changed for the one node that reads it.
pub(super) struct Linear {
    op: Op,
    x: ValueId,
    weights: ValueId,
    bias: Option<ValueId>,
    /// Output channels.
    pub(super) channels: usize,
    /// Whether output channels are the innermost axis of the weights, else the outermost.
    innermost: bool,
}

impl Linear {
    /// The layer that computes a value: without activation and residual, its weights constant, the
    /// value read once. Weights stored in half precision count; the caller sees to it that the
    /// layer's output is `f32`.
    pub(super) fn before(rw: &Rewriter<'_>, id: ValueId) -> Option<Linear> {
        let (node, found) = rw.producer(id)?;
        let mut op = found.op.clone();
        let innermost = match op {
            Op::Conv2d(_) | Op::Dense(_) => false,
            Op::DepthwiseConv2d(_) => true,
            _ => return None,
        };
        if *activation_of(&mut op)? != Activation::Identity
            || rw.input(node, 3).is_some()
            || !rw.is_read_once(id)
        {
            return None;
        }
        let weights = rw.input(node, 1)?;
        let tensor = rw.graph().constant(weights)?;
        let dims = tensor.shape().dims();
        let channels = *if innermost { dims.last() } else { dims.first() }?;
        let bias = rw.input(node, 2);
        let known = bias.is_none_or(|bias| {
            rw.graph().constant(bias).is_some_and(|b| is_weight(b) && b.elements() == channels)
        });
        (is_weight(tensor) && known).then_some(Linear {
            op,
            x: rw.input(node, 0)?,
            weights,
            bias,
            channels,
            innermost,
        })
    }

    /// Weights and bias of the layer whose output is `scale[c] * y + shift[c]`: computed in `f64`,
    /// rounded once to `f32`. `None` where one is not finite.
    pub(super) fn rescaled(
        &self,
        rw: &Rewriter<'_>,
        scale: &[f64],
        shift: &[f64],
    ) -> Option<Rescaled> {
        let tensor = rw.graph().constant(self.weights)?;
        let scaled = (!scale.iter().all(|&s| s == 1.0)).then(|| {
            let mut weights = tensor.to_f32().into_owned();
            let scaled = |w: f32, c: usize| (f64::from(w) * scale[c]) as f32;
            if self.innermost {
                for row in weights.chunks_exact_mut(self.channels.max(1)) {
                    row.iter_mut().enumerate().for_each(|(c, w)| *w = scaled(*w, c));
                }
            } else {
                let filter = (weights.len() / self.channels.max(1)).max(1);
                for (c, row) in weights.chunks_exact_mut(filter).enumerate() {
                    row.iter_mut().for_each(|w| *w = scaled(*w, c));
                }
            }
            weights
        });
        let bias = self.bias.and_then(|bias| rw.graph().constant(bias)).map(Tensor::to_f64);
        let of = |c: usize| bias.as_ref().map_or(0.0, |bias| bias[c]);
        let bias: Vec<f32> =
            (0..self.channels).map(|c| (of(c) * scale[c] + shift[c]) as f32).collect();
        let finite = |values: &[f32]| values.iter().all(|v| v.is_finite());
        if !scaled.as_ref().is_none_or(|scaled| finite(scaled)) || !finite(&bias) {
            return None;
        }
        let needs_bias = self.bias.is_some() || shift.iter().any(|&s| s != 0.0);
        Some(Rescaled {
            weights: match scaled {
                Some(scaled) => Some(Tensor::from_vec(tensor.shape().dims(), scaled).ok()?),
                None => None,
            },
            bias: if needs_bias { Some(Tensor::from_vec(&[bias.len()], bias).ok()?) } else { None },
        })
    }

    /// Puts the layer with these weights, and this activation, in place of a node that reads it.
    pub(super) fn replace(
        mut self,
        rw: &mut Rewriter<'_>,
        reader: NodeId,
        weights: Rescaled,
        activation: Activation,
    ) {
        let name = rw.graph().value(self.weights).name.clone();
        let bias_name = match self.bias {
            Some(bias) => rw.graph().value(bias).name.clone(),
            None => format!("{name}.bias"),
        };
        let w = match weights.weights {
            Some(tensor) => rw.add_const(name, tensor),
            None => self.weights,
        };
        let b = weights.bias.map(|bias| rw.add_const(bias_name, bias));
        if let Some(slot) = activation_of(&mut self.op) {
            *slot = activation;
        }
        rw.replace_node(reader, self.op, vec![Some(self.x), Some(w), b]);
    }
}

/// New weights of a [`Linear`].
pub(super) struct Rescaled {
    /// `None` where they stay as they are.
    weights: Option<Tensor>,
    bias: Option<Tensor>,
}

/// Whether a constant is of a type in which weights are stored.
pub(super) fn is_weight(tensor: &Tensor) -> bool {
    matches!(tensor.dtype(), DType::F32 | DType::F16 | DType::Bf16)
}

/// Whether all factors or offsets can be multiplied into weights.
pub(super) fn all_finite(values: &[f64]) -> bool {
    values.iter().all(|v| v.is_finite())
}

/// What `f(x, c)` (or `f(c, x)`, where swapped) does to x, one constant after another: factors and
/// offsets. `None` where it is no such function, or one is not finite.
pub(crate) fn factors_and_offsets(
    function: BinaryFn,
    swapped: bool,
    constants: Vec<f64>,
) -> Option<(Vec<f64>, Vec<f64>)> {
    let count = constants.len();
    let fill = |value: f64| vec![value; count];
    let (scale, shift) = match (function, swapped) {
        (BinaryFn::Add, _) => (fill(1.0), constants),
        (BinaryFn::Sub, false) => (fill(1.0), constants.iter().map(|c| -c).collect()),
        (BinaryFn::Sub, true) => (fill(-1.0), constants),
        (BinaryFn::Mul, _) => (constants, fill(0.0)),
        (BinaryFn::Div, false) => (constants.iter().map(|c| 1.0 / c).collect(), fill(0.0)),
        _ => return None,
    };
    (all_finite(&scale) && all_finite(&shift)).then_some((scale, shift))
}
