//! What each operator means, by hand values. Numbers are those of `BuiltinOperator`.

use super::build::*;
use crate::tflite::wire::{Field, Record, tensor_type};
use depthwise_tensor::Tensor;

fn none() -> Record {
    Record::new()
}

/// The elements that an operator of one `f32` operand gives.
#[track_caller]
fn unary(code: i32, options: Record, x: &Tensor, dims: &[usize]) -> Vec<f32> {
    let extents: Vec<i32> = x.shape().iter().map(|&d| d as i32).collect();
    let mut net = Net::new(&extents);
    let y = net.op(code, &[0], options);
    net.output(y).values(x, dims)
}

#[track_caller]
fn close(got: &[f32], want: &[f32]) {
    assert_eq!(got.len(), want.len());
    assert!(got.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-5), "{got:?}");
}

#[test]
fn functions_of_one_operand() {
    let x = t(&[5], &[-4.0, -1.0, 0.0, 1.0, 7.0]);
    let of = |code, options| unary(code, options, &x, &[5]);
    assert_eq!(of(19, none()), [0.0, 0.0, 0.0, 1.0, 7.0]);
    assert_eq!(of(20, none()), [-1.0, -1.0, 0.0, 1.0, 1.0]);
    assert_eq!(of(21, none()), [0.0, 0.0, 0.0, 1.0, 6.0]);
    assert_eq!(of(152, none()), [0.0, 0.0, 0.0, 1.0, 1.0]);
    assert_eq!(of(98, none().with(0, Field::F32(0.5))), [-2.0, -0.5, 0.0, 1.0, 7.0]);
    close(&of(117, none()), &[0.0, -1.0 / 3.0, 0.0, 2.0 / 3.0, 7.0]);
    close(&of(14, none()), &[0.0179862, 0.2689414, 0.5, 0.7310586, 0.9990889]);
    close(&of(28, none()), &[-0.9993293, -0.7615942, 0.0, 0.7615942, 0.9999983]);
    close(&of(111, none()), &[-0.9816844, -0.6321206, 0.0, 1.0, 7.0]);
    assert_eq!(of(59, none()), [4.0, 1.0, 0.0, -1.0, -7.0]);
    assert_eq!(of(101, none()), [4.0, 1.0, 0.0, 1.0, 7.0]);
    assert_eq!(of(92, none()), [16.0, 1.0, 0.0, 1.0, 49.0]);
    let y = of(25, none().with(0, Field::F32(2.0)));
    close(&y, &[0.0, 0.0, 8.3152e-7, 6.144137e-6, 0.999993]);
}

#[test]
fn functions_of_two_operands_fuse_an_activation() {
    let x = t(&[2, 2], &[1.0, -2.0, 3.0, 8.0]);
    let of = |code: i32, activation: u8| {
        let mut net = Net::new(&[2, 2]);
        let c = net.f32s("c", &[2], &[2.0, 4.0]);
        let y = net.op(code, &[0, c], none().with(0, Field::U8(activation)));
        net.output(y).values(&x, &[2, 2])
    };
    assert_eq!(of(0, 0), [3.0, 2.0, 5.0, 12.0]);
    assert_eq!(of(0, 3), [3.0, 2.0, 5.0, 6.0]);
    assert_eq!(of(41, 1), [0.0, 0.0, 1.0, 4.0]);
    assert_eq!(of(18, 2), [1.0, -1.0, 1.0, 1.0]);
    assert_eq!(of(42, 0), [0.5, -0.5, 1.5, 2.0]);
    assert_eq!(of(55, 0), [2.0, 4.0, 3.0, 8.0]);
    assert_eq!(of(57, 0), [1.0, -2.0, 2.0, 4.0]);
    assert_eq!(of(99, 0), [1.0, 36.0, 1.0, 16.0]);
    assert_eq!(of(90, 0), [0.0, -1.0, 1.0, 2.0]);
    assert_eq!(of(95, 0), [1.0, 2.0, 1.0, 0.0]);
}

#[test]
fn integers_divide_toward_minus_infinity() {
    let mut net = Net::new(&[1]);
    let (a, b) = (net.ints(&[7, -7, 7, -7]), net.ints(&[2, 2, -2, -2]));
    let y = net.tensor("y", &[4], tensor_type::INT32);
    net.push(90, &[a, b], &[y], none());
    let y = net.output(y).run(&[t(&[1], &[0.0])]).remove(0);
    assert_eq!(y.to_i64()[..], [3, -4, -4, 3]);
}

#[test]
fn convolutions_pad_as_tensorflow_does() {
    let x = ramp(&[1, 4, 4, 1], 0.0);
    let of = |valid: bool| {
        let mut net = Net::new(&[1, 4, 4, 1]);
        let w = net.f32s("w", &[1, 3, 3, 1], &[1.0; 9]);
        let b = net.f32s("b", &[1], &[1.0]);
        let y = net.op(3, &[0, w, b], window(valid, 2));
        (net.output(y).clone(), if valid { 1 } else { 2 })
    };
    let (net, side) = of(false);
    assert_eq!(net.values(&x, &[1, side, side, 1]), [46.0, 40.0, 67.0, 51.0]);
    let (net, side) = of(true);
    assert_eq!(net.values(&x, &[1, side, side, 1]), [46.0]);
}

#[test]
fn grouped_convolutions_are_told_by_the_depth_of_their_weights() {
    let mut net = Net::new(&[1, 1, 1, 4]);
    let w = [1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 1.0, 2.0, -1.0];
    let w = net.f32s("w", &[6, 1, 1, 2], &w);
    let y = net.op(3, &[0, w], window(false, 1));
    let x = ramp(&[1, 1, 1, 4], 1.0);
    assert_eq!(net.output(y).values(&x, &[1, 1, 1, 6]), [1.0, 2.0, 3.0, 3.0, 4.0, 2.0]);
    let mut net = Net::new(&[1, 1, 1, 4]);
    let w = net.f32s("w", &[3, 1, 1, 3], &[0.0; 9]);
    let y = net.op(3, &[0, w], window(false, 1));
    assert!(net.output(y).unsupported()[0].reason.contains("3 channels, but its input has 4"));
}

#[test]
fn transposed_convolutions_cut_what_the_padding_rule_says() {
    let x = t(&[1, 1, 2, 1], &[1.0, 10.0]);
    let of = |valid: bool, width: i32| {
        let mut net = Net::new(&[1, 1, 2, 1]);
        let extents = net.ints(&[1, 1, width, 1]);
        let w = net.f32s("w", &[1, 1, 3, 1], &[1.0, 2.0, 3.0]);
        let options =
            none().with(0, Field::U8(valid.into())).with(1, Field::I32(2)).with(2, Field::I32(1));
        let y = net.op(67, &[extents, w, 0], options);
        net.output(y).values(&x, &[1, 1, width as usize, 1])
    };
    assert_eq!(of(true, 5), [1.0, 2.0, 13.0, 20.0, 30.0]);
    assert_eq!(of(true, 6), [1.0, 2.0, 13.0, 20.0, 30.0, 0.0]);
    // SAME over 4: one column of padding, at the end; over 3: one at either side.
    assert_eq!(of(false, 4), [1.0, 2.0, 13.0, 20.0]);
    assert_eq!(of(false, 3), [2.0, 13.0, 20.0]);
}

#[test]
fn pools_leave_padding_out() {
    let x = ramp(&[1, 3, 3, 1], 1.0);
    let options = |side: i32| window(false, 2).with(3, Field::I32(side)).with(4, Field::I32(side));
    assert_eq!(unary(1, options(2), &x, &[1, 2, 2, 1]), [3.0, 4.5, 7.5, 9.0]);
    assert_eq!(unary(17, options(2), &x, &[1, 2, 2, 1]), [5.0, 6.0, 8.0, 9.0]);
    let clipped = options(2).with(5, Field::U8(3));
    assert_eq!(unary(17, clipped, &x, &[1, 2, 2, 1]), [5.0, 6.0, 6.0, 6.0]);
}

#[test]
fn fully_connected_flattens_what_comes_before() {
    let of = |dims: &[i32], keep: u8| {
        let mut net = Net::new(dims);
        let w = net.f32s("w", &[2, 2], &[1.0, 10.0, 0.0, 1.0]);
        let b = net.f32s("b", &[2], &[0.5, -100.0]);
        let options = none().with(0, Field::U8(1)).with(2, Field::U8(keep));
        let y = net.op(9, &[0, w, b], options);
        net.output(y).clone()
    };
    let x = ramp(&[1, 2, 2], 1.0);
    assert_eq!(of(&[1, 2, 2], 0).values(&x, &[2, 2]), [21.5, 0.0, 43.5, 0.0]);
    assert_eq!(of(&[1, 2, 2], 1).values(&x, &[1, 2, 2]), [21.5, 0.0, 43.5, 0.0]);
    let x = ramp(&[1, 4], 1.0);
    assert_eq!(of(&[1, 4], 0).values(&x, &[2, 2]), [21.5, 0.0, 43.5, 0.0]);
}

#[test]
fn weights_that_are_computed_are_multiplied() {
    let mut net = Net::new(&[2, 2]);
    let y = net.op(9, &[0, 0, -1], none());
    let x = t(&[2, 2], &[1.0, 2.0, 3.0, 4.0]);
    assert_eq!(net.output(y).values(&x, &[2, 2]), [5.0, 11.0, 11.0, 25.0]);
}

#[test]
fn matrix_products_exchange_axes() {
    let x = t(&[2, 2], &[1.0, 2.0, 3.0, 4.0]);
    let of = |a: u8, b: u8| {
        let mut net = Net::new(&[2, 2]);
        let y = net.op(126, &[0, 0], none().with(0, Field::U8(a)).with(1, Field::U8(b)));
        net.output(y).values(&x, &[2, 2])
    };
    assert_eq!(of(0, 0), [7.0, 10.0, 15.0, 22.0]);
    assert_eq!(of(1, 0), [10.0, 14.0, 14.0, 20.0]);
    assert_eq!(of(0, 1), [5.0, 11.0, 11.0, 25.0]);
}

#[test]
fn reductions_name_their_axes() {
    let x = ramp(&[2, 3], 1.0);
    let of = |code: i32, axes: &[i32], keep: u8, dims: &[usize]| {
        let mut net = Net::new(&[2, 3]);
        let axes = net.ints(axes);
        let y = net.op(code, &[0, axes], none().with(0, Field::U8(keep)));
        net.output(y).values(&x, dims)
    };
    assert_eq!(of(40, &[1], 0, &[2]), [2.0, 5.0]);
    assert_eq!(of(40, &[-1, 1], 1, &[2, 1]), [2.0, 5.0]);
    assert_eq!(of(74, &[0, 1], 0, &[]), [21.0]);
    assert_eq!(of(82, &[0], 0, &[3]), [4.0, 5.0, 6.0]);
    assert_eq!(of(89, &[0], 0, &[3]), [1.0, 2.0, 3.0]);
    assert_eq!(of(81, &[1], 0, &[2]), [6.0, 120.0]);
    assert_eq!(of(74, &[], 0, &[2, 3]), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
}

#[test]
fn positions_of_extremes_have_the_type_of_the_result() {
    for (dtype, code, want) in [(tensor_type::INT64, 56, [1, 0]), (tensor_type::INT32, 79, [0, 1])]
    {
        let mut net = Net::new(&[2, 2]);
        let axis = net.ints(&[1]);
        let y = net.tensor("y", &[2], dtype);
        net.push(code, &[0, axis], &[y], none());
        let y = net.output(y).run(&[t(&[2, 2], &[1.0, 5.0, 3.0, 2.0])]).remove(0);
        assert_eq!(y.to_i64()[..], want);
        assert_eq!(y.dtype().size_bytes(), if dtype == tensor_type::INT64 { 8 } else { 4 });
    }
}

#[test]
fn l2_normalization_bounds_the_divisor() {
    let x = t(&[2, 2], &[3.0, 4.0, 0.0, 0.0]);
    close(&unary(11, none(), &x, &[2, 2]), &[0.6, 0.8, 0.0, 0.0]);
}

#[test]
fn shapes_are_computed_from_extents() {
    let x = ramp(&[2, 3], 0.0);
    // RESHAPE by [SHAPE(x)[1], -1].
    let mut net = Net::new(&[2, 3]);
    let extents = net.tensor("extents", &[2], tensor_type::INT32);
    net.push(77, &[0], &[extents], none());
    let [begin, end, step] = [[1], [2], [1]].map(|v| net.ints(&v));
    let columns = net.tensor("columns", &[], tensor_type::INT32);
    net.push(45, &[extents, begin, end, step], &[columns], none().with(4, Field::I32(1)));
    let rest = net.i32s(&[], &[-1]);
    let target = net.tensor("target", &[2], tensor_type::INT32);
    net.push(83, &[columns, rest], &[target], none().with(0, Field::I32(2)));
    let y = net.op(22, &[0, target], none());
    assert_eq!(net.output(y).values(&x, &[3, 2]), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);

    let options = none().with(0, Field::I32s(vec![3, -1]));
    assert_eq!(unary(22, options, &x, &[3, 2]), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
}

#[test]
fn axes_are_moved_added_and_dropped() {
    let x = ramp(&[1, 2, 3], 0.0);
    let of = |code: i32, list: &[i32], dims: &[usize]| {
        let mut net = Net::new(&[1, 2, 3]);
        let list = net.ints(list);
        let y = net.op(code, &[0, list], none());
        net.output(y).values(&x, dims)
    };
    assert_eq!(of(39, &[2, 0, -2], &[3, 1, 2]), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
    assert_eq!(of(70, &[-1], &[1, 2, 3, 1]), x.to_f32()[..]);
    assert_eq!(of(69, &[2, 1, 1], &[2, 2, 3])[6..], x.to_f32()[..]);
    assert_eq!(of(130, &[2, 2, 3], &[2, 2, 3])[6..], x.to_f32()[..]);
    let axes = none().with(0, Field::I32s(vec![0]));
    assert_eq!(unary(43, axes, &x, &[2, 3]), x.to_f32()[..]);
}

#[test]
fn pads_surround_with_zero_a_value_or_a_mirror() {
    let x = ramp(&[1, 3], 1.0);
    let of = |code: i32, pads: [i32; 2], mode: u8, value: bool| {
        let mut net = Net::new(&[1, 3]);
        let mut inputs = vec![0, net.i32s(&[2, 2], &[0, 0, pads[0], pads[1]])];
        if value {
            inputs.push(net.f32s("v", &[], &[9.0]));
        }
        let y = net.op(code, &inputs, none().with(0, Field::U8(mode)));
        net.output(y).clone()
    };
    assert_eq!(of(34, [1, 2], 0, false).values(&x, &[1, 6]), [0.0, 1.0, 2.0, 3.0, 0.0, 0.0]);
    assert_eq!(of(60, [1, 0], 0, true).values(&x, &[1, 4]), [9.0, 1.0, 2.0, 3.0]);
    assert_eq!(of(100, [2, 1], 0, false).values(&x, &[1, 6]), [3.0, 2.0, 1.0, 2.0, 3.0, 2.0]);
    assert_eq!(of(100, [1, 1], 1, false).values(&x, &[1, 5]), [1.0, 1.0, 2.0, 3.0, 3.0]);
    assert!(of(100, [2, 1], 1, false).unsupported()[0].reason.contains("symmetric"));
}

#[test]
fn parts_are_taken_and_joined() {
    let x = ramp(&[2, 3], 0.0);
    let mut net = Net::new(&[2, 3]);
    let (begin, size) = (net.ints(&[0, 1]), net.ints(&[-1, 2]));
    let part = net.op(65, &[0, begin, size], none());
    let joined = net.op(2, &[part, 0], none().with(0, Field::I32(-1)));
    let rows = net.ints(&[1, 0]);
    let y = net.op(36, &[joined, rows], none());
    let want = [4.0, 5.0, 3.0, 4.0, 5.0, 1.0, 2.0, 0.0, 1.0, 2.0];
    assert_eq!(net.output(y).values(&x, &[2, 5]), want);
}

#[test]
fn splits_give_all_their_parts() {
    let x = ramp(&[1, 4], 0.0);
    let parts = |code: i32, v: bool| {
        let mut net = Net::new(&[1, 4]);
        let axis = net.i32s(&[], &[1]);
        let sizes = net.ints(&[1, -1]);
        let outputs = [0, 1].map(|i| net.tensor(&format!("p{i}"), &[], tensor_type::FLOAT32));
        let inputs = if v { vec![0, sizes, axis] } else { vec![axis, 0] };
        net.push(code, &inputs, &outputs, none().with(0, Field::I32(2)));
        net.outputs = outputs.to_vec();
        let y = net.run(std::slice::from_ref(&x));
        y.iter().map(|part| part.to_f32().into_owned()).collect::<Vec<_>>()
    };
    assert_eq!(parts(49, false), [vec![0.0, 1.0], vec![2.0, 3.0]]);
    assert_eq!(parts(102, true), [vec![0.0], vec![1.0, 2.0, 3.0]]);
}

#[test]
fn slices_are_unpacked_and_packed() {
    let x = ramp(&[2, 2], 0.0);
    let mut net = Net::new(&[2, 2]);
    let parts = [0, 1].map(|i| net.tensor(&format!("p{i}"), &[2], tensor_type::FLOAT32));
    let options = || none().with(0, Field::I32(2)).with(1, Field::I32(1));
    net.push(88, &[0], &parts, options());
    let y = net.op(83, &[parts[1], parts[0]], options());
    assert_eq!(net.output(y).values(&x, &[2, 2]), [1.0, 0.0, 3.0, 2.0]);
}

/// A strided slice of a 2x3x2 ramp, the masks those of begins, ends, ellipsis, new axes, dropped.
#[track_caller]
fn strided(lists: [&[i32]; 3], masks: [i32; 5], dims: &[usize]) -> Vec<f32> {
    let mut net = Net::new(&[2, 3, 2]);
    let [begin, end, step] = lists.map(|list| net.ints(list));
    let mask = |record: Record, i: usize| record.with(i as u16, Field::I32(masks[i]));
    let y = net.op(45, &[0, begin, end, step], (0..5).fold(none(), mask));
    net.output(y).values(&ramp(&[2, 3, 2], 0.0), dims)
}

#[test]
fn strided_slices_follow_numpy() {
    let y = strided([&[0, 1], &[1, 3], &[1, 1]], [0; 5], &[1, 2, 2]);
    assert_eq!(y, [2.0, 3.0, 4.0, 5.0]);
    let y = strided([&[0, 0, 1], &[0, 0, 0], &[1, 2, -1]], [3, 7, 0, 0, 0], &[2, 2, 2]);
    assert_eq!(y, [1.0, 0.0, 5.0, 4.0, 7.0, 6.0, 11.0, 10.0]);
    let y = strided([&[-1, 0], &[0, 0], &[1, 1]], [0, 2, 0, 0, 1], &[3, 2]);
    assert_eq!(y, [6.0, 7.0, 8.0, 9.0, 10.0, 11.0]);
    // x[..., 1], then x[:, newaxis, 2].
    let y = strided([&[0, 1], &[0, 2], &[1, 1]], [0, 0, 1, 0, 2], &[2, 3]);
    assert_eq!(y, [1.0, 3.0, 5.0, 7.0, 9.0, 11.0]);
    let y = strided([&[0, 0, 2], &[0, 0, 3], &[1, 1, 1]], [1, 1, 0, 2, 4], &[2, 1, 2]);
    assert_eq!(y, [4.0, 5.0, 10.0, 11.0]);
}

#[test]
fn blocks_move_between_batches_and_pixels() {
    let x = ramp(&[1, 2, 3, 1], 1.0);
    let mut net = Net::new(&[1, 2, 3, 1]);
    let (block, pads) = (net.ints(&[2, 2]), net.i32s(&[2, 2], &[0, 0, 1, 0]));
    let batches = net.op(38, &[0, block, pads], none());
    let back = net.op(37, &[batches, block, pads], none());
    net.output(batches).output(back);
    let y = net.run(std::slice::from_ref(&x));
    assert_eq!(y[0].shape().dims(), [4, 1, 2, 1]);
    assert_eq!(y[0].to_f32()[..], [0.0, 2.0, 1.0, 3.0, 0.0, 5.0, 4.0, 6.0]);
    assert_eq!(y[1], x);
}

#[test]
fn blocks_move_between_channels_and_pixels() {
    let x = ramp(&[1, 1, 1, 4], 0.0);
    let block = || none().with(0, Field::I32(2));
    assert_eq!(unary(5, block(), &x, &[1, 2, 2, 1]), [0.0, 1.0, 2.0, 3.0]);
    let x = ramp(&[1, 2, 2, 1], 0.0);
    assert_eq!(unary(26, block(), &x, &[1, 1, 1, 4]), [0.0, 1.0, 2.0, 3.0]);
    let mut net = Net::new(&[1, 1, 1, 4]);
    let y = net.op(5, &[0], none().with(0, Field::I32(3)));
    assert!(net.output(y).unsupported()[0].reason.contains("3x3"));
}

#[test]
fn nearest_samples_are_those_of_tensorflow() {
    let x = ramp(&[1, 1, 3, 1], 0.0);
    let of = |align: u8, half: u8| {
        let mut net = Net::new(&[1, 1, 3, 1]);
        let size = net.ints(&[1, 5]);
        let y = net.op(97, &[0, size], none().with(0, Field::U8(align)).with(1, Field::U8(half)));
        net.output(y).values(&x, &[1, 1, 5, 1])
    };
    assert_eq!(of(0, 0), [0.0, 0.0, 1.0, 1.0, 2.0]);
    assert_eq!(of(1, 0), [0.0, 1.0, 1.0, 2.0, 2.0]);
    assert_eq!(of(0, 1), [0.0, 0.0, 1.0, 2.0, 2.0]);
}

#[test]
fn free_batches_resize_each_picture() {
    let mut net = Net::new(&[1, 1, 2, 1]);
    net.record(0).set(7, Field::I32s(vec![-1, 1, 2, 1]));
    let size = net.ints(&[1, 3]);
    let y = net.op(23, &[0, size], none().with(2, Field::U8(1)));
    let x = t(&[2, 1, 2, 1], &[0.0, 2.0, 10.0, 20.0]);
    let want = [0.0, 1.0, 2.0, 10.0, 15.0, 20.0];
    assert_eq!(net.output(y).values(&x, &[2, 1, 3, 1]), want);
}

#[test]
fn slices_are_selected_whole() {
    let mut net = Net::new(&[2, 2]);
    let which = net.bytes("which", &[2], tensor_type::BOOL, vec![1, 0]);
    let other = net.f32s("other", &[2, 2], &[9.0; 4]);
    let y = net.op(64, &[which, 0, other], none());
    let x = ramp(&[2, 2], 0.0);
    assert_eq!(net.output(y).values(&x, &[2, 2]), [0.0, 1.0, 9.0, 9.0]);
}

#[test]
fn slopes_are_per_channel() {
    let mut net = Net::new(&[1, 1, 2, 2]);
    let slope = net.f16s("slope", &[1, 1, 2], &[0.5, 2.0]);
    let slope = net.op(6, &[slope], none());
    let y = net.op(54, &[0, slope], none());
    let x = t(&[1, 1, 2, 2], &[-1.0, -1.0, 3.0, -2.0]);
    assert_eq!(net.output(y).values(&x, &[1, 1, 2, 2]), [-0.5, -2.0, 3.0, -4.0]);
}

#[test]
fn slices_come_from_and_go_to_coordinates() {
    let x = ramp(&[3, 2], 0.0);
    let mut net = Net::new(&[3, 2]);
    let rows = net.i32s(&[2, 1], &[2, 0]);
    let y = net.op(107, &[0, rows], none());
    assert_eq!(net.output(y).values(&x, &[2, 2]), [4.0, 5.0, 0.0, 1.0]);
    // Two of the rows go to the same place.
    let mut net = Net::new(&[3, 2]);
    let (rows, extents) = (net.i32s(&[3, 1], &[1, 3, 1]), net.ints(&[4, 2]));
    let y = net.op(122, &[rows, 0, extents], none());
    assert_eq!(net.output(y).values(&x, &[4, 2]), [0.0, 0.0, 4.0, 6.0, 0.0, 0.0, 2.0, 3.0]);
}

#[test]
fn the_best_elements_come_with_their_places() {
    let x = t(&[2, 3], &[1.0, 3.0, 2.0, 5.0, 4.0, 5.0]);
    let mut net = Net::new(&[2, 3]);
    let k = net.i32s(&[], &[2]);
    let values = net.tensor("values", &[2, 2], tensor_type::FLOAT32);
    let places = net.tensor("places", &[2, 2], tensor_type::INT32);
    net.push(48, &[0, k], &[values, places], none());
    let results = net.output(values).output(places).run(&[x]);
    assert_eq!(results[0].to_f32()[..], [3.0, 2.0, 5.0, 5.0]);
    assert_eq!(results[1].dtype(), depthwise_tensor::DType::I32);
    assert_eq!(results[1].to_i64()[..], [1, 2, 0, 2]);
}
