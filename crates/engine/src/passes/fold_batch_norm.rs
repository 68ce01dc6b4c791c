//! Batch normalization as part of a convolution, or as a product and a sum.

use super::weights::{Linear, all_finite};
use super::{Pass, Rewriter};
use depthwise_layers::ir::{NodeId, ValueId};
use depthwise_layers::{Activation, BatchNorm, Binary, BinaryFn, Op};
use depthwise_tensor::{DType, Tensor};

/// Folds a normalization into the weights and bias of the convolution or dense layer before it:
/// `w' = w * s`, `b' = (b - mean) * s + beta`, with `s = gamma / sqrt(var + epsilon)` per output
/// channel in `f64`.
///
/// Measure: the number of normalizations.
pub(super) struct FoldBatchNorm;

/// Turns a normalization that has no convolution before it into `x * s + (beta - mean * s)`.
///
/// Measure: the number of normalizations.
pub(super) struct LowerBatchNorm;

impl Pass for FoldBatchNorm {
    fn name(&self) -> &'static str {
        "fold-batch-norm"
    }

    fn run(&self, rw: &mut Rewriter<'_>) {
        for id in rw.live_nodes() {
            let Some(affine) = affine(rw, id) else { continue };
            let Some(x) = rw.input(id, 0).filter(|_| affine.is_last) else { continue };
            let Some(linear) = Linear::before(rw, x) else { continue };
            if affine.scale.len() != linear.channels {
                continue;
            }
            let Some(weights) = linear.rescaled(rw, &affine.scale, &affine.shift) else { continue };
            if !rw.allow() {
                return;
            }
            linear.replace(rw, id, weights, Activation::Identity);
        }
    }
}

impl Pass for LowerBatchNorm {
    fn name(&self) -> &'static str {
        "lower-batch-norm"
    }

    fn run(&self, rw: &mut Rewriter<'_>) {
        for id in rw.live_nodes() {
            let Some(affine) = affine(rw, id) else { continue };
            let Some(x) = rw.input(id, 0) else { continue };
            let Some((scale, shift)) = vectors(&affine) else { continue };
            if !rw.allow() {
                return;
            }
            lower(rw, id, x, scale, shift);
        }
    }
}

fn lower(rw: &mut Rewriter<'_>, id: NodeId, x: ValueId, scale: Tensor, shift: Tensor) {
    let name = rw.node(id).name.clone();
    let of = |function| Binary { function, activation: Activation::Identity };
    let scale = rw.add_const(format!("{name}.scale"), scale);
    let shift = rw.add_const(format!("{name}.shift"), shift);
    let product = rw.add(&format!("{name}.mul"), of(BinaryFn::Mul), &[x, scale]);
    rw.set_type(product, rw.ty(x));
    rw.replace_node(id, of(BinaryFn::Add), vec![Some(product), Some(shift)]);
}

/// `y = x * scale[c] + shift[c]`
struct Affine {
    scale: Vec<f64>,
    shift: Vec<f64>,
    /// Whether channels are known to be the last axis.
    is_last: bool,
    /// Axes after the channels, where the rank is known.
    trailing: Option<usize>,
}

/// A normalization with constant statistics.
fn affine(rw: &Rewriter<'_>, id: NodeId) -> Option<Affine> {
    let Op::BatchNorm(BatchNorm { epsilon, axis }) = rw.node(id).op else { return None };
    let list = |position: usize| {
        let tensor = rw.graph().constant(rw.input(id, position)?)?;
        // The statistics have the dtype of x. Half-precision networks stay as they are.
        (tensor.dtype() == DType::F32).then(|| tensor.to_f64().into_owned())
    };
    let (mean, var) = (list(3)?, list(4)?);
    let given = |position: usize, neutral: f64| match rw.input(id, position) {
        None => Some(vec![neutral; mean.len()]),
        Some(_) => list(position),
    };
    let (gamma, beta) = (given(1, 1.0)?, given(2, 0.0)?);
    if [&var, &gamma, &beta].iter().any(|list| list.len() != mean.len()) {
        return None;
    }
    let epsilon = f64::from(epsilon);
    let scale: Vec<f64> = gamma.iter().zip(&var).map(|(g, v)| g / (v + epsilon).sqrt()).collect();
    let shift: Vec<f64> =
        beta.iter().zip(mean.iter().zip(&scale)).map(|(b, (m, s))| b - m * s).collect();
    let rank = rw.rank(rw.input(id, 0)?);
    let from_end = if axis < 0 { Some(-axis) } else { rank.map(|rank| rank as i64 - axis) };
    let trailing = from_end.and_then(|n| usize::try_from(n - 1).ok());
    (all_finite(&scale) && all_finite(&shift)).then_some(Affine {
        scale,
        shift,
        is_last: trailing == Some(0),
        trailing,
    })
}

/// Scale and shift, with axes of extent 1 behind that stand for those after the channels.
fn vectors(affine: &Affine) -> Option<(Tensor, Tensor)> {
    let mut dims = vec![affine.scale.len()];
    dims.extend(std::iter::repeat_n(1, affine.trailing?));
    let tensor = |values: &[f64]| {
        Tensor::from_vec(&dims, values.iter().map(|&v| v as f32).collect::<Vec<f32>>()).ok()
    };
    Some((tensor(&affine.scale)?, tensor(&affine.shift)?))
}
