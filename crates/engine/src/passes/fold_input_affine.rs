//! Constant factors and offsets before a layer as part of its weights and bias.

use super::weights::{factors_and_offsets, is_weight};
use super::{Pass, Rewriter};
use depthwise_layers::ir::{NodeId, ValueId};
use depthwise_layers::{Activation, Op, Padding};
use depthwise_tensor::{DType, Pad2d, Tensor};

/// Folds factors per input channel (or one for all) into the weights of the convolution or dense
/// layer that alone reads the product, and offsets into its bias:
/// `w * (s * x + t) + b = (w * s) * x + (b + w * t)`, in `f64`, rounded once.
///
/// An offset stays where the layer pads its input: the border is zero, not `t`.
///
/// Measure: the number of nodes.
pub(super) struct FoldInputAffine;

impl Pass for FoldInputAffine {
    fn name(&self) -> &'static str {
        "fold-input-affine"
    }

    fn run(&self, rw: &mut Rewriter<'_>) {
        for id in rw.live_nodes() {
            let Some(folded) = fold(rw, id) else { continue };
            if !rw.allow() {
                return;
            }
            let name = rw.input(id, 1).map(|w| rw.graph().value(w).name.clone());
            let name = name.unwrap_or_default();
            let op = rw.node(id).op.clone();
            let mut inputs = rw.node(id).inputs.clone();
            inputs.resize(inputs.len().max(3), None);
            inputs[0] = Some(folded.x);
            if let Some(weights) = folded.weights {
                inputs[1] = Some(rw.add_const(name.clone(), weights));
            }
            if let Some(bias) = folded.bias {
                inputs[2] = Some(rw.add_const(format!("{name}.bias"), bias));
            }
            rw.replace_node(id, op, inputs);
        }
    }
}

/// What a layer reads instead; weights and bias are `None` where they stay as they are.
struct Folded {
    x: ValueId,
    weights: Option<Tensor>,
    bias: Option<Tensor>,
}

fn fold(rw: &Rewriter<'_>, id: NodeId) -> Option<Folded> {
    let op = &rw.node(id).op;
    let padding = match op {
        Op::Conv2d(conv) => conv.padding,
        Op::DepthwiseConv2d(conv) => conv.padding,
        Op::Dense(_) => Padding::Valid,
        _ => return None,
    };
    let padded = !matches!(padding, Padding::Valid | Padding::Explicit(Pad2d::ZERO));
    let affine = affine_chain(rw, rw.input(id, 0)?, padded)?;
    let weights = rw.graph().constant(rw.input(id, 1)?).filter(|w| is_weight(w))?;
    let mut bias = match rw.input(id, 2) {
        None => vec![0.0; output_channels(op, weights)?],
        Some(bias) => rw.graph().constant(bias).filter(|b| is_weight(b))?.to_f64().into_owned(),
    };
    let offset = affine.shift.iter().any(|&t| t != 0.0);
    let factor = affine.scale.iter().any(|&s| s != 1.0);
    let scaled = rescaled(op, weights, &affine, &mut bias)?;
    let bias: Vec<f32> = bias.iter().map(|&b| b as f32).collect();
    if !scaled.iter().chain(&bias).all(|v| v.is_finite()) {
        return None;
    }
    let tensor = |dims: &[usize], values| Tensor::from_vec::<f32>(dims, values);
    Some(Folded {
        x: affine.x,
        weights: if factor { Some(tensor(weights.shape().dims(), scaled).ok()?) } else { None },
        bias: if offset { Some(tensor(&[bias.len()], bias).ok()?) } else { None },
    })
}

fn output_channels(op: &Op, weights: &Tensor) -> Option<usize> {
    let dims = weights.shape().dims();
    if matches!(op, Op::DepthwiseConv2d(_)) { dims.last() } else { dims.first() }.copied()
}

/// Weights times the factors of their input channels; adds weights times offsets to `bias`.
fn rescaled(op: &Op, weights: &Tensor, affine: &Affine, bias: &mut [f64]) -> Option<Vec<f32>> {
    let (&first, &last) = (weights.shape().dims().first()?, weights.shape().dims().last()?);
    let depthwise = matches!(op, Op::DepthwiseConv2d(_));
    let groups = if let Op::Conv2d(conv) = op { conv.groups } else { 1 };
    // Per weight of a row: of every input channel, or depthwise of every output channel.
    let inputs = affine.scale.len();
    let width = if depthwise { last } else { last * groups };
    if width == 0 || first == 0 || inputs == 0 || !width.is_multiple_of(inputs) {
        return None;
    }
    let spread = |list: &[f64]| -> Vec<f64> {
        list.iter().flat_map(|&v| std::iter::repeat_n(v, width / inputs)).collect()
    };
    if !depthwise && inputs != 1 && inputs != width {
        return None;
    }
    let (scale, shift) = (spread(&affine.scale), spread(&affine.shift));
    let rows = weights.elements() / last;
    let mut scaled = Vec::with_capacity(weights.elements());
    for (number, row) in weights.to_f32().chunks_exact(last).enumerate() {
        let oc = number / (rows / first).max(1);
        let from = if depthwise { 0 } else { oc / (first / groups).max(1) * last };
        let channels = from..from + last;
        let factors = scale.get(channels.clone())?;
        let offsets = shift.get(channels)?;
        scaled.extend(row.iter().zip(factors).map(|(&w, s)| (f64::from(w) * s) as f32));
        let sums = row.iter().zip(offsets).map(|(&w, t)| f64::from(w) * t);
        if depthwise {
            bias.iter_mut().zip(sums).for_each(|(b, sum)| *b += sum);
        } else {
            *bias.get_mut(oc)? += sums.sum::<f64>();
        }
    }
    Some(scaled)
}

/// `scale[c] * x + shift[c]`, one entry per channel, or one for all.
struct Affine {
    x: ValueId,
    scale: Vec<f64>,
    shift: Vec<f64>,
}

/// All the arithmetic with constants before a value that only the next step reads; of offsets
/// nothing, where the reader pads.
fn affine_chain(rw: &Rewriter<'_>, read: ValueId, padded: bool) -> Option<Affine> {
    let mut chain: Option<Affine> = None;
    loop {
        let last = chain.as_ref().map_or(read, |chain| chain.x);
        let step = rw.is_read_once(last).then(|| affine_before(rw, last)).flatten();
        let Some((x, scale, shift)) = step else { return chain };
        if padded && shift.iter().any(|&t| t != 0.0) {
            return chain;
        }
        let Some(outer) = chain else {
            chain = Some(Affine { x, scale, shift });
            continue;
        };
        let count = scale.len().max(outer.scale.len());
        let of = |list: &[f64], c: usize| list[if list.len() == 1 { 0 } else { c }];
        let each = |f: &dyn Fn(usize) -> f64| (0..count).map(f).collect();
        chain = Some(Affine {
            x,
            scale: each(&|c| of(&outer.scale, c) * of(&scale, c)),
            shift: each(&|c| of(&outer.scale, c) * of(&shift, c) + of(&outer.shift, c)),
        });
    }
}

/// What a sum, difference, product or quotient with constants does per channel: its operand,
/// factors and offsets (one, or one per channel).
fn affine_before(rw: &Rewriter<'_>, id: ValueId) -> Option<(ValueId, Vec<f64>, Vec<f64>)> {
    let (node, found) = rw.producer(id)?;
    let Op::Binary(binary) = &found.op else { return None };
    let (a, b) = (rw.input(node, 0)?, rw.input(node, 1)?);
    let (x, c, swapped) = if rw.is_constant(b) { (a, b, false) } else { (b, a, true) };
    if binary.activation != Activation::Identity {
        return None;
    }
    let list = per_channel(rw, c, x)?;
    let (scale, shift) = factors_and_offsets(binary.function, swapped, list)?;
    Some((x, scale, shift))
}

/// A constant that leaves the shape of x as it is and varies along the last axis only.
fn per_channel(rw: &Rewriter<'_>, c: ValueId, x: ValueId) -> Option<Vec<f64>> {
    let tensor = rw.graph().constant(c)?;
    if let Some(value) = rw.scalar_beside(c, x) {
        return Some(vec![value]);
    }
    let dims = tensor.shape().dims();
    let (&last, leading) = dims.split_last()?;
    let fits = rw.rank(x).is_some_and(|rank| dims.len() <= rank);
    if tensor.dtype() != DType::F32 || !fits || leading.iter().any(|&extent| extent != 1) {
        return None;
    }
    (last_extent(rw, x) == Some(last)).then(|| tensor.to_f64().into_owned())
}

/// The last extent of a value: from its type, or from the weights that make it.
fn last_extent(rw: &Rewriter<'_>, id: ValueId) -> Option<usize> {
    if let Some(dims) = rw.dims(id) {
        return dims.last().copied();
    }
    let (node, found) = rw.producer(id)?;
    match &found.op {
        Op::Activate(_) => last_extent(rw, rw.input(node, 0)?),
        Op::Conv2d(_) | Op::Dense(_) | Op::DepthwiseConv2d(_) => {
            output_channels(&found.op, rw.graph().constant(rw.input(node, 1)?)?)
        }
        _ => None,
    }
}
