use super::*;
use depthwise_layers::{
    Coordinates, MaxPositions, NearestRounding, Pad, PadMode, Padding, Pool2d, PoolKind, Resize,
    ResizeMode,
};
use depthwise_tensor::{Hw, Pad2d};

fn pool(kind: PoolKind, kernel: usize, stride: usize, padding: Padding) -> Pool2d {
    let (kernel, stride) = (Hw::square(kernel), Hw::square(stride));
    Pool2d { kind, kernel, stride, dilation: Hw::ONE, padding, ceil_mode: false }
}

const fn average(include_pad: bool) -> PoolKind {
    PoolKind::Average { include_pad }
}

#[test]
fn average_pools_count_declared_padding_alone() {
    // CASES C15.
    let data: Vec<f32> = (1..=16).map(|i| 2.0 * i as f32).collect();
    let x = t(&[1, 4, 4, 1], &data);
    let of = |include, pad| {
        let pool = Pool2d { ceil_mode: true, ..pool(average(include), 3, 2, Padding::all(pad)) };
        let side = if pad == 1 { 3 } else { 2 };
        values(pool, &[&x], &[1, side, side, 1])
    };
    let third = 28.0 / 9.0;
    let with = [third, 20.0 / 3.0, 4.0, 38.0 / 3.0, 22.0, 12.0, 9.0, 15.0, 8.0];
    close(&of(true, 1), &with);
    assert_eq!(of(false, 1), [7.0, 10.0, 12.0, 19.0, 22.0, 24.0, 27.0, 30.0, 32.0]);
    assert_eq!(of(false, 0), [12.0, 15.0, 24.0, 27.0]);
}

#[test]
fn average_pool_with_the_border_at_the_start() {
    // CASES C17.
    let data: Vec<f32> = (1..=6).map(|i| 6.0 * i as f32).collect();
    let pool =
        Pool2d { kernel: Hw { h: 4, w: 1 }, ..pool(average(true), 1, 1, Padding::SameLower) };
    let y = values(pool, &[&t(&[1, 6, 1, 1], &data)], &[1, 6, 1, 1]);
    assert_eq!(y, [4.5, 9.0, 15.0, 21.0, 27.0, 22.5]);
}

#[test]
fn maximum_pools_never_see_the_padding() {
    let x = t(&[1, 2, 2, 2], &[-1.0, 5.0, -2.0, f32::NAN, -3.0, 7.0, -4.0, 8.0]);
    let y = values(pool(PoolKind::Max, 3, 1, Padding::Same), &[&x], &[1, 2, 2, 2]);
    assert_eq!([y[0], y[2], y[4], y[6]], [-1.0; 4]);
    assert!([y[1], y[3], y[5], y[7]].iter().all(|y| y.is_nan()));
    let dilated = Pool2d { dilation: Hw::square(2), ..pool(PoolKind::Max, 2, 1, Padding::Valid) };
    assert_eq!(values(dilated, &[&ramp(&[1, 3, 3, 1], 0.0)], &[1, 1, 1, 1]), [8.0]);
    // Rounded up, a window would begin in the padding behind the picture; it is dropped.
    let pad = Pad2d { top: 0, left: 0, bottom: 1, right: 1 };
    let pool = Pool2d { ceil_mode: true, ..pool(PoolKind::Max, 1, 2, Padding::Explicit(pad)) };
    assert_eq!(
        values(pool.clone(), &[&ramp(&[1, 3, 3, 1], 0.0)], &[1, 2, 2, 1]),
        [0.0, 2.0, 6.0, 8.0]
    );
    assert!(refusal(pool, &[&ramp(&[3, 3], 0.0)]).contains("Pool2d"));
}

#[test]
fn positions_of_maxima_count_as_the_file_does() {
    // Two channels: the largest of each in the lower right window and the upper left one.
    let x = t(&[1, 2, 3, 2], &[9.0, 1.0, 2.0, 1.0, 2.0, 1.0, 3.0, 1.0, 9.0, 1.0, 4.0, 5.0]);
    let of = |column_major| {
        let layer = MaxPositions {
            kernel: Hw::square(2),
            stride: Hw::ONE,
            dilation: Hw::ONE,
            padding: Padding::Valid,
            ceil_mode: false,
            column_major,
        };
        run(layer, &[&x]).to_i64().into_owned()
    };
    assert_eq!(of(false), [0, 6, 4, 11]);
    assert_eq!(of(true), [0, 6, 3, 11]);
}

fn line(resize: Resize, x: &[f32], size: i64) -> Vec<f32> {
    let y = run(resize, &[&t(&[x.len()], x), &ints(&[size])]);
    y.to_f32().into_owned()
}

#[test]
fn linear_interpolation_in_every_coordinate_mode() {
    // CASES C19.
    let x = [0.0, 10.0, 20.0, 30.0];
    let of = |coordinates, size| line(Resize { mode: ResizeMode::Linear, coordinates }, &x, size);
    let sevenths: [f64; 7] =
        std::array::from_fn(|o| ((o as f64 + 0.5) * 4.0 / 7.0 - 0.5).clamp(0.0, 3.0) * 10.0);
    close(&[sevenths[1] as f32, sevenths[5] as f32], &[3.571_429, 26.428_571]);
    close(&of(Coordinates::HalfPixel, 7), &sevenths);
    close(&of(Coordinates::PytorchHalfPixel, 7), &sevenths);
    close(&of(Coordinates::AlignCorners, 7), &[0.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0]);
    let asymmetric: [f64; 7] = std::array::from_fn(|o| (o as f64 * 40.0 / 7.0).min(30.0));
    close(&of(Coordinates::Asymmetric, 7), &asymmetric);
    assert_eq!(of(Coordinates::HalfPixel, 1), [15.0]);
    assert_eq!(of(Coordinates::PytorchHalfPixel, 1), [0.0]);
    assert_eq!(of(Coordinates::AlignCorners, 1), [0.0]);
    assert_eq!(of(Coordinates::Asymmetric, 1), [0.0]);
}

#[test]
fn nearest_rounds_halves_as_told() {
    let of = |rounding, coordinates, size| {
        line(
            Resize { mode: ResizeMode::Nearest(rounding), coordinates },
            &[0.0, 1.0, 2.0, 3.0],
            size,
        )
    };
    let asymmetric = Coordinates::Asymmetric;
    // Positions 0, 0.5, .. 3.5.
    let twice = |rounding| of(rounding, asymmetric, 8);
    assert_eq!(twice(NearestRounding::Floor), [0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0]);
    assert_eq!(twice(NearestRounding::Ceil), [0.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 3.0]);
    assert_eq!(twice(NearestRounding::RoundPreferFloor), [0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0]);
    assert_eq!(twice(NearestRounding::RoundPreferCeil), [0.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 3.0]);
    // 0.5 and 2.5.
    assert_eq!(of(NearestRounding::RoundPreferFloor, Coordinates::HalfPixel, 2), [0.0, 2.0]);
    assert_eq!(of(NearestRounding::RoundPreferCeil, Coordinates::HalfPixel, 2), [1.0, 3.0]);
}

#[test]
fn filters_stretch_over_what_shrinks() {
    let x = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0];
    let of = |mode, size| line(Resize { mode, coordinates: Coordinates::HalfPixel }, &x, size);
    let linear = |exclude_outside| ResizeMode::LinearAntialias { exclude_outside };
    // Halved, about 0.5 and 2.5: weights 1, 3, 3, 1 of eighths.
    let half = of(linear(false), 4);
    close(&half[..2], &[(0.0 * 4.0 + 3.0 + 2.0) / 8.0, (1.0 + 6.0 + 9.0 + 4.0) / 8.0]);
    close(&of(linear(true), 4)[..1], &[(3.0 + 2.0) / 7.0]);
    // Nothing is stretched where it grows.
    assert_eq!(of(linear(false), 16), of(ResizeMode::Linear, 16));
    let cubic = |exclude_outside| ResizeMode::Cubic { a: -0.5, exclude_outside };
    let stretched = |exclude_outside| ResizeMode::CubicAntialias { a: -0.5, exclude_outside };
    assert_eq!(of(stretched(true), 16), of(cubic(true), 16));
    // A straight line stays one where no weight lies outside.
    let long: Vec<f32> = (0..40).map(|i| i as f32).collect();
    let layer = Resize { mode: stretched(false), coordinates: Coordinates::HalfPixel };
    close(&line(layer, &long, 10)[4..6], &[17.5, 21.5]);
}

#[test]
fn nothing_between_two_axes_is_larger_than_both_ends() {
    // A hundred thousand by a hundred thousand, were the first axis to grow before the second shrinks.
    let x: Vec<f32> = (0..100_000).map(|i| (i % 2) as f32).collect();
    let mode = ResizeMode::LinearAntialias { exclude_outside: true };
    let layer = Resize { mode, coordinates: Coordinates::HalfPixel };
    let y = values(layer, &[&t(&[1, 100_000], &x), &ints(&[100_000, 1])], &[100_000, 1]);
    assert!(y.iter().all(|y| (y - 0.5).abs() < 1e-3), "{:?}", &y[..3]);
}

#[test]
fn sizes_may_be_rounded_from_scales() {
    let layer = Resize { mode: ResizeMode::Linear, coordinates: Coordinates::Asymmetric };
    let (x, scale) = (ramp(&[4], 0.0), t(&[1], &[0.7]));
    // 2.8, rounded up; positions 0, 1 / 0.7, 2 / 0.7.
    let operands = [Some(&x), Some(&ints(&[3])), Some(&scale)];
    let y = run_all(layer.clone(), &operands).remove(0);
    close(&y.to_f32(), &[0.0, 1.0 / f64::from(0.7f32), 2.0 / f64::from(0.7f32)]);
    let far = ints(&[5]);
    assert!(infer(&layer.into(), &[Some(&x), Some(&far), Some(&scale)]).is_err());
}

#[test]
fn scales_give_the_size_rounded_down() {
    let x = ramp(&[1, 2, 3, 1], 0.0);
    let scales = t(&[4], &[1.0, 1.5, 2.0, 1.0]);
    let layer = Resize {
        mode: ResizeMode::Nearest(NearestRounding::Floor),
        coordinates: Coordinates::Asymmetric,
    };
    let y = run_all(layer.clone(), &[Some(&x), None, Some(&scales)]).remove(0);
    assert_eq!(y.shape().dims(), [1, 3, 6, 1]);
    assert_eq!(y.to_f32()[..6], [0.0, 0.0, 1.0, 1.0, 2.0, 2.0]);
    let bad = t(&[4], &[1.0, 0.0, 2.0, 1.0]);
    let op = Op::from(layer.clone());
    let error = infer(&op, &[Some(&x), None, Some(&bad)]).unwrap_err().to_string();
    assert!(error.contains("scale 0 is not positive"), "{error}");
    assert!(refusal(layer, &[&x]).contains("sizes or scales"));
}

#[test]
fn borders_are_filled_as_told() {
    let x = t(&[4], &[1.0, 2.0, 3.0, 4.0]);
    let of = |mode, before, after| {
        run(Pad { mode }, &[&x, &ints(&[before, after])]).to_f32().into_owned()
    };
    assert_eq!(of(PadMode::Constant, 1, 2), [0.0, 1.0, 2.0, 3.0, 4.0, 0.0, 0.0]);
    assert_eq!(of(PadMode::Reflect, 2, 2), [3.0, 2.0, 1.0, 2.0, 3.0, 4.0, 3.0, 2.0]);
    assert_eq!(of(PadMode::Edge, 2, 1), [1.0, 1.0, 1.0, 2.0, 3.0, 4.0, 4.0]);
    assert_eq!(of(PadMode::Wrap, 1, 2), [4.0, 1.0, 2.0, 3.0, 4.0, 1.0, 2.0]);
    assert_eq!(of(PadMode::Constant, -1, -1), [2.0, 3.0]);
    // What is cropped is not reflected.
    assert_eq!(of(PadMode::Reflect, -1, 1), [2.0, 3.0, 4.0, 3.0]);
    let value = t(&[], &[7.0]);
    let layer = Pad { mode: PadMode::Constant };
    assert_eq!(values(layer.clone(), &[&x, &ints(&[0, 1]), &value], &[5])[4], 7.0);
    let square = ramp(&[2, 2], 1.0);
    let y = values(layer.clone(), &[&square, &ints(&[1, 0]), &value, &ints(&[-1])], &[2, 3]);
    assert_eq!(y, [7.0, 1.0, 2.0, 7.0, 3.0, 4.0]);
    assert!(refusal(layer, &[&x, &ints(&[1])]).contains("Pad"));
    assert!(refusal(Pad { mode: PadMode::Reflect }, &[&x, &ints(&[4, 0])]).contains("Pad"));
}
