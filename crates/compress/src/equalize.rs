//! Channels of alike ranges, so that one scale suits them all.

use crate::CompressError;
use crate::channels::channels;
use crate::scheme::{Kind, kind};
use depthwise_layers::Op;
use depthwise_layers::ir::{Graph, GraphEdit, Node, NodeId, Types};
use depthwise_tensor::{Activation, DType, Tensor};

/// Rounds over all pairs of layers.
const ROUNDS: usize = 20;
/// Factors nearer to 1 than this end the rounds.
const SETTLED: f64 = 1e-3;
/// No channel is scaled by more, so that nothing overflows.
const MOST: f64 = 1e4;

/// Two layers with weights, one of which alone reads the other.
struct Pair {
    first: NodeId,
    second: NodeId,
}

/// Cross-layer equalization (Nagel et al. 2019): divides each channel between two layers with weights by
/// `s = sqrt(r1 / r2)` in the first and multiplies by it in the second, `r` being the largest weight of
/// the channel in either. What the network computes stays the same, so it is done only where nothing
/// or a ReLU stands between; a bound such as that of ReLU6 would have to move along with each channel.
///
/// Returns the number of pairs.
pub(crate) fn equalize(graph: &mut Graph, types: &Types) -> Result<usize, CompressError> {
    let pairs = pairs(graph, types);
    for _ in 0..ROUNDS {
        let mut farthest = 0f64;
        for pair in &pairs {
            farthest = farthest.max(scale(graph, pair)?);
        }
        if farthest < SETTLED {
            break;
        }
    }
    Ok(pairs.len())
}

fn pairs(graph: &Graph, types: &Types) -> Vec<Pair> {
    let consumers = graph.consumers();
    let is_weighted = |id: NodeId| {
        let node = graph.node(id);
        let own = |at: usize| {
            let id = node.inputs.get(at).copied().flatten();
            id.is_none_or(|id| consumers[id.index()].len() == 1)
        };
        let f32s = |at: usize| {
            let constant = node.inputs.get(at).copied().flatten().and_then(|id| graph.constant(id));
            constant.is_none_or(|tensor| tensor.dtype() == DType::F32)
        };
        matches!(kind(graph, types, node, DType::I8), Kind::Weighted { .. })
            && (1..3).all(|at| own(at) && f32s(at))
    };
    let pair = |first: NodeId| {
        let value = graph.node(first).outputs[0];
        let &[second] = consumers[value.index()].as_slice() else { return None };
        let reads = graph.node(second).inputs.first().copied().flatten() == Some(value);
        let alone = reads && !graph.outputs().contains(&value);
        (alone && is_linear(graph.node(first)) && is_weighted(first) && is_weighted(second))
            .then_some(Pair { first, second })
    };
    graph.node_ids().filter_map(pair).collect()
}

/// Whether a positive factor passes through what a layer ends with.
fn is_linear(node: &Node) -> bool {
    let activation = match &node.op {
        Op::Conv2d(op) => op.activation,
        Op::DepthwiseConv2d(op) => op.activation,
        Op::Dense(op) => op.activation,
        Op::MatMul(_) => Activation::Identity,
        _ => return false,
    };
    matches!(activation, Activation::Identity | Activation::RELU)
}

/// The weights of a node, and the constant that they are.
fn weights<'g>(graph: &'g Graph, node: &Node) -> Option<&'g Tensor> {
    graph.constant(node.inputs.get(1).copied().flatten()?)
}

/// Scales one pair; gives how far from 1 the factors were.
fn scale(graph: &mut Graph, pair: &Pair) -> Result<f64, CompressError> {
    let (first, second) = (graph.node(pair.first).clone(), graph.node(pair.second).clone());
    let (Some(one), Some(two)) = (weights(graph, &first), weights(graph, &second)) else {
        return Ok(0.0);
    };
    let between = match &first.op {
        Op::DepthwiseConv2d(_) => one.shape()[2],
        Op::MatMul(_) => one.shape()[1],
        _ => one.shape()[0],
    };
    let outputs = |i: usize| channels(&first.op, one.shape(), 0, i).0;
    let inputs = |i: usize| channels(&second.op, two.shape(), between, i).1;
    let most = |tensor: &Tensor, channel: &dyn Fn(usize) -> usize| {
        let mut most = vec![0f64; between];
        for (i, w) in tensor.to_f64().iter().enumerate() {
            if let Some(most) = most.get_mut(channel(i)) {
                *most = most.max(w.abs());
            }
        }
        most
    };
    let (r1, r2) = (most(one, &outputs), most(two, &inputs));
    let factor = |(&r1, &r2): (&f64, &f64)| {
        let factor = (r1 / r2).sqrt();
        // A channel without weights on either side stays as it is.
        if factor.is_normal() { factor.clamp(1.0 / MOST, MOST) } else { 1.0 }
    };
    let factors: Vec<f64> = r1.iter().zip(&r2).map(factor).collect();
    let scaled = |tensor: &Tensor, by: &dyn Fn(usize) -> f64| {
        let scaled = tensor.to_f64().iter().enumerate().map(|(i, w)| (w * by(i)) as f32).collect();
        Tensor::from_vec::<f32>(tensor.shape().dims(), scaled)
    };
    let one = scaled(one, &|i| 1.0 / factors[outputs(i)])?;
    let two = scaled(two, &|i| factors.get(inputs(i)).copied().unwrap_or(1.0))?;
    let bias = match first.inputs.get(2).copied().flatten().and_then(|id| graph.constant(id)) {
        Some(bias) => Some(scaled(bias, &|oc| 1.0 / factors[oc])?),
        None => None,
    };
    let mut edit = GraphEdit::new(graph);
    let mut put = |node: &Node, at: usize, tensor: Tensor| {
        if let Some(id) = node.inputs[at] {
            edit.replace_with_const(id, tensor);
        }
    };
    put(&first, 1, one);
    put(&second, 1, two);
    if let Some(bias) = bias {
        put(&first, 2, bias);
    }
    edit.finish();
    Ok(factors.iter().fold(0.0, |most, factor| most.max((factor - 1.0).abs())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use depthwise_layers::ir::{InputType, infer_types, interpret};
    use depthwise_layers::{Conv2d, DepthwiseConv2d};
    use depthwise_testkit::{Bound, assert_close, random_tensor};

    #[test]
    fn channels_become_alike_and_the_network_stays_the_same() {
        let mut graph = Graph::new("pair");
        let x = graph.add_input("x", InputType::fixed(DType::F32, &[1, 5, 5, 3]));
        // A thousandfold between the channels.
        let uneven: Vec<f32> = random_tensor(&[4, 1, 1, 3], 1)
            .to_f32()
            .iter()
            .enumerate()
            .map(|(i, w)| w * [1e-2, 1e-1, 1.0, 10.0][i / 3])
            .collect();
        let w = graph.add_const("w", Tensor::from_vec(&[4, 1, 1, 3], uneven).unwrap());
        let b = graph.add_const("b", random_tensor(&[4], 2));
        let relu = Conv2d { activation: Activation::RELU, ..Conv2d::default() };
        let y = graph.add("expand", relu, &[x, w, b]);
        let w2 = graph.add_const("w2", random_tensor(&[3, 3, 4], 3));
        let y = graph.add("depthwise", DepthwiseConv2d::default(), &[y, w2]);
        graph.add_output(y);
        let input = random_tensor(&[1, 5, 5, 3], 4);
        let want = interpret(&graph, std::slice::from_ref(&input)).unwrap();
        let types = infer_types(&graph, &[*input.shape()]).unwrap();
        assert_eq!(equalize(&mut graph, &types).unwrap(), 1);
        let got = interpret(&graph, &[input]).unwrap();
        assert_close(&got[0], &want[0], &Bound::RelativeToMax(1e-5));
        let rows = |name: &str, count: usize, channel: &dyn Fn(usize) -> usize| {
            let mut most = vec![0f32; count];
            let node = graph.nodes().iter().find(|node| node.name == name).unwrap();
            for (i, w) in weights(&graph, node).unwrap().to_f32().iter().enumerate() {
                most[channel(i)] = most[channel(i)].max(w.abs());
            }
            most
        };
        let first = rows("expand", 4, &|i| i / 3);
        let second = rows("depthwise", 4, &|i| i % 4);
        for (a, b) in first.iter().zip(&second) {
            assert!((a / b - 1.0).abs() < 1e-3, "{first:?} {second:?}");
        }
    }
}
