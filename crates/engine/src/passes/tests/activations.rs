use super::*;

type Build = fn(&mut Net, ValueId) -> ValueId;

fn conv_then(build: Build) -> Graph {
    let mut net = Net::new();
    let x = net.input(&[1, 3, 4, 3]);
    let y = net.pointwise(x, 5, 3);
    let y = build(&mut net, y);
    net.output(y)
}

fn expect_one_conv(name: &str, build: Build, want: Activation) {
    let done = optimize(&conv_then(build));
    assert_eq!(kinds(&done.special), ["Conv2d"], "{name}: {}", done.special);
    let Op::Conv2d(conv) = done.op("Conv2d") else { unreachable!() };
    assert_eq!(conv.activation, want, "{name}");
}

fn shifted_clip(net: &mut Net, x: ValueId) -> ValueId {
    let three = net.scalar(3.0);
    let y = net.binary(BinaryFn::Add, x, three);
    net.activate(Activation::RELU6, y)
}

#[test]
fn hard_swish_in_every_spelling_becomes_part_of_the_convolution() {
    let spellings: [(&str, Build); 9] = [
        ("hard-swish", |net, x| net.activate(Activation::HardSwish, x)),
        ("x * hard-sigmoid(1/6, 0.5)", |net, x| {
            let gate = Activation::HardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 };
            let gate = net.activate(gate, x);
            net.binary(BinaryFn::Mul, x, gate)
        }),
        ("x * hard-sigmoid(0.16666667, 0.5), gate first", |net, x| {
            let gate = Activation::HardSigmoid { alpha: 0.166_666_67, beta: 0.5 };
            let gate = net.activate(gate, x);
            net.binary(BinaryFn::Mul, gate, x)
        }),
        ("x * clip(x + 3, 0, 6) / 6", |net, x| {
            let gate = shifted_clip(net, x);
            let product = net.binary(BinaryFn::Mul, x, gate);
            let six = net.scalar(6.0);
            net.binary(BinaryFn::Div, product, six)
        }),
        ("x * (clip(x + 3, 0, 6) / 6)", |net, x| {
            let gate = shifted_clip(net, x);
            let six = net.scalar(6.0);
            let gate = net.binary(BinaryFn::Div, gate, six);
            net.binary(BinaryFn::Mul, gate, x)
        }),
        ("x * (clip(3 + x, 0, 6) * 0.16666667)", |net, x| {
            let three = net.constant(f32s(&[1], &[3.0]));
            let gate = net.binary(BinaryFn::Add, three, x);
            let gate = net.activate(Activation::RELU6, gate);
            let sixth = net.scalar(0.166_666_67);
            let gate = net.binary(BinaryFn::Mul, gate, sixth);
            net.binary(BinaryFn::Mul, x, gate)
        }),
        ("x / 6 * clip(x + 3, 0, 6)", |net, x| {
            let gate = shifted_clip(net, x);
            let six = net.scalar(6.0);
            let x = net.binary(BinaryFn::Div, x, six);
            net.binary(BinaryFn::Mul, x, gate)
        }),
        ("1/6 * (x * min(max(x + 3, 0), 6))", |net, x| {
            let [three, zero, six] = [3.0, 0.0, 6.0].map(|v| net.scalar(v));
            let gate = net.binary(BinaryFn::Add, x, three);
            let gate = net.binary(BinaryFn::Max, gate, zero);
            let gate = net.binary(BinaryFn::Min, gate, six);
            let product = net.binary(BinaryFn::Mul, x, gate);
            let sixth = net.scalar(1.0 / 6.0);
            net.binary(BinaryFn::Mul, sixth, product)
        }),
        ("x * clip(x / 6 + 0.5, 0, 1)", |net, x| {
            let [six, half] = [6.0, 0.5].map(|v| net.scalar(v));
            let gate = net.binary(BinaryFn::Div, x, six);
            let gate = net.binary(BinaryFn::Add, gate, half);
            let gate = net.activate(Activation::Clip { min: 0.0, max: 1.0 }, gate);
            net.binary(BinaryFn::Mul, x, gate)
        }),
    ];
    for (name, build) in spellings {
        expect_one_conv(name, build, Activation::HardSwish);
    }
}

#[test]
fn other_gates_are_no_hard_swish() {
    let gates: [(&str, Build); 4] = [
        ("slope 0.2", |net, x| {
            let gate = net.activate(Activation::HardSigmoid { alpha: 0.2, beta: 0.5 }, x);
            net.binary(BinaryFn::Mul, x, gate)
        }),
        ("no division", |net, x| {
            let gate = shifted_clip(net, x);
            net.binary(BinaryFn::Mul, x, gate)
        }),
        ("clip to 0..5", |net, x| {
            let [three, six] = [3.0, 6.0].map(|v| net.scalar(v));
            let gate = net.binary(BinaryFn::Add, x, three);
            let gate = net.activate(Activation::Clip { min: 0.0, max: 5.0 }, gate);
            let gate = net.binary(BinaryFn::Div, gate, six);
            net.binary(BinaryFn::Mul, x, gate)
        }),
        ("gate of another value", |net, x| {
            let other = net.activate(Activation::Tanh, x);
            let gate = Activation::HardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 };
            let gate = net.activate(gate, other);
            net.binary(BinaryFn::Mul, x, gate)
        }),
    ];
    for (name, build) in gates {
        let done = optimize(&conv_then(build));
        let Op::Conv2d(conv) = done.op("Conv2d") else { unreachable!() };
        assert_ne!(conv.activation, Activation::HardSwish, "{name}");
        assert!(kinds(&done.special).contains(&"Binary"), "{name}: {}", done.special);
    }
}

#[test]
fn hard_sigmoid_spelled_out_becomes_part_of_the_convolution() {
    let sixth = Activation::HardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 };
    expect_one_conv(
        "clip(x + 3, 0, 6) / 6",
        |net, x| {
            let gate = shifted_clip(net, x);
            let six = net.scalar(6.0);
            net.binary(BinaryFn::Div, gate, six)
        },
        sixth,
    );
}

#[test]
fn silu_and_both_forms_of_gelu_are_found() {
    expect_one_conv(
        "sigmoid(x) * x",
        |net, x| {
            let gate = net.activate(Activation::Sigmoid, x);
            net.binary(BinaryFn::Mul, gate, x)
        },
        Activation::Silu,
    );
    fn erf_gate(net: &mut Net, x: ValueId) -> ValueId {
        let [root, one] = [2f32.sqrt(), 1.0].map(|v| net.scalar(v));
        let y = net.binary(BinaryFn::Div, x, root);
        let y = net.op(Unary { function: UnaryFn::Erf }, &[y]);
        net.binary(BinaryFn::Add, y, one)
    }
    let orders: [(&str, Build); 3] = [
        ("(x * (1 + erf)) * 0.5", |net, x| {
            let gate = erf_gate(net, x);
            let product = net.binary(BinaryFn::Mul, x, gate);
            let half = net.scalar(0.5);
            net.binary(BinaryFn::Mul, product, half)
        }),
        ("(0.5 * x) * (1 + erf)", |net, x| {
            let gate = erf_gate(net, x);
            let half = net.scalar(0.5);
            let x = net.binary(BinaryFn::Mul, half, x);
            net.binary(BinaryFn::Mul, x, gate)
        }),
        ("x * ((1 + erf) / 2)", |net, x| {
            let gate = erf_gate(net, x);
            let two = net.scalar(2.0);
            let gate = net.binary(BinaryFn::Div, gate, two);
            net.binary(BinaryFn::Mul, x, gate)
        }),
    ];
    for (name, build) in orders {
        expect_one_conv(name, build, Activation::Gelu);
    }
    let tanh_forms: [(&str, Build); 2] = [
        ("pow", |net, x| {
            let [three, cubic, slope, one, half] =
                [3.0, 0.044715, 0.797_884_6, 1.0, 0.5].map(|v| net.scalar(v));
            let cube = net.binary(BinaryFn::Pow, x, three);
            let cube = net.binary(BinaryFn::Mul, cube, cubic);
            let inner = net.binary(BinaryFn::Add, x, cube);
            let inner = net.binary(BinaryFn::Mul, inner, slope);
            let gate = net.activate(Activation::Tanh, inner);
            let gate = net.binary(BinaryFn::Add, gate, one);
            let x = net.binary(BinaryFn::Mul, x, half);
            net.binary(BinaryFn::Mul, x, gate)
        }),
        ("products", |net, x| {
            let [cubic, slope, one, half] =
                [0.044715, 0.797_884_6, 1.0, 0.5].map(|v| net.scalar(v));
            let square = net.binary(BinaryFn::Mul, x, x);
            let square = net.binary(BinaryFn::Mul, square, cubic);
            let square = net.binary(BinaryFn::Add, one, square);
            let inner = net.binary(BinaryFn::Mul, x, slope);
            let inner = net.binary(BinaryFn::Mul, inner, square);
            let gate = net.activate(Activation::Tanh, inner);
            let gate = net.binary(BinaryFn::Add, one, gate);
            let product = net.binary(BinaryFn::Mul, gate, x);
            net.binary(BinaryFn::Mul, half, product)
        }),
    ];
    for (name, build) in tanh_forms {
        expect_one_conv(name, build, Activation::GeluTanh);
    }
}

/// A swish with a factor of 1 inside, its sigmoid already part of the product.
#[test]
fn neutral_factor_leaves_the_activation() {
    expect_one_conv(
        "x * sigmoid(1 * x)",
        |net, x| {
            let one = net.constant(f32s(&[1], &[1.0]));
            let product = Binary { function: BinaryFn::Mul, activation: Activation::Sigmoid };
            let gate = net.op(product, &[x, one]);
            net.binary(BinaryFn::Mul, x, gate)
        },
        Activation::Silu,
    );
}

#[test]
fn clips_in_a_row_become_one() {
    expect_one_conv(
        "relu, then clip",
        |net, x| {
            let y = net.activate(Activation::RELU, x);
            net.activate(Activation::Clip { min: -1.0, max: 1.5 }, y)
        },
        Activation::Clip { min: 0.0, max: 1.5 },
    );
    expect_one_conv(
        "minimum and maximum",
        |net, x| {
            let [low, high] = [-0.5, 0.5].map(|v| net.scalar(v));
            let y = net.binary(BinaryFn::Max, low, x);
            net.binary(BinaryFn::Min, y, high)
        },
        Activation::Clip { min: -0.5, max: 0.5 },
    );
}

#[test]
fn slope_of_one_element_is_a_leaky_relu() {
    let done = optimize(&conv_then(|net, x| {
        let slope = net.constant(f32s(&[1, 1, 1], &[0.25]));
        net.op(PRelu, &[x, slope])
    }));
    let Op::Conv2d(conv) = done.op("Conv2d") else { unreachable!() };
    assert_eq!(conv.activation, Activation::LeakyRelu { alpha: 0.25 });
}

#[test]
fn activation_stays_where_the_value_before_it_is_read_elsewhere() {
    let mut net = Net::new();
    let x = net.input(&[1, 3, 4, 3]);
    let y = net.pointwise(x, 3, 3);
    let z = net.activate(Activation::Sigmoid, y);
    net.graph.add_output(y);
    expect_untouched(&net.output(z), &["fuse-activation"]);

    let mut net = Net::new();
    let x = net.input(&[1, 3, 4, 3]);
    let y = net.pointwise(x, 3, 3);
    let z = net.activate(Activation::Tanh, y);
    let z = net.binary(BinaryFn::Sub, z, y);
    expect_untouched(&net.output(z), &["fuse-activation"]);
}

#[test]
fn activation_after_another_that_is_no_clip_stays() {
    let mut net = Net::new();
    let x = net.input(&[1, 3, 4, 3]);
    let y = net.conv(x, Conv2d { activation: Activation::Tanh, ..Conv2d::default() }, [2, 1, 1, 3]);
    let y = net.activate(Activation::RELU, y);
    expect_untouched(&net.output(y), &["fuse-activation"]);
}

#[test]
fn clip_of_a_shared_clip_leaves_the_first_to_its_convolution() {
    let mut net = Net::new();
    let x = net.input(&[1, 3, 4, 3]);
    let y = net.pointwise(x, 3, 3);
    let y = net.activate(Activation::RELU, y);
    let z = net.activate(Activation::Clip { min: 0.0, max: 1.0 }, y);
    net.graph.add_output(y);
    let done = optimize(&net.output(z));
    assert_eq!(kinds(&done.special), ["Conv2d", "Activate"]);
}
