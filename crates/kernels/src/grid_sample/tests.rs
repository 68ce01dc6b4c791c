use super::*;
use crate::operator::run_f32;
use crate::par::Par;
use depthwise_layers::{GridSample, Layer, Outside, SampleMode};
use depthwise_tensor::Tensor;
use depthwise_testkit::random_tensor;

/// The rows of a tensor `ld` apart, with NaN between.
fn spread(tensor: &Tensor, ld: usize) -> Vec<f32> {
    let mut out = Vec::new();
    for row in tensor.to_f32().chunks(*tensor.shape().last().unwrap()) {
        out.extend_from_slice(row);
        out.resize(out.len() + ld - row.len(), f32::NAN);
    }
    out
}

#[test]
fn samples_match_the_reference() {
    let x = random_tensor(&[2, 5, 4, 3], 1);
    // Points up to three times as far out as the border.
    let points = random_tensor(&[2, 3, 7, 2], 2).to_f32().iter().map(|x| 3.0 * x).collect();
    let grid = Tensor::from_vec(&[2, 3, 7, 2], points).unwrap();
    for (mode, interpolation) in [
        (SampleMode::Nearest, Interpolation::Nearest),
        (SampleMode::Linear, Interpolation::Linear),
        (SampleMode::Cubic, Interpolation::Cubic),
    ] {
        for (outside, border) in [
            (Outside::Zeros, Border::Zeros),
            (Outside::Border, Border::Nearest),
            (Outside::Reflection, Border::Mirror),
        ] {
            for align_corners in [false, true] {
                let layer = GridSample { mode, outside, align_corners };
                let want = layer.reference(&[Some(&x), Some(&grid)]).unwrap().remove(0);
                let view = |tensor: &Tensor, ld| View { shape: *tensor.shape(), ld };
                let views = [view(&x, 16), view(&grid, 16), view(&want, 19)];
                let rule = GridRule { interpolation, border, align_corners };
                let op = GridSampleF32::new(rule, views[0], views[1], views[2], 3).unwrap();
                let mut y = vec![f32::NAN; views[2].len()];
                let inputs = [spread(&x, 16), spread(&grid, 16)];
                let inputs = [&inputs[0][..], &inputs[1][..]];
                run_f32(&op, &inputs, &mut [&mut y], &Par::new(2).unwrap()).unwrap();
                for (got, want) in y.chunks(19).zip(want.to_f32().chunks(3)) {
                    for (got, want) in got.iter().zip(want) {
                        // Positions are rounded to `f32`, some pixels times 2^-23.
                        assert!((got - want).abs() <= 1e-5, "{layer:?}: {got}, not {want}");
                    }
                }
            }
        }
    }
}

#[test]
fn points_that_are_no_numbers_read_nothing_outside() {
    let x = random_tensor(&[1, 2, 2, 1], 1);
    let points = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, 0.0, f32::NAN];
    let grid = Tensor::from_vec(&[1, 1, 3, 2], points.to_vec()).unwrap();
    for border in [Border::Zeros, Border::Nearest, Border::Mirror] {
        for interpolation in [Interpolation::Nearest, Interpolation::Linear, Interpolation::Cubic] {
            let rule = GridRule { interpolation, border, align_corners: true };
            let dense = |dims: &[usize]| View::dense(Shape::new(dims).unwrap());
            let (views, out) = ([dense(&[1, 2, 2, 1]), dense(&[1, 1, 3, 2])], dense(&[1, 1, 3, 1]));
            let op = GridSampleF32::new(rule, views[0], views[1], out, 1).unwrap();
            let mut y = [7.0f32; 3];
            let inputs = [&x.to_f32()[..], &grid.to_f32()[..]];
            run_f32(&op, &inputs, &mut [&mut y], &Par::single()).unwrap();
            if border == Border::Zeros {
                assert_eq!(y, [0.0; 3], "{rule:?}");
            }
        }
    }
}

#[test]
fn shapes_that_do_not_go_together_are_refused() {
    let rule = GridRule {
        interpolation: Interpolation::Linear,
        border: Border::Zeros,
        align_corners: false,
    };
    let dense = |dims: &[usize]| View::dense(Shape::new(dims).unwrap());
    let is_refused = |x: &[usize], grid: &[usize], y: &[usize]| {
        GridSampleF32::new(rule, dense(x), dense(grid), dense(y), 1).is_err()
    };
    assert!(!is_refused(&[1, 2, 2, 3], &[1, 4, 5, 2], &[1, 4, 5, 3]));
    assert!(is_refused(&[1, 2, 2, 3], &[2, 4, 5, 2], &[2, 4, 5, 3]), "another batch");
    assert!(is_refused(&[1, 2, 2, 3], &[1, 4, 5, 3], &[1, 4, 5, 3]), "points of three numbers");
    assert!(is_refused(&[1, 2, 2, 3], &[1, 4, 5, 2], &[1, 4, 5, 2]), "another result");
    assert!(is_refused(&[1, 0, 2, 3], &[1, 4, 5, 2], &[1, 4, 5, 3]), "no pixels");
}
