//! CASES.md, as graphs.

use super::*;

fn range(count: usize, first: f32) -> Vec<f32> {
    (0..count).map(|i| first + i as f32).collect()
}

/// Runs a graph through both phases and the interpreter; the output's elements.
fn run(graph: &Graph, inputs: &[Tensor]) -> (Vec<f32>, Graph) {
    let done = optimize_with(graph, inputs, &PassOptions::default());
    let output = interpret(&done.special, inputs).unwrap().remove(0);
    (output.to_f32().into_owned(), done.special)
}

#[test]
fn c01_same_lower_and_upper_survive_the_passes() {
    for (padding, want) in
        [(Padding::SameLower, [10.0, 24.0, 51.0, 90.0]), (Padding::Same, [45.0, 39.0, 66.0, 50.0])]
    {
        let mut net = Net::new();
        let x = net.input(&[1, 1, 4, 4]);
        let w = net.constant(f32s(&[1, 1, 3, 3], &[1.0; 9]));
        let conv = Conv2d { stride: Hw::square(2), padding, ..Conv2d::default() };
        let y = net.conv_nchw_of(x, conv, w);
        let (got, special) = run(&net.output(y), &[f32s(&[1, 1, 4, 4], &range(16, 0.0))]);
        assert_eq!(got, want);
        // One channel: both transposes are reshapes.
        assert_eq!(kinds(&special), ["Reshape", "Conv2d", "Reshape"]);
    }
}

#[rustfmt::skip]
const C03_WEIGHTS: [f32; 27] = [
    1., 0., -1., 2., 0., -2., 1., 0., -1.,
    1., 2., 1., 0., 0., 0., -1., -2., -1.,
    0., 1., 0., 1., -4., 1., 0., 1., 0.,
];

#[test]
fn c03_asymmetric_pads_of_a_depthwise_convolution_own_or_separate() {
    let x_values: Vec<f32> =
        (1..=3).flat_map(|c| range(25, 0.0).into_iter().map(move |v| v * c as f32)).collect();
    let x_tensor = f32s(&[1, 3, 5, 5], &x_values);
    let want: Vec<f32> = [-8.0, -80.0, 0.0].iter().flat_map(|&v| [v; 4]).collect();
    let pads = depthwise_tensor::Pad2d { top: 0, left: 0, bottom: 1, right: 1 };
    for separate in [false, true] {
        let mut net = Net::new();
        let mut x = net.input(&[1, 3, 5, 5]);
        let w = net.constant(f32s(&[3, 1, 3, 3], &C03_WEIGHTS));
        if separate {
            let pads = net.constant(ints(&[0, 0, 0, 0, 0, 0, 1, 1]));
            x = net.op(Pad { mode: PadMode::Constant }, &[x, pads]);
        }
        let padding = if separate { Padding::Valid } else { Padding::Explicit(pads) };
        let conv = Conv2d { stride: Hw::square(2), groups: 3, padding, ..Conv2d::default() };
        let y = net.conv_nchw_of(x, conv, w);
        let done_inputs = [x_tensor.clone()];
        let (got, special) = run(&net.output(y), &done_inputs);
        // The 5x5 picture with a pad of 1 at the end has two windows at stride 2 in each direction.
        assert_eq!(got, want, "{special}");
        assert_eq!(kinds(&special), ["Transpose", "DepthwiseConv2d", "Transpose"]);
        let Op::DepthwiseConv2d(conv) = &special.nodes()[1].op else { unreachable!() };
        assert_eq!(conv.padding, Padding::Explicit(pads));
    }
}

#[test]
fn c20_hard_swish_has_the_listed_values() {
    let xs = [-4.0, -3.0, -1.5, 0.0, 1.0, 3.0, 4.0];
    let want = [0.0, 0.0, -0.375, 0.0, 2.0 / 3.0, 3.0, 4.0];
    let mut net = Net::new();
    let x = net.input(&[7, 1]);
    let w = net.constant(f32s(&[1, 1], &[1.0]));
    let y = net.op(Dense { activation: Activation::Identity }, &[x, w]);
    let [three, six] = [3.0, 6.0].map(|v| net.scalar(v));
    let gate = net.binary(BinaryFn::Add, y, three);
    let gate = net.activate(Activation::RELU6, gate);
    let y = net.binary(BinaryFn::Mul, y, gate);
    let y = net.binary(BinaryFn::Div, y, six);
    let (got, special) = run(&net.output(y), &[f32s(&[7, 1], &xs)]);
    assert_eq!(kinds(&special), ["Dense"]);
    for (got, want) in got.iter().zip(want) {
        assert!((got - want).abs() < 1e-6, "{got} for {want}");
    }
}

#[test]
fn c21_clip_of_every_kind_clips() {
    let mut net = Net::new();
    let x = net.input(&[3]);
    let six = net.scalar(6.0);
    let y = net.binary(BinaryFn::Min, x, six);
    let (got, special) = run(&net.output(y), &[f32s(&[3], &[-1.0, 3.0, 9.0])]);
    assert_eq!(got, [-1.0, 3.0, 6.0]);
    assert_eq!(kinds(&special), ["Activate"]);
}

#[test]
fn c23_nodes_in_reverse_order_fold_like_the_clean_model() {
    let mut net = Net::new();
    let x = net.input(&[1, 3, 5, 5]);
    let y = net.conv_nchw(x, Conv2d::default(), [4, 3, 3, 3]);
    let y = net.batch_norm(y, 4, 1);
    let y = net.activate(Activation::RELU6, y);
    let done = optimize(&net.output(y));
    assert_eq!(kinds(&done.special), ["Transpose", "Conv2d", "Transpose"]);
    let Op::Conv2d(conv) = done.op("Conv2d") else { unreachable!() };
    assert_eq!(conv.activation, Activation::RELU6);
}

#[test]
fn c29_nhwc_born_file_keeps_no_transpose() {
    let mut net = Net::new();
    let x = net.free_input(4);
    let y = net.transpose(x, &TO_NCHW);
    let hwio = net.constant(noise(&[3, 3, 3, 8], 1));
    let oihw = net.transpose(hwio, &[3, 2, 0, 1]);
    let conv = Conv2d { stride: Hw::square(2), padding: Padding::all(1), ..Conv2d::default() };
    let y = net.conv_nchw_of(y, conv, oihw);
    let y = net.activate(Activation::RELU6, y);
    let hwio = net.constant(noise(&[3, 3, 8, 1], 2));
    let oihw = net.transpose(hwio, &[2, 3, 0, 1]);
    let conv = Conv2d { padding: Padding::all(1), groups: 8, ..Conv2d::default() };
    let y = net.conv_nchw_of(y, conv, oihw);
    let y = net.global_mean_nchw(y, true);
    let y = net.reshape(y, &[-1, 8]);
    let w = net.constant(noise(&[8, 10], 3));
    let w = net.transpose(w, &[1, 0]);
    let b = net.constant(noise(&[10], 4));
    let y = net.op(Dense { activation: Activation::Identity }, &[y, w, b]);
    let graph = net.output(y);
    let inputs = inputs(&graph, &[&[2, 7, 8, 3]]);
    let done = optimize_with(&graph, &inputs, &PassOptions::default());
    assert_eq!(count(&done.special, "Transpose"), 0, "{}", done.special);
    let want = ["Conv2d", "DepthwiseConv2d", "Reduce", "Reshape", "Dense"];
    assert_eq!(kinds(&done.special), want, "{}", done.special);
}
