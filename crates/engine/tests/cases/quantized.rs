use super::*;
use depthwise_engine::tensor::Element;

/// A constant of bytes or 32-bit integers.
fn stored<T: Element>(name: &'static str, dims: &[usize], data: &[T]) -> wire::Tensor<'static> {
    let tensor = Tensor::from_slice(dims, data).unwrap();
    let data_type = match tensor.dtype() {
        depthwise_engine::DType::I8 => data_type::INT8,
        depthwise_engine::DType::U8 => data_type::UINT8,
        _ => data_type::INT32,
    };
    wire::Tensor {
        name,
        dims: extents(dims),
        data_type,
        int32_data: tensor.to_i64().iter().map(|&q| q as i32).collect(),
        ..wire::Tensor::default()
    }
}

/// A model whose input is of this element type.
fn model_of(
    elem_type: i32,
    x: &[usize],
    nodes: Vec<Node<'static>>,
    initializers: Vec<wire::Tensor<'static>>,
) -> wire::Model<'static> {
    let mut model = model(13, x, nodes, initializers);
    model.graph.inputs[0].elem_type = elem_type;
    model
}

fn scale(name: &'static str, x: f32) -> wire::Tensor<'static> {
    floats(name, &[], &[x])
}

const PLANE: [u8; 9] = [10, 12, 14, 20, 30, 40, 8, 0, 255];
const FILTERS: [[i8; 9]; 2] = [[1, 2, 1, 0, 1, 0, -1, -2, -1], [3, 4, 3, 5, -3, 3, 2, 3, 10]];
const ANSWERS: [[f32; 9]; 2] = [
    [91.0, 82.0, 82.0, 108.0, 52.0, 0.0, 110.0, 118.0, 182.0],
    [117.0, 123.0, 94.0, 83.0, 255.0, 83.0, 102.0, 109.0, 0.0],
];

/// What both forms of C09 share, for filters in turn.
fn c09_constants(channels: usize) -> Vec<wire::Tensor<'static>> {
    let both = |pair: [f32; 2]| (0..channels).map(|c| pair[c % 2]).collect::<Vec<_>>();
    let taps: Vec<i8> = (0..channels).flat_map(|c| FILTERS[c % 2]).collect();
    let zeros: Vec<i8> = (0..channels).map(|c| [0, 3][c % 2]).collect();
    let bias: Vec<i32> = (0..channels).map(|c| [4, -7][c % 2]).collect();
    vec![
        scale("xs", 0.5),
        stored("xz", &[], &[10u8]),
        stored("w", &[channels, 1, 3, 3], &taps),
        floats("ws", &[channels], &both([0.25, 0.125])),
        stored("wz", &[channels], &zeros),
        scale("ys", 0.5),
        stored("yz", &[], &[100u8]),
        stored("b", &[channels], &bias),
        floats("bs", &[channels], &both([0.125, 0.0625])),
    ]
}

fn c09_answers(channels: usize) -> Vec<f32> {
    (0..channels).flat_map(|c| ANSWERS[c % 2]).collect()
}

#[test]
fn c09_zero_points_per_channel_and_a_border_of_the_zero_point() {
    let inputs = ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"];
    let pads = || ("pads", list(&[1, 1, 1, 1]));
    let conv = node("QLinearConv", &inputs, "y", vec![pads()]);
    let x = Tensor::from_slice(&[1, 1, 3, 3], &PLANE).unwrap();
    let one = model_of(data_type::UINT8, &[1, 1, 3, 3], vec![conv], c09_constants(2));
    check(&one, &x, &c09_answers(2));
    // Of one channel, so a depthwise layer with a multiplier of 2.
    let found = kinds(&load(&one), &[1, 1, 3, 3]);
    let integer = found.iter().filter(|kind| kind.starts_with('Q') && kind.contains("Conv"));
    assert_eq!(integer.count(), 1, "{found:?}");
    for channels in CHANNELS {
        let dims = [1, channels, 3, 3];
        let group = ("group", int(channels as i64));
        let nodes = vec![
            node("DequantizeLinear", &["x", "xs", "xz"], "xr", vec![]),
            node("DequantizeLinear", &["w", "ws", "wz"], "wr", vec![("axis", int(0))]),
            node("DequantizeLinear", &["b", "bs"], "br", vec![("axis", int(0))]),
            node("Conv", &["xr", "wr", "br"], "c", vec![pads(), group]),
            node("QuantizeLinear", &["c", "ys", "yz"], "y", vec![]),
        ];
        let x = Tensor::from_slice(&dims, &PLANE.repeat(channels)).unwrap();
        let each = model_of(data_type::UINT8, &dims, nodes, c09_constants(channels));
        check(&each, &x, &c09_answers(channels));
        let found = kinds(&load(&each), &dims);
        assert!(found.iter().all(|kind| !kind.ends_with("quantize")), "{channels}: {found:?}");
        assert!(!found.contains(&"Quantize") && found.iter().any(|kind| kind.contains("Conv")));
    }
}

/// A 1x1 convolution with one output channel.
fn pointwise<T: Element>(
    (elem_type, x_zero): (i32, T),
    x: &[usize],
    w: &[i8],
    scales: [f32; 3],
) -> wire::Model<'static> {
    let inputs = ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz"];
    let constants = vec![
        scale("xs", scales[0]),
        stored("xz", &[], &[x_zero]),
        stored("w", &[1, w.len(), 1, 1], w),
        scale("ws", scales[1]),
        stored("wz", &[], &[0i8]),
        scale("ys", scales[2]),
        stored("yz", &[], &[0i8]),
    ];
    model_of(elem_type, x, vec![node("QLinearConv", &inputs, "y", vec![])], constants)
}

#[test]
fn c10_sums_of_extreme_products_are_exact() {
    for depth in [3, 4, 64, 960] {
        for w in [127i8, -128] {
            let dims = [1, depth, 1, 1];
            let scales = [1.0, 1.0, 255.0 * depth as f32];
            let model = pointwise((data_type::UINT8, 0u8), &dims, &vec![w; depth], scales);
            let x = Tensor::from_slice(&dims, &vec![255u8; depth]).unwrap();
            check(&model, &x, &[w.into()]);
        }
    }
}

#[test]
fn c11_ties_go_to_even() {
    let sums = [-7i8, -5, -3, -1, 1, 3, 5, 7];
    let dims = [1, 1, 1, 8];
    let model = pointwise((data_type::INT8, 0i8), &dims, &[1], [0.5, 1.0, 1.0]);
    let want = [-4.0, -2.0, -2.0, 0.0, 0.0, 2.0, 2.0, 4.0];
    check(&model, &Tensor::from_slice(&dims, &sums).unwrap(), &want);
}

#[test]
fn c12_quantizing_rounds_to_even_and_saturates() {
    let x = [0.25, 0.75, 1.25, -0.25, -0.75, -1.25, 63.4, 63.5, 64.0, -64.0, -64.25, -65.0];
    let want = [0, 2, 2, 0, -2, -2, 127, 127, 127, -128, -128, -128].map(|q| q as f32);
    let quantize = node("QuantizeLinear", &["x", "s", "z"], "y", vec![]);
    let constants = vec![scale("s", 0.5), stored("z", &[], &[0i8])];
    check(&model(13, &[12], vec![quantize], constants), &tensor(&[12], &x), &want);
}

#[test]
fn c14_sums_of_unlike_scales_are_rounded_once() {
    let (a, b) = ([0i8, 10, 127, -128, -4, -3, -5], [0i8, 20, 127, -128, 3, 3, 5]);
    let want = [1.0, 11.0, 96.0, -95.0, -1.0, 0.0, -1.0];
    for channels in CHANNELS {
        let dims = [7, channels];
        let all = |row: &[i8]| row.iter().flat_map(|&q| vec![q; channels]).collect::<Vec<_>>();
        let nodes = vec![
            node("DequantizeLinear", &["x", "as", "az"], "ar", vec![]),
            node("DequantizeLinear", &["b", "bs", "bz"], "br", vec![]),
            node("Add", &["ar", "br"], "sum", vec![]),
            node("QuantizeLinear", &["sum", "ys", "yz"], "y", vec![]),
        ];
        let constants = vec![
            stored("b", &dims, &all(&b)),
            scale("as", 0.125),
            scale("bs", 0.0625),
            scale("ys", 0.25),
            stored("az", &[], &[-5i8]),
            stored("bz", &[], &[3i8]),
            stored("yz", &[], &[-1i8]),
        ];
        let x = Tensor::from_slice(&dims, &all(&a)).unwrap();
        let want: Vec<f32> = want.iter().flat_map(|&q| vec![q; channels]).collect();
        check(&model_of(data_type::INT8, &dims, nodes, constants), &x, &want);
    }
}
