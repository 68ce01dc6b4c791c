//! Networks of integers.

use super::*;

/// A value as integers of a scale, and these as real numbers again.
fn around(graph: &mut Graph, name: &str, x: ValueId, scale: f32, zero: i8) -> ValueId {
    let scale = graph.add_const(format!("{name}.scale"), Tensor::scalar(scale));
    let zero = graph.add_const(format!("{name}.zero"), Tensor::scalar(zero));
    let quantize = Quantize { dtype: DType::I8, axis: 0 };
    let stored = graph.add(&format!("{name}.stored"), quantize, &[x, scale, zero]);
    graph.add(name, Dequantize { axis: 0 }, &[stored, scale, zero])
}

/// Constant integers with a scale for each slice of an axis.
fn integers(graph: &mut Graph, name: &str, dims: &[usize], axis: i64, bias: bool) -> ValueId {
    let n = dims[axis as usize];
    let (count, step) = (dims.iter().product::<usize>(), if bias { 0.001 } else { 0.01 });
    let q = |i: usize| (i * 37 % 255) as i32 - 127;
    let q = match bias {
        true => Tensor::from_vec(dims, (0..count).map(q).collect::<Vec<i32>>()),
        false => Tensor::from_vec(dims, (0..count).map(|i| q(i) as i8).collect::<Vec<i8>>()),
    };
    let q = graph.add_const(format!("{name}.q"), q.unwrap());
    let scales = (0..n).map(|i| step * (1 + i) as f32).collect::<Vec<f32>>();
    let scales = graph.add_const(format!("{name}.scales"), Tensor::from_vec(&[n], scales).unwrap());
    graph.add(name, Dequantize { axis }, &[q, scales])
}

/// Convolution, depthwise convolution, gate and dense layer, all between integers.
fn quantized() -> Graph {
    let mut graph = Graph::new("quantized");
    let x = input(&mut graph, &[1, 6, 6, 4]);
    let x = around(&mut graph, "q0", x, 0.01, 3);
    let (w, b) = (
        integers(&mut graph, "w1", &[5, 1, 1, 4], 0, false),
        integers(&mut graph, "b1", &[5], 0, true),
    );
    let conv = Conv2d { activation: Activation::RELU6, ..Conv2d::default() };
    let y = graph.add("conv", conv, &[x, w, b]);
    let y = around(&mut graph, "q1", y, 6.0 / 255.0, -128);
    let w = integers(&mut graph, "w2", &[3, 3, 5], 2, false);
    let pad = Pad2d { top: 1, left: 1, bottom: 1, right: 1 };
    let stride = Hw { h: 2, w: 2 };
    let depthwise =
        DepthwiseConv2d { padding: Padding::Explicit(pad), stride, ..DepthwiseConv2d::default() };
    let y = graph.add("depthwise", depthwise, &[y, w]);
    let y = around(&mut graph, "q2", y, 0.5, -3);
    let gate = Activation::HardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 };
    let gate = graph.add("gate", Activate { activation: gate }, &[y]);
    let gate = around(&mut graph, "q3", gate, 1.0 / 255.0, -128);
    let product = Binary { function: BinaryFn::Mul, activation: Activation::Identity };
    let y = graph.add("product", product, &[y, gate]);
    let y = around(&mut graph, "q4", y, 0.5, -100);
    let mean = Reduce { function: ReduceFn::Mean, axes: vec![1, 2], keep_dims: false };
    let y = graph.add("mean", mean, &[y]);
    let y = around(&mut graph, "q5", y, 0.25, -128);
    let w = integers(&mut graph, "w6", &[3, 5], 0, false);
    let y = graph.add("dense", Dense { activation: Activation::Identity }, &[y, w]);
    let y = around(&mut graph, "y", y, 0.5, 10);
    graph.add_output(y);
    graph
}

#[test]
fn quantized_networks_survive_to_the_bit() {
    let graph = quantized();
    let x = random_tensor(&[1, 6, 6, 4], 9);
    let want = interpret(&graph, std::slice::from_ref(&x)).unwrap();
    for format in [SaveFormat::Safetensors, SaveFormat::Onnx, SaveFormat::Tflite] {
        let back = reread(&graph, format, &SaveOptions::default());
        let got = interpret(&back, std::slice::from_ref(&x)).unwrap();
        assert_eq!(got, want, "{}", format.name());
    }
}

#[test]
fn quantized_pictures_enter_and_leave_as_nchw() {
    let mut graph = quantized();
    let picture = graph.find("q4.stored").unwrap();
    graph.add_output(picture);
    let nchw = SaveOptions { nchw: true, ..SaveOptions::default() };
    let operators = onnx_operators(&graph, &nchw);
    assert!(operators.iter().all(|op| op != "Transpose"), "{operators:?}");
    let mut back = reread(&graph, SaveFormat::Onnx, &nchw);
    let declared = back.input_type(back.inputs()[0]).unwrap().to_string();
    assert_eq!(declared, "f32[1x4x6x6]");
    // The ends turned back, it is the network that was written.
    let x = random_tensor(&[1, 6, 6, 4], 9);
    let want = interpret(&graph, std::slice::from_ref(&x)).unwrap();
    back.permute_input(back.inputs()[0], &[0, 2, 3, 1]);
    back.permute_output(1, &[0, 2, 3, 1]);
    assert_eq!(interpret(&back, &[x]).unwrap(), want);
}

#[test]
fn tflite_computes_quantized_layers_in_integers() {
    let options = SaveOptions::default();
    let bytes = to_bytes(&quantized(), SaveFormat::Tflite, &options).unwrap();
    let model = wire::Model::decode(&bytes).unwrap();
    let network = &model.subgraphs[0];
    let floats = network.tensors.iter().filter(|t| t.dtype == wire::tensor_type::FLOAT32);
    let floats: Vec<_> = floats.map(|tensor| &*tensor.name).collect();
    // The ends of the network, which are real numbers in the graph.
    assert_eq!(floats, ["x", "y"]);
}

#[test]
fn layers_without_an_integer_form_compute_in_real_numbers() {
    let mut graph = Graph::new("mixed");
    let x = input(&mut graph, PICTURE);
    let x = around(&mut graph, "q0", x, 0.01, 3);
    let y = graph.add("erased", Unary { function: UnaryFn::Abs }, &[x]);
    let y = around(&mut graph, "y", y, 0.01, -128);
    graph.add_output(y);
    check(&graph, BOTH);
    let bytes = to_bytes(&graph, SaveFormat::Tflite, &SaveOptions::default()).unwrap();
    let model = wire::Model::decode(&bytes).unwrap();
    assert_eq!(model.subgraphs[0].operators.len(), 5, "two of each, and the layer");
}

#[test]
fn tflite_refuses_activations_of_u8() {
    let mut graph = Graph::new("unsigned");
    let x = input(&mut graph, &[4]);
    let scale = graph.add_const("scale", Tensor::scalar(0.5f32));
    let y = graph.add("y", Quantize { dtype: DType::U8, axis: 0 }, &[x, scale]);
    graph.add_output(y);
    let error = to_bytes(&graph, SaveFormat::Tflite, &SaveOptions::default()).unwrap_err();
    assert!(error.to_string().contains("\"y\" (Quantize): activations of u8"), "{error}");
}
