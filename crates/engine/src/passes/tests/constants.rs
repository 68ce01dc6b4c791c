use super::*;

#[test]
fn operations_on_constants_are_computed_at_load() {
    let mut net = Net::new();
    let x = net.input(&[2, 3]);
    let a = net.constant(noise(&[3, 4, 2], 1));
    let t = net.transpose(a, &[2, 0, 1]);
    let b = net.constant(noise(&[4], 2));
    let s = net.binary(BinaryFn::Sub, t, b);
    let s = net.op(Reduce { function: ReduceFn::Max, axes: vec![-1], keep_dims: false }, &[s]);
    let y = net.binary(BinaryFn::Mul, x, s);
    let done = optimize_only(&net.output(y), &["fold-constants"]);
    assert_eq!(kinds(&done.prepared), ["Binary"]);
    assert_eq!(done.report.of("fold-constants"), 3);
}

#[test]
fn transposed_constants_meet_the_reference() {
    let perms: [&[usize]; 6] =
        [&[0, 1, 2, 3], &[3, 2, 1, 0], &[0, 2, 3, 1], &[0, 3, 1, 2], &[1, 0, 2, 3], &[2, 3, 0, 1]];
    for perm in perms {
        for dims in [[2, 3, 4, 5], [1, 3, 1, 5], [2, 0, 4, 5], [1, 1, 7, 1], [17, 3, 20, 35]] {
            let floats = noise(&dims, 3);
            for dtype in [DType::F32, DType::F16, DType::I8, DType::F64] {
                let cast = Op::from(Cast { to: dtype });
                let x = cast.layer().reference(&[Some(&floats)]).unwrap().remove(0);
                let transpose = Op::from(Transpose { perm: perm.to_vec() });
                let want = transpose.layer().reference(&[Some(&x)]).unwrap().remove(0);
                let got = crate::passes::fold_constants::transposed(&x, perm).unwrap();
                assert_eq!(got, want, "{dims:?} by {perm:?}");
            }
        }
    }
    let x = noise(&[2, 3], 1);
    assert_eq!(crate::passes::fold_constants::transposed(&x, &[0, 0]), None);
    assert_eq!(crate::passes::fold_constants::transposed(&x, &[0, 2]), None);
}

/// A few numbers in a file must not ask for memory without bound.
#[test]
fn results_much_larger_than_their_operands_are_not_computed() {
    let mut net = Net::new();
    let x = net.input(&[1, 1]);
    let one = net.constant(noise(&[1, 1], 1));
    let shape = net.constant(ints(&[300, 300]));
    let big = net.op(Expand, &[one, shape]);
    let y = net.binary(BinaryFn::Add, x, big);
    expect_untouched(&net.output(y), &["fold-constants"]);
}

#[test]
fn arithmetic_on_extents_is_computed_when_they_are_known() {
    let mut net = Net::new();
    let x = net.free_input(4);
    let extents = net.op(ShapeOf { start: 0, end: None }, &[x]);
    let index = net.constant(Tensor::scalar(0i64));
    let n = net.op(Gather { axis: 0 }, &[extents, index]);
    let n = net.op(Unsqueeze { axes: vec![0] }, &[n]);
    let rest = net.constant(ints(&[-1]));
    let shape = net.op(Concat { axis: 0 }, &[n, rest]);
    let y = net.op(Reshape { allow_zero: false }, &[x, shape]);
    let graph = net.output(y);
    for dims in [[2, 3, 4, 5], [1, 7, 1, 1]] {
        let inputs = inputs(&graph, &[&dims]);
        let done = optimize_with(&graph, &inputs, &PassOptions::default());
        assert_eq!(kinds(&done.special), ["Reshape"]);
        assert!(done.prepared.nodes().len() > 1, "extents are free at load");
    }
}

#[test]
fn output_that_is_constant_keeps_its_name() {
    let mut net = Net::new();
    let x = net.input(&[2, 3]);
    let y = net.op(ShapeOf { start: 0, end: None }, &[x]);
    let z = net.activate(Activation::Tanh, x);
    net.graph.add_output(y);
    let done = optimize(&net.output(z));
    assert_eq!(kinds(&done.special), ["Activate"]);
}

fn expect_identity(dims: &[usize], build: impl Fn(&mut Net, ValueId) -> ValueId, removed: bool) {
    let mut net = Net::new();
    let x = net.input(dims);
    let x = net.activate(Activation::Tanh, x);
    let y = build(&mut net, x);
    let y = net.activate(Activation::Sigmoid, y);
    let done = optimize_only(&net.output(y), &["remove-identities"]);
    let left = done.special.nodes().len() == 2;
    assert_eq!(left, removed, "{}", done.special);
}

#[test]
fn nodes_that_change_nothing_go() {
    let x4 = [2, 3, 4, 5];
    expect_identity(&x4, |net, x| net.activate(Activation::Identity, x), true);
    expect_identity(&x4, |net, x| net.op(Cast { to: DType::F32 }, &[x]), true);
    expect_identity(&x4, |net, x| net.reshape(x, &[2, -1, 0, 5]), true);
    expect_identity(&x4, |net, x| net.transpose(x, &[0, 1, 2, 3]), true);
    expect_identity(&x4, |net, x| net.op(Concat { axis: 1 }, &[x]), true);
    expect_identity(&[2, 3], |net, x| net.op(Flatten { axis: 1 }, &[x]), true);
    expect_identity(&x4, |net, x| net.op(Squeeze { axes: vec![] }, &[x]), true);
    expect_identity(
        &x4,
        |net, x| {
            let [starts, ends] = [[0, -4], [9, 7]].map(|list| net.constant(ints(&list)));
            net.op(Slice, &[x, starts, ends])
        },
        true,
    );
    expect_identity(
        &x4,
        |net, x| {
            let pads = net.constant(ints(&[0; 8]));
            net.op(Pad { mode: PadMode::Reflect }, &[x, pads])
        },
        true,
    );
    expect_identity(
        &x4,
        |net, x| {
            let repeats = net.constant(ints(&[1; 4]));
            net.op(Tile, &[x, repeats])
        },
        true,
    );
    expect_identity(
        &x4,
        |net, x| {
            let shape = net.constant(ints(&[4, 1]));
            net.op(Expand, &[x, shape])
        },
        true,
    );
    for coordinates in [
        Coordinates::HalfPixel,
        Coordinates::PytorchHalfPixel,
        Coordinates::AlignCorners,
        Coordinates::Asymmetric,
        Coordinates::HalfPixelSymmetric,
    ] {
        let mode = ResizeMode::Cubic { a: -0.75, exclude_outside: true };
        expect_identity(
            &x4,
            |net, x| {
                let sizes = net.constant(ints(&[2, 3, 4, 5]));
                net.op(Resize { mode, coordinates }, &[x, sizes])
            },
            true,
        );
    }
    for (function, value, removed) in [
        (BinaryFn::Add, 0.0, true),
        (BinaryFn::Sub, 0.0, true),
        (BinaryFn::Mul, 1.0, true),
        (BinaryFn::Div, 1.0, true),
        (BinaryFn::Mul, 0.0, false),
        (BinaryFn::Pow, 1.0, false),
    ] {
        let build = |net: &mut Net, x| {
            let c = net.constant(f32s(&[1, 1], &[value]));
            net.binary(function, x, c)
        };
        expect_identity(&x4, build, removed);
    }
}

#[test]
fn nodes_that_only_seem_to_change_nothing_stay() {
    let x4 = [2, 3, 4, 5];
    expect_identity(
        &x4,
        |net, x| {
            // Reversed, at the full extent.
            let [starts, ends, axes, steps] =
                [-1, i64::MIN + 1, 1, -1].map(|v| net.constant(ints(&[v])));
            net.op(Slice, &[x, starts, ends, axes, steps])
        },
        false,
    );
    expect_identity(
        &x4,
        |net, x| {
            // floor(5 * 1.1) is 5, but the samples are taken elsewhere.
            let scales = net.constant(f32s(&[4], &[1.0, 1.0, 1.0, 1.1]));
            let coordinates = Coordinates::HalfPixel;
            let resize = Resize { mode: ResizeMode::Linear, coordinates };
            let inputs = [Some(x), None, Some(scales)];
            net.graph.add_node("resize", resize, &inputs, &["resize"])[0]
        },
        false,
    );
    expect_identity(
        &[5],
        |net, x| {
            // A neutral constant that adds an axis.
            let one = net.constant(f32s(&[1, 1], &[1.0]));
            net.binary(BinaryFn::Mul, x, one)
        },
        false,
    );
    expect_identity(
        &[5],
        |net, x| {
            let zero = net.scalar(0.0);
            net.binary(BinaryFn::Sub, zero, x)
        },
        false,
    );
}

#[test]
fn equal_nodes_and_constants_are_shared() {
    let mut net = Net::new();
    let x = net.input(&[2, 3]);
    let parts: Vec<ValueId> = (0..2)
        .map(|_| {
            let c = net.constant(f32s(&[3], &[1.0, 2.0, 3.0]));
            let y = net.binary(BinaryFn::Mul, x, c);
            net.activate(Activation::Tanh, y)
        })
        .collect();
    let y = net.binary(BinaryFn::Sub, parts[0], parts[1]);
    let done = optimize_only(&net.output(y), &["share-subexpressions"]);
    assert_eq!(kinds(&done.special), ["Binary", "Activate", "Binary"]);
}

#[test]
fn equal_outputs_keep_their_two_names() {
    let mut net = Net::new();
    let x = net.input(&[2, 3]);
    let a = net.activate(Activation::Tanh, x);
    let b = net.activate(Activation::Tanh, x);
    net.graph.add_output(a);
    let done = optimize(&net.output(b));
    assert_eq!(kinds(&done.special), ["Activate", "Activate"]);
}

#[test]
fn reshapes_in_a_row_become_one() {
    let mut net = Net::new();
    let x = net.free_input(4);
    let y = net.op(Unsqueeze { axes: vec![0] }, &[x]);
    // Copies an extent of its input, so it waits for extents; the next one does not.
    let y = net.reshape(y, &[0, 2, -1]);
    let y = net.reshape(y, &[3, -1]);
    let y = net.op(Flatten { axis: 0 }, &[y]);
    let graph = net.output(y);
    let inputs = inputs(&graph, &[&[2, 3, 4, 5]]);
    let done = optimize_with(&graph, &inputs, &only(&["merge-reshapes"]));
    assert_eq!(kinds(&done.prepared), ["Reshape", "Flatten"], "{}", done.prepared);
    assert_eq!(kinds(&done.special), ["Reshape"]);
}
