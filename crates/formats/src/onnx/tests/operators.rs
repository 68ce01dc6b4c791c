//! What operators mean. Numbers `C..` are those of the project's list of cases; expected values
//! there are exact. Others are worked out by hand.

use super::build::*;
use crate::onnx::read;
use crate::onnx::wire::Tensor;
use bytes::Bytes;
use depthwise_layers::{Activation, Op};

#[test]
fn c01_same_lower_and_upper_pad_the_odd_row_at_different_ends() {
    let x = ramp(&[1, 1, 4, 4], 0.0);
    for (auto_pad, want) in
        [("SAME_LOWER", [10., 24., 51., 90.]), ("SAME_UPPER", [45., 39., 66., 50.])]
    {
        let attributes = vec![("auto_pad", text(auto_pad)), ("strides", ints(&[2, 2]))];
        let conv = node("Conv", &["x", "w"], &["y"], attributes);
        assert_close(&run_node(13, conv, vec![f32s("w", &[1, 1, 3, 3], &[1.0; 9])], &x), &want);
    }
}

#[test]
fn c03_pads_at_the_end_only() {
    let x: Vec<f32> =
        (0..3).flat_map(|c| (0..25).map(move |i| (c + 1) as f32 * i as f32)).collect();
    let w = [
        [1., 0., -1., 2., 0., -2., 1., 0., -1.],
        [1., 2., 1., 0., 0., 0., -1., -2., -1.],
        [0., 1., 0., 1., -4., 1., 0., 1., 0.],
    ];
    let attributes =
        vec![("group", int(3)), ("strides", ints(&[2, 2])), ("pads", ints(&[0, 0, 1, 1]))];
    let conv = node("Conv", &["x", "w"], &["y"], attributes);
    let got =
        run_node(11, conv, vec![f32s("w", &[3, 1, 3, 3], &w.concat())], &value(&[1, 3, 5, 5], &x));
    let want = [[-8.0; 4], [-80.0; 4], [0.0; 4]].concat();
    assert_close(&got, &want);
}

#[test]
fn c04_and_c08_groups_of_any_width() {
    let x = value(&[1, 2, 2, 2], &[1., 3., 5., 7., 2., 4., 6., 8.]);
    let conv = node("Conv", &["x", "w"], &["y"], vec![("group", int(2))]);
    let got = run_node(13, conv, vec![f32s("w", &[4, 1, 1, 1], &[1., 10., 100., 1000.])], &x);
    let want = [
        [1., 3., 5., 7.],
        [10., 30., 50., 70.],
        [200., 400., 600., 800.],
        [2000., 4000., 6000., 8000.],
    ];
    assert_close(&got, &want.concat());

    let x = value(&[1, 4, 1, 1], &[1., 2., 3., 4.]);
    let w = [1., 0., 0., 1., 1., 1., 1., 0., 0., 1., 2., -1.];
    let conv = node("Conv", &["x", "w"], &["y"], vec![("group", int(2))]);
    let got = run_node(13, conv, vec![f32s("w", &[6, 2, 1, 1], &w)], &x);
    assert_close(&got, &[1., 2., 3., 3., 4., 2.]);

    let conv = node("Conv", &["x", "w"], &["y"], vec![("group", int(4))]);
    let nodes =
        refused(&model(13, &[1, 4, 1, 1], vec![conv], vec![f32s("w", &[6, 1, 1, 1], &w[..6])]));
    assert!(nodes[0].reason.contains("group 4"), "{}", nodes[0]);
}

#[test]
fn c06_dilated_convolution() {
    let x = ramp(&[1, 1, 5, 5], 1.0);
    let w = f32s("w", &[1, 1, 3, 3], &[1., 2., 1., 0., 1., 0., 1., 0., -1.]);
    let attributes = vec![("dilations", ints(&[2, 2])), ("pads", ints(&[2, 2, 2, 2]))];
    let got = run_node(13, node("Conv", &["x", "w"], &["y"], attributes), vec![w], &x);
    let want = [
        -12., -12., -1., 16., 18., -12., -12., 4., 26., 28., -7., -4., 21., 46., 51., 36., 40.,
        50., 44., 48., 56., 60., 75., 64., 68.,
    ];
    assert_close(&got, &want);
}

#[test]
fn a_convolution_of_signals_is_one_of_pictures_of_height_1() {
    let x = value(&[1, 1, 4], &[1., 2., 3., 4.]);
    let attributes = vec![("pads", ints(&[1, 0])), ("strides", ints(&[2]))];
    let conv = node("Conv", &["x", "w", "b"], &["y"], attributes);
    let weights = vec![f32s("w", &[1, 1, 3], &[1., 10., 100.]), f32s("b", &[1], &[0.5])];
    assert_close(&run_node(13, conv, weights, &x), &[210.5, 432.5]);
}

#[test]
fn c15_average_pool_in_ceil_mode() {
    let data: Vec<f32> = (1..17).map(|i| 2.0 * i as f32).collect();
    let x = value(&[1, 1, 4, 4], &data);
    let cases: [(&[i64], i64, &[f32]); 3] = [
        (&[1, 1, 1, 1], 1, &[28. / 9., 20. / 3., 4., 38. / 3., 22., 12., 9., 15., 8.]),
        (&[1, 1, 1, 1], 0, &[7., 10., 12., 19., 22., 24., 27., 30., 32.]),
        (&[0, 0, 0, 0], 0, &[12., 15., 24., 27.]),
    ];
    for version in [10, 11, 19, 22] {
        for (pads, include, want) in cases {
            let attributes = vec![
                ("kernel_shape", ints(&[3, 3])),
                ("strides", ints(&[2, 2])),
                ("pads", ints(pads)),
                ("ceil_mode", int(1)),
                ("count_include_pad", int(include)),
            ];
            let pool = node("AveragePool", &["x"], &["y"], attributes);
            assert_close(&run_node(version, pool, vec![], &x), want);
        }
    }
}

#[test]
fn c17_average_pool_same_lower_counts_the_padding() {
    let x = value(&[1, 1, 6, 1], &[6., 12., 18., 24., 30., 36.]);
    let attributes = vec![
        ("kernel_shape", ints(&[4, 1])),
        ("auto_pad", text("SAME_LOWER")),
        ("count_include_pad", int(1)),
    ];
    let pool = node("AveragePool", &["x"], &["y"], attributes);
    assert_close(&run_node(19, pool, vec![], &x), &[4.5, 9., 15., 21., 27., 22.5]);
}

#[test]
fn c19_resize_in_four_coordinate_modes() {
    let x = value(&[1, 1, 1, 4], &[0., 10., 20., 30.]);
    let half = [0., 25. / 7., 65. / 7., 15., 145. / 7., 185. / 7., 30.];
    let steps = [0., 40. / 7., 80. / 7., 120. / 7., 160. / 7., 200. / 7., 30.];
    let cases: [(&str, [f32; 7], f32); 4] = [
        ("half_pixel", half, 15.),
        ("pytorch_half_pixel", half, 0.),
        ("align_corners", [0., 5., 10., 15., 20., 25., 30.], 0.),
        ("asymmetric", steps, 0.),
    ];
    for (mode, seven, one) in cases {
        let resize = || {
            let attributes =
                vec![("mode", text("linear")), ("coordinate_transformation_mode", text(mode))];
            node("Resize", &["x", "", "", "sizes"], &["y"], attributes)
        };
        let sizes = |width| vec![i64s("sizes", &[1, 1, 1, width])];
        assert_close(&run_node(13, resize(), sizes(7), &x), &seven);
        assert_close(&run_node(13, resize(), sizes(1), &x), &[one]);
    }
}

#[test]
fn resize_of_a_window_fills_what_lies_outside() {
    let x = value(&[1, 1, 1, 5], &[0., 10., 20., 30., 40.]);
    let run = |mode: &'static str, window: [f32; 2], width| {
        let attributes = vec![
            ("axes", ints(&[3])),
            ("coordinate_transformation_mode", text("tf_crop_and_resize")),
            ("extrapolation_value", float(7.0)),
            ("mode", text(mode)),
        ];
        let resize = node("Resize", &["x", "roi", "", "sizes"], &["y"], attributes);
        let constants = vec![f32s("roi", &[2], &window), i64s("sizes", &[width])];
        run_node(18, resize, constants, &x)
    };
    // From 1 to 3 of the last position 4, and to twice that.
    assert_close(&run("linear", [0.25, 0.75], 5), &[10., 15., 20., 25., 30.]);
    assert_close(&run("nearest", [0.25, 0.75], 3), &[10., 20., 30.]);
    assert_close(&run("linear", [0.5, 1.5], 3), &[20., 40., 7.]);
    assert_close(&run("linear", [0.25, 0.75], 1), &[20.]);
    // Turned round.
    assert_close(&run("linear", [1.0, 0.0], 5), &[40., 30., 20., 10., 0.]);
}

#[test]
fn resize_of_some_axes_keeps_the_others() {
    let x = ramp(&[1, 1, 2, 2], 0.0);
    let attributes = || {
        vec![
            ("axes", ints(&[-1])),
            ("coordinate_transformation_mode", text("asymmetric")),
            ("nearest_mode", text("floor")),
        ]
    };
    let want = [0., 0., 1., 1., 2., 2., 3., 3.];
    let by_size = node("Resize", &["x", "", "", "s"], &["y"], attributes());
    assert_close(&run_node(18, by_size, vec![i64s("s", &[4])], &x), &want);
    let by_scale = node("Resize", &["x", "", "s"], &["y"], attributes());
    assert_close(&run_node(18, by_scale, vec![f32s("s", &[1], &[2.0])], &x), &want);
}

#[test]
fn upsample_of_versions_7_and_9() {
    let x = value(&[1, 1, 1, 2], &[1., 2.]);
    let scales = crate::onnx::wire::AttributeValue::Floats(vec![1., 1., 2., 2.]);
    let seven = node("Upsample", &["x"], &["y"], vec![("scales", scales)]);
    let want = [1., 1., 2., 2., 1., 1., 2., 2.];
    assert_close(&run_node(7, seven, vec![], &x), &want);
    let nine = || node("Upsample", &["x", "s"], &["y"], vec![]);
    let scales = || vec![f32s("s", &[4], &[1., 1., 2., 2.])];
    assert_close(&run_node(9, nine(), scales(), &x), &want);
    assert_eq!(refused(&model(10, &[1, 1, 1, 2], vec![nine()], scales())).len(), 1);
}

#[test]
fn c20_hard_sigmoid_has_the_defaults_of_onnx() {
    let x = value(&[2], &[-1.5, 1.0]);
    assert_close(
        &run_node(7, node("HardSigmoid", &["x"], &["y"], vec![]), vec![], &x),
        &[0.2, 0.7],
    );
    let x = value(&[7], &[-4., -3., -1.5, 0., 1., 3., 4.]);
    let want = [0., 0., -0.375, 0., 2. / 3., 3., 4.];
    assert_close(&run_node(14, node("HardSwish", &["x"], &["y"], vec![]), vec![], &x), &want);
}

#[test]
fn c21_clip_in_every_shape() {
    let x = value(&[3], &[-1., 3., 9.]);
    let bounds = || vec![f32s("low", &[], &[0.0]), f32s("high", &[], &[6.0])];
    let clip = |inputs: &[&'static str], attributes| node("Clip", inputs, &["y"], attributes);

    let attributes = vec![("min", float(0.0)), ("max", float(6.0))];
    assert_close(&run_node(7, clip(&["x"], attributes), vec![], &x), &[0., 3., 6.]);
    let below = vec![("max", float(6.0))];
    assert_close(&run_node(10, clip(&["x"], below), vec![], &x), &[-1., 3., 6.]);
    for version in [11, 12, 13, 28] {
        let run = |inputs: &[&'static str]| run_node(version, clip(inputs, vec![]), bounds(), &x);
        assert_close(&run(&["x", "low", "high"]), &[0., 3., 6.]);
        assert_close(&run(&["x", "", "high"]), &[-1., 3., 6.]);
        assert_close(&run(&["x", "low"]), &[0., 3., 9.]);
        assert_close(&run(&["x"]), &[-1., 3., 9.]);
    }
}

#[test]
fn c21_clip_with_constant_nodes_is_relu6_and_with_computed_bounds_is_not() {
    let x = value(&[3], &[-1., 3., 9.]);
    let constants = vec![
        node("Constant", &[], &["low"], vec![("value_float", float(0.0))]),
        node("Constant", &[], &["high"], vec![("value_float", float(6.0))]),
        node("Identity", &["high"], &["six"], vec![]),
    ];
    let mut nodes = constants.clone();
    nodes.push(node("Clip", &["x", "low", "six"], &["y"], vec![]));
    let fixed = model(13, &[3], nodes, vec![]);
    let graph = read(Bytes::from(fixed.encode()), None).unwrap();
    let ops: Vec<&Op> = graph.nodes().iter().map(|node| &node.op).collect();
    assert!(matches!(ops[..], [Op::Activate(a)] if a.activation == Activation::RELU6), "{graph}");

    let mut nodes = constants;
    nodes.push(node("ReduceMax", &["x"], &["high9"], vec![("keepdims", int(0))]));
    nodes.push(node("Clip", &["x", "low", "high9"], &["y"], vec![]));
    assert_close(&run(&model(13, &[3], nodes, vec![]), &x)[0].to_f32(), &[0., 3., 9.]);
}

#[test]
fn c21_batch_norm_with_the_spatial_attribute() {
    let x = value(&[1, 2, 1, 1], &[1., 2.]);
    let weights = || {
        vec![
            f32s("s", &[2], &[2., 1.]),
            f32s("b", &[2], &[1., 0.]),
            f32s("m", &[2], &[0., 1.]),
            f32s("v", &[2], &[3., 0.]),
        ]
    };
    let norm = |spatial| {
        let attributes = vec![("spatial", int(spatial)), ("epsilon", float(1.0))];
        node("BatchNormalization", &["x", "s", "b", "m", "v"], &["y"], attributes)
    };
    assert_close(&run_node(7, norm(1), weights(), &x), &[2., 1.]);
    assert_eq!(refused(&model(7, &[1, 2, 1, 1], vec![norm(0)], weights())).len(), 1);
}

#[test]
fn batch_norm_in_training_takes_the_statistics_of_the_batch() {
    // The channels have means 2 and 4, variances 1 and 4.
    let x = value(&[2, 2, 1, 1], &[1., 2., 3., 6.]);
    let weights = [
        f32s("s", &[2], &[2., 1.]),
        f32s("b", &[2], &[1., 0.]),
        f32s("m", &[2], &[0., 1.]),
        f32s("v", &[2], &[3., 0.]),
    ];
    let attributes =
        vec![("training_mode", int(1)), ("epsilon", float(0.0)), ("momentum", float(0.25))];
    let inputs = ["x", "s", "b", "m", "v"];
    let results = [[-1., -1., 3., 1.].as_slice(), &[1.5, 3.25], &[1.5, 3.]];
    for (at, want) in results.into_iter().enumerate() {
        let mut outputs = ["o", "p", "q"];
        outputs[at] = "y";
        let norm = node("BatchNormalization", &inputs, &outputs, attributes.clone());
        let model = model(15, &[2, 2, 1, 1], vec![norm], weights.to_vec());
        assert_close(&run(&model, &x)[0].to_f32(), want);
    }
}

#[test]
fn pools_over_three_axes() {
    let x = ramp(&[1, 1, 2, 2, 3], 1.0);
    let pool = |op, attributes| {
        let attributes = [vec![("kernel_shape", ints(&[2, 2, 2]))], attributes].concat();
        run_node(19, node(op, &["x"], &["y"], attributes), vec![], &x)
    };
    assert_eq!(pool("MaxPool", vec![]), [11., 12.]);
    assert_eq!(pool("AveragePool", vec![]), [6., 7.]);
    let pads = || vec![("pads", ints(&[1, 0, 0, 0, 0, 0]))];
    assert_eq!(pool("MaxPool", pads()), [5., 6., 11., 12.]);
    assert_eq!(pool("AveragePool", pads()), [3., 4., 6., 7.]);
    let counted = [pads(), vec![("count_include_pad", int(1))]].concat();
    assert_eq!(pool("AveragePool", counted), [1.5, 2., 6., 7.]);
}

#[test]
fn axes_may_follow_from_constants() {
    // All axes from number 1 on, as functions written out have them.
    let nodes = vec![
        node("Shape", &["x"], &["extents"], vec![]),
        node("Size", &["extents"], &["rank"], vec![]),
        node("Range", &["one", "rank", "one"], &["axes"], vec![]),
        node("ReduceSum", &["x", "axes"], &["y"], vec![("keepdims", int(0))]),
    ];
    let one = vec![Tensor { dims: vec![], ..i64s("one", &[1]) }];
    let model = model(13, &[2, 2, 2], nodes, one);
    let y = &run(&model, &ramp(&[2, 2, 2], 1.0))[0];
    assert_eq!(y.to_f32()[..], [10., 26.]);
}

#[test]
fn gemm_of_every_combination() {
    // A = [[1,2],[3,4],[5,6]], B = [[1,0],[2,1]], A B = [[5,2],[11,4],[17,6]].
    let a = [1., 2., 3., 4., 5., 6.];
    let product = [5., 2., 11., 4., 17., 6.];
    let biases: [(&[i64], &[f32], [f32; 6]); 4] = [
        (&[2], &[10., 20.], [10., 20., 10., 20., 10., 20.]),
        (&[1, 2], &[10., 20.], [10., 20., 10., 20., 10., 20.]),
        (&[3, 1], &[1., 2., 3.], [1., 1., 2., 2., 3., 3.]),
        (&[], &[7.], [7.; 6]),
    ];
    for flags in 0..16 {
        let (trans_a, trans_b) = (flags & 1 != 0, flags & 2 != 0);
        let alpha = if flags & 4 != 0 { 0.5 } else { 1.0 };
        let beta = if flags & 8 != 0 { 2.0 } else { 1.0 };
        let x =
            if trans_a { value(&[2, 3], &[1., 3., 5., 2., 4., 6.]) } else { value(&[3, 2], &a) };
        let b = if trans_b { [1., 2., 0., 1.] } else { [1., 0., 2., 1.] };
        for (dims, bias, spread) in biases {
            let attributes = vec![
                ("alpha", float(alpha)),
                ("beta", float(beta)),
                ("transA", int(trans_a.into())),
                ("transB", int(trans_b.into())),
            ];
            let gemm = node("Gemm", &["x", "b", "c"], &["y"], attributes);
            let weights = vec![f32s("b", &[2, 2], &b), f32s("c", dims, bias)];
            let want: Vec<f32> =
                product.iter().zip(spread).map(|(p, c)| alpha * p + beta * c).collect();
            assert_close(&run_node(13, gemm, weights, &x), &want);
        }
    }
}

#[test]
fn a_plain_gemm_is_one_dense_layer() {
    let gemm = node("Gemm", &["x", "w", "b"], &["y"], vec![("transB", int(1))]);
    let weights = vec![f32s("w", &[2, 3], &[0.0; 6]), f32s("b", &[2], &[0.0; 2])];
    let model = model(13, &[1, 3], vec![gemm], weights);
    let graph = read(Bytes::from(model.encode()), None).unwrap();
    assert!(matches!(graph.nodes(), [node] if matches!(node.op, Op::Dense(_))), "{graph}");
}

#[test]
fn softmax_before_version_13_takes_the_last_axes_together() {
    let x = value(&[1, 2, 2], &[0.; 4]);
    let softmax = || node("Softmax", &["x"], &["y"], vec![]);
    assert_close(&run_node(11, softmax(), vec![], &x), &[0.25; 4]);
    assert_close(&run_node(13, softmax(), vec![], &x), &[0.5; 4]);
}

#[test]
fn axes_as_attribute_and_as_operand() {
    let x = ramp(&[2, 3], 0.0);
    let by_attribute = |op| node(op, &["x"], &["y"], vec![("axes", ints(&[1]))]);
    let by_operand = |op| node(op, &["x", "axes"], &["y"], vec![]);
    let axes = || vec![i64s("axes", &[1])];
    assert_close(&run_node(11, by_attribute("ReduceSum"), vec![], &x), &[3., 12.]);
    assert_close(&run_node(13, by_operand("ReduceSum"), axes(), &x), &[3., 12.]);
    assert_close(&run_node(17, by_attribute("ReduceMax"), vec![], &x), &[2., 5.]);
    assert_close(&run_node(18, by_operand("ReduceMax"), axes(), &x), &[2., 5.]);
    let noop = node("ReduceSum", &["x"], &["y"], vec![("noop_with_empty_axes", int(1))]);
    assert_close(&run_node(13, noop, vec![], &x), &[0., 1., 2., 3., 4., 5.]);

    let computed = vec![
        node("Shape", &["x"], &["shape"], vec![]),
        node("ReduceSum", &["x", "shape"], &["y"], vec![]),
    ];
    let nodes = refused(&model(13, &[2, 3], computed, vec![]));
    assert!(nodes[0].reason.contains("not constant"), "{}", nodes[0]);
}

#[test]
fn slice_pad_and_split_of_old_and_new_versions() {
    let x = ramp(&[1, 4], 0.0);
    let old = vec![("starts", ints(&[1])), ("ends", ints(&[-1])), ("axes", ints(&[1]))];
    assert_close(&run_node(9, node("Slice", &["x"], &["y"], old), vec![], &x), &[1., 2.]);
    let new = node("Slice", &["x", "s", "e", "a", "step"], &["y"], vec![]);
    let operands = vec![i64s("s", &[-1]), i64s("e", &[-9]), i64s("a", &[1]), i64s("step", &[-2])];
    assert_close(&run_node(13, new, operands, &x), &[3., 1.]);

    let old = vec![("pads", ints(&[0, 1, 0, 0])), ("value", float(9.0))];
    let padded = [9., 0., 1., 2., 3.];
    assert_close(&run_node(7, node("Pad", &["x"], &["y"], old), vec![], &x), &padded);
    let new = node("Pad", &["x", "p", "v"], &["y"], vec![]);
    let operands = vec![i64s("p", &[0, 1, 0, 0]), f32s("v", &[], &[9.0])];
    assert_close(&run_node(13, new, operands, &x), &padded);

    let attributes = vec![("axis", int(1)), ("split", ints(&[3, 1]))];
    let split = node("Split", &["x"], &["rest", "y"], attributes);
    assert_close(&run_node(11, split, vec![], &x), &[3.]);
    let split = node("Split", &["x", "s"], &["y", ""], vec![("axis", int(-1))]);
    assert_close(&run_node(13, split, vec![i64s("s", &[1, 3])], &x), &[0.]);
}

#[test]
fn pixels_move_between_space_and_depth() {
    let x = ramp(&[1, 4, 1, 2], 0.0);
    let d2s = |mode| {
        let attributes = vec![("blocksize", int(2)), ("mode", text(mode))];
        node("DepthToSpace", &["x"], &["y"], attributes)
    };
    let want = [0., 2., 1., 3., 4., 6., 5., 7.];
    assert_close(&run_node(13, d2s("DCR"), vec![], &x), &want);
    assert_close(&run_node(13, d2s("CRD"), vec![], &x), &want);
    let back = value(&[1, 1, 2, 4], &want);
    let s2d = node("SpaceToDepth", &["x"], &["y"], vec![("blocksize", int(2))]);
    assert_close(&run_node(13, s2d, vec![], &back), &[0., 1., 2., 3., 4., 5., 6., 7.]);
    // Two channels tell the orders of depth apart.
    let x = ramp(&[1, 8, 1, 1], 0.0);
    assert_close(&run_node(13, d2s("DCR"), vec![], &x), &[0., 2., 4., 6., 1., 3., 5., 7.]);
    assert_close(&run_node(13, d2s("CRD"), vec![], &x), &[0., 1., 2., 3., 4., 5., 6., 7.]);
}

#[test]
fn layer_and_instance_normalization() {
    let x = value(&[1, 1, 2], &[1., 3.]);
    let weights = || vec![f32s("s", &[2], &[1., 2.]), f32s("b", &[2], &[0., 10.])];
    let norm = node("LayerNormalization", &["x", "s", "b"], &["y"], vec![("epsilon", float(0.0))]);
    assert_close(&run_node(17, norm, weights(), &x), &[-1., 12.]);

    let x = value(&[1, 2, 2], &[1., 3., 10., 10.]);
    let norm =
        node("InstanceNormalization", &["x", "s", "b"], &["y"], vec![("epsilon", float(1e-9))]);
    assert_close(&run_node(7, norm, weights(), &x), &[-1., 1., 10., 10.]);
}

#[test]
fn results_that_are_not_computed_are_refused() {
    let attributes = |n: usize| vec![("kernel_shape", ints(&vec![2; n]))];
    let pool = node("MaxPool", &["x"], &["y", "positions"], attributes(3));
    let nodes = refused(&model(12, &[1, 1, 2, 2, 2], vec![pool], vec![]));
    assert!(nodes[0].reason.contains("positions"), "{}", nodes[0]);
    let pool = node("AveragePool", &["x"], &["y", "more"], attributes(2));
    let nodes = refused(&model(12, &[1, 1, 2, 2], vec![pool], vec![]));
    assert!(nodes[0].reason.contains("output number 1"), "{}", nodes[0]);
    let pool = node("MaxPool", &["x"], &["y", ""], attributes(2));
    assert_close(&run_node(12, pool, vec![], &ramp(&[1, 1, 2, 2], 0.0)), &[3.]);
    let dropout = node("Dropout", &["x"], &["y"], vec![("ratio", float(0.5))]);
    assert_close(&run_node(10, dropout, vec![], &value(&[1], &[3.])), &[3.]);
}
