use super::*;
use crate::operator::{run, run_f32};
use crate::par::Par;
use depthwise_layers::{Gather, GatherGrad, Layer, Padding, Pool2d, Pool2dGrad, PoolKind};
use depthwise_tensor::{Hw, Shape, Tensor};
use depthwise_testkit::random_tensor;

#[test]
fn maximum_pools_match_the_reference() {
    let pool = Pool2d {
        kind: PoolKind::Max,
        kernel: Hw { h: 3, w: 2 },
        stride: Hw { h: 2, w: 1 },
        dilation: Hw { h: 1, w: 2 },
        padding: Padding::all(1),
        ceil_mode: true,
    };
    // Halves, so that there are equal cells.
    let halves = |t: Tensor| t.to_f32().iter().map(|x| (2.0 * x).round()).collect::<Vec<f32>>();
    let x = Tensor::from_vec(&[3, 7, 6, 5], halves(random_tensor(&[3, 7, 6, 5], 1))).unwrap();
    let geometry = pool.geometry(*x.shape()).unwrap();
    let out = geometry.output;
    let dy = random_tensor(&[out.n, out.h, out.w, out.c], 2);
    let grad = Pool2dGrad { pool, input: Hw { h: 7, w: 6 } };
    let want = grad.reference(&[Some(&dy), Some(&x)]).unwrap().remove(0);
    for threads in [1, 2] {
        let op = MaxPoolGradF32::new(geometry, [5; 3], threads).unwrap();
        let mut dx = vec![f32::NAN; x.elements()];
        let par = Par::new(threads).unwrap();
        run_f32(&op, &[&dy.to_f32(), &x.to_f32()], &mut [&mut dx], &par).unwrap();
        for (got, want) in dx.iter().zip(want.to_f32().iter()) {
            assert!((got - want).abs() < 1e-6, "{got} {want}");
        }
    }
}

#[test]
fn weights_of_rows_and_columns_multiply() {
    let rows = vec![vec![(0, 1.0)], vec![(0, 0.5), (1, 0.5)]];
    let columns = vec![vec![(1, 2.0)]];
    let dx = Nhwc { n: 1, h: 2, w: 2, c: 1 };
    let op = SpreadF32::new(dx, (rows, columns), (1, 1), 1).unwrap();
    let mut got = vec![f32::NAN; 4];
    run_f32(&op, &[&[3.0, 5.0]], &mut [&mut got], &Par::single()).unwrap();
    assert_eq!(got, [0.0, 6.0 + 5.0, 0.0, 5.0]);
    let outside = (vec![vec![(2, 1.0)]], vec![vec![(0, 1.0)]]);
    assert!(SpreadF32::new(dx, outside, (1, 1), 1).is_err());
}

#[test]
fn slices_taken_twice_are_added_up() {
    let dy = random_tensor(&[2, 4, 3], 1);
    let indices = Tensor::from_slice(&[4], &[4i64, 0, -1, 2]).unwrap();
    let grad = GatherGrad { gather: Gather { axis: 1 }, shape: vec![2, 5, 3] };
    let want = grad.reference(&[Some(&dy), Some(&indices)]).unwrap().remove(0);
    for threads in [1, 2] {
        let shape = GatherShape { outer: 2, extent: 5, count: 4, inner: 3 };
        let op = GatherGradF32::new(shape, threads).unwrap();
        let mut dx = vec![f32::NAN; 30];
        let par = Par::new(threads).unwrap();
        let out: &mut [u8] = bytemuck::cast_slice_mut(&mut dx);
        run(&op, &[&dy.bytes()[..], &indices.bytes()[..]], &mut [out], &par).unwrap();
        let dx = Tensor::from_vec(&Shape::new(&[2, 5, 3]).unwrap(), dx).unwrap();
        assert_eq!(dx.to_f32(), want.to_f32());
    }
}
