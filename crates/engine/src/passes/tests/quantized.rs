//! Real networks between integers become integer ones.

use super::*;

fn bytes(net: &mut Net, dims: &[usize]) -> ValueId {
    let name = net.name("in");
    net.graph.add_input(name, InputType::fixed(DType::U8, dims))
}

fn real(net: &mut Net, q: ValueId, scale: f32, zero: i32) -> ValueId {
    let (scale, zero) = (net.scalar(scale), net.constant(Tensor::scalar(zero)));
    net.op(Dequantize { axis: 0 }, &[q, scale, zero])
}

fn quantized(net: &mut Net, x: ValueId, scale: f32, zero: i32) -> ValueId {
    let (scale, zero) = (net.scalar(scale), net.constant(Tensor::scalar(zero)));
    net.op(Quantize { dtype: DType::U8, axis: 0 }, &[x, scale, zero])
}

/// The prepared graph, which gives what the graph gives, but for one step where real numbers were
/// rounded in between.
fn folded(mut net: Net, output: ValueId, inputs: &[Tensor]) -> Graph {
    net.graph.add_output(output);
    let want = interpret(&net.graph, inputs).unwrap().remove(0);
    prepare(&mut net.graph, &PassOptions::default());
    net.graph.verify().unwrap();
    let got = interpret(&net.graph, inputs).unwrap().remove(0);
    assert_eq!((got.dtype(), got.shape()), (want.dtype(), want.shape()));
    for (got, want) in got.to_i64().iter().zip(want.to_i64().iter()) {
        assert!((got - want).abs() <= 1, "{got}, not {want}");
    }
    net.graph
}

fn all_bytes() -> Tensor {
    let all: Vec<u8> = (0..=255).collect();
    Tensor::from_slice(&[1, 8, 8, 4], &all).unwrap()
}

#[test]
fn functions_and_numbers_become_tables() {
    let mut net = Net::new();
    let q = bytes(&mut net, &[1, 8, 8, 4]);
    let x = real(&mut net, q, 0.1, 100);
    let x = net.op(Activate { activation: Activation::HardSwish }, &[x]);
    let q = quantized(&mut net, x, 0.05, 10);
    let x = real(&mut net, q, 0.05, 10);
    let three = net.scalar(3.0);
    let add = Binary { function: BinaryFn::Add, activation: Activation::RELU };
    let x = net.op(add, &[three, x]);
    let y = quantized(&mut net, x, 0.1, 0);
    assert_eq!(kinds(&folded(net, y, &[all_bytes()])), ["QLookup", "QLookup"]);
}

#[test]
fn what_moves_elements_moves_integers() {
    let mut net = Net::new();
    let q = bytes(&mut net, &[1, 8, 8, 4]);
    let x = real(&mut net, q, 0.1, 100);
    let pads = net.constant(ints(&[0, 1, 1, 0, 0, 1, 1, 0]));
    let x = net.op(Pad { mode: PadMode::Constant }, &[x, pads]);
    let x = net.op(Transpose { perm: vec![0, 3, 1, 2] }, &[x]);
    let y = quantized(&mut net, x, 0.1, 100);
    let graph = folded(net, y, &[all_bytes()]);
    assert_eq!(kinds(&graph), ["Pad", "Transpose"]);
}

#[test]
fn parts_of_unlike_scales_are_brought_together() {
    let mut net = Net::new();
    let q = bytes(&mut net, &[1, 8, 8, 4]);
    let (a, b) = (real(&mut net, q, 0.1, 100), real(&mut net, q, 0.2, 50));
    let x = net.op(Concat { axis: 3 }, &[a, b]);
    let y = quantized(&mut net, x, 0.2, 50);
    assert_eq!(kinds(&folded(net, y, &[all_bytes()])), ["QLookup", "Concat"]);
}

#[test]
fn squeeze_and_excite_stays_in_integers() {
    let mut net = Net::new();
    let q = bytes(&mut net, &[1, 8, 8, 4]);
    let x = real(&mut net, q, 0.1, 100);
    let mean = Reduce { function: ReduceFn::Mean, axes: vec![1, 2], keep_dims: true };
    let mean = net.op(mean, &[x]);
    let mean = quantized(&mut net, mean, 0.08, 90);
    let mean = real(&mut net, mean, 0.08, 90);
    let weights: Vec<i8> = (0..16).map(|i: i8| i * 8 - 60).collect();
    let weights = net.constant(Tensor::from_slice(&[4, 1, 1, 4], &weights).unwrap());
    let scales = net.constant(f32s(&[4], &[0.01, 0.02, 0.03, 0.04]));
    let weights = net.op(Dequantize { axis: 0 }, &[weights, scales]);
    let bias = net.constant(f32s(&[4], &[0.5, -0.5, 0.25, 1.0]));
    let gate = net.op(Conv2d::default(), &[mean, weights, bias]);
    let gate = quantized(&mut net, gate, 0.05, 128);
    let gate = real(&mut net, gate, 0.05, 128);
    let gate = net.op(Activate { activation: Activation::Sigmoid }, &[gate]);
    let gate = quantized(&mut net, gate, 1.0 / 256.0, 0);
    let gate = real(&mut net, gate, 1.0 / 256.0, 0);
    let mul = Binary { function: BinaryFn::Mul, activation: Activation::Identity };
    let x = net.op(mul, &[x, gate]);
    let y = quantized(&mut net, x, 0.1, 100);
    let graph = folded(net, y, &[all_bytes()]);
    assert_eq!(kinds(&graph), ["QMean", "QConv2d", "QLookup", "QBinary"]);
}

#[test]
fn what_has_no_integer_form_stays_real() {
    let mut net = Net::new();
    let q = bytes(&mut net, &[1, 8, 8, 4]);
    let (a, b) = (real(&mut net, q, 0.1, 100), real(&mut net, q, 0.2, 0));
    let larger = Binary { function: BinaryFn::Max, activation: Activation::Identity };
    let x = net.op(larger, &[a, b]);
    let y = quantized(&mut net, x, 0.2, 50);
    let graph = folded(net, y, &[all_bytes()]);
    assert_eq!(kinds(&graph), ["Dequantize", "Dequantize", "Binary", "Quantize"]);
    // Weights alone are no quantized layer.
    let mut net = Net::new();
    let x = net.input(&[1, 2]);
    let weights = net.constant(Tensor::from_slice(&[1, 2], &[2i8, -4]).unwrap());
    let half = net.scalar(0.5);
    let weights = net.op(Dequantize { axis: 0 }, &[weights, half]);
    let y = net.op(Dense { activation: Activation::Identity }, &[x, weights]);
    let graph = folded(net, y, &[f32s(&[1, 2], &[3.0, 1.0])]);
    assert_eq!(kinds(&graph), ["Dense"]);
}
