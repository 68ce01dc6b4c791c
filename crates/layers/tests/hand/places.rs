use super::*;
use depthwise_layers::{
    GatherElements, GatherNd, GridSample, Outside, SampleMode, ScatterElements, ScatterFn,
    ScatterNd, TopK,
};
use depthwise_tensor::DType;

fn square(data: &[i64]) -> Tensor {
    Tensor::from_slice(&[data.len() / 2, 2], data).unwrap()
}

#[test]
fn elements_by_index_along_an_axis() {
    let x = t(&[2, 2], &[1.0, 2.0, 3.0, 4.0]);
    let rows =
        |axis, indices: &[i64]| values(GatherElements { axis }, &[&x, &square(indices)], &[2, 2]);
    assert_eq!(rows(1, &[0, 0, 1, 0]), [1.0, 1.0, 4.0, 3.0]);
    assert_eq!(rows(-2, &[1, -1, 0, -2]), [3.0, 4.0, 1.0, 2.0]);
    // Fewer rows, more columns.
    let wide = Tensor::from_slice(&[1, 3], &[1i64, 0, 1]).unwrap();
    assert_eq!(values(GatherElements { axis: 1 }, &[&x, &wide], &[1, 3]), [2.0, 1.0, 2.0]);
    assert!(refusal(GatherElements { axis: 1 }, &[&x, &square(&[0, 2, 0, 0])]).contains("range"));
    let long = Tensor::from_slice(&[3, 1], &[0i64; 3]).unwrap();
    assert!(refusal(GatherElements { axis: 1 }, &[&x, &long]).contains("GatherElements"));
}

#[test]
fn slices_by_coordinates() {
    let x = ramp(&[2, 2, 2], 0.0);
    let of = |batch_dims, indices: &Tensor, dims: &[usize]| {
        values(GatherNd { batch_dims }, &[&x, indices], dims)
    };
    assert_eq!(of(0, &square(&[0, 1, 1, -2]), &[2, 2]), [2.0, 3.0, 4.0, 5.0]);
    let one = Tensor::from_slice(&[1, 3], &[1i64, 0, 1]).unwrap();
    assert_eq!(of(0, &one, &[1]), [5.0]);
    // A row of each matrix.
    let rows = Tensor::from_slice(&[2, 1], &[1i64, 0]).unwrap();
    assert_eq!(of(1, &rows, &[2, 2]), [2.0, 3.0, 4.0, 5.0]);
    assert!(refusal(GatherNd { batch_dims: 0 }, &[&x, &square(&[0, 2, 0, 0])]).contains("range"));
    assert!(refusal(GatherNd { batch_dims: 2 }, &[&x, &square(&[0; 4])]).contains("GatherNd"));
}

#[test]
fn updates_meet_what_is_there() {
    let x = t(&[4], &[1.0, 2.0, 3.0, 4.0]);
    let (indices, updates) = (ints(&[1, -1, 1]), t(&[3], &[5.0, 0.5, -7.0]));
    let of = |function| {
        let layer = ScatterElements { axis: 0, function };
        values(layer, &[&x, &indices, &updates], &[4])
    };
    assert_eq!(of(ScatterFn::Replace), [1.0, -7.0, 3.0, 0.5]);
    assert_eq!(of(ScatterFn::Add), [1.0, 0.0, 3.0, 4.5]);
    assert_eq!(of(ScatterFn::Mul), [1.0, -70.0, 3.0, 2.0]);
    assert_eq!(of(ScatterFn::Max), [1.0, 5.0, 3.0, 4.0]);
    assert_eq!(of(ScatterFn::Min), [1.0, -7.0, 3.0, 0.5]);
    let whole = ints(&[1, 2, 3]);
    let sum = ScatterElements { axis: 0, function: ScatterFn::Add };
    let y = run(sum, &[&whole, &ints(&[0, 0, 2]), &ints(&[10, 20, i64::MAX])]);
    assert_eq!(y.to_i64()[..], [31, 2, i64::MIN + 2], "integers wrap");
    let short = t(&[2], &[0.0; 2]);
    let replace = ScatterElements { axis: 0, function: ScatterFn::Replace };
    assert!(refusal(replace, &[&x, &indices, &short]).contains("updates"));
}

#[test]
fn updates_of_slices() {
    let x = ramp(&[3, 2], 0.0);
    let rows = Tensor::from_slice(&[2, 1], &[2i64, 0]).unwrap();
    let updates = t(&[2, 2], &[10.0, 11.0, 20.0, 21.0]);
    let layer = ScatterNd { function: ScatterFn::Replace };
    let y = values(layer.clone(), &[&x, &rows, &updates], &[3, 2]);
    assert_eq!(y, [20.0, 21.0, 2.0, 3.0, 10.0, 11.0]);
    let y = values(layer.clone(), &[&x, &square(&[1, 1]), &t(&[1], &[9.0])], &[3, 2]);
    assert_eq!(y, [0.0, 1.0, 2.0, 9.0, 4.0, 5.0]);
    let far = Tensor::from_slice(&[1, 1], &[3i64]).unwrap();
    let operands = [Some(&x), Some(&far), Some(&updates)];
    assert!(layer_fails(&layer, &operands));
}

fn layer_fails(layer: &ScatterNd, operands: &[Option<&Tensor>]) -> bool {
    depthwise_layers::Layer::reference(layer, operands).is_err()
}

#[test]
fn the_best_come_first() {
    let x = t(&[2, 4], &[3.0, f32::NAN, -1.0, 3.0, 0.0, 1.0, 2.0, -0.0]);
    let of = |largest, k: i64| {
        let results = run_all(TopK { axis: 1, largest }, &[Some(&x), Some(&ints(&[k]))]);
        assert_eq!(results[1].dtype(), DType::I64);
        (results[0].to_f32().into_owned(), results[1].to_i64().into_owned())
    };
    let (best, at) = of(true, 3);
    assert!(best[0].is_nan());
    assert_eq!((&best[1..], &at[..]), (&[3.0, 3.0, 2.0, 1.0, 0.0][..], &[1, 0, 3, 2, 1, 0][..]));
    let (best, at) = of(false, 2);
    assert_eq!((&best[..], &at[..]), (&[-1.0, 3.0, 0.0, 0.0][..], &[2, 0, 0, 3][..]));
    assert!(refusal(TopK { axis: 1, largest: true }, &[&x, &ints(&[5])]).contains("5 of 4"));
    assert!(refusal(TopK { axis: 1, largest: true }, &[&x, &ints(&[-1])]).contains("-1"));
}

#[test]
fn samples_between_and_beyond_pixels() {
    let x = t(&[1, 2, 2, 1], &[1.0, 2.0, 3.0, 4.0]);
    let of = |mode, outside, align_corners, points: &[f32]| {
        let grid = t(&[1, 1, points.len() / 2, 2], points);
        let layer = GridSample { mode, outside, align_corners };
        values(layer, &[&x, &grid], &[1, 1, points.len() / 2, 1])
    };
    use Outside::*;
    use SampleMode::*;
    // The corners of the corners' pixels, and the middle.
    assert_eq!(of(Linear, Zeros, true, &[-1.0, -1.0, 1.0, 1.0, 0.0, 0.0]), [1.0, 4.0, 2.5]);
    // The corner of the picture: a quarter of the pixel.
    assert_eq!(of(Linear, Zeros, false, &[-1.0, -1.0, 1.0, 1.0, 0.0, 0.0]), [0.25, 1.0, 2.5]);
    assert_eq!(of(Linear, Border, false, &[-1.0, -1.0, 9.0, -0.5]), [1.0, 2.0]);
    // Column, then row.
    assert_eq!(of(Nearest, Zeros, true, &[1.0, -1.0, -1.0, 1.0, 3.0, 0.0]), [2.0, 3.0, 0.0]);
    // At 2 from the left end of the picture, mirrored at 1.
    assert_eq!(of(Nearest, Reflection, true, &[3.0, -1.0, 5.0, -1.0]), [1.0, 2.0]);
    assert_eq!(of(Nearest, Reflection, false, &[1.5, -0.5, 2.5, -0.5]), [2.0, 1.0]);
    close(&of(Cubic, Border, true, &[-1.0, -1.0, 0.0, 0.0]), &[1.0, 2.5]);
    let wrong = t(&[1, 1, 1, 3], &[0.0; 3]);
    let layer = GridSample { mode: Linear, outside: Zeros, align_corners: true };
    assert!(refusal(layer, &[&x, &wrong]).contains("grid"));
}
