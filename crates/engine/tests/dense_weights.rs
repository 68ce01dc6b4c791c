//! Weights of dense layers kept in half precision.

mod common;

use common::{fixed, numbers};
use depthwise_engine::layers::Dense;
use depthwise_engine::layers::ir::InputType;
use depthwise_engine::{Activation, DType, DenseWeights, Graph, Model, Options, Tensor};

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

fn kernel(model: &Model) -> &'static str {
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
        assert!(kernel(&f16).starts_with("dense_f16"), "{}", kernel(&f16));
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
    assert_eq!(kernel(&f32), kernel(&f16));
}
