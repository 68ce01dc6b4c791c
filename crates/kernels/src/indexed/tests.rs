use super::*;
use crate::operator::run;
use crate::par::Par;
use depthwise_layers::{GatherElements, GatherNd, Layer, ScatterElements, ScatterFn, ScatterNd};
use depthwise_tensor::Tensor;
use depthwise_testkit::random_tensor;

/// The rows of a tensor `ld` apart, with what no result may show between.
fn spread(tensor: &Tensor, view: &View) -> Vec<u8> {
    let (rows, size) = (view.rows(), tensor.dtype().size_bytes());
    let mut bytes = vec![0xa5; view.len() * size];
    for row in 0..rows.rows {
        let line = &tensor.bytes()[row * rows.c * size..][..rows.c * size];
        bytes[row * rows.ld * size..][..rows.c * size].copy_from_slice(line);
    }
    bytes
}

/// The elements of an `f32` view.
fn collect(bytes: &[u8], view: &View) -> Vec<f32> {
    let rows = view.rows();
    let elements = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    let all: Vec<f32> = elements.collect();
    (0..rows.rows).flat_map(|row| all[row * rows.ld..][..rows.c].to_vec()).collect()
}

/// Indices below the extents, every other one from the end.
fn indices(dims: &[usize], extents: &[usize]) -> Tensor {
    let count = dims.iter().product();
    let index = |i: usize| {
        let extent = extents[i % extents.len()] as i64;
        let at = (i as i64 * 7 + 3) % extent;
        if i.is_multiple_of(2) { at } else { at - extent }
    };
    Tensor::from_vec(dims, (0..count).map(index).collect::<Vec<i64>>()).unwrap()
}

fn view(tensor: &Tensor, ld: usize) -> View {
    View { shape: *tensor.shape(), ld }
}

fn check(op: &dyn Operator, inputs: &[(&Tensor, View)], want: &Tensor, out: View) {
    let inputs: Vec<Vec<u8>> = inputs.iter().map(|(tensor, view)| spread(tensor, view)).collect();
    let inputs: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
    let mut y = vec![0xff; out.len() * 4];
    run(op, &inputs, &mut [&mut y], &Par::new(2).unwrap()).unwrap();
    assert_eq!(collect(&y, &out), want.to_f32()[..], "{op:?}");
}

#[test]
fn gathering_matches_the_reference() {
    let x = random_tensor(&[3, 4, 5], 1);
    for (layer, places, indices) in [
        (
            Box::new(GatherElements { axis: 1 }) as Box<dyn Layer>,
            Places::Elements { axis: 1 },
            indices(&[2, 6, 5], &[4]),
        ),
        (
            Box::new(GatherElements { axis: 2 }),
            Places::Elements { axis: 2 },
            indices(&[3, 4, 9], &[5]),
        ),
        (
            Box::new(GatherNd { batch_dims: 0 }),
            Places::Slices { batch_dims: 0 },
            indices(&[7, 2], &[3, 4]),
        ),
        (
            Box::new(GatherNd { batch_dims: 1 }),
            Places::Slices { batch_dims: 1 },
            indices(&[3, 2, 1], &[4]),
        ),
        (
            Box::new(GatherNd { batch_dims: 0 }),
            Places::Slices { batch_dims: 0 },
            indices(&[2, 2, 3], &[3, 4, 5]),
        ),
    ] {
        let want = layer.reference(&[Some(&x), Some(&indices)]).unwrap().remove(0);
        for wide in [0, 11] {
            let columns = *want.shape().last().unwrap();
            let views = [view(&x, 5 + wide), View::dense(*indices.shape())];
            let out = view(&want, columns + wide);
            for threads in [1, 3] {
                let op = GatherPlaces::new(4, places, views[0], views[1], out, threads).unwrap();
                check(&op, &[(&x, views[0]), (&indices, views[1])], &want, out);
            }
        }
    }
}

#[test]
fn scattering_matches_the_reference() {
    let x = random_tensor(&[3, 4, 5], 1);
    let functions = [
        (ScatterFn::Replace, Combine::Replace),
        (ScatterFn::Add, Combine::Add),
        (ScatterFn::Mul, Combine::Mul),
        (ScatterFn::Max, Combine::Max),
        (ScatterFn::Min, Combine::Min),
    ];
    for (function, combine) in functions {
        let along = indices(&[2, 3, 4], &[5]);
        let coordinates = indices(&[6, 1], &[3]);
        for (layer, places, indices, updates) in [
            (
                Box::new(ScatterElements { axis: 2, function }) as Box<dyn Layer>,
                Places::Elements { axis: 2 },
                &along,
                random_tensor(&[2, 3, 4], 2),
            ),
            (
                Box::new(ScatterNd { function }),
                Places::Slices { batch_dims: 0 },
                &coordinates,
                random_tensor(&[6, 4, 5], 3),
            ),
        ] {
            let operands = [&x, indices, &updates];
            let want = layer.reference(&operands.map(Some)).unwrap().remove(0);
            for wide in [0, 11] {
                let columns = updates.shape()[2];
                let views = [
                    view(&x, 5 + wide),
                    View::dense(*indices.shape()),
                    view(&updates, columns + wide),
                ];
                let out = view(&want, 5 + wide);
                let op = ScatterPlaces::new(4, places, combine, views, out).unwrap();
                let inputs = [0, 1, 2].map(|i| (operands[i], views[i]));
                // One sum after the other in `f32` is what the reference rounds once.
                let exact = function != ScatterFn::Add && function != ScatterFn::Mul;
                if exact {
                    check(&op, &inputs, &want, out);
                } else {
                    close(&op, &inputs, &want, out);
                }
            }
        }
    }
}

/// As [`check`], within the rounding of a few terms.
fn close(op: &dyn Operator, inputs: &[(&Tensor, View)], want: &Tensor, out: View) {
    let inputs: Vec<Vec<u8>> = inputs.iter().map(|(tensor, view)| spread(tensor, view)).collect();
    let inputs: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
    let mut y = vec![0xff; out.len() * 4];
    run(op, &inputs, &mut [&mut y], &Par::new(1).unwrap()).unwrap();
    for (got, want) in collect(&y, &out).iter().zip(want.to_f32().iter()) {
        assert!((got - want).abs() <= 1e-6, "{op:?}: {got}, not {want}");
    }
}

#[test]
fn indices_out_of_range_take_the_nearest_place() {
    let x = Tensor::from_vec(&[3], vec![1f32, 2.0, 3.0]).unwrap();
    let far = Tensor::from_vec(&[3], vec![i64::MAX, i64::MIN, -4]).unwrap();
    let views = [view(&x, 3), view(&far, 3)];
    let op = GatherPlaces::new(4, Places::Elements { axis: 0 }, views[0], views[1], views[1], 1)
        .unwrap();
    let want = Tensor::from_vec(&[3], vec![3f32, 1.0, 1.0]).unwrap();
    check(&op, &[(&x, views[0]), (&far, views[1])], &want, views[0]);
}

#[test]
fn shapes_that_do_not_go_together_are_refused() {
    let dense = |dims: &[usize]| View::dense(depthwise_tensor::Shape::new(dims).unwrap());
    let elements = |axis, x: &[usize], indices: &[usize], y: &[usize]| {
        let places = Places::Elements { axis };
        GatherPlaces::new(4, places, dense(x), dense(indices), dense(y), 1).is_err()
    };
    assert!(elements(2, &[2, 3], &[2, 3], &[2, 3]), "no such axis");
    assert!(elements(1, &[2, 3], &[3, 3], &[3, 3]), "more rows than there are");
    assert!(elements(1, &[2, 3], &[2, 3], &[2, 4]), "another result");
    assert!(elements(1, &[2, 0], &[2, 3], &[2, 3]), "nothing to take");
    assert!(!elements(1, &[2, 0], &[2, 0], &[2, 0]), "nothing taken");
    let slices = |batch_dims, x: &[usize], indices: &[usize], y: &[usize]| {
        let places = Places::Slices { batch_dims };
        GatherPlaces::new(4, places, dense(x), dense(indices), dense(y), 1).is_err()
    };
    assert!(slices(0, &[2, 3], &[4, 3], &[4]), "more coordinates than axes");
    assert!(slices(0, &[2, 3], &[4, 0], &[4, 2, 3]), "no coordinates");
    assert!(slices(1, &[2, 3], &[4, 1], &[4]), "another batch");
    assert!(slices(usize::MAX, &[2, 3], &[4, 1], &[4]));
    let combine = [dense(&[2]), dense(&[1, 1]), dense(&[1])];
    let places = Places::Slices { batch_dims: 0 };
    assert!(ScatterPlaces::new(8, places, Combine::Add, combine, dense(&[2])).is_err());
    assert!(ScatterPlaces::new(8, places, Combine::Replace, combine, dense(&[2])).is_ok());
    assert!(ScatterPlaces::new(8, places, Combine::Replace, combine, dense(&[3])).is_err());
}
