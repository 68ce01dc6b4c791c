use super::*;

/// A pool of each channel of a square or line, at several operator sets.
#[track_caller]
fn check_pool(
    opsets: &[i64],
    (h, w): (usize, usize),
    plane: &[f32],
    attributes: &Attributes,
    want: &[f32],
) {
    for &opset in opsets {
        for c in CHANNELS {
            let pool = node("AveragePool", &["x"], "y", attributes.clone());
            let dims = [1, c, h, w];
            let x = tensor(&dims, &plane.repeat(c));
            check(&model(opset, &dims, vec![pool], vec![]), &x, &want.repeat(c));
        }
    }
}

#[test]
fn c15_ceil_mode_and_count_include_pad() {
    let plane: Vec<f32> = ramp(16, 1.0).iter().map(|x| 2.0 * x).collect();
    let attributes = |include, pad: i64| {
        let mut list_of = vec![
            ("kernel_shape", list(&[3, 3])),
            ("strides", list(&[2, 2])),
            ("pads", list(&[pad; 4])),
            ("ceil_mode", int(1)),
        ];
        list_of.push(("count_include_pad", int(include)));
        list_of
    };
    let third = 28.0 / 9.0;
    let with = [third, 20.0 / 3.0, 4.0, 38.0 / 3.0, 22.0, 12.0, 9.0, 15.0, 8.0];
    let opsets = [10, 11, 19, 22];
    check_pool(&opsets, (4, 4), &plane, &attributes(1, 1), &with);
    let without = [7.0, 10.0, 12.0, 19.0, 22.0, 24.0, 27.0, 30.0, 32.0];
    check_pool(&opsets, (4, 4), &plane, &attributes(0, 1), &without);
    check_pool(&opsets, (4, 4), &plane, &attributes(0, 0), &[12.0, 15.0, 24.0, 27.0]);
    // Operator set 7 has no ceil mode: the last row and column are left out.
    let floor = |include| {
        let all = attributes(include, 1);
        all.into_iter().filter(|(name, _)| *name != "ceil_mode").collect::<Attributes>()
    };
    check_pool(&[7, 10], (4, 4), &plane, &floor(1), &[with[0], with[1], with[3], with[4]]);
    check_pool(&[7, 10], (4, 4), &plane, &floor(0), &[7.0, 10.0, 19.0, 22.0]);
}

#[test]
fn c17_same_lower_with_counted_padding() {
    let plane: Vec<f32> = ramp(6, 1.0).iter().map(|x| 6.0 * x).collect();
    let attributes = vec![
        ("kernel_shape", list(&[4, 1])),
        ("auto_pad", text("SAME_LOWER")),
        ("count_include_pad", int(1)),
    ];
    let want = [4.5, 9.0, 15.0, 21.0, 27.0, 22.5];
    check_pool(&[11, 19, 22], (6, 1), &plane, &attributes, &want);
}

#[test]
fn c19_linear_resize_in_every_coordinate_mode() {
    let line = [0.0, 10.0, 20.0, 30.0];
    let half = vec![0.0, 3.571_428_5, 9.285_714, 15.0, 20.714_285, 26.428_572, 30.0];
    let asymmetric = vec![0.0, 5.714_286, 11.428_572, 17.142_857, 22.857_143, 28.571_428, 30.0];
    let corners = vec![0.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0];
    let cases = [
        ("half_pixel", half.clone(), 15.0),
        ("pytorch_half_pixel", half, 0.0),
        ("align_corners", corners, 0.0),
        ("asymmetric", asymmetric, 0.0),
    ];
    for (mode, seven, one) in cases {
        for c in CHANNELS {
            for (size, want) in [(7i64, seven.clone()), (1, vec![one])] {
                for along_rows in [false, true] {
                    let dims = if along_rows { [1, c, 4, 1] } else { [1, c, 1, 4] };
                    let target = [size, 1];
                    let (h, w) = if along_rows { (target[0], target[1]) } else { (1, size) };
                    let attributes = vec![
                        ("mode", text("linear")),
                        ("coordinate_transformation_mode", text(mode)),
                    ];
                    let resize = node("Resize", &["x", "", "", "sizes"], "y", attributes);
                    let sizes = integers("sizes", &[1, c as i64, h, w]);
                    let case = model(13, &dims, vec![resize], vec![sizes]);
                    check(&case, &tensor(&dims, &line.repeat(c)), &want.repeat(c));
                }
            }
        }
    }
}

#[test]
fn resize_of_any_axes_of_any_rank() {
    // Every axis of three twice as long, nearest: each element becomes a cube of eight.
    let dims = [2, 3, 4];
    let attributes = || {
        vec![
            ("mode", text("nearest")),
            ("coordinate_transformation_mode", text("asymmetric")),
            ("nearest_mode", text("floor")),
        ]
    };
    let twice = |factors: [usize; 3]| {
        let resize = node("Resize", &["x", "", "", "sizes"], "y", attributes());
        let sizes: Vec<i64> = (0..3).map(|i| (dims[i] * factors[i]) as i64).collect();
        let case = model(13, &dims, vec![resize], vec![integers("sizes", &sizes)]);
        let mut want = Vec::new();
        for a in 0..dims[0] * factors[0] {
            for b in 0..dims[1] * factors[1] {
                for c in 0..dims[2] * factors[2] {
                    let [a, b, c] = [a / factors[0], b / factors[1], c / factors[2]];
                    want.push(((a * dims[1] + b) * dims[2] + c) as f32);
                }
            }
        }
        check(&case, &tensor(&dims, &ramp(24, 0.0)), &want);
    };
    for factors in [[2, 2, 2], [1, 1, 2], [2, 1, 1], [1, 2, 2], [2, 1, 2], [1, 1, 1], [2, 2, 1]] {
        twice(factors);
    }
}
