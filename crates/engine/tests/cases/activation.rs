use super::*;

const XS: [f32; 7] = [-4.0, -3.0, -1.5, 0.0, 1.0, 3.0, 4.0];

/// Kinds of the steps that compute, not merely move elements between layouts.
fn computing(graph: &Graph, x: &[usize]) -> Vec<&'static str> {
    let moves = |kind: &&'static str| matches!(*kind, "Copy" | "Reshape" | "Transpose");
    kinds(graph, x).into_iter().filter(|kind| !moves(kind)).collect()
}

/// A 1x1 convolution that changes nothing, then these nodes.
fn behind_a_convolution(
    opset: i64,
    nodes: Vec<Node<'static>>,
    mut constants: Vec<wire::Tensor<'static>>,
) -> wire::Model<'static> {
    let mut all = vec![node("Conv", &["x", "one"], "c", vec![])];
    all.extend(nodes);
    constants.push(floats("one", &[1, 1, 1, 1], &[1.0]));
    model(opset, &[1, 1, 1, 7], all, constants)
}

#[test]
fn c20_hard_swish_in_three_spellings_is_one_step_with_the_convolution() {
    let want = [0.0, 0.0, -0.375, 0.0, 2.0 / 3.0, 3.0, 4.0];
    let x = tensor(&[1, 1, 1, 7], &XS);
    let sixth = vec![("alpha", float(1.0 / 6.0)), ("beta", float(0.5))];
    let scalar = |name, value| floats(name, &[], &[value]);
    let spellings = [
        (14, vec![node("HardSwish", &["c"], "y", vec![])], vec![]),
        (
            13,
            vec![
                node("HardSigmoid", &["c"], "gate", sixth),
                node("Mul", &["c", "gate"], "y", vec![]),
            ],
            vec![],
        ),
        (
            13,
            vec![
                node("Add", &["c", "three"], "moved", vec![]),
                node("Clip", &["moved", "zero", "six"], "gate", vec![]),
                node("Mul", &["c", "gate"], "product", vec![]),
                node("Div", &["product", "six"], "y", vec![]),
            ],
            vec![scalar("zero", 0.0), scalar("three", 3.0), scalar("six", 6.0)],
        ),
    ];
    for (opset, nodes, constants) in spellings {
        let case = behind_a_convolution(opset, nodes, constants);
        check(&case, &x, &want);
        let graph = load(&case);
        assert_eq!(computing(&graph, &[1, 1, 1, 7]), ["Conv2d"]);
        let model = Model::from_graph(graph, Options::with_threads(1)).unwrap();
        assert!(model.dump().contains("activation: HardSwish"), "{}", model.dump());
    }
    // The default slope of ONNX is another function.
    let nodes =
        vec![node("HardSigmoid", &["c"], "gate", vec![]), node("Mul", &["c", "gate"], "y", vec![])];
    let case = behind_a_convolution(13, nodes, vec![]);
    check(&case, &x, &[0.0, 0.0, -0.3, 0.0, 0.7, 3.0, 4.0]);
    let graph = load(&case);
    let model = Model::from_graph(graph, Options::with_threads(1)).unwrap();
    assert!(!model.dump().contains("activation: HardSwish"), "{}", model.dump());
}

#[test]
fn c21_clip_in_the_shape_of_every_operator_set() {
    let six = floats("six", &[], &[6.0]);
    let zero = floats("zero", &[], &[0.0]);
    let of_constant = Node {
        attributes: vec![Attribute {
            name: "value",
            value: AttributeValue::Tensor(Box::new(floats("", &[], &[6.0]))),
        }],
        ..node("Constant", &[], "six", vec![])
    };
    let (both, upper, lower) = ([0.0, 3.0, 6.0], [-1.0, 3.0, 6.0], [0.0, 3.0, 9.0]);
    let attributes = vec![("min", float(0.0)), ("max", float(6.0))];
    let clip = |inputs: &[&'static str], attributes| node("Clip", inputs, "y", attributes);
    let cases = [
        (7, vec![clip(&["c"], attributes)], vec![], both),
        (11, vec![clip(&["c", "zero", "six"], vec![])], vec![zero.clone(), six.clone()], both),
        (13, vec![of_constant, clip(&["c", "zero", "six"], vec![])], vec![zero.clone()], both),
        (11, vec![clip(&["c", "", "six"], vec![])], vec![six], upper),
        (13, vec![clip(&["c", "zero"], vec![])], vec![zero], lower),
    ];
    for (opset, nodes, mut constants, want) in cases {
        for c in CHANNELS {
            let mut all = vec![node("Conv", &["x", "ones"], "c", vec![("group", int(c as i64))])];
            all.extend(nodes.clone());
            constants.retain(|tensor| tensor.name != "ones");
            constants.push(floats("ones", &[c, 1, 1, 1], &vec![1.0; c]));
            let dims = [1, c, 1, 3];
            let case = model(opset, &dims, all, constants.clone());
            let x = tensor(&dims, &[-1.0, 3.0, 9.0].repeat(c));
            check(&case, &x, &want.repeat(c));
            // The bounds are part of the convolution.
            let steps = kinds(&load(&case), &dims);
            assert!(!steps.contains(&"Activate"), "{opset} {c}: {steps:?}");
        }
    }
}

#[test]
fn c21_batch_normalization_of_operator_set_7() {
    // Folded into the convolution: (2 x - 1) / sqrt(0.25) * 3 + 1.
    let one = |name, value| floats(name, &[1], &[value]);
    let constants = vec![
        floats("w", &[1, 1, 1, 1], &[2.0]),
        one("scale", 3.0),
        one("shift", 1.0),
        one("mean", 1.0),
        one("var", 0.25),
    ];
    let attributes = vec![("spatial", int(1)), ("epsilon", float(0.0))];
    let nodes = vec![
        node("Conv", &["x", "w"], "c", vec![]),
        node("BatchNormalization", &["c", "scale", "shift", "mean", "var"], "y", attributes),
    ];
    let case = model(7, &[1, 1, 1, 3], nodes, constants);
    check(&case, &tensor(&[1, 1, 1, 3], &[-1.0, 0.0, 2.0]), &[-17.0, -5.0, 19.0]);
    assert_eq!(computing(&load(&case), &[1, 1, 1, 3]), ["Conv2d"]);
}

/// The third spelling in its other orders, behind convolutions of each kind and many channels.
#[test]
fn c20_hard_swish_in_other_orders_behind_every_kind_of_convolution() {
    type Spelling = fn() -> Vec<Node<'static>>;
    let spellings: [Spelling; 5] = [
        || {
            vec![
                node("Add", &["three", "c"], "moved", vec![]),
                node("Clip", &["moved", "zero", "six"], "clipped", vec![]),
                node("Div", &["clipped", "six"], "gate", vec![]),
                node("Mul", &["gate", "c"], "y", vec![]),
            ]
        },
        || {
            vec![
                node("Add", &["c", "three"], "moved", vec![]),
                node("Clip", &["moved", "zero", "six"], "clipped", vec![]),
                node("Mul", &["clipped", "sixth"], "gate", vec![]),
                node("Mul", &["c", "gate"], "y", vec![]),
            ]
        },
        || {
            vec![
                node("Add", &["c", "three"], "moved", vec![]),
                node("Relu", &["moved"], "positive", vec![]),
                node("Min", &["positive", "six"], "clipped", vec![]),
                node("Mul", &["c", "sixth"], "scaled", vec![]),
                node("Mul", &["scaled", "clipped"], "y", vec![]),
            ]
        },
        || {
            vec![
                node("Mul", &["c", "sixth"], "scaled", vec![]),
                node("Add", &["scaled", "half"], "moved", vec![]),
                node("Clip", &["moved", "zero", "unit"], "gate", vec![]),
                node("Mul", &["gate", "c"], "y", vec![]),
            ]
        },
        || {
            vec![
                node("Sub", &["c", "minus"], "moved", vec![]),
                node("Max", &["moved", "zero"], "positive", vec![]),
                node("Min", &["six", "positive"], "clipped", vec![]),
                node("Mul", &["c", "clipped"], "product", vec![]),
                node("Mul", &["sixth", "product"], "y", vec![]),
            ]
        },
    ];
    let scalars = [
        ("zero", 0.0),
        ("three", 3.0),
        ("six", 6.0),
        ("sixth", 1.0 / 6.0),
        ("half", 0.5),
        ("unit", 1.0),
        ("minus", -3.0),
    ];
    let want = [0.0, 0.0, -0.375, 0.0, 2.0 / 3.0, 3.0, 4.0];
    for spelling in spellings {
        for c in CHANNELS {
            for depthwise in [true, false] {
                // One tap of 1 per channel, or the identity matrix: neither changes anything.
                let (group, depth) = if depthwise { (c, 1) } else { (1, c) };
                let on = |o: usize, i: usize| depthwise || o == i;
                let weights: Vec<f32> = (0..c * depth)
                    .map(|at| f32::from(u8::from(on(at / depth, at % depth))))
                    .collect();
                let conv = node("Conv", &["x", "w"], "c", vec![("group", int(group as i64))]);
                let mut nodes = vec![conv];
                nodes.extend(spelling());
                let used = |name: &str| nodes.iter().any(|node| node.inputs.contains(&name));
                let mut constants: Vec<_> = scalars
                    .iter()
                    .filter(|(name, _)| used(name))
                    .map(|&(name, value)| floats(name, &[], &[value]))
                    .collect();
                constants.push(floats("w", &[c, depth, 1, 1], &weights));
                let dims = [1, c, 1, 7];
                let case = model(13, &dims, nodes, constants);
                check(&case, &tensor(&dims, &XS.repeat(c)), &want.repeat(c));
                let graph = load(&case);
                let steps = computing(&graph, &dims);
                assert!(steps.len() == 1 && steps[0].ends_with("Conv2d"), "{steps:?}");
                let model = Model::from_graph(graph, Options::with_threads(1)).unwrap();
                assert!(model.dump().contains("activation: HardSwish"), "{}", model.dump());
            }
        }
    }
}
