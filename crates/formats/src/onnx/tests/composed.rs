//! Operators that are made of several layers, by hand values.

use super::build::*;
use crate::onnx::wire::{AttributeValue, Tensor};

fn of(
    op: &'static str,
    attributes: Vec<(&'static str, AttributeValue<'static>)>,
    constants: Vec<Tensor<'static>>,
    (dims, x): (&[usize], &[f32]),
) -> Vec<f32> {
    let mut names = vec!["x"];
    names.extend(constants.iter().map(|constant| constant.name));
    run_node(24, node(op, &names, &["y"], attributes), constants, &value(dims, x))
}

#[test]
fn a_transposed_convolution_adds_its_filters_around_each_pixel() {
    // One channel to two, a kernel of 2 at stride 2: no windows overlap.
    let w = || f32s("w", &[1, 2, 1, 2], &[1., 10., 2., 20.]);
    let strides = || ("strides", ints(&[1, 2]));
    let x: (&[usize], &[f32]) = (&[1, 1, 1, 2], &[3., 5.]);
    let got = of("ConvTranspose", vec![strides()], vec![w()], x);
    assert_close(&got, &[3., 30., 5., 50., 6., 60., 10., 100.]);
    let pads = ("pads", ints(&[0, 1, 0, 0]));
    let added = ("output_padding", ints(&[0, 1]));
    let got = of("ConvTranspose", vec![strides(), pads, added], vec![w()], x);
    assert_close(&got, &[30., 5., 50., 0., 60., 10., 100., 0.]);
    // Two groups: each channel has a filter of its own.
    let w = f32s("w", &[2, 1, 1, 1], &[2., 3.]);
    let got =
        of("ConvTranspose", vec![("group", int(2))], vec![w], (&[1, 2, 1, 2], &[1., 2., 5., 7.]));
    assert_close(&got, &[2., 4., 15., 21.]);
}

#[test]
fn same_cuts_a_transposed_convolution_to_the_stride_times_the_extent() {
    // Whole result 1 3 6 5 3 of ones over 3 taps; SAME at stride 1 cuts one at each end.
    let w = || f32s("w", &[1, 1, 3], &[1.; 3]);
    let x: (&[usize], &[f32]) = (&[1, 1, 3], &[1., 2., 3.]);
    let same = of("ConvTranspose", vec![("auto_pad", text("SAME_UPPER"))], vec![w()], x);
    assert_close(&same, &[3., 6., 5.]);
    let shape = of("ConvTranspose", vec![("output_shape", ints(&[4]))], vec![w()], x);
    // The odd one is cut off the start.
    assert_close(&shape, &[3., 6., 5., 3.]);
}

#[test]
fn pools_of_powers_count_the_padding_as_zeros() {
    let attributes = vec![
        ("kernel_shape", ints(&[2])),
        ("p", int(2)),
        ("pads", ints(&[1, 0])),
        ("strides", ints(&[2])),
    ];
    let got = of("LpPool", attributes, vec![], (&[1, 1, 3], &[-3., 3., 4.]));
    assert_close(&got, &[3., 5.]);
}

#[test]
fn normalizations_over_channels_groups_and_axes() {
    let lrn =
        vec![("size", int(3)), ("alpha", float(3.)), ("beta", float(1.)), ("bias", float(1.))];
    // 1 + (1 + 4) = 6, 1 + (1 + 4 + 9) = 15, 1 + (4 + 9) = 14
    let got = of("LRN", lrn, vec![], (&[1, 3, 1, 1], &[1., 2., 3.]));
    assert_close(&got, &[1. / 6., 2. / 15., 3. / 14.]);
    let scale = || f32s("s", &[4], &[1., 1., 2., 2.]);
    let bias = || f32s("b", &[4], &[0., 1., 0., 1.]);
    let groups = vec![("num_groups", int(2)), ("epsilon", float(0.))];
    let x: (&[usize], &[f32]) = (&[1, 4, 1], &[1., 3., 10., 30.]);
    let got = of("GroupNormalization", groups, vec![scale(), bias()], x);
    assert_close(&got, &[-1., 2., -2., 3.]);
    let scale = f32s("s", &[2], &[1., 10.]);
    let got =
        of("RMSNormalization", vec![("epsilon", float(0.))], vec![scale], (&[1, 2], &[1., 7.]));
    assert_close(&got, &[0.2, 14.]);
    let got = of("LpNormalization", vec![("axis", int(1))], vec![], (&[2, 2], &[3., 4., 0., 0.]));
    assert_close(&got, &[0.6, 0.8, 0., 0.]);
}

#[test]
fn triangles_hot_positions_and_running_sums() {
    let square: (&[usize], &[f32]) = (&[2, 2], &[1., 2., 3., 4.]);
    assert_close(&of("Trilu", vec![], vec![], square), &[1., 2., 0., 4.]);
    assert_close(&of("Trilu", vec![("upper", int(0))], vec![], square), &[1., 0., 3., 4.]);
    let hard = of("Hardmax", vec![("axis", int(0))], vec![], (&[2, 2], &[1., 4., 3., 4.]));
    assert_close(&hard, &[0., 1., 1., 0.]);
    let axis = || i64s("axis", &[1]);
    assert_close(&of("CumSum", vec![], vec![axis()], square), &[1., 3., 3., 7.]);
    let reverse = vec![("reverse", int(1)), ("exclusive", int(1))];
    assert_close(&of("CumSum", reverse, vec![axis()], square), &[2., 0., 4., 0.]);
    let hot = vec![i64s("depth", &[3]), f32s("values", &[2], &[-1., 5.])];
    let got = of("OneHot", vec![], hot, (&[2], &[2., -3.]));
    assert_close(&got, &[-1., -1., 5., 5., -1., -1.]);
}

#[test]
fn functions_of_one_number() {
    let all = |op, x: &[f32]| of(op, vec![], vec![], (&[x.len()], x));
    assert_close(&all("Sinh", &[1.]), &[1f32.sinh()]);
    assert_close(&all("Cosh", &[1.]), &[1f32.cosh()]);
    assert_close(&all("Tan", &[0.5]), &[0.5f32.tan()]);
    assert_close(&all("Asinh", &[2., -2.]), &[2f32.asinh(), -2f32.asinh()]);
    assert_close(&all("Acosh", &[2.]), &[2f32.acosh()]);
    assert_close(&all("Atanh", &[-0.5]), &[(-0.5f32).atanh()]);
    assert_close(&all("ThresholdedRelu", &[0.9, 1., 1.1]), &[0., 0., 1.1]);
    let shrink = vec![("lambd", float(1.5)), ("bias", float(1.))];
    let got = of("Shrink", shrink, vec![], (&[4], &[-2., -1., 1., 2.]));
    assert_close(&got, &[-1., 0., 0., 1.]);
}
