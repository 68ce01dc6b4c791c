//! Residual branches that training may skip.

use depthwise_layers::ir::{Graph, Node, ValueId};
use depthwise_layers::{BinaryFn, Op};
use std::collections::{HashMap, HashSet};

/// The branch of a residual sum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Branch {
    /// Position of the operand that it ends in; 0 for a convolution that adds the other itself.
    pub(crate) operand: usize,
    /// How often it is skipped.
    pub(crate) rate: f32,
}

/// The branches by the outputs of their sums. The last one is skipped at `rate`, the others in
/// proportion to their place (Huang et al., "Deep Networks with Stochastic Depth", 2016).
pub(crate) fn branches(network: &Graph, rate: f32) -> HashMap<ValueId, Branch> {
    if rate == 0.0 {
        return HashMap::new();
    }
    let sums: Vec<(ValueId, usize)> = network
        .nodes()
        .iter()
        .filter_map(|node| Some((node.outputs[0], branch_of(network, node)?)))
        .collect();
    let count = sums.len() as f32;
    let branch = |(i, (sum, operand)): (usize, (ValueId, usize))| {
        (sum, Branch { operand, rate: rate * (i + 1) as f32 / count })
    };
    sums.into_iter().enumerate().map(branch).collect()
}

/// Of a sum `x + f(x)`, the position of `f(x)`.
fn branch_of(network: &Graph, node: &Node) -> Option<usize> {
    let input = |i: usize| node.inputs.get(i).copied().flatten();
    match &node.op {
        Op::Conv2d(_) => input(3).map(|_| 0),
        Op::Binary(sum) if sum.function == BinaryFn::Add => {
            let (a, b) = (input(0)?, input(1)?);
            if depends(network, b, a) { Some(1) } else { depends(network, a, b).then_some(0) }
        }
        _ => None,
    }
}

/// Whether `value` is computed from `origin`, which a node computes.
fn depends(network: &Graph, value: ValueId, origin: ValueId) -> bool {
    if network.producer(origin).is_none() {
        return false;
    }
    let (mut left, mut seen) = (vec![value], HashSet::new());
    while let Some(id) = left.pop() {
        let Some(node) = network.producer(id).map(|node| network.node(node)) else { continue };
        for input in node.inputs.iter().copied().flatten() {
            if input == origin {
                return true;
            }
            if seen.insert(input) {
                left.push(input);
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use depthwise_zoo::{MobileNetV2, Network, Random};

    #[test]
    fn the_branches_of_mobilenet_v2_are_found() {
        let net = MobileNetV2::new(0.35).resolution(32).build(&Random { seed: 1 }).unwrap();
        let found = branches(&net, 0.2);
        // Sandler et al. (2018), table 2: of 17 blocks, 10 repeat the block before.
        assert_eq!(found.len(), 10);
        let mut rates: Vec<f32> = found.values().map(|b| b.rate).collect();
        rates.sort_by(f32::total_cmp);
        assert!((rates[0] - 0.02).abs() < 1e-6 && (rates[9] - 0.2).abs() < 1e-6);
        for (sum, branch) in &found {
            let node = network_node(&net, *sum);
            let (x, y) = (node.inputs[1 - branch.operand].unwrap(), node.inputs[branch.operand]);
            assert!(depends(&net, y.unwrap(), x));
        }
        assert!(branches(&net, 0.0).is_empty());
    }

    fn network_node(net: &Graph, value: ValueId) -> &Node {
        net.node(net.producer(value).unwrap())
    }
}
