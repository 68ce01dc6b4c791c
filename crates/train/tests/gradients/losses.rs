//! Losses: values by hand, gradients by differences.

use super::{ANY, check_loss, tensor};
use depthwise_layers::ir::{Graph, InputType, interpret};
use depthwise_layers::{Activate, Activation, Softmax, TensorType};
use depthwise_tensor::{DType, Tensor};
use depthwise_train::{BatchNormMode, FormOptions, Loss, Target, TrainingGraph};

/// The training graph of a network that gives back its input, and its loss at `x`.
fn loss_of(
    network: &Graph,
    loss: &Loss,
    x: &Tensor,
    target: Target<'_>,
) -> (f64, TrainingGraph, Vec<Tensor>) {
    let options = FormOptions {
        shapes: &[*x.shape()],
        trainable: &|_| true,
        batch_norm: BatchNormMode::Train,
        dropout: true,
        drop_path: 0.0,
        recompute: false,
        input_gradients: true,
        loss,
    };
    let form = TrainingGraph::build(network, &options).unwrap();
    let mut inputs = vec![x.clone()];
    inputs.extend(loss.targets(target, TensorType::of(x)).unwrap());
    let value = interpret(&form.graph, &inputs).unwrap()[0].to_f64()[0];
    (value, form, inputs)
}

fn identity(dims: &[usize]) -> Graph {
    let mut graph = Graph::new("identity");
    let x = graph.add_input("x", InputType::fixed(DType::F64, dims));
    let y = graph.add("y", Activate { activation: Activation::Identity }, &[x]);
    graph.add_output(y);
    graph
}

/// Compares the value, and every gradient of the training graph with differences.
fn check(loss: Loss, x: &Tensor, target: Target<'_>, want: Option<f64>) {
    let network = identity(x.shape());
    let (value, form, inputs) = loss_of(&network, &loss, x, target);
    if let Some(want) = want {
        assert!((value - want).abs() < 1e-6, "{loss:?}: {value} {want}");
    }
    // The same loss again, without the gradients that are there already.
    let mut forward = form.graph.clone();
    forward.set_outputs(&[form.loss]);
    let input = forward.inputs()[0];
    check_loss(&format!("{loss:?}"), &forward, form.loss, &[input], &inputs);
}

fn f64s(dims: &[usize], data: &[f64]) -> Tensor {
    Tensor::from_slice(dims, data).unwrap()
}

#[test]
fn cross_entropy() {
    // softmax(0, ln 3) = 1/4, 3/4; softmax(0, 0) = 1/2, 1/2.
    let x = f64s(&[2, 2], &[0.0, 3f64.ln(), 0.0, 0.0]);
    let target = Target::Classes(&[1, 0]);
    let plain = ((4.0f64 / 3.0).ln() + 2f64.ln()) / 2.0;
    check(Loss::cross_entropy(), &x, target, Some(plain));
    let smooth = Loss::CrossEntropy { label_smoothing: 0.2, class_weights: vec![] };
    let first = 0.1 * 4f64.ln() + 0.9 * (4.0f64 / 3.0).ln();
    check(smooth, &x, target, Some((first + 2f64.ln()) / 2.0));
    let weighted = Loss::CrossEntropy { label_smoothing: 0.0, class_weights: vec![3.0, 1.0] };
    let mean = ((4.0f64 / 3.0).ln() + 3.0 * 2f64.ln()) / 4.0;
    check(weighted, &x, target, Some(mean));
    let mixed = f64s(&[2, 2], &[0.25, 0.75, 1.0, 0.0]);
    let first = 0.25 * 4f64.ln() + 0.75 * (4.0f64 / 3.0).ln();
    check(Loss::cross_entropy(), &x, Target::Values(&mixed), Some((first + 2f64.ln()) / 2.0));
    check(Loss::cross_entropy(), &tensor(&[5, 7], ANY, 3), Target::Classes(&[0, 6, 2, 2, 5]), None);
}

#[test]
fn logits_are_read_before_a_softmax() {
    let mut network = Graph::new("softmax");
    let x = network.add_input("x", InputType::fixed(DType::F64, &[2, 2]));
    let p = network.add("p", Softmax { axis: -1, log: false }, &[x]);
    network.add_output(p);
    // Probabilities of 0 and 1 in f64, whose logarithm would be infinite.
    let x = f64s(&[2, 2], &[0.0, 2000.0, 0.0, 0.0]);
    let target = Target::Classes(&[0, 0]);
    let (value, _, _) = loss_of(&network, &Loss::cross_entropy(), &x, target);
    assert!((value - (2000.0 + 2f64.ln()) / 2.0).abs() < 1e-9, "{value}");
}

#[test]
fn other_losses_of_classes() {
    let x = f64s(&[1, 2], &[0.0, 3f64.ln()]);
    // (1 - 3/4)^2 * ln(4/3)
    let want = (4.0f64 / 3.0).ln() / 16.0;
    check(Loss::Focal { gamma: 2.0 }, &x, Target::Classes(&[1]), Some(want));
    check(Loss::Focal { gamma: 1.5 }, &tensor(&[3, 4], ANY, 1), Target::Classes(&[0, 3, 1]), None);
    // Teacher 1/2, 1/2 at any temperature; student at temperature 1.
    let kl = 0.5 * (0.5f64 / 0.25).ln() + 0.5 * (0.5f64 / 0.75).ln();
    let teacher = f64s(&[1, 2], &[5.0, 5.0]);
    let right = f64s(&[1, 2], &[0.0, 1.0]);
    let target = Target::Distilled { targets: &right, teacher: &teacher };
    let loss = Loss::Distillation { temperature: 1.0, alpha: 0.5 };
    check(loss, &x, target, Some(0.5 * kl + 0.5 * (4.0f64 / 3.0).ln()));
    let (x, teacher) = (tensor(&[3, 4], ANY, 1), tensor(&[3, 4], ANY, 2));
    let soft = f64s(&[3, 4], &[1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.3, 0.7, 0.0, 1.0, 0.0, 0.0]);
    let target = Target::Distilled { targets: &soft, teacher: &teacher };
    check(Loss::Distillation { temperature: 3.0, alpha: 0.7 }, &x, target, None);
}

#[test]
fn losses_of_values() {
    let (x, t) = (f64s(&[1, 2], &[1.0, 3.0]), f64s(&[1, 2], &[0.5, 0.0]));
    let target = Target::Values(&t);
    check(Loss::MeanSquaredError, &x, target, Some((0.25 + 9.0) / 2.0));
    check(Loss::SmoothL1 { beta: 1.0 }, &x, target, Some((0.125 + 2.5) / 2.0));
    check(Loss::SmoothL1 { beta: 2.0 }, &x, target, Some((0.0625 + 2.0) / 2.0));
    let truth = f64s(&[1, 2], &[1.0, 0.0]);
    let x = f64s(&[1, 2], &[0.0, 3f64.ln()]);
    // sigmoid: 1/2, 3/4
    let want = (2f64.ln() + 4f64.ln()) / 2.0;
    check(Loss::BinaryCrossEntropy, &x, Target::Values(&truth), Some(want));
}

#[test]
fn losses_of_distances() {
    // On a line: 0 and 1 of class 0, 3 of class 1.
    let x = f64s(&[3, 1], &[0.0, 1.0, 3.0]);
    let target = Target::Classes(&[0, 0, 1]);
    // Pairs: (0,1) cost 1; (0,3) max(0, 2.5-3)^2 = 0; (1,3) 0.5^2.
    check(Loss::Contrastive { margin: 2.5 }, &x, target, Some((1.0 + 0.25) / 3.0));
    // Anchor 0: 1 - 3 + 2.5 = 0.5; anchor 1: 1 - 2 + 2.5 = 1.5.
    check(Loss::Triplet { margin: 2.5 }, &x, target, Some(1.0));
    // Semi-hard: of the others at 1.2 and 9, the nearest beyond 1; where all are nearer, the
    // farthest of them.
    let x = f64s(&[4, 1], &[0.0, 1.0, 1.2, 9.0]);
    let target = Target::Classes(&[0, 0, 1, 1]);
    let (first, second) = (1.0 - 1.2 + 0.5, 0.0); // anchors 0 and 1: next of 1 beyond 1 is at 8
    let third = 0.0; // anchor 1.2, positive at 7.8: none beyond, farthest 1.2: 7.8 - 1.2 + 0.5
    let third = third + 7.8 - 1.2 + 0.5;
    let fourth: f64 = 7.8 - 8.0 + 0.5; // anchor 9, positive at 7.8, next beyond: 8
    let want = (first + second + third + fourth) / 4.0;
    check(Loss::Triplet { margin: 0.5 }, &x, target, Some(want));
    let x = tensor(&[6, 3], ANY, 5);
    let target = Target::Classes(&[0, 1, 2, 0, 1, 2]);
    check(Loss::Triplet { margin: 1.0 }, &x, target, None);
    check(Loss::Contrastive { margin: 2.0 }, &x, target, None);
}

#[test]
fn targets_that_do_not_fit_are_refused() {
    let output = TensorType::new(DType::F32, &[2, 3]).unwrap();
    let loss = Loss::cross_entropy();
    let refusal = |loss: &Loss, target| loss.targets(target, output).unwrap_err().to_string();
    assert_eq!(
        refusal(&loss, Target::Classes(&[0, 3])),
        "target: sample 1 is of class 3; the network has 3"
    );
    assert_eq!(refusal(&loss, Target::Classes(&[0])), "target: 1 classes for 2 samples");
    let smooth = Loss::CrossEntropy { label_smoothing: 1.0, class_weights: vec![] };
    assert_eq!(
        refusal(&smooth, Target::Classes(&[0, 1])),
        "label smoothing is 1; it must be in 0..1"
    );
    let triplet = Loss::Triplet { margin: 1.0 };
    let values = Tensor::from_slice(&[2, 3], &[0f32; 6]).unwrap();
    assert!(refusal(&triplet, Target::Values(&values)).ends_with("does not take values"));
}
