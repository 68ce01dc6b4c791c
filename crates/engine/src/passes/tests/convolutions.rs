use super::*;
use depthwise_tensor::Pad2d;

fn picture() -> (Net, ValueId) {
    let mut net = Net::new();
    let x = net.input(&[2, 6, 7, 4]);
    (net, x)
}

fn padded_by_one() -> Conv2d {
    Conv2d { padding: Padding::all(1), ..Conv2d::default() }
}

#[test]
fn grouped_convolution_with_one_channel_per_group_is_depthwise() {
    for multiplier in [1, 3] {
        let (mut net, x) = picture();
        let conv = Conv2d { groups: 4, stride: Hw { h: 2, w: 1 }, ..padded_by_one() };
        let w = net.constant(noise(&[4 * multiplier, 3, 3, 1], 5));
        let b = net.constant(noise(&[4 * multiplier], 6));
        let y = net.op(conv, &[x, w, b]);
        let done = optimize_only(&net.output(y), &["depthwise-from-grouped"]);
        assert_eq!(kinds(&done.special), ["DepthwiseConv2d"]);
        let weights = done.prepared.nodes()[0].inputs[1].unwrap();
        let shape = done.prepared.constant(weights).unwrap().shape().dims().to_vec();
        assert_eq!(shape, [3, 3, 4 * multiplier]);
    }
}

#[test]
fn other_grouped_convolutions_stay() {
    let (mut net, x) = picture();
    let y = net.conv(x, Conv2d { groups: 2, ..Conv2d::default() }, [6, 1, 1, 2]);
    expect_untouched(&net.output(y), &["depthwise-from-grouped"]);
    let mut net = Net::new();
    let x = net.input(&[1, 4, 4, 1]);
    let y = net.pointwise(x, 3, 1);
    expect_untouched(&net.output(y), &["depthwise-from-grouped"]);
}

#[test]
fn product_with_a_constant_matrix_is_a_dense_layer_with_bias() {
    let mut net = Net::new();
    let x = net.input(&[2, 3, 5]);
    let b = net.constant(noise(&[5, 7], 1));
    let bias = net.constant(noise(&[7], 2));
    let y = net.op(MatMul, &[x, b]);
    let y = net.binary(BinaryFn::Add, bias, y);
    let y = net.activate(Activation::RELU, y);
    let done = optimize(&net.output(y));
    assert_eq!(kinds(&done.special), ["Dense"]);
    assert_eq!(done.special.nodes()[0].inputs.len(), 3);
}

#[test]
fn product_with_a_computed_or_batched_matrix_stays() {
    let mut net = Net::new();
    let x = net.input(&[2, 3, 5]);
    let b = net.constant(noise(&[2, 5, 7], 1));
    let y = net.op(MatMul, &[x, b]);
    expect_untouched(&net.output(y), &["dense-from-matmul"]);
    let mut net = Net::new();
    let (x, b) = (net.input(&[3, 5]), net.input(&[5, 7]));
    let y = net.op(MatMul, &[x, b]);
    expect_untouched(&net.output(y), &["dense-from-matmul"]);
}

#[test]
fn normalization_folds_into_each_kind_of_layer() {
    let (mut net, x) = picture();
    let y = net.conv(x, Conv2d { groups: 2, ..padded_by_one() }, [6, 3, 3, 2]);
    let y = net.batch_norm(y, 6, -1);
    let w = net.constant(noise(&[3, 3, 12], 8));
    let b = net.constant(noise(&[12], 9));
    let y = net.op(DepthwiseConv2d::default(), &[y, w, b]);
    let y = net.batch_norm(y, 12, 3);
    let w = net.constant(noise(&[5, 12], 10));
    let y = net.op(Dense { activation: Activation::Identity }, &[y, w]);
    let y = net.batch_norm(y, 5, -1);
    let done = optimize_only(&net.output(y), &["fold-batch-norm"]);
    assert_eq!(kinds(&done.prepared), ["Conv2d", "DepthwiseConv2d", "Dense"]);
}

fn halves(dims: &[usize], seed: u64) -> Tensor {
    let values = noise(dims, seed);
    let halves: Vec<half::f16> =
        values.to_f32().iter().map(|&v| half::f16::from_f32(v.abs())).collect();
    Tensor::from_slice(dims, &halves).unwrap()
}

#[test]
fn weights_stored_in_half_precision_are_folded_in_single() {
    let (mut net, x) = picture();
    let w = net.constant(halves(&[5, 1, 1, 4], 3));
    let w = net.op(Cast { to: DType::F32 }, &[w]);
    let y = net.op(Conv2d::default(), &[x, w]);
    let y = net.batch_norm(y, 5, -1);
    let done = optimize(&net.output(y));
    assert_eq!(kinds(&done.prepared), ["Conv2d"]);
    let weights = done.prepared.nodes()[0].inputs[1].unwrap();
    assert_eq!(done.prepared.constant(weights).unwrap().dtype(), DType::F32);
}

#[test]
fn network_that_runs_in_half_precision_is_not_rescaled() {
    let (mut net, x) = picture();
    let x = net.op(Cast { to: DType::F16 }, &[x]);
    let w = net.constant(halves(&[5, 1, 1, 4], 3));
    let y = net.op(Conv2d::default(), &[x, w]);
    let list: Vec<ValueId> = (0..4).map(|seed| net.constant(halves(&[5], seed))).collect();
    let y = net.op(BatchNorm { epsilon: 1e-3, axis: -1 }, &[y, list[0], list[1], list[2], list[3]]);
    let y = net.binary(BinaryFn::Mul, y, list[0]);
    expect_untouched(&net.output(y), &["fold-batch-norm", "fold-channel-affine"]);
}

#[test]
fn normalization_stays_where_the_convolution_is_read_elsewhere_or_active() {
    let (mut net, x) = picture();
    let y = net.pointwise(x, 5, 4);
    let z = net.batch_norm(y, 5, -1);
    net.graph.add_output(y);
    expect_untouched(&net.output(z), &["fold-batch-norm", "fold-channel-affine"]);

    let (mut net, x) = picture();
    let conv = Conv2d { activation: Activation::RELU, ..Conv2d::default() };
    let y = net.conv(x, conv, [5, 1, 1, 4]);
    let y = net.batch_norm(y, 5, -1);
    expect_untouched(&net.output(y), &["fold-batch-norm"]);

    let (mut net, x) = picture();
    let y = net.pointwise(x, 5, 4);
    let z = net.binary(BinaryFn::Mul, y, y);
    expect_untouched(&net.output(z), &["fold-channel-affine"]);
}

#[test]
fn normalization_of_another_axis_stays_until_it_is_lowered() {
    let (mut net, x) = picture();
    let y = net.pointwise(x, 5, 4);
    let y = net.batch_norm(y, 6, 1);
    let done = optimize(&net.output(y));
    assert_eq!(kinds(&done.special), ["Conv2d", "Binary", "Binary"]);
}

#[test]
fn normalization_without_a_layer_before_becomes_product_and_sum() {
    let mut net = Net::new();
    let x = net.free_input(4);
    let y = net.batch_norm(x, 3, 1);
    let graph = net.output(y);
    let inputs = inputs(&graph, &[&[2, 3, 4, 5]]);
    let done = optimize_with(&graph, &inputs, &PassOptions::default());
    assert_eq!(kinds(&done.special), ["Binary", "Binary"]);
}

#[test]
fn arithmetic_with_channel_constants_folds_into_the_layer() {
    let (mut net, x) = picture();
    let mut y = net.pointwise(x, 5, 4);
    let c = net.constant(noise(&[5], 20));
    y = net.binary(BinaryFn::Mul, y, c);
    let c = net.constant(noise(&[1, 1, 1, 5], 21));
    y = net.binary(BinaryFn::Add, c, y);
    let c = net.scalar(255.0);
    y = net.binary(BinaryFn::Div, y, c);
    let c = net.constant(noise(&[1, 5], 22));
    y = net.binary(BinaryFn::Sub, c, y);
    y = net.binary(BinaryFn::Sub, y, c);
    let done = optimize_only(&net.output(y), &["fold-channel-affine"]);
    assert_eq!(kinds(&done.prepared), ["Conv2d"], "{}", done.prepared);
}

#[test]
fn constants_along_other_axes_or_in_the_divisor_stay() {
    let cases: [(&[usize], BinaryFn, bool); 5] = [
        (&[7, 1], BinaryFn::Add, false),
        (&[2, 1, 1, 5], BinaryFn::Mul, false),
        (&[1, 1, 1, 1, 5], BinaryFn::Add, false),
        (&[5], BinaryFn::Div, true),
        (&[5], BinaryFn::Pow, false),
    ];
    for (dims, function, swapped) in cases {
        let (mut net, x) = picture();
        let y = net.pointwise(x, 5, 4);
        let c = net.constant(noise(dims, 20));
        let (a, b) = if swapped { (c, y) } else { (y, c) };
        let y = net.binary(function, a, b);
        expect_untouched(&net.output(y), &["fold-channel-affine"]);
    }
    // A factor of zero in the divisor makes infinite weights.
    let (mut net, x) = picture();
    let y = net.pointwise(x, 2, 4);
    let c = net.constant(f32s(&[2], &[1.0, 0.0]));
    let y = net.binary(BinaryFn::Div, y, c);
    expect_untouched(&net.output(y), &["fold-channel-affine"]);
}

#[test]
fn arithmetic_before_a_layer_folds_into_it() {
    let padded = DepthwiseConv2d { padding: Padding::all(1), ..DepthwiseConv2d::default() };
    let (mut net, x) = picture();
    let c = net.constant(noise(&[4], 20));
    let y = net.binary(BinaryFn::Mul, c, x);
    let y = net.conv(y, Conv2d { groups: 2, ..padded_by_one() }, [6, 3, 3, 2]);
    let y = net.activate(Activation::HardSwish, y);
    let c = net.constant(noise(&[1, 1, 1, 6], 21));
    let y = net.binary(BinaryFn::Sub, c, y);
    let w = net.constant(noise(&[3, 2, 12], 8));
    let b = net.constant(noise(&[12], 9));
    let y = net.op(DepthwiseConv2d::default(), &[y, w, b]);
    let y = net.activate(Activation::HardSwish, y);
    let c = net.scalar(255.0);
    let y = net.binary(BinaryFn::Div, y, c);
    let w = net.constant(noise(&[3, 3, 24], 8));
    let y = net.op(padded, &[y, w]);
    let y = net.activate(Activation::HardSwish, y);
    let [scale, shift] = [0.75, 0.5].map(|c| net.constant(f32s(&[1], &[c])));
    let y = net.binary(BinaryFn::Mul, y, scale);
    let y = net.binary(BinaryFn::Add, shift, y);
    let w = net.constant(noise(&[5, 24], 10));
    let y = net.op(Dense { activation: Activation::Identity }, &[y, w]);
    let done = optimize(&net.output(y));
    let want = ["Conv2d", "DepthwiseConv2d", "DepthwiseConv2d", "Dense"];
    assert_eq!(kinds(&done.prepared), want, "{}", done.prepared);
    assert_eq!(done.report.of("fold-input-affine"), 4);
}

#[test]
fn offset_before_padding_and_values_read_elsewhere_stay() {
    for padding in [Padding::all(1), Padding::Same] {
        let (mut net, x) = picture();
        let c = net.scalar(0.5);
        let y = net.binary(BinaryFn::Add, x, c);
        let y = net.conv(y, Conv2d { padding, ..Conv2d::default() }, [2, 3, 3, 4]);
        expect_untouched(&net.output(y), &["fold-input-affine"]);
    }
    let (mut net, x) = picture();
    let c = net.scalar(0.5);
    let y = net.binary(BinaryFn::Mul, x, c);
    net.graph.add_output(y);
    let y = net.pointwise(y, 2, 4);
    expect_untouched(&net.output(y), &["fold-input-affine"]);
    // A constant that makes four channels of one, and one that varies from column to column.
    for (channels, dims) in [(1, vec![4]), (4, vec![7, 1])] {
        let mut net = Net::new();
        let x = net.input(&[2, 6, 7, channels]);
        let c = net.constant(noise(&dims, 3));
        let y = net.binary(BinaryFn::Mul, x, c);
        let y = net.pointwise(y, 2, 4);
        expect_untouched(&net.output(y), &["fold-input-affine"]);
    }
}

fn pad(net: &mut Net, x: ValueId, pads: &[i64], value: f32) -> ValueId {
    let pads = net.constant(ints(pads));
    let value = net.scalar(value);
    net.op(Pad { mode: PadMode::Constant }, &[x, pads, value])
}

#[test]
fn border_of_zeros_moves_into_the_window() {
    let (mut net, x) = picture();
    let y = pad(&mut net, x, &[0, 0, 1, 0, 0, 2, 0, 0], 0.0);
    let y = net.conv(y, padded_by_one(), [5, 3, 3, 4]);
    let done = optimize_only(&net.output(y), &["fold-pad"]);
    assert_eq!(kinds(&done.special), ["Conv2d"]);
    let Op::Conv2d(conv) = done.op("Conv2d") else { unreachable!() };
    let want = Pad2d { top: 1, left: 2, bottom: 3, right: 1 };
    assert_eq!(conv.padding, Padding::Explicit(want));
}

#[test]
fn border_of_an_nchw_picture_moves_across_the_transpose() {
    let mut net = Net::new();
    let x = net.input(&[1, 3, 5, 6]);
    let y = pad(&mut net, x, &[0, 0, 1, 2, 0, 0, 3, 0], 0.0);
    let y = net.transpose(y, &TO_NHWC);
    let y = net.conv(y, Conv2d::default(), [5, 3, 3, 3]);
    let done = optimize(&net.output(y));
    assert_eq!(kinds(&done.special), ["Transpose", "Conv2d"]);
    let Op::Conv2d(conv) = done.op("Conv2d") else { unreachable!() };
    let want = Pad2d { top: 1, left: 2, bottom: 3, right: 0 };
    assert_eq!(conv.padding, Padding::Explicit(want));
}

#[test]
fn border_before_an_average_pool_counts_in_its_divisor() {
    let pool = |include_pad, padding| Pool2d {
        kind: PoolKind::Average { include_pad },
        kernel: Hw::square(3),
        stride: Hw::square(2),
        dilation: Hw::ONE,
        padding,
        ceil_mode: false,
    };
    for (include_pad, padding) in [(false, Padding::Valid), (true, Padding::all(1))] {
        let (mut net, x) = picture();
        let y = pad(&mut net, x, &[0, 1, 0, 0, 0, 1, 1, 0], 0.0);
        let y = net.op(pool(include_pad, padding), &[y]);
        let done = optimize_only(&net.output(y), &["fold-pad"]);
        assert_eq!(kinds(&done.special), ["Pool2d"]);
    }
    let unlike: [Pool2d; 3] = [
        pool(false, Padding::all(1)),
        Pool2d { kind: PoolKind::Max, ..pool(true, Padding::Valid) },
        Pool2d { ceil_mode: true, ..pool(true, Padding::Valid) },
    ];
    for pool in unlike {
        let (mut net, x) = picture();
        let y = pad(&mut net, x, &[0, 1, 0, 0, 0, 1, 1, 0], 0.0);
        let y = net.op(pool, &[y]);
        expect_untouched(&net.output(y), &["fold-pad"]);
    }
}

#[test]
fn other_borders_stay() {
    let cases: [(&[i64], f32, Padding); 4] = [
        (&[0, 1, 1, 0, 0, 1, 1, 0], 0.5, Padding::Valid),
        (&[0, 1, 1, 1, 0, 1, 1, 0], 0.0, Padding::Valid),
        (&[0, -1, 1, 0, 0, 1, 1, 0], 0.0, Padding::Valid),
        (&[0, 1, 1, 0, 0, 1, 1, 0], 0.0, Padding::Same),
    ];
    for (pads, value, padding) in cases {
        let (mut net, x) = picture();
        let channels = if pads[3] == 1 { 5 } else { 4 };
        let y = pad(&mut net, x, pads, value);
        let y = net.conv(y, Conv2d { padding, ..Conv2d::default() }, [2, 3, 3, channels]);
        expect_untouched(&net.output(y), &["fold-pad"]);
    }
    let (mut net, x) = picture();
    let pads = net.constant(ints(&[0, 1, 1, 0, 0, 1, 1, 0]));
    let y = net.op(Pad { mode: PadMode::Reflect }, &[x, pads]);
    let y = net.conv(y, Conv2d::default(), [2, 3, 3, 4]);
    expect_untouched(&net.output(y), &["fold-pad"]);
}

#[test]
fn shortcut_becomes_the_residual_of_the_convolution() {
    let (mut net, x) = picture();
    let y = net.pointwise(x, 4, 4);
    let y = net.binary(BinaryFn::Add, x, y);
    let y = net.activate(Activation::RELU, y);
    let done = optimize(&net.output(y));
    assert_eq!(kinds(&done.special), ["Conv2d"]);
    let conv = &done.special.nodes()[0];
    assert_eq!(conv.inputs[3], Some(done.special.inputs()[0]));
    let Op::Conv2d(conv) = &conv.op else { unreachable!() };
    assert_eq!(conv.activation, Activation::RELU);
}

#[test]
fn later_of_two_convolutions_takes_the_residual() {
    let (mut net, x) = picture();
    let shortcut = net.pointwise(x, 5, 4);
    let y = net.activate(Activation::Tanh, x);
    let y = net.pointwise(y, 5, 4);
    let y = net.binary(BinaryFn::Add, y, shortcut);
    let done = optimize_only(&net.output(y), &["fuse-residual"]);
    assert_eq!(kinds(&done.special), ["Conv2d", "Activate", "Conv2d"]);
    assert_eq!(done.special.nodes()[2].inputs[3], Some(done.special.nodes()[0].outputs[0]));
}

#[test]
fn sums_that_are_no_residuals_stay() {
    // Broadcast.
    let (mut net, x) = picture();
    let y = net.pointwise(x, 4, 4);
    let small = net.input(&[1, 1, 1, 4]);
    let y = net.binary(BinaryFn::Add, y, small);
    expect_untouched(&net.output(y), &["fuse-residual"]);
    // Depthwise.
    let (mut net, x) = picture();
    let w = net.constant(noise(&[1, 1, 4], 3));
    let y = net.op(DepthwiseConv2d::default(), &[x, w]);
    let y = net.binary(BinaryFn::Add, y, x);
    expect_untouched(&net.output(y), &["fuse-residual"]);
    // Read twice.
    let (mut net, x) = picture();
    let y = net.pointwise(x, 4, 4);
    let y = net.binary(BinaryFn::Add, y, y);
    expect_untouched(&net.output(y), &["fuse-residual"]);
    // An activation in between, another function.
    let (mut net, x) = picture();
    let conv = Conv2d { activation: Activation::RELU, ..Conv2d::default() };
    let y = net.conv(x, conv, [4, 1, 1, 4]);
    let y = net.binary(BinaryFn::Add, y, x);
    expect_untouched(&net.output(y), &["fuse-residual"]);
    let (mut net, x) = picture();
    let y = net.pointwise(x, 4, 4);
    let y = net.binary(BinaryFn::Sub, y, x);
    expect_untouched(&net.output(y), &["fuse-residual"]);
}

#[test]
fn residual_and_normalization_do_not_get_into_each_others_way() {
    let (mut net, x) = picture();
    let y = net.pointwise(x, 4, 4);
    let y = net.batch_norm(y, 4, -1);
    let y = net.binary(BinaryFn::Add, y, x);
    let z = net.pointwise(y, 4, 4);
    let z = net.batch_norm(z, 4, -1);
    let z = net.binary(BinaryFn::Add, y, z);
    let done = optimize(&net.output(z));
    assert_eq!(kinds(&done.special), ["Conv2d", "Conv2d"]);
}
