//! Less than single precision, where options allow it: weights of dense layers in half precision, products
//! of bfloat16.

mod common;

use common::{fixed, mobile, numbers, relative_error};
use depthwise_engine::layers::ir::{InputType, interpret};
use depthwise_engine::layers::{Conv2d, Dense, Padding};
use depthwise_engine::tensor::Hw;
use depthwise_engine::{
    Activation, Cpu, DType, DenseWeights, EngineError, Fusion, Graph, Model, Options, Precision,
    Tensor,
};

/// One dense layer with these weights.
fn graph(weights: Tensor) -> Graph {
    let k = weights.shape()[1];
    let mut graph = Graph::new("dense");
    let x = graph.add_input("x", InputType { dtype: DType::F32, dims: fixed(&[1, k]) });
    let w = graph.add_const("w", weights);
    let y = graph.add("dense", Dense { activation: Activation::Identity }, &[x, w]);
    graph.add_output(y);
    graph
}

fn model(graph: &Graph, dense_weights: DenseWeights) -> Model {
    Model::from_graph(graph.clone(), Options { dense_weights, ..Options::default() }).unwrap()
}

fn run(model: &Model, input: &Tensor) -> Vec<u32> {
    let outputs = model.session().unwrap().run_tensors(std::slice::from_ref(input)).unwrap();
    outputs[0].to_f32().iter().map(|y| y.to_bits()).collect()
}

fn kernel_of(model: &Model) -> &'static str {
    model.session().unwrap().plan().steps()[0].kernel
}

#[test]
fn half_precision_halves_the_weights_and_keeps_what_it_can_hold() {
    // 24 bits after the point, then 10: half precision has 11 significant ones.
    let single = numbers(&[96, 256], 1);
    let half = single.to_f32().iter().map(|&w| (w * 1024.0).round() / 1024.0).collect();
    let half = Tensor::from_vec(&[96, 256], half).unwrap();
    let input = numbers(&[1, 256], 2);
    for (weights, exact) in [(half, true), (single, false)] {
        let graph = graph(weights);
        let (f32, f16) = (model(&graph, DenseWeights::F32), model(&graph, DenseWeights::F16));
        assert_eq!(run(&f32, &input) == run(&f16, &input), exact);
        assert!(kernel_of(&f16).starts_with("dense_f16"), "{}", kernel_of(&f16));
        let bytes = |model: &Model| model.session().unwrap().plan().steps()[0].packed_bytes;
        assert!(bytes(&f16) * 19 < bytes(&f32) * 10, "{} {}", bytes(&f16), bytes(&f32));
    }
}

#[test]
fn a_weight_beyond_its_range_keeps_the_layer_in_single_precision() {
    let mut weights = numbers(&[20, 16], 3).to_f32().to_vec();
    weights[7] = 1e6;
    let graph = graph(Tensor::from_vec(&[20, 16], weights).unwrap());
    let (f32, f16) = (model(&graph, DenseWeights::F32), model(&graph, DenseWeights::F16));
    let input = numbers(&[1, 16], 4);
    assert_eq!(run(&f32, &input), run(&f16, &input));
    assert_eq!(kernel_of(&f32), kernel_of(&f16));
}

fn rounding(graph: &Graph, precision: Precision, fusion: Fusion) -> Model {
    let options = Options { precision, fusion, ..Options::default() };
    Model::from_graph(graph.clone(), options).unwrap()
}

fn kernels(model: &Model) -> Vec<&'static str> {
    model.session().unwrap().plan().steps().iter().map(|step| step.kernel).collect()
}

/// -1, 0 and 1, whose products any precision holds.
fn signs(dims: &[usize], seed: u64) -> Tensor {
    let numbers = numbers(dims, seed);
    let signs = numbers.to_f32().iter().map(|x| (3.0 * x).round().clamp(-1.0, 1.0)).collect();
    Tensor::from_vec(dims, signs).unwrap()
}

fn convolution(stride: usize, activation: Activation) -> Conv2d {
    let stride = Hw::square(stride);
    Conv2d { stride, padding: Padding::Same, activation, ..Conv2d::default() }
}

#[test]
fn layers_of_bfloat16_give_the_bits_of_single_precision_where_factors_are_short() {
    for (kernel, stride, residual) in [(1, 1, true), (1, 2, false), (3, 1, true), (3, 2, false)] {
        let mut graph = Graph::new("layer");
        let x = graph.add_input("x", InputType::fixed(DType::F32, &[1, 7, 6, 9]));
        let w = graph.add_const("w", signs(&[20, kernel, kernel, 9], 1));
        let b = graph.add_const("b", signs(&[20], 2));
        let mut inputs = vec![x, w, b];
        if residual {
            inputs.push(graph.add_const("r", signs(&[1, 7, 6, 20], 3)));
        }
        let y = graph.add("y", convolution(stride, Activation::RELU6), &inputs);
        graph.add_output(y);
        let input = signs(&[1, 7, 6, 9], 4);
        let f32 = rounding(&graph, Precision::F32, Fusion::Auto);
        let bf16 = rounding(&graph, Precision::Bf16Emulated, Fusion::Auto);
        assert!(run(&bf16, &input) == run(&f32, &input), "{kernel} {stride}");
        assert!(kernel_of(&bf16).starts_with("gemm_bf16"), "{}", kernel_of(&bf16));
        assert!(!kernel_of(&f32).starts_with("gemm_bf16"), "{}", kernel_of(&f32));
    }
    let graph = graph(signs(&[30, 33], 1));
    let input = signs(&[1, 33], 2);
    let bf16 = rounding(&graph, Precision::Bf16Emulated, Fusion::Auto);
    assert_eq!(run(&bf16, &input), run(&model(&graph, DenseWeights::F32), &input));
    assert!(kernel_of(&bf16).starts_with("gemm_bf16"), "{}", kernel_of(&bf16));
    let both = Options {
        precision: Precision::Bf16Emulated,
        dense_weights: DenseWeights::F16,
        ..Options::default()
    };
    let both = Model::from_graph(graph, both).unwrap();
    assert!(kernel_of(&both).starts_with("dense_f16"), "{}", kernel_of(&both));
}

#[test]
fn a_network_with_products_of_bfloat16_stays_close_and_keeps_its_other_layers() {
    let graph = mobile(fixed(&[1, 32, 32, 3]));
    let input = numbers(&[1, 32, 32, 3], 7);
    let run =
        |model: &Model| model.session().unwrap().run_tensors(std::slice::from_ref(&input)).unwrap();
    let f32 = rounding(&graph, Precision::F32, Fusion::Off);
    let allowed = rounding(&graph, Precision::Bf16, Fusion::Off);
    let bf16 = rounding(&graph, Precision::Bf16Emulated, Fusion::Off);
    let count = |model: &Model, family: &str| {
        kernels(model).iter().filter(|kernel| kernel.starts_with(family)).count()
    };
    // Four pointwise convolutions, the gate and the classifier; not the first layer.
    assert_eq!((count(&f32, "gemm_f32"), count(&f32, "gemm_bf16")), (6, 0));
    assert_eq!((count(&bf16, "gemm_f32"), count(&bf16, "gemm_bf16")), (0, 6));
    assert_eq!(count(&bf16, "dwconv_f32"), 2);
    let has = Cpu::from_env().unwrap().extensions().avx512_bf16;
    assert_eq!(kernels(&allowed), kernels(if has { &bf16 } else { &f32 }));
    let [want, got] = [run(&f32), run(&bf16)];
    for (got, want) in got.iter().zip(&want) {
        let error = relative_error(got, want);
        // Six layers deep, with two factors of each product off by up to 2^-9.
        assert!(error > 0.0 && error < 12.0 / 512.0, "{error}");
    }
    // Chains are single precision: what rounds stays out of them.
    let chained = rounding(&graph, Precision::Bf16Emulated, Fusion::Always);
    assert_eq!(count(&chained, "gemm_bf16"), 6);
    for (got, want) in run(&chained).iter().zip(&got) {
        assert_eq!(got.to_f32(), want.to_f32());
    }
}

#[test]
fn a_weight_that_a_strided_layer_shares_is_refused_or_read_right() {
    let mut graph = Graph::new("shared");
    let x = graph.add_input("x", InputType::fixed(DType::F32, &[1, 4, 6, 9]));
    let w = graph.add_const("w", signs(&[20, 1, 1, 9], 1));
    for stride in [1, 2] {
        let layer = convolution(stride, Activation::Identity);
        let y = graph.add(&format!("y{stride}"), layer, &[x, w]);
        graph.add_output(y);
    }
    let input = signs(&[1, 4, 6, 9], 2);
    let want = interpret(&graph, std::slice::from_ref(&input)).unwrap();
    let bf16 = rounding(&graph, Precision::Bf16Emulated, Fusion::Auto);
    let got = bf16.session().unwrap().run_tensors(&[input]).unwrap();
    for (got, want) in got.iter().zip(&want) {
        assert_eq!(got.to_f32(), want.to_f32());
    }
    let f32 = rounding(&graph, Precision::F32, Fusion::Auto).session().map(|_| ());
    assert!(matches!(f32, Err(EngineError::Unsupported(_))), "{f32:?}");
}
