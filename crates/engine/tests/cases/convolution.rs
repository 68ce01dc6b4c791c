use super::*;
use depthwise_engine::layers::ir::{Dim, InputType};
use depthwise_engine::layers::{Conv2d, DepthwiseConv2d};
use depthwise_engine::{DType, EngineError};

/// A convolution of each channel by the same filter, and of one channel by many equal filters.
#[track_caller]
fn check_repeated(
    opset: i64,
    side: usize,
    plane: &[f32],
    filter: &[f32],
    attributes: &Attributes,
    want: &[f32],
) {
    for c in CHANNELS {
        let repeated = want.repeat(c);
        let filters = floats("w", &[c, 1, 3, 3], &filter.repeat(c));
        let mut grouped = attributes.clone();
        grouped.push(("group", int(c as i64)));
        let conv = node("Conv", &["x", "w"], "y", grouped);
        let dims = [1, c, side, side];
        let x = tensor(&dims, &plane.repeat(c));
        check(&model(opset, &dims, vec![conv], vec![filters.clone()]), &x, &repeated);
        let conv = node("Conv", &["x", "w"], "y", attributes.clone());
        let dims = [1, 1, side, side];
        check(&model(opset, &dims, vec![conv], vec![filters]), &tensor(&dims, plane), &repeated);
    }
}

#[test]
fn c01_same_lower_and_same_upper_of_an_even_size() {
    let cases = [
        (vec![("auto_pad", text("SAME_LOWER"))], [10.0, 24.0, 51.0, 90.0]),
        (vec![("auto_pad", text("SAME_UPPER"))], [45.0, 39.0, 66.0, 50.0]),
        (vec![("pads", list(&[1, 1, 0, 0]))], [10.0, 24.0, 51.0, 90.0]),
        (vec![("pads", list(&[0, 0, 1, 1]))], [45.0, 39.0, 66.0, 50.0]),
        (vec![("pads", list(&[1, 0, 0, 1]))], [18.0, 18.0, 81.0, 63.0]),
    ];
    for (mut attributes, want) in cases {
        attributes.push(("strides", list(&[2, 2])));
        check_repeated(11, 4, &ramp(16, 0.0), &[1.0; 9], &attributes, &want);
    }
}

#[rustfmt::skip]
const C03_FILTERS: [f32; 27] = [
    1., 0., -1., 2., 0., -2., 1., 0., -1.,
    1., 2., 1., 0., 0., 0., -1., -2., -1.,
    0., 1., 0., 1., -4., 1., 0., 1., 0.,
];

#[test]
fn c03_borders_on_one_side_alone_within_the_convolution_or_before_it() {
    let plane = ramp(25, 0.0);
    for times in [1, 3, 6, 11] {
        let c = 3 * times;
        let planes = (1..=3).flat_map(|k| plane.iter().map(move |x| k as f32 * x));
        let x = tensor(&[1, c, 5, 5], &planes.collect::<Vec<f32>>().repeat(times));
        let want = [-8.0, -80.0, 0.0].iter().flat_map(|&y| [y; 4]).collect::<Vec<f32>>();
        let want = want.repeat(times);
        let filters = floats("w", &[c, 1, 3, 3], &C03_FILTERS.repeat(times));
        let attributes = |pads: &[i64]| {
            let group = ("group", int(c as i64));
            vec![group, ("strides", list(&[2, 2])), ("pads", list(pads))]
        };
        let own = node("Conv", &["x", "w"], "y", attributes(&[0, 0, 1, 1]));
        check(&model(13, &[1, c, 5, 5], vec![own], vec![filters.clone()]), &x, &want);
        // The border as a node of its own becomes part of the convolution.
        let pad = node("Pad", &["x", "pads"], "padded", vec![]);
        let conv = node("Conv", &["padded", "w"], "y", attributes(&[0, 0, 0, 0]));
        let pads = integers("pads", &[0, 0, 0, 0, 0, 0, 1, 1]);
        let separate = model(13, &[1, c, 5, 5], vec![pad, conv], vec![filters, pads]);
        check(&separate, &x, &want);
        assert!(!kinds(&load(&separate), &[1, c, 5, 5]).contains(&"Pad"));
    }
}

#[test]
fn c04_a_depth_multiplier_of_two() {
    // NHWC, as TFLite has it.
    for times in [1, 4, 17] {
        let c = 2 * times;
        let pixels = ramp(8, 1.0);
        let x: Vec<f32> = pixels.chunks(2).flat_map(|pixel| pixel.repeat(times)).collect();
        let x = tensor(&[1, 2, 2, c], &x);
        let products = |pixel: &[f32]| {
            [pixel[0], 10.0 * pixel[0], 100.0 * pixel[1], 1000.0 * pixel[1]].repeat(times)
        };
        let want: Vec<f32> = pixels.chunks(2).flat_map(products).collect();
        let mut graph = Graph::new("multiplier");
        let dims = [1, 2, 2, c].map(Dim::Fixed).to_vec();
        let input = graph.add_input("x", InputType { dtype: DType::F32, dims });
        let filters = [1.0, 10.0, 100.0, 1000.0].repeat(times);
        let w = graph.add_const("w", tensor(&[1, 1, 2 * c], &filters));
        let y = graph.add("dw", DepthwiseConv2d::default(), &[input, w]);
        graph.add_output(y);
        check_graph(&graph, &x, &want);
    }
    // NCHW, as a convolution of two groups.
    let filters = floats("w", &[4, 1, 1, 1], &[1.0, 10.0, 100.0, 1000.0]);
    let conv = node("Conv", &["x", "w"], "y", vec![("group", int(2))]);
    let x = tensor(&[1, 2, 2, 2], &[1.0, 3.0, 5.0, 7.0, 2.0, 4.0, 6.0, 8.0]);
    #[rustfmt::skip]
    let want = [
        1., 3., 5., 7., 10., 30., 50., 70.,
        200., 400., 600., 800., 2000., 4000., 6000., 8000.,
    ];
    check(&model(13, &[1, 2, 2, 2], vec![conv], vec![filters]), &x, &want);
}

#[test]
fn c05_filters_that_contradict_the_channels_are_refused_by_number() {
    let mut graph = Graph::new("contradiction");
    let dims = [1, 2, 2, 2].map(Dim::Fixed).to_vec();
    let input = graph.add_input("x", InputType { dtype: DType::F32, dims });
    let w = graph.add_const("w", tensor(&[1, 1, 3], &[1.0; 3]));
    let y = graph.add("dw", DepthwiseConv2d::default(), &[input, w]);
    graph.add_output(y);
    let error = Model::from_graph(graph, Options::with_threads(1)).unwrap().session().unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, EngineError::Infer(_)), "{text}");
    assert!(
        text.contains("dw") && text.contains("3 filters") && text.contains("2 input"),
        "{text}"
    );
}

#[rustfmt::skip]
const C06_WANT: [f32; 25] = [
    -12., -12., -1., 16., 18., -12., -12., 4., 26., 28., -7., -4., 21., 46., 51.,
    36., 40., 50., 44., 48., 56., 60., 75., 64., 68.,
];

#[test]
fn c06_dilation_with_same_padding() {
    let filter = [1.0, 2.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, -1.0];
    for padding in [("pads", list(&[2, 2, 2, 2])), ("auto_pad", text("SAME_UPPER"))] {
        let attributes = vec![("dilations", list(&[2, 2])), padding];
        check_repeated(11, 5, &ramp(25, 1.0), &filter, &attributes, &C06_WANT);
    }
}

#[test]
fn c08_groups_that_are_neither_dense_nor_depthwise() {
    let filters = [1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 1.0, 2.0, -1.0];
    let of = |group| node("Conv", &["x", "w"], "y", vec![("group", int(group))]);
    let x = tensor(&[1, 4, 1, 1], &[1.0, 2.0, 3.0, 4.0]);
    let grouped = |group| {
        model(11, &[1, 4, 1, 1], vec![of(group)], vec![floats("w", &[6, 2, 1, 1], &filters)])
    };
    check(&grouped(2), &x, &[1.0, 2.0, 3.0, 3.0, 4.0, 2.0]);
    // More pixels, and groups of sizes around a vector, against sums by hand.
    for per_group in [1usize, 5, 8, 16, 17] {
        let (c, oc, pixels) = (3 * per_group, 6, 9);
        let w: Vec<f32> = (0..oc * per_group).map(|i| (i % 7) as f32 - 3.0).collect();
        let x: Vec<f32> = (0..c * pixels).map(|i| (i % 11) as f32 - 5.0).collect();
        let mut want = Vec::new();
        for o in 0..oc {
            for pixel in 0..pixels {
                let first = o / 2 * per_group;
                let terms =
                    (0..per_group).map(|i| w[o * per_group + i] * x[(first + i) * pixels + pixel]);
                want.push(terms.sum::<f32>());
            }
        }
        let weights = floats("w", &[oc, per_group, 1, 1], &w);
        let case = model(11, &[1, c, 3, 3], vec![of(3)], vec![weights]);
        check(&case, &tensor(&[1, c, 3, 3], &x), &want);
    }
    // Extents may be free until a session asks for a plan, so the plan is where shapes are checked.
    let refused = Model::from_graph(load(&grouped(3)), Options::with_threads(1))
        .and_then(|model| model.session())
        .unwrap_err();
    assert!(matches!(refused, EngineError::Infer(_)), "{refused}");
    let refused = refused.to_string();
    assert!(refused.contains("3 groups do not divide 4"), "{refused}");
}

/// The graph `SPACE_TO_BATCH_ND`, convolution, `BATCH_TO_SPACE_ND` is the business of the readers
/// that know these operators; what they must make of it is this layer.
#[test]
fn c06_dilation_of_a_full_convolution_in_nhwc() {
    let mut graph = Graph::new("dilated");
    let dims = [1, 5, 5, 1].map(Dim::Fixed).to_vec();
    let input = graph.add_input("x", InputType { dtype: DType::F32, dims });
    let filter = [1.0, 2.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, -1.0];
    let w = graph.add_const("w", tensor(&[1, 3, 3, 1], &filter));
    let layer = Conv2d {
        dilation: depthwise_engine::tensor::Hw::square(2),
        padding: depthwise_engine::layers::Padding::Same,
        ..Conv2d::default()
    };
    let y = graph.add("conv", layer, &[input, w]);
    graph.add_output(y);
    check_graph(&graph, &tensor(&[1, 5, 5, 1], &ramp(25, 1.0)), &C06_WANT);
}
