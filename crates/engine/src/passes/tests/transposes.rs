use super::*;

const PUSH: &[&str] = &["push-transposes", "fold-constants"];

/// An NHWC input behind a Transpose to NCHW, an operation, and a Transpose back, which must meet.
fn expect_absorbed(build: impl Fn(&mut Net, ValueId) -> ValueId, back: &[usize]) {
    let mut net = Net::new();
    let x = net.input(&[2, 3, 4, 5]);
    let y = net.transpose(x, &TO_NCHW);
    let y = build(&mut net, y);
    let y = if back.is_empty() { y } else { net.transpose(y, back) };
    // A node of its own before the output, which is never renamed away.
    let one = net.input(&[1]);
    let y = net.binary(BinaryFn::Add, y, one);
    let graph = net.output(y);
    let inputs = inputs(&graph, &[]);
    let done = optimize_with(&graph, &inputs, &only(PUSH));
    assert_eq!(count(&done.special, "Transpose"), 0, "{}", done.special);
}

#[test]
fn each_operation_reads_the_untransposed_tensor() {
    let list = |net: &mut Net, values: &[i64]| net.constant(ints(values));
    expect_absorbed(|net, x| net.activate(Activation::Tanh, x), &TO_NHWC);
    expect_absorbed(|net, x| net.op(Unary { function: UnaryFn::Abs }, &[x]), &TO_NHWC);
    expect_absorbed(|net, x| net.op(Softmax { axis: 1, log: false }, &[x]), &TO_NHWC);
    expect_absorbed(|net, x| net.op(Softmax { axis: -1, log: true }, &[x]), &TO_NHWC);
    expect_absorbed(|net, x| net.batch_norm(x, 5, 1), &TO_NHWC);
    expect_absorbed(|net, x| net.batch_norm(x, 4, -1), &TO_NHWC);
    expect_absorbed(
        |net, x| {
            let [starts, ends] = [[1, 4], [0, 1]].map(|v| list(net, &v));
            let [axes, steps] = [[3, 1], [-1, -2]].map(|v| list(net, &v));
            net.op(Slice, &[x, ends, starts, axes, steps].map(|v| v))
        },
        &TO_NHWC,
    );
    expect_absorbed(
        |net, x| {
            let [starts, ends] = [[0, 1, 2], [1, 4, 3]].map(|v| list(net, &v));
            net.op(Slice, &[x, starts, ends])
        },
        &TO_NHWC,
    );
    expect_absorbed(
        |net, x| {
            let pads = list(net, &[0, 1, 2, 0, 0, 0, 1, 3]);
            let value = net.scalar(0.5);
            net.op(Pad { mode: PadMode::Constant }, &[x, pads, value])
        },
        &TO_NHWC,
    );
    expect_absorbed(
        |net, x| {
            let (pads, axes) = (list(net, &[1, 2]), list(net, &[-1]));
            let inputs = [Some(x), Some(pads), None, Some(axes)];
            net.graph.add_node("pad", Pad { mode: PadMode::Edge }, &inputs, &["pad"])[0]
        },
        &TO_NHWC,
    );
    expect_absorbed(
        |net, x| {
            let sizes = list(net, &[2, 5, 6, 7]);
            let coordinates = Coordinates::AlignCorners;
            net.op(Resize { mode: ResizeMode::Linear, coordinates }, &[x, sizes])
        },
        &TO_NHWC,
    );
    expect_absorbed(
        |net, x| {
            let scales = net.constant(f32s(&[4], &[1.0, 1.0, 2.0, 1.5]));
            let mode = ResizeMode::Nearest(NearestRounding::Floor);
            let resize = Resize { mode, coordinates: Coordinates::Asymmetric };
            let inputs = [Some(x), None, Some(scales)];
            net.graph.add_node("resize", resize, &inputs, &["resize"])[0]
        },
        &TO_NHWC,
    );
    expect_absorbed(
        |net, x| {
            let repeats = list(net, &[1, 2, 1, 3]);
            net.op(Tile, &[x, repeats])
        },
        &TO_NHWC,
    );
    expect_absorbed(
        |net, x| {
            let shape = list(net, &[2, 5, 3, 4]);
            net.op(Expand, &[x, shape])
        },
        &TO_NHWC,
    );
    expect_absorbed(
        |net, x| {
            let slope = net.constant(noise(&[5, 1, 1], 3));
            net.op(PRelu, &[x, slope])
        },
        &TO_NHWC,
    );
    expect_absorbed(
        |net, x| {
            let c = net.constant(noise(&[5, 1, 4], 3));
            net.binary(BinaryFn::Sub, c, x)
        },
        &TO_NHWC,
    );
    expect_absorbed(
        |net, x| {
            let zero = net.scalar(0.0);
            let mask = net.binary(BinaryFn::Greater, x, zero);
            let other = net.constant(noise(&[5, 3, 4], 3));
            net.op(Select, &[mask, x, other])
        },
        &TO_NHWC,
    );
    expect_absorbed(
        |net, x| {
            let c = net.constant(noise(&[2, 1, 3, 4], 3));
            net.op(Concat { axis: 1 }, &[x, c, x])
        },
        &TO_NHWC,
    );
    expect_absorbed(
        |net, x| {
            let indices = list(net, &[4, 0, -1]);
            net.op(Gather { axis: 1 }, &[x, indices])
        },
        &TO_NHWC,
    );
}

#[test]
fn operations_that_drop_or_add_axes_read_the_untransposed_tensor() {
    let reduce =
        |axes: &[i64], keep_dims| Reduce { function: ReduceFn::Sum, axes: axes.into(), keep_dims };
    expect_absorbed(|net, x| net.op(reduce(&[2, 3], true), &[x]), &TO_NHWC);
    expect_absorbed(|net, x| net.op(reduce(&[1], true), &[x]), &TO_NHWC);
    expect_absorbed(|net, x| net.op(reduce(&[-1, 2], false), &[x]), &[]);
    expect_absorbed(|net, x| net.op(reduce(&[1], false), &[x]), &[]);
    expect_absorbed(|net, x| net.op(reduce(&[2], false), &[x]), &[0, 2, 1]);
    expect_absorbed(|net, x| net.op(reduce(&[], false), &[x]), &[]);
    expect_absorbed(|net, x| net.op(reduce(&[], true), &[x]), &TO_NHWC);
    let extreme = |keep_dims| ArgExtreme { largest: true, axis: 1, keep_dims, select_last: false };
    let float = |net: &mut Net, x| net.op(Cast { to: DType::F32 }, &[x]);
    expect_absorbed(
        |net, x| {
            let y = net.op(extreme(true), &[x]);
            float(net, y)
        },
        &TO_NHWC,
    );
    expect_absorbed(
        |net, x| {
            let y = net.op(extreme(false), &[x]);
            float(net, y)
        },
        &[],
    );
    expect_absorbed(
        |net, x| {
            let index = net.constant(Tensor::scalar(2i64));
            net.op(Gather { axis: 1 }, &[x, index])
        },
        &[],
    );
    expect_absorbed(
        |net, x| {
            let y = net.op(reduce(&[2], true), &[x]);
            let y = net.op(Squeeze { axes: vec![2] }, &[y]);
            net.op(Unsqueeze { axes: vec![-1, 0] }, &[y])
        },
        &[0, 1, 3, 2, 4],
    );
    expect_absorbed(
        |net, x| {
            let outputs = ["a", "b"];
            let split = Split { axis: 1, parts: SplitParts::Sizes(vec![2, 3]) };
            let parts = net.graph.add_node("split", split, &[Some(x)], &outputs);
            let sum = |net: &mut Net, v| net.op(reduce(&[1], true), &[v]);
            let (a, b) = (sum(net, parts[0]), sum(net, parts[1]));
            net.binary(BinaryFn::Mul, a, b)
        },
        &TO_NHWC,
    );
}

#[test]
fn extents_are_asked_of_the_untransposed_tensor() {
    for (start, end) in [(0, None), (1, Some(3)), (-1, None), (-3, Some(-1))] {
        let mut net = Net::new();
        let x = net.free_input(4);
        let y = net.transpose(x, &TO_NCHW);
        let y = net.op(ShapeOf { start, end }, &[y]);
        let graph = net.output(y);
        let inputs = inputs(&graph, &[&[2, 3, 4, 5]]);
        let mut prepared = graph.clone();
        prepare(&mut prepared, &only(PUSH));
        assert_eq!(count(&prepared, "Transpose"), 0, "{prepared}");
        expect_equal(
            &interpret(&graph, &inputs).unwrap(),
            &interpret(&prepared, &inputs).unwrap(),
            &prepared,
        );
    }
}

#[test]
fn transposes_in_a_row_become_one_or_none() {
    let mut net = Net::new();
    let x = net.input(&[2, 3, 4, 5]);
    let y = net.transpose(x, &TO_NHWC);
    let y = net.transpose(y, &[1, 0, 2, 3]);
    let y = net.transpose(y, &[3, 1, 0, 2]);
    let done = optimize_only(&net.output(y), &["push-transposes"]);
    assert_eq!(kinds(&done.special), ["Transpose"]);
}

/// A graph input and a graph output cannot be one value of two names.
#[test]
fn input_transposed_forth_and_back_stays_apart_from_the_output() {
    let mut net = Net::new();
    let x = net.input(&[2, 3, 4, 5]);
    let y = net.transpose(x, &TO_NHWC);
    let y = net.transpose(y, &TO_NCHW);
    let done = optimize(&net.output(y));
    assert_eq!(done.special.nodes().len(), 1, "{}", done.special);
}

#[test]
fn transpose_that_moves_only_ones_is_a_reshape() {
    let mut net = Net::new();
    let x = net.free_input(4);
    let y = net.transpose(x, &TO_NHWC);
    let graph = net.output(y);
    let inputs = inputs(&graph, &[&[2, 1, 4, 5]]);
    let done = optimize_with(&graph, &inputs, &PassOptions::default());
    assert_eq!(kinds(&done.prepared), ["Transpose"]);
    assert_eq!(kinds(&done.special), ["Reshape"]);
}

/// A sum with a tensor that is not transposed: one Transpose either way, so nothing changes.
#[test]
fn other_operand_is_not_transposed_without_need() {
    let mut net = Net::new();
    let x = net.input(&[2, 3, 4, 5]);
    let other = net.input(&[2, 5, 3, 4]);
    let y = net.transpose(x, &TO_NCHW);
    let y = net.binary(BinaryFn::Add, y, other);
    expect_untouched(&net.output(y), &["push-transposes"]);
}

/// The same sum before a Transpose back: one Transpose instead of two.
#[test]
fn other_operand_is_transposed_where_the_sum_is_transposed_back() {
    let mut net = Net::new();
    let x = net.input(&[2, 3, 4, 5]);
    let other = net.input(&[2, 5, 3, 4]);
    let y = net.transpose(x, &TO_NCHW);
    let y = net.binary(BinaryFn::Add, other, y);
    let y = net.activate(Activation::RELU, y);
    let y = net.transpose(y, &TO_NHWC);
    let y = net.pointwise(y, 2, 5);
    let done = optimize_only(&net.output(y), &["push-transposes"]);
    assert_eq!(kinds(&done.special), ["Transpose", "Binary", "Activate", "Conv2d"]);
}

/// Pushing through both readers would make two Transposes of one.
#[test]
fn transpose_with_two_readers_is_not_doubled() {
    let mut net = Net::new();
    let x = net.input(&[2, 3, 4, 5]);
    let t = net.transpose(x, &TO_NCHW);
    let a = net.activate(Activation::Tanh, t);
    let b = net.activate(Activation::Sigmoid, t);
    net.graph.add_output(a);
    let done = optimize_only(&net.output(b), &["push-transposes"]);
    assert_eq!(count(&done.special, "Transpose"), 1);
}

/// A picture flattened to C,HW that one reader transposes and another normalizes over C.
#[test]
fn flattened_picture_with_several_readers_stays_in_nhwc() {
    let mut net = Net::new();
    let x = net.free_input(4);
    let y = net.conv_nchw(x, Conv2d::default(), [6, 3, 1, 1]);
    let y = net.reshape(y, &[0, 6, -1]);
    let shortcut = net.transpose(y, &[0, 2, 1]);
    let mean = net.op(Reduce { function: ReduceFn::Mean, axes: vec![1], keep_dims: true }, &[y]);
    let y = net.binary(BinaryFn::Sub, y, mean);
    let y = net.transpose(y, &[0, 2, 1]);
    let w = net.constant(noise(&[6, 6], 4));
    let y = net.op(Dense { activation: Activation::Identity }, &[y, w]);
    let y = net.binary(BinaryFn::Add, shortcut, y);
    let graph = net.output(y);
    let inputs = inputs(&graph, &[&[2, 3, 2, 5]]);
    let options = PassOptions::default();
    let done = optimize_with(&graph, &inputs, &options);
    assert_eq!(count(&done.special, "Transpose"), 1, "{}", done.special);
}

#[test]
fn attention_heads_keep_only_their_own_transposes() {
    // N,C,H,W -> N,HW,C -> heads -> q k^T -> back: two for the heads, one for k.
    let mut net = Net::new();
    let x = net.free_input(4);
    let y = net.conv_nchw(x, Conv2d::default(), [6, 3, 1, 1]);
    let y = net.op(Flatten { axis: 2 }, &[y]);
    let y = net.reshape(y, &[2, 6, -1]);
    let y = net.transpose(y, &[0, 2, 1]);
    let y = net.reshape(y, &[2, -1, 2, 3]);
    let q = net.transpose(y, &[0, 2, 1, 3]);
    let k = net.transpose(q, &[0, 1, 3, 2]);
    let weights = net.op(MatMul, &[q, k]);
    let weights = net.op(Softmax { axis: -1, log: false }, &[weights]);
    let v = net.op(MatMul, &[weights, q]);
    let v = net.transpose(v, &[0, 2, 1, 3]);
    let v = net.reshape(v, &[2, -1, 6]);
    let graph = net.output(v);
    let inputs = inputs(&graph, &[&[2, 3, 2, 5]]);
    let done = optimize_with(&graph, &inputs, &PassOptions::default());
    // The input's, q, k and the one back.
    assert_eq!(count(&done.special, "Transpose"), 4, "{}", done.special);
}
