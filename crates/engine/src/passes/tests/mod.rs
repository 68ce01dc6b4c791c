//! Passes against the interpreter: small graphs before and after, the cases of CASES.md, and
//! random graphs.

mod activations;
mod cases;
mod constants;
mod convolutions;
mod onnx_style;
mod quantized;
mod random;
mod real;
mod saved;
mod transposes;

use super::{PassOptions, PassReport, prepare, specialize_reporting};
use depthwise_layers::ir::{Graph, InputType, ValueId, interpret};
use depthwise_layers::*;
use depthwise_tensor::{DType, Hw, Shape, Tensor};

/// Numbers that look random, the same in every run.
pub(super) fn noise(dims: &[usize], seed: u64) -> Tensor {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let values: Vec<f32> = (0..dims.iter().product())
        .map(|_| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            ((state >> 40) as f32 / (1u64 << 23) as f32 - 1.0) * 2.0
        })
        .collect();
    Tensor::from_vec(dims, values).unwrap()
}

pub(super) fn f32s(dims: &[usize], values: &[f32]) -> Tensor {
    Tensor::from_slice(dims, values).unwrap()
}

pub(super) fn ints(values: &[i64]) -> Tensor {
    Tensor::from_slice(&[values.len()], values).unwrap()
}

/// A graph under construction, in short words.
pub(super) struct Net {
    pub(super) graph: Graph,
    names: usize,
}

impl Net {
    pub(super) fn new() -> Net {
        Net { graph: Graph::new("test"), names: 0 }
    }

    fn name(&mut self, kind: &str) -> String {
        self.names += 1;
        format!("{kind}{}", self.names)
    }

    pub(super) fn input(&mut self, dims: &[usize]) -> ValueId {
        let name = self.name("in");
        self.graph.add_input(name, InputType::fixed(DType::F32, dims))
    }

    /// An input of which only the rank is declared.
    pub(super) fn free_input(&mut self, rank: usize) -> ValueId {
        let name = self.name("in");
        let dims = vec![ir::Dim::Free(String::new()); rank];
        self.graph.add_input(name, InputType { dtype: DType::F32, dims })
    }

    pub(super) fn constant(&mut self, tensor: Tensor) -> ValueId {
        let name = self.name("const");
        self.graph.add_const(name, tensor)
    }

    pub(super) fn scalar(&mut self, value: f32) -> ValueId {
        self.constant(Tensor::scalar(value))
    }

    pub(super) fn op(&mut self, op: impl Into<Op>, inputs: &[ValueId]) -> ValueId {
        let op = op.into();
        let name = self.name(op.layer().kind());
        self.graph.add(&name, op, inputs)
    }

    pub(super) fn activate(&mut self, activation: Activation, x: ValueId) -> ValueId {
        self.op(Activate { activation }, &[x])
    }

    pub(super) fn binary(&mut self, function: BinaryFn, a: ValueId, b: ValueId) -> ValueId {
        self.op(Binary { function, activation: Activation::Identity }, &[a, b])
    }

    pub(super) fn transpose(&mut self, x: ValueId, perm: &[usize]) -> ValueId {
        self.op(Transpose { perm: perm.to_vec() }, &[x])
    }

    pub(super) fn reshape(&mut self, x: ValueId, shape: &[i64]) -> ValueId {
        let shape = self.constant(ints(shape));
        self.op(Reshape { allow_zero: false }, &[x, shape])
    }

    /// An NHWC convolution with noise for weights `oc,kh,kw,ic/groups`.
    pub(super) fn conv(&mut self, x: ValueId, conv: Conv2d, weights: [usize; 4]) -> ValueId {
        let seed = self.names as u64;
        let w = self.constant(noise(&weights, seed));
        self.op(conv, &[x, w])
    }

    /// A pointwise NHWC convolution.
    pub(super) fn pointwise(&mut self, x: ValueId, oc: usize, ic: usize) -> ValueId {
        self.conv(x, Conv2d::default(), [oc, 1, 1, ic])
    }

    /// A normalization over `channels` with noise for statistics.
    pub(super) fn batch_norm(&mut self, x: ValueId, channels: usize, axis: i64) -> ValueId {
        let seed = self.names as u64;
        let var: Vec<f32> =
            noise(&[channels], seed + 3).to_f32().iter().map(|v| v.abs() + 0.5).collect();
        let list = [
            noise(&[channels], seed),
            noise(&[channels], seed + 1),
            noise(&[channels], seed + 2),
            f32s(&[channels], &var),
        ];
        let mut inputs = vec![x];
        inputs.extend(list.map(|tensor| self.constant(tensor)));
        self.op(BatchNorm { epsilon: 1e-3, axis }, &inputs)
    }

    pub(super) fn output(mut self, x: ValueId) -> Graph {
        self.graph.add_output(x);
        self.graph
    }
}

pub(super) const TO_NHWC: [usize; 4] = [0, 2, 3, 1];
pub(super) const TO_NCHW: [usize; 4] = [0, 3, 1, 2];

/// Kinds of the nodes, in order.
pub(super) fn kinds(graph: &Graph) -> Vec<&'static str> {
    graph.nodes().iter().map(|node| node.op.layer().kind()).collect()
}

pub(super) fn count(graph: &Graph, kind: &str) -> usize {
    kinds(graph).iter().filter(|&&k| k == kind).count()
}

pub(super) fn only(passes: &[&str]) -> PassOptions {
    let mut options = PassOptions::none();
    for pass in passes {
        options.set(pass, true).unwrap();
    }
    options
}

/// What passes made of a graph.
pub(super) struct Optimized {
    pub(super) prepared: Graph,
    pub(super) special: Graph,
    pub(super) report: PassReport,
}

impl Optimized {
    pub(super) fn op(&self, kind: &str) -> &Op {
        let node = self.special.nodes().iter().find(|node| node.op.layer().kind() == kind);
        &node.unwrap_or_else(|| panic!("no {kind} in {}", self.special)).op
    }
}

/// Inputs of noise for the declared inputs, free extents taken from `dims`.
pub(super) fn inputs(graph: &Graph, dims: &[&[usize]]) -> Vec<Tensor> {
    let declared = |id: ValueId| graph.input_type(id).and_then(InputType::shape);
    graph
        .inputs()
        .iter()
        .enumerate()
        .map(|(i, &id)| {
            let shape = declared(id).map(|shape| shape.dims().to_vec());
            noise(&shape.unwrap_or_else(|| dims[i].to_vec()), 77 + i as u64)
        })
        .collect()
}

/// Runs the passes in both phases and checks, after each, that the outputs are the same by the
/// interpreter, that names of inputs and outputs are kept, and that a second run has nothing to
/// do. A few roundings to `f32` change places: equal means within `2e-5` of the largest output.
pub(super) fn optimize_with(graph: &Graph, inputs: &[Tensor], options: &PassOptions) -> Optimized {
    graph.verify().unwrap();
    let want = interpret(graph, inputs).unwrap();
    let mut prepared = graph.clone();
    let mut report = prepare(&mut prepared, options);
    let names = |graph: &Graph| -> Vec<String> {
        let ends = graph.inputs().iter().chain(graph.outputs());
        ends.map(|&id| graph.value(id).name.clone()).collect()
    };
    assert_eq!(names(graph), names(&prepared), "{prepared}");
    expect_equal(&want, &interpret(&prepared, inputs).unwrap(), &prepared);
    let again = prepare(&mut prepared.clone(), options);
    assert_eq!(again.total(), 0, "prepare again:\n{again}{prepared}");

    let shapes: Vec<Shape> = inputs.iter().map(|t| *t.shape()).collect();
    let mut special = prepared.clone();
    specialize_reporting(&mut special, &shapes, options, &mut report).unwrap();
    special.verify().unwrap();
    assert_eq!(names(graph), names(&special), "{special}");
    expect_equal(&want, &interpret(&special, inputs).unwrap(), &special);
    let mut again = PassReport::default();
    specialize_reporting(&mut special.clone(), &shapes, options, &mut again).unwrap();
    assert_eq!(again.total(), 0, "specialize again:\n{again}{special}");
    Optimized { prepared, special, report }
}

pub(super) fn optimize(graph: &Graph) -> Optimized {
    optimize_with(graph, &inputs(graph, &[]), &PassOptions::default())
}

/// [`optimize`] with some passes only.
pub(super) fn optimize_only(graph: &Graph, passes: &[&str]) -> Optimized {
    optimize_with(graph, &inputs(graph, &[]), &only(passes))
}

/// Checks that passes find nothing to do.
pub(super) fn expect_untouched(graph: &Graph, passes: &[&str]) {
    let done = optimize_only(graph, passes);
    assert_eq!(done.report.total(), 0, "{}{}", done.report, done.special);
}

pub(super) fn expect_equal(want: &[Tensor], got: &[Tensor], graph: &Graph) {
    assert_eq!(want.len(), got.len());
    for (want, got) in want.iter().zip(got) {
        assert_eq!((want.dtype(), want.shape()), (got.dtype(), got.shape()), "{graph}");
        let (want, got) = (want.to_f64(), got.to_f64());
        let largest =
            want.iter().copied().filter(|v| v.is_finite()).fold(1.0, |m: f64, v| m.max(v.abs()));
        for (a, b) in want.iter().zip(got.iter()) {
            let same = a == b || (a.is_nan() && b.is_nan());
            assert!(same || (a - b).abs() <= 2e-5 * largest, "{a} became {b}\n{graph}");
        }
    }
}

#[test]
fn limit_stops_after_that_many_rewrites() {
    let mut net = Net::new();
    let x = net.input(&[1, 4, 4, 3]);
    let y = net.pointwise(x, 5, 3);
    let y = net.batch_norm(y, 5, -1);
    let y = net.activate(Activation::RELU, y);
    let graph = net.output(y);
    let all = optimize(&graph).report.total();
    assert!(all >= 2);
    for limit in 0..=all {
        let mut options = PassOptions::default();
        options.set_limit(Some(limit));
        let mut limited = graph.clone();
        assert_eq!(prepare(&mut limited, &options).total(), limit.min(all));
        let inputs = inputs(&graph, &[]);
        let want = interpret(&graph, &inputs).unwrap();
        expect_equal(&want, &interpret(&limited, &inputs).unwrap(), &limited);
    }
}

#[test]
fn constants_that_are_no_longer_read_lose_their_elements() {
    let mut net = Net::new();
    let x = net.input(&[1, 4, 4, 3]);
    let y = net.pointwise(x, 5, 3);
    let y = net.batch_norm(y, 5, -1);
    let done = optimize(&net.output(y));
    let kept: usize =
        done.prepared.values().iter().filter(|v| matches!(v.def, ir::Def::Const(_))).count();
    assert_eq!(kept, 2, "weights and bias: {}", done.prepared);
}

/// Weights keep their ids from the prepared graph to every plan, and are not read any more.
#[test]
fn specialize_needs_no_elements_of_weights() {
    let mut net = Net::new();
    let x = net.free_input(4);
    let a = net.conv(x, Conv2d { padding: Padding::all(1), ..Conv2d::default() }, [3, 3, 3, 3]);
    let a = net.batch_norm(a, 3, -1);
    let y = net.binary(BinaryFn::Add, x, a);
    let y = net.activate(Activation::RELU, y);
    let graph = net.output(y);
    let mut prepared = graph.clone();
    prepare(&mut prepared, &PassOptions::default());
    let weights = |graph: &Graph| -> Vec<ValueId> {
        let conv = graph.nodes().iter().find(|n| matches!(n.op, Op::Conv2d(_))).unwrap();
        conv.inputs[1..3].iter().copied().flatten().collect()
    };
    let ids = weights(&prepared);
    for &id in &ids {
        prepared.release_constant(id);
    }
    for side in [5, 8] {
        let mut special = prepared.clone();
        let shapes = [Shape::new(&[1, side, side, 3]).unwrap()];
        super::specialize(&mut special, &shapes, &PassOptions::default()).unwrap();
        assert_eq!(kinds(&special), ["Conv2d"]);
        assert_eq!(weights(&special), ids);
    }
}
