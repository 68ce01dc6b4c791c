//! Every gradient against central differences of the references, in `f64`.

mod layers;
mod losses;
mod math;
mod moving;

use depthwise_layers::ir::{Graph, InputType, ValueId, interpret};
use depthwise_layers::{Activation, Binary, BinaryFn, Op, Reduce, ReduceFn};
use depthwise_tensor::{DType, Shape, Tensor};
use depthwise_testkit::Random;
use depthwise_train::backward;

/// Step of the differences. The error of a central difference is of the order of its square.
const STEP: f64 = 1e-5;
/// Largest deviation, relative to the largest gradient.
const BOUND: f64 = 1e-6;
/// Elements of an operand that are moved.
const SAMPLES: usize = 24;

/// Numbers in `low..high`.
fn numbers(count: usize, (low, high): (f64, f64), seed: u64) -> Vec<f64> {
    let mut random = Random::new(seed);
    (0..count).map(|_| low + (high - low) * (f64::from(random.unit()) + 1.0) / 2.0).collect()
}

fn tensor(dims: &[usize], range: (f64, f64), seed: u64) -> Tensor {
    Tensor::from_vec(dims, numbers(dims.iter().product(), range, seed)).unwrap()
}

/// Operands of a case: extents and range.
type Operand<'a> = (&'a [usize], (f64, f64));

/// Checks the gradients of what `build` makes of inputs of these extents: of a weighted sum of all
/// its elements, whose weights are random.
fn check(name: &str, operands: &[Operand<'_>], build: impl Fn(&mut Graph, &[ValueId]) -> ValueId) {
    let mut graph = Graph::new(name);
    let inputs: Vec<ValueId> = (0..operands.len())
        .map(|i| graph.add_input(format!("x{i}"), InputType::fixed(DType::F64, operands[i].0)))
        .collect();
    let y = build(&mut graph, &inputs);
    let at: Vec<Tensor> =
        (0..operands.len()).map(|i| tensor(operands[i].0, operands[i].1, 7 + i as u64)).collect();
    let shapes: Vec<Shape> = at.iter().map(|t| *t.shape()).collect();
    let shape = depthwise_layers::ir::infer_types(&graph, &shapes).unwrap().of(y).shape;
    let weights = graph.add_const("weights", tensor(&shape, (-1.0, 1.0), 99));
    let product = Binary { function: BinaryFn::Mul, activation: Activation::Identity };
    let weighted = graph.add("weighted", product, &[y, weights]);
    let sum = Reduce { function: ReduceFn::Sum, axes: vec![], keep_dims: false };
    let loss = graph.add("loss", sum, &[weighted]);
    graph.add_output(loss);
    check_loss(name, &graph, loss, &inputs, &at);
}

/// Checks the gradients of a loss with respect to inputs, at these values.
fn check_loss(name: &str, graph: &Graph, loss: ValueId, wanted: &[ValueId], at: &[Tensor]) {
    let shapes: Vec<Shape> = at.iter().map(|t| *t.shape()).collect();
    let result = backward(graph, loss, wanted, &shapes).unwrap();
    let gradients: Vec<ValueId> = result
        .gradients
        .iter()
        .map(|g| g.unwrap_or_else(|| panic!("{name}: no gradient")))
        .collect();
    let mut graph = result.graph;
    let mut forward = graph.clone();
    forward.set_outputs(&[loss]);
    // Gradients of several inputs may be one value.
    let mut outputs = gradients.clone();
    outputs.dedup();
    graph.set_outputs(&outputs);
    graph.verify().unwrap();
    let results = interpret(&graph, at).unwrap();
    let of = |id| &results[outputs.iter().position(|&output| output == id).unwrap()];
    for (&input, got) in wanted.iter().zip(gradients.iter().map(|&id| of(id))) {
        let position = graph.inputs().iter().position(|&id| id == input).unwrap();
        assert_eq!(got.shape(), at[position].shape(), "{name}");
        let got = got.to_f64();
        let largest = got.iter().fold(1e-3, |a: f64, g| a.max(g.abs()));
        let step = (got.len() / SAMPLES).max(1);
        for i in (0..got.len()).step_by(step) {
            let want = difference(&forward, at, position, i);
            let error = (got[i] - want).abs() / largest;
            assert!(error < BOUND, "{name}: input {position}[{i}] {} {want}", got[i]);
        }
    }
}

fn difference(graph: &Graph, at: &[Tensor], position: usize, i: usize) -> f64 {
    let value = |step: f64| {
        let mut at = at.to_vec();
        let mut data = at[position].to_f64().into_owned();
        data[i] += step;
        at[position] = Tensor::from_vec(at[position].shape().dims(), data).unwrap();
        interpret(graph, &at).unwrap()[0].to_f64()[0]
    };
    (value(STEP) - value(-STEP)) / (2.0 * STEP)
}

/// As [`check`], for one layer that reads all inputs.
fn check_op(name: &str, op: impl Into<Op>, operands: &[Operand<'_>]) {
    let op = op.into();
    check(name, operands, |graph, inputs| graph.add("y", op.clone(), inputs));
}

/// A list of integers as a constant.
fn ints(graph: &mut Graph, data: &[i64]) -> ValueId {
    graph.add_const("ints", Tensor::from_slice(&[data.len()], data).unwrap())
}

const ANY: (f64, f64) = (-1.5, 1.5);
