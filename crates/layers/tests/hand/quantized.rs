use super::*;
use depthwise_layers::{
    Activation, Conv2d, Coordinates, DepthwiseConv2d, Dequantize, Padding, Pool2d, PoolKind,
    QBinary, QBinaryFn, QConv2d, QDense, QDepthwiseConv2d, QLookup, QMean, QPool2d, QResize,
    QSoftmax, Quantize, Requantize, Resize, ResizeMode,
};
use depthwise_tensor::{DType, Hw};

fn i8s(dims: &[usize], data: &[i8]) -> Tensor {
    Tensor::from_slice(dims, data).unwrap()
}

fn u8s(dims: &[usize], data: &[u8]) -> Tensor {
    Tensor::from_slice(dims, data).unwrap()
}

fn i32s(data: &[i32]) -> Tensor {
    Tensor::from_slice(&[data.len()], data).unwrap()
}

fn of(op: impl Into<Op>, inputs: &[&Tensor]) -> Vec<i64> {
    run(op, inputs).to_i64().into_owned()
}

#[test]
fn a_convolution_with_zero_points_per_channel_pads_with_that_of_its_input() {
    // CASES C09.
    let x = u8s(&[1, 3, 3, 1], &[10, 12, 14, 20, 30, 40, 8, 0, 255]);
    let w = [[1, 2, 1, 0, 1, 0, -1, -2, -1], [3, 4, 3, 5, -3, 3, 2, 3, 10]];
    let (bias, zeros) = (i32s(&[4, -7]), i32s(&[0, 3]));
    let m = t(&[2], &[Requantize::multiplier(0.5, 0.25, 0.5), 0.125]);
    let conv = Conv2d { padding: Padding::all(1), ..Conv2d::default() };
    let output = Requantize::new(DType::U8, 100);
    let q = QConv2d { conv, input_zero: 10, output };
    let y = run(q, &[&x, &i8s(&[2, 3, 3, 1], w.as_flattened()), &bias, &m, &zeros]);
    let plane = |oc: usize| y.to_i64().iter().skip(oc).step_by(2).copied().collect::<Vec<_>>();
    let first = [91, 82, 82, 108, 52, 0, 110, 118, 182];
    let second = [117, 123, 94, 83, 255, 83, 102, 109, 0];
    assert_eq!(plane(0), first);
    assert_eq!(plane(1), second);
    // The same sums, channel by channel: both filters over two copies of the picture.
    let twice: Vec<u8> = x.data::<u8>().unwrap().iter().flat_map(|&x| [x, x]).collect();
    let taps: Vec<i8> = (0..9).flat_map(|tap| [w[0][tap], w[1][tap]]).collect();
    let conv = DepthwiseConv2d { padding: Padding::all(1), ..DepthwiseConv2d::default() };
    let q = QDepthwiseConv2d { conv, input_zero: 10, output };
    let inputs = [&u8s(&[1, 3, 3, 2], &twice), &i8s(&[3, 3, 2], &taps), &bias, &m, &zeros];
    assert_eq!(run(q.clone(), &inputs), y);
    // One copy with depth multiplier 2 gives them too.
    assert_eq!(run(q, &[&x, inputs[1], &bias, &m, &zeros]), y);
}

#[test]
fn sums_of_extreme_products_are_exact() {
    // CASES C10.
    for depth in [3, 4, 64, 960] {
        let x = u8s(&[1, depth], &vec![255; depth]);
        let weights = |w: i8| i8s(&[1, depth], &vec![w; depth]);
        // A factor that brings the sum to 127 or -128 steps.
        let m = t(&[1], &[1.0 / (255.0 * depth as f32)]);
        let none = i32s(&[0]);
        for w in [127, -128] {
            let q = QDense { input_zero: 0, output: Requantize::new(DType::I8, 0) };
            assert_eq!(of(q, &[&x, &weights(w), &none, &m]), [i64::from(w)], "depth {depth}");
        }
    }
}

#[test]
fn ties_go_to_even() {
    // CASES C11.
    let sums: [i8; 8] = [-7, -5, -3, -1, 1, 3, 5, 7];
    let (one, none, m) = (i8s(&[1, 1], &[1]), i32s(&[0]), t(&[1], &[0.5]));
    let q = QDense { input_zero: 0, output: Requantize::new(DType::I8, 0) };
    let y = of(q, &[&i8s(&[8, 1], &sums), &one, &none, &m]);
    assert_eq!(y, [-4, -2, -2, 0, 0, 2, 2, 4]);
}

#[test]
fn quantizing_rounds_to_even_and_saturates() {
    // CASES C12.
    let x = [0.25, 0.75, 1.25, -0.25, -0.75, -1.25, 63.4, 63.5, 64.0, -64.0, -64.25, -65.0];
    let want = [0, 2, 2, 0, -2, -2, 127, 127, 127, -128, -128, -128];
    let q = Quantize { dtype: DType::I8, axis: 0 };
    assert_eq!(of(q.clone(), &[&t(&[12], &x), &t(&[], &[0.5])]), want);
    let odd = t(&[4], &[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0]);
    let zero = Tensor::scalar(3i8);
    assert_eq!(of(q.clone(), &[&odd, &t(&[], &[0.5]), &zero]), [3, 127, -128, 3]);
    // Half precision just above half a step.
    let half = [0.05004f32, -0.05004].map(half::f16::from_f32);
    let half = Tensor::from_slice(&[2], &half).unwrap();
    assert_eq!(of(q, &[&half, &t(&[], &[0.1])]), [1, -1]);
}

#[test]
fn scales_by_axis_go_both_ways() {
    let (scale, zero) = (t(&[3], &[0.5, 1.0, 2.0]), i32s(&[0, 10, -1]));
    let x = t(&[2, 3], &[1.0, 2.0, 3.0, -1.0, -2.0, -3.0]);
    let q = run(Quantize { dtype: DType::I8, axis: 1 }, &[&x, &scale, &zero]);
    // 3 / 2 is a tie, and goes to 2.
    assert_eq!(q.to_i64()[..], [2, 12, 1, -2, 8, -3]);
    let back = run(Dequantize { axis: -1 }, &[&q, &scale, &zero]);
    assert_eq!(back.to_f32()[..], [1.0, 2.0, 4.0, -1.0, -2.0, -4.0]);
    let refused = refusal(Dequantize { axis: 0 }, &[&q, &scale, &zero]);
    assert!(refused.contains("3 scales for axis 0"), "{refused}");
    let refused = refusal(Quantize { dtype: DType::I64, axis: 0 }, &[&x, &t(&[], &[1.0])]);
    assert!(refused.contains("to i64"), "{refused}");
}

#[test]
fn a_difference_of_wide_integers_is_scaled_once() {
    let q = Tensor::from_slice(&[2], &[i32::MAX, i32::MIN]).unwrap();
    let zero = Tensor::from_slice(&[1], &[i32::MIN]).unwrap();
    let y = run(Dequantize { axis: 0 }, &[&q, &t(&[], &[0.5]), &zero]);
    assert_eq!(y.to_f32()[..], [2147483648.0, 0.0]);
}

#[test]
fn a_sum_of_unlike_scales_is_the_exact_one_rounded() {
    // CASES C14.
    let a = i8s(&[7], &[0, 10, 127, -128, -4, -3, -5]);
    let b = i8s(&[7], &[0, 20, 127, -128, 3, 3, 5]);
    let function = QBinaryFn::Sum { a_factor: 0.125 / 0.25, b_factor: 0.0625 / 0.25 };
    let output = Requantize::new(DType::I8, -1);
    let q = QBinary { function, a_zero: -5, b_zero: 3, output };
    assert_eq!(of(q.clone(), &[&a, &b]), [1, 11, 96, -95, -1, 0, -1]);
    let product = QBinaryFn::Product { factor: 0.125 * 0.0625 / 0.25 };
    // (10 + 5) * (20 - 3) / 32 = 7.97, and (127 + 5) * (127 - 3) / 32 saturates.
    let y = of(QBinary { function: product, ..q }, &[&a, &b]);
    assert_eq!(y[1..3], [7, 127]);
}

#[test]
fn fused_activations_cut_the_range() {
    let output = Requantize::new(DType::U8, 10);
    let cut = output.clamped(Activation::RELU6, 0.1).unwrap();
    assert_eq!((cut.min, cut.max), (10, 70));
    assert_eq!(cut.round(-5.0), 10);
    assert_eq!(cut.round(1e9), 70);
    let relu = output.clamped(Activation::RELU, 0.1).unwrap();
    assert_eq!((relu.min, relu.max), (10, 255));
    let beyond = output.clamped(Activation::Clip { min: 100.0, max: 200.0 }, 0.1).unwrap();
    assert_eq!((beyond.min, beyond.max), (255, 255));
    assert_eq!(output.clamped(Activation::Tanh, 0.1), None);
}

#[test]
fn tables_are_looked_up_by_bits() {
    let table = QLookup::table(DType::I8, DType::U8, |x| 100 + x / 2).unwrap();
    assert_eq!(of(QLookup, &[&i8s(&[4], &[-128, -1, 0, 127]), &table]), [36, 100, 100, 163]);
    let table = QLookup::table(DType::U8, DType::I8, |x| x - 128).unwrap();
    let y = run(QLookup, &[&u8s(&[3], &[0, 128, 255]), &table]);
    assert_eq!((y.dtype(), &y.to_i64()[..]), (DType::I8, &[-128, 0, 127][..]));
}

#[test]
fn averages_count_their_cells() {
    let x = u8s(&[1, 2, 2, 1], &[10, 20, 30, 45]);
    let pool = |include_pad| Pool2d {
        kind: PoolKind::Average { include_pad },
        kernel: Hw::square(2),
        stride: Hw::square(2),
        dilation: Hw::ONE,
        padding: Padding::all(1),
        ceil_mode: false,
    };
    let output = Requantize::new(DType::I8, -10);
    let q = |include_pad| QPool2d { pool: pool(include_pad), input_zero: 5, ratio: 0.5, output };
    // One cell each: 5, 15, 25, 40 over the zero point.
    assert_eq!(of(q(false), &[&x]), [2 - 10, 8 - 10, 12 - 10, 20 - 10]);
    // A padding cell is 0, and counts: 5 / 8 = 0.625, 15 / 8 = 1.9, 25 / 8 = 3.1, 40 / 8.
    assert_eq!(of(q(true), &[&x]), [1 - 10, 2 - 10, 3 - 10, 5 - 10]);
    let mean = QMean { axes: vec![1, 2], keep_dims: false, input_zero: 5, ratio: 0.5, output };
    // 85 / 4 / 2 = 10.6
    assert_eq!(run(mean, &[&x]), i8s(&[1, 1], &[1]));
}

#[test]
fn softmax_in_integers_is_close_to_that_of_floats() {
    let x = i8s(&[2, 4], &[0, 10, 20, 30, 127, -128, -128, 127]);
    let output = Requantize::new(DType::I8, -128);
    let q = QSoftmax { axis: -1, input_scale: 0.1, output_scale: 1.0 / 256.0, output };
    let y = of(q, &[&x]);
    let e: Vec<f64> = [0.0f64, 1.0, 2.0, 3.0].map(f64::exp).into();
    let total: f64 = e.iter().sum();
    for (y, e) in y.iter().zip(&e) {
        assert!((*y as f64 + 128.0 - e / total * 256.0).abs() <= 0.5001, "{y}");
    }
    assert_eq!(y[4..], [0, -128, -128, 0]);
}

#[test]
fn interpolation_between_bytes_is_rounded_once() {
    let x = u8s(&[1, 1, 2, 2], &[10, 0, 21, 255]);
    let resize = Resize { mode: ResizeMode::Linear, coordinates: Coordinates::AlignCorners };
    let output = Requantize::new(DType::U8, 0);
    let q = QResize { resize, input_zero: 10, ratio: 0.5, output };
    // Over the zero point: 0, 5.5, 11 and -10, 117.5, 245; halved, with the tie 5.5 among them.
    let y = of(q, &[&x, &ints(&[1, 1, 3, 2])]);
    assert_eq!(y, [0, 0, 3, 59, 6, 122]);
}

#[test]
fn maximum_pools_take_integers() {
    let (kernel, stride) = (Hw::square(2), Hw::ONE);
    let kind = PoolKind::Max;
    let pool = Pool2d {
        kind,
        kernel,
        stride,
        dilation: Hw::ONE,
        padding: Padding::Valid,
        ceil_mode: false,
    };
    assert_eq!(run(pool, &[&i8s(&[1, 2, 2, 1], &[-7, -3, -128, -4])]), i8s(&[1, 1, 1, 1], &[-3]));
}

#[test]
fn integer_layers_refuse_what_makes_no_sense() {
    let (x, w, m) = (i8s(&[1, 2], &[1, 2]), i8s(&[3, 2], &[1; 6]), t(&[3], &[1.0; 3]));
    let dense = |output| QDense { input_zero: 0, output };
    let good = Requantize::new(DType::I8, 0);
    let none = i32s(&[0; 3]);
    assert!(refusal(dense(good), &[&x, &w, &none, &t(&[1], &[1.0])]).contains("[3]"));
    assert!(refusal(dense(good), &[&x, &t(&[3, 2], &[1.0; 6]), &none, &m]).contains("i8 or u8"));
    let outside = Requantize { zero_point: 200, ..good };
    assert!(refusal(dense(outside), &[&x, &w, &none, &m]).contains("zero point 200"));
    let wide = Requantize { dtype: DType::I32, ..good };
    assert!(refusal(dense(wide), &[&x, &w, &none, &m]).contains("i32"));
}
