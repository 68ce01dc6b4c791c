//! Places that indices name, points of pictures, interpolation by stretched filters, and filters that
//! are stored in another type.

use super::*;

#[test]
fn stretched_interpolation_survives() {
    for mode in [
        ResizeMode::LinearAntialias { exclude_outside: true },
        ResizeMode::CubicAntialias { a: -0.5, exclude_outside: false },
    ] {
        let resize = Resize { mode, coordinates: Coordinates::HalfPixel };
        check(&one(resize, PICTURE, &[ints(&[2, 3, 4, 4])]), ONNX);
    }
    // Sizes that follow from the scales, and sizes that are rounded from them.
    let scales = |scale: f32| Some(Tensor::from_slice(&[4], &[1f32, scale, 1.0, 1.0]).unwrap());
    let resize = Resize { mode: ResizeMode::Linear, coordinates: Coordinates::Asymmetric };
    check(&one(resize.clone(), PICTURE, &[ints(&[2, 3, 5, 4]), scales(0.6)]), ONNX);
    let rounded = one(resize, PICTURE, &[ints(&[2, 4, 5, 4]), scales(0.6)]);
    assert!(to_bytes(&rounded, SaveFormat::Onnx, &SaveOptions::default()).is_err());
}

#[test]
fn places_survive() {
    let index = |dims: &[usize], list: &[i64]| Some(Tensor::from_slice(dims, list).unwrap());
    let row = index(&[1, 1, 1, 4], &[3, -1, 0, 0]);
    check(&one(GatherElements { axis: -1 }, PICTURE, std::slice::from_ref(&row)), ONNX);
    check(&one(GatherNd { batch_dims: 1 }, PICTURE, &[index(&[2, 1, 2], &[5, 0, 1, 4])]), ONNX);
    for function in [ScatterFn::Replace, ScatterFn::Add, ScatterFn::Max] {
        let op = ScatterElements { axis: 3, function };
        check(&one(op, PICTURE, &[row.clone(), weights(&[1, 1, 1, 4])]), ONNX);
        let pixel = index(&[1, 3], &[1, 0, 2]);
        check(&one(ScatterNd { function }, PICTURE, &[pixel, weights(&[1, 4])]), ONNX);
    }
    let positions = MaxPositions {
        kernel: Hw::square(3),
        stride: Hw { h: 2, w: 1 },
        dilation: Hw::ONE,
        padding: Padding::Explicit(Pad2d { top: 1, left: 0, bottom: 0, right: 1 }),
        ceil_mode: true,
        column_major: true,
    };
    check(&one(positions, PICTURE, &[]), ONNX);
    let best = TopK { axis: 2, largest: false };
    check(&one(best, PICTURE, &[ints(&[3])]), ONNX);
    for (mode, outside) in [
        (SampleMode::Nearest, Outside::Zeros),
        (SampleMode::Linear, Outside::Border),
        (SampleMode::Cubic, Outside::Reflection),
    ] {
        let op = GridSample { mode, outside, align_corners: mode == SampleMode::Linear };
        check(&one(op, PICTURE, &[weights(&[2, 3, 7, 2])]), ONNX);
    }
}

/// In the file a Cast stands between them and the operator.
#[test]
fn filters_of_transposed_convolutions_survive_in_half() {
    let op = ConvTranspose2d { stride: Hw::square(2), groups: 2, ..ConvTranspose2d::default() };
    let graph = one(op, PICTURE, &[weights(&[6, 3, 2, 2])]);
    let x = random_tensor(PICTURE, 9);
    let want = interpret(&graph, std::slice::from_ref(&x)).unwrap();
    let options = SaveOptions { half: true, ..SaveOptions::default() };
    let back = reread(&graph, SaveFormat::Onnx, &options);
    let got = interpret(&back, std::slice::from_ref(&x)).unwrap();
    assert_close(&got[0], &want[0], &Bound::RelativeToMax(1e-3));
}
