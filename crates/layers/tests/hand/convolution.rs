use super::*;
use depthwise_layers::{
    Activation, BatchNorm, Conv2d, Dense, DepthwiseConv2d, MatMul, Padding, SeparableConv2d,
    SeparableOperands,
};
use depthwise_tensor::{Hw, Pad2d};

fn conv(stride: usize, padding: Padding) -> Conv2d {
    Conv2d { stride: Hw::square(stride), padding, ..Conv2d::default() }
}

#[test]
fn the_odd_border_of_same_goes_to_the_end_or_the_start() {
    // CASES C01.
    let (x, w) = (ramp(&[1, 4, 4, 1], 0.0), t(&[1, 3, 3, 1], &[1.0; 9]));
    let of = |padding| values(conv(2, padding), &[&x, &w], &[1, 2, 2, 1]);
    assert_eq!(of(Padding::SameLower), [10.0, 24.0, 51.0, 90.0]);
    assert_eq!(of(Padding::Same), [45.0, 39.0, 66.0, 50.0]);
    let explicit =
        |top, left, bottom, right| of(Padding::Explicit(Pad2d { top, left, bottom, right }));
    assert_eq!(explicit(1, 1, 0, 0), of(Padding::SameLower));
    assert_eq!(explicit(0, 0, 1, 1), of(Padding::Same));
    // Top as SAME_LOWER, left as SAME_UPPER.
    assert_eq!(explicit(1, 0, 0, 1), [18.0, 18.0, 81.0, 63.0]);
    assert_eq!(values(conv(2, Padding::Valid), &[&x, &w], &[1, 1, 1, 1]), [45.0]);
    assert_eq!(macs(conv(2, Padding::Same), &[&x, &w]), 4 * 9);
}

#[test]
fn dilation_spreads_the_taps() {
    // CASES C06.
    let x = ramp(&[1, 5, 5, 1], 1.0);
    let w = [1.0, 2.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, -1.0];
    let want = [
        -12.0, -12.0, -1.0, 16.0, 18.0, -12.0, -12.0, 4.0, 26.0, 28.0, -7.0, -4.0, 21.0, 46.0,
        51.0, 36.0, 40.0, 50.0, 44.0, 48.0, 56.0, 60.0, 75.0, 64.0, 68.0,
    ];
    let dilation = Hw::square(2);
    for padding in [Padding::all(2), Padding::Same, Padding::SameLower] {
        let full = Conv2d { dilation, padding, ..Conv2d::default() };
        assert_eq!(values(full, &[&x, &t(&[1, 3, 3, 1], &w)], &[1, 5, 5, 1]), want);
        let depthwise = DepthwiseConv2d { dilation, padding, ..DepthwiseConv2d::default() };
        assert_eq!(values(depthwise, &[&x, &t(&[3, 3, 1], &w)], &[1, 5, 5, 1]), want);
    }
}

#[test]
fn groups_see_their_own_channels() {
    // CASES C08.
    let x = t(&[1, 1, 1, 4], &[1.0, 2.0, 3.0, 4.0]);
    let w = t(&[6, 1, 1, 2], &[1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 1.0, 2.0, -1.0]);
    let grouped = |groups| Conv2d { groups, ..Conv2d::default() };
    assert_eq!(values(grouped(2), &[&x, &w], &[1, 1, 1, 6]), [1.0, 2.0, 3.0, 3.0, 4.0, 2.0]);
    assert_eq!(macs(grouped(2), &[&x, &w]), 6 * 2);
    assert!(refusal(grouped(3), &[&x, &w]).contains("3 groups do not divide 4 input"));
    assert!(refusal(grouped(0), &[&x, &w]).contains("0 groups"));
    assert!(refusal(grouped(1), &[&x, &w]).contains("take 2 channels"));
}

#[test]
fn bias_residual_and_activation_come_in_this_order() {
    let x = t(&[1, 1, 2, 1], &[1.0, -2.0]);
    let w = t(&[2, 1, 1, 1], &[3.0, -3.0]);
    let (b, r) = (t(&[2], &[0.5, 1.0]), t(&[1, 1, 2, 2], &[10.0, -10.0, 1.0, 1.0]));
    let relu6 = Conv2d { activation: Activation::RELU6, ..Conv2d::default() };
    // 3 + 0.5 + 10, -3 + 1 - 10, -6 + 0.5 + 1, 6 + 1 + 1, each clipped.
    assert_eq!(values(relu6.clone(), &[&x, &w, &b, &r], &[1, 1, 2, 2]), [6.0, 0.0, 0.0, 6.0]);
    let y = run_all(relu6, &[Some(&x), Some(&w), None, Some(&r)]).remove(0);
    assert_eq!(y.to_f32().as_ref(), [6.0, 0.0, 0.0, 6.0]);
    let plain = Conv2d::default();
    assert!(refusal(plain.clone(), &[&x, &w, &t(&[3], &[0.0; 3])]).contains("Conv2d"));
    assert!(refusal(plain.clone(), &[&x]).contains("takes 2 to 4 inputs"));
    assert!(refusal(plain, &[&t(&[2, 1], &[0.0; 2]), &w]).contains("Conv2d"));
}

#[test]
fn windows_larger_than_the_picture_are_refused() {
    let (x, w) = (ramp(&[1, 2, 5, 1], 0.0), t(&[1, 3, 3, 1], &[1.0; 9]));
    assert!(refusal(conv(1, Padding::Valid), &[&x, &w]).contains("Conv2d"));
    assert!(
        refusal(Conv2d { stride: Hw { h: 0, w: 1 }, ..conv(1, Padding::Same) }, &[&x, &w])
            .contains("stride")
    );
}

#[test]
fn depthwise_border_on_one_side_alone() {
    // CASES C03.
    let data: Vec<f32> = (0..25).flat_map(|i| (1..=3).map(move |c| (c * i) as f32)).collect();
    let x = t(&[1, 5, 5, 3], &data);
    let filters = [
        [1.0, 0.0, -1.0, 2.0, 0.0, -2.0, 1.0, 0.0, -1.0],
        [1.0, 2.0, 1.0, 0.0, 0.0, 0.0, -1.0, -2.0, -1.0],
        [0.0, 1.0, 0.0, 1.0, -4.0, 1.0, 0.0, 1.0, 0.0],
    ];
    let taps: Vec<f32> = (0..9).flat_map(|tap| filters.map(|filter| filter[tap])).collect();
    let w = t(&[3, 3, 3], &taps);
    let of = |top, left, bottom, right| {
        let padding = Padding::Explicit(Pad2d { top, left, bottom, right });
        let layer =
            DepthwiseConv2d { stride: Hw::square(2), padding, ..DepthwiseConv2d::default() };
        values(layer, &[&x, &w], &[1, 2, 2, 3])
    };
    assert_eq!(of(0, 0, 1, 1), [-8.0, -80.0, 0.0].repeat(4));
    let first = |y: Vec<f32>| y.chunks(3).map(|pixel| pixel[0]).collect::<Vec<_>>();
    assert_eq!(first(of(1, 1, 0, 0)), [-8.0, -6.0, -44.0, -8.0]);
}

#[test]
fn a_depth_multiplier_gives_each_channel_several_filters() {
    // CASES C04.
    let x = ramp(&[1, 2, 2, 2], 1.0);
    let w = t(&[1, 1, 4], &[1.0, 10.0, 100.0, 1000.0]);
    let want = [
        1.0, 10.0, 200.0, 2000.0, 3.0, 30.0, 400.0, 4000.0, 5.0, 50.0, 600.0, 6000.0, 7.0, 70.0,
        800.0, 8000.0,
    ];
    let layer = DepthwiseConv2d::default();
    assert_eq!(values(layer.clone(), &[&x, &w], &[1, 2, 2, 4]), want);
    assert_eq!(macs(layer.clone(), &[&x, &w]), 16);
    let grouped = Conv2d { groups: 2, ..Conv2d::default() };
    assert_eq!(values(grouped, &[&x, &w.reshape(&[4, 1, 1, 1]).unwrap()], &[1, 2, 2, 4]), want);
    let three = t(&[1, 1, 3], &[1.0; 3]);
    assert!(refusal(layer, &[&x, &three]).contains("3 filters are no positive multiple of 2"));
}

#[test]
fn a_separable_convolution_is_its_two_halves() {
    let x = ramp(&[1, 3, 3, 2], 0.0);
    let (d, p) = (t(&[3, 3, 2], &[1.0; 18]), t(&[1, 1, 1, 2], &[1.0, -1.0]));
    let (db, pb) = (t(&[2], &[0.0, 1.0]), t(&[1], &[100.0]));
    let layer = SeparableConv2d::same(Hw::ONE, Activation::Identity);
    let operands = SeparableOperands {
        x: &x,
        depthwise: &d,
        depthwise_bias: Some(&db),
        pointwise: &p,
        pointwise_bias: Some(&pb),
    };
    let y = layer.reference(operands).unwrap();
    // Odd elements exceed even ones by 1 per cell in the window; the bias adds another.
    let cells = [4.0, 6.0, 4.0, 6.0, 9.0, 6.0, 4.0, 6.0, 4.0];
    assert_eq!(y.to_f32().as_ref(), cells.map(|cells: f32| 100.0 - cells - 1.0));
    let ty = TensorType::of;
    let cost = layer
        .cost(SeparableOperands {
            x: ty(&x),
            depthwise: ty(&d),
            depthwise_bias: Some(ty(&db)),
            pointwise: ty(&p),
            pointwise_bias: Some(ty(&pb)),
        })
        .unwrap();
    assert_eq!((cost.macs, cost.params), (9 * 2 * 9 + 9 * 2, 18 + 2 + 2 + 1));
    let grouped = SeparableConv2d { pointwise: Conv2d { groups: 2, ..Conv2d::default() }, ..layer };
    assert!(grouped.reference(operands).is_err());
}

#[test]
fn dense_multiplies_the_last_axis() {
    let x = t(&[2, 3], &[1.0, 2.0, 3.0, -1.0, 0.0, 1.0]);
    let (w, b) = (t(&[2, 3], &[1.0, 1.0, 1.0, 0.0, 1.0, 2.0]), t(&[2], &[0.0, -8.0]));
    let relu = Dense { activation: Activation::RELU };
    assert_eq!(values(relu.clone(), &[&x, &w, &b], &[2, 2]), [6.0, 0.0, 0.0, 0.0]);
    assert_eq!(values(relu.clone(), &[&x, &w], &[2, 2]), [6.0, 8.0, 0.0, 2.0]);
    assert_eq!(macs(relu.clone(), &[&x, &w]), 12);
    let cube = x.reshape(&[1, 2, 3]).unwrap();
    assert_eq!(values(relu.clone(), &[&cube, &w], &[1, 2, 2]), [6.0, 8.0, 0.0, 2.0]);
    assert!(refusal(relu, &[&x, &t(&[2, 4], &[0.0; 8])]).contains("Dense"));
}

#[test]
fn a_matrix_product_broadcasts_leading_axes() {
    let a = t(&[2, 1, 2], &[1.0, 2.0, 3.0, 4.0]);
    let b = t(&[2, 2], &[1.0, 10.0, 100.0, 1000.0]);
    assert_eq!(values(MatMul, &[&a, &b], &[2, 1, 2]), [201.0, 2010.0, 403.0, 4030.0]);
    let v = t(&[2], &[1.0, -1.0]);
    assert_eq!(values(MatMul, &[&b, &v], &[2]), [-9.0, -900.0]);
    assert_eq!(values(MatMul, &[&v, &b], &[2]), [-99.0, -990.0]);
    assert_eq!(values(MatMul, &[&v, &v], &[]), [2.0]);
    assert_eq!(macs(MatMul, &[&a, &b]), 8);
    assert!(refusal(MatMul, &[&a, &t(&[3, 2], &[0.0; 6])]).contains("MatMul"));
}

#[test]
fn batch_norm_scales_and_shifts_each_channel() {
    let x = t(&[1, 1, 2, 2], &[1.0, 2.0, 3.0, 4.0]);
    let [gamma, beta, mean, var] =
        [[2.0, 1.0], [0.0, 5.0], [1.0, 0.0], [3.0, 15.0]].map(|data| t(&[2], &data));
    let layer = BatchNorm { epsilon: 1.0, axis: -1 };
    let y = values(layer.clone(), &[&x, &gamma, &beta, &mean, &var], &[1, 1, 2, 2]);
    assert_eq!(y, [0.0, 5.5, 2.0, 6.0]);
    let y = run_all(layer.clone(), &[Some(&x), None, None, Some(&mean), Some(&var)]).remove(0);
    assert_eq!(y.to_f32().as_ref(), [0.0, 0.5, 1.0, 1.0]);
    let rows = BatchNorm { axis: 1, ..layer };
    assert!(refusal(rows, &[&x, &gamma, &beta, &mean, &var]).contains("BatchNorm"));
}
