//! Finds activation functions that a file spells out in arithmetic.

use super::scalar_chain::{Ramp, chain, close};
use super::{Pass, Rewriter};
use depthwise_layers::ir::{NodeId, ValueId};
use depthwise_layers::{Activate, Activation, Binary, BinaryFn, Op, UnaryFn};

/// Finds hard-sigmoid, hard-swish, SiLU, both forms of GELU, leaky ReLU, and clips written as
/// minima and maxima or in several steps, whatever the order of their operations.
///
/// Constants must agree with the function's own to the precision of `f32`: `x * hard-sigmoid`
/// with a slope of 0.2 is no hard-swish.
///
/// Measure: the number of nodes that are not activations, then the number of nodes.
pub(super) struct RecognizeActivations;

impl Pass for RecognizeActivations {
    fn name(&self) -> &'static str {
        "recognize-activations"
    }

    fn run(&self, rw: &mut Rewriter<'_>) {
        for id in rw.live_nodes() {
            if !rw.is_live(id) {
                continue;
            }
            let found = product(rw, id).or_else(|| ramp(rw, id)).or_else(|| leaky_relu(rw, id));
            let Some((x, activation)) = found else { continue };
            if !rw.allow() {
                return;
            }
            rw.replace_node(id, Activate { activation }, vec![Some(x)]);
        }
    }
}

/// Hard-sigmoids and clips: a chain of arithmetic whose intermediate values nothing else reads.
fn ramp(rw: &Rewriter<'_>, id: NodeId) -> Option<(ValueId, Activation)> {
    let links = chain(rw, rw.node(id).outputs[0]);
    let inner = |&(value, _): &(ValueId, Ramp)| rw.is_read_once(value);
    let private = 1 + links.iter().skip(1).take_while(|link| inner(link)).count();
    let spelled_out = matches!(rw.node(id).op, Op::Binary(_));
    // From the longest chain down; a single activation is what it is already.
    for (length, &(x, ramp)) in links.iter().enumerate().take(private + 1).skip(1).rev() {
        if length == 1 && !spelled_out {
            continue;
        }
        if !ramp.clips() {
            continue;
        }
        if let Some(clip) = ramp.as_clip() {
            return Some((x, clip));
        }
        if close(ramp.min, 0.0) && close(ramp.max, 1.0) && length > 1 {
            let (alpha, beta) = (snap(ramp.scale), snap(ramp.offset));
            return Some((x, Activation::HardSigmoid { alpha, beta }));
        }
    }
    None
}

/// The usual constants of hard-sigmoid, freed from the rounding of the steps they were given in.
fn snap(value: f64) -> f32 {
    [1.0 / 6.0, 0.5, 0.2].into_iter().find(|&usual| close(value, usual)).unwrap_or(value) as f32
}

/// A slope of one element for all channels.
fn leaky_relu(rw: &Rewriter<'_>, id: NodeId) -> Option<(ValueId, Activation)> {
    let Op::PRelu(_) = rw.node(id).op else { return None };
    let (x, slope) = (rw.input(id, 0)?, rw.input(id, 1)?);
    let alpha = rw.scalar_beside(slope, x)? as f32;
    Some((x, Activation::LeakyRelu { alpha }))
}

/// Functions of the form `factor * p(x) * q(x)`.
fn product(rw: &Rewriter<'_>, id: NodeId) -> Option<(ValueId, Activation)> {
    let Op::Binary(Binary { activation: Activation::Identity, .. }) = rw.node(id).op else {
        return None;
    };
    for (value, ramp) in chain(rw, rw.node(id).outputs[0]) {
        let Some(factor) = ramp.factor() else { break };
        let Some((product, node)) = rw.producer(value) else { break };
        let Op::Binary(binary) = &node.op else { break };
        if binary.function != BinaryFn::Mul || binary.activation != Activation::Identity {
            continue;
        }
        let (a, b) = (rw.input(product, 0)?, rw.input(product, 1)?);
        if let Some(found) = factors(rw, factor, a, b).or_else(|| factors(rw, factor, b, a)) {
            return Some(found);
        }
    }
    None
}

/// Functions `factor * p * q` where `p` is a multiple of `x` and `q` a gate computed from `x`.
fn factors(
    rw: &Rewriter<'_>,
    factor: f64,
    p: ValueId,
    q: ValueId,
) -> Option<(ValueId, Activation)> {
    for (x, multiple) in chain(rw, p) {
        let Some(multiple) = multiple.factor() else { break };
        let factor = factor * multiple;
        for (base, ramp) in chain(rw, q) {
            if base == x && is_hard_swish_gate(ramp, factor) {
                return Some((x, Activation::HardSwish));
            }
            if let Some(activation) = gate(rw, x, base, ramp, factor) {
                return Some((x, activation));
            }
        }
    }
    None
}

fn is_hard_swish_gate(ramp: Ramp, factor: f64) -> bool {
    ramp.times(factor).is_some_and(|gate| {
        close(gate.scale, 1.0 / 6.0)
            && close(gate.offset, 0.5)
            && close(gate.min, 0.0)
            && close(gate.max, 1.0)
    })
}

/// SiLU and GELU: `factor * x * ramp(base)`, where `base` is a sigmoid, error function or
/// hyperbolic tangent of x.
fn gate(
    rw: &Rewriter<'_>,
    x: ValueId,
    base: ValueId,
    ramp: Ramp,
    factor: f64,
) -> Option<Activation> {
    let (node_id, node) = rw.producer(base)?;
    let argument = rw.input(node_id, 0)?;
    let half = |ramp: Ramp| {
        !ramp.clips() && close(factor * ramp.scale, 0.5) && close(factor * ramp.offset, 0.5)
    };
    match &node.op {
        Op::Activate(Activate { activation: Activation::Sigmoid }) => {
            let plain = ramp.factor().is_some_and(|scale| close(scale * factor, 1.0));
            (plain && argument == x).then_some(Activation::Silu)
        }
        Op::Unary(unary) if unary.function == UnaryFn::Erf && half(ramp) => {
            let want = [0.0, std::f64::consts::FRAC_1_SQRT_2, 0.0, 0.0];
            is_polynomial(rw, argument, x, want).then_some(Activation::Gelu)
        }
        Op::Activate(Activate { activation: Activation::Tanh }) if half(ramp) => {
            let slope = (2.0 / std::f64::consts::PI).sqrt();
            let want = [0.0, slope, 0.0, slope * 0.044715];
            is_polynomial(rw, argument, x, want).then_some(Activation::GeluTanh)
        }
        _ => None,
    }
}

fn is_polynomial(rw: &Rewriter<'_>, value: ValueId, x: ValueId, want: [f64; 4]) -> bool {
    const MAX_DEPTH: usize = 8;
    polynomial(rw, value, x, MAX_DEPTH)
        .is_some_and(|p| p.iter().zip(want).all(|(&got, want)| close(got, want)))
}

/// Coefficients of a value as a polynomial in `x` of degree up to 3.
fn polynomial(rw: &Rewriter<'_>, value: ValueId, x: ValueId, depth: usize) -> Option<[f64; 4]> {
    if value == x {
        return Some([0.0, 1.0, 0.0, 0.0]);
    }
    if let Some(constant) = rw.scalar_beside(value, x) {
        return Some([constant, 0.0, 0.0, 0.0]);
    }
    let depth = depth.checked_sub(1)?;
    let (id, node) = rw.producer(value)?;
    let of = |position: usize| polynomial(rw, rw.input(id, position)?, x, depth);
    match &node.op {
        Op::Unary(unary) => match unary.function {
            UnaryFn::Neg => Some(of(0)?.map(|c| -c)),
            UnaryFn::Square => multiplied(of(0)?, of(0)?),
            _ => None,
        },
        Op::Binary(binary) if binary.activation == Activation::Identity => {
            let (a, b) = (of(0)?, of(1)?);
            let degree_0 = |p: [f64; 4]| p[1..].iter().all(|&c| c == 0.0).then_some(p[0]);
            match binary.function {
                BinaryFn::Add => Some(std::array::from_fn(|i| a[i] + b[i])),
                BinaryFn::Sub => Some(std::array::from_fn(|i| a[i] - b[i])),
                BinaryFn::Mul => multiplied(a, b),
                BinaryFn::Div => degree_0(b).map(|divisor| a.map(|c| c / divisor)),
                BinaryFn::Pow => match degree_0(b)? {
                    2.0 => multiplied(a, a),
                    3.0 => multiplied(a, multiplied(a, a)?),
                    _ => None,
                },
                _ => None,
            }
        }
        _ => None,
    }
}

/// A product of polynomials, if its degree does not pass 3.
fn multiplied(a: [f64; 4], b: [f64; 4]) -> Option<[f64; 4]> {
    let mut product = [0.0; 7];
    for (i, &x) in a.iter().enumerate() {
        for (j, &y) in b.iter().enumerate() {
            product[i + j] += x * y;
        }
    }
    let (low, high) = product.split_at(4);
    high.iter().all(|&c| c == 0.0).then(|| [low[0], low[1], low[2], low[3]])
}
