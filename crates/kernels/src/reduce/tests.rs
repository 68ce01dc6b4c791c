use super::*;
use crate::operator::{run, run_f32};
use crate::par::Par;
use depthwise_layers as layers;
use depthwise_layers::{Layer, ReduceFn};
use depthwise_tensor::{Shape, Tensor};
use depthwise_testkit::{Bound, assert_close_f32};
use proptest::prelude::*;

const FUNCTIONS: [(ReduceOp, ReduceFn); 10] = [
    (ReduceOp::Mean, ReduceFn::Mean),
    (ReduceOp::Sum, ReduceFn::Sum),
    (ReduceOp::Max, ReduceFn::Max),
    (ReduceOp::Min, ReduceFn::Min),
    (ReduceOp::Prod, ReduceFn::Prod),
    (ReduceOp::L1, ReduceFn::L1),
    (ReduceOp::L2, ReduceFn::L2),
    (ReduceOp::SumSquare, ReduceFn::SumSquare),
    (ReduceOp::LogSum, ReduceFn::LogSum),
    (ReduceOp::LogSumExp, ReduceFn::LogSumExp),
];

fn kernels() -> impl Iterator<Item = &'static Kernel> {
    KERNELS.iter().filter(|k| k.info().is_supported(&Cpu::detect()))
}

fn view(dims: &[usize], pad: usize) -> View {
    let c = dims.last().copied().unwrap_or(1);
    View { shape: Shape::new(dims).unwrap(), ld: [c, c.next_multiple_of(16), c + 3][pad] }
}

/// Values in rows, NaN in the padding.
fn spread(view: &View, values: &[f32]) -> Vec<f32> {
    let rows = view.rows();
    let mut data = vec![f32::NAN; view.len()];
    for (i, &value) in values.iter().enumerate() {
        data[i / rows.c * rows.ld + i % rows.c] = value;
    }
    data
}

fn dense<T: Copy>(view: &View, data: &[T]) -> Vec<T> {
    let rows = view.rows();
    (0..rows.rows * rows.c).map(|i| data[i / rows.c * rows.ld + i % rows.c]).collect()
}

/// The result, with a guard behind it checked.
fn reduce(op: &ReduceF32, x: &[f32], out: &View, par: &Par) -> Vec<f32> {
    let mut y = vec![-77.0; out.len() + 32];
    run_f32(op, &[x], &mut [&mut y[..out.len()]], par).unwrap();
    assert!(y[out.len()..].iter().all(|&v| v == -77.0), "wrote past its output");
    dense(out, &y)
}

/// Near 1, so that products and sums of any number stay in range and sums do not cancel.
fn value(i: usize) -> f32 {
    0.9 + ((i * 37 + 11) % 101) as f32 * 0.002
}

fn check(
    kernel: &'static Kernel,
    (op, function): (ReduceOp, ReduceFn),
    dims: &[usize],
    axes: &[usize],
    keep_dims: bool,
    pads: [usize; 2],
) {
    let input = view(dims, pads[0]);
    let values: Vec<f32> = (0..input.shape.elements()).map(value).collect();
    let tensor = Tensor::from_slice(dims, &values).unwrap();
    let axes_wide = axes.iter().map(|&a| a as i64).collect();
    let layer = layers::Reduce { function, axes: axes_wide, keep_dims };
    let want = layer.reference(&[Some(&tensor)]).unwrap().remove(0);
    let out = view(want.shape(), pads[1]);
    let reduction = ReduceF32::with_kernel(kernel, op, input, axes, out, 2).unwrap();
    let y = reduce(&reduction, &spread(&input, &values), &out, &Par::single());
    // A product rounds once per factor; elsewhere 64 terms at most follow each other.
    let steps = match function {
        layers::ReduceFn::Prod => axes.iter().map(|&a| dims[a]).product::<usize>().max(64),
        _ => 64,
    };
    let bound = Bound::RelativeToMax(f64::from(f32::EPSILON) / 2.0 * steps as f64);
    assert_close_f32(&y, &want.to_f32(), &bound);
}

#[test]
fn every_function_over_the_usual_axes() {
    let axes: [&[usize]; 8] =
        [&[1, 2], &[3], &[2], &[0], &[1, 2, 3], &[0, 1, 2, 3], &[3, 1], &[0, 2]];
    for kernel in kernels() {
        for function in FUNCTIONS {
            for axes in axes {
                for c in [1, 3, 8, 17, 40, 131] {
                    for (keep, pads) in [(true, [1, 1]), (false, [0, 0]), (true, [1, 0])] {
                        check(kernel, function, &[2, 5, 4, c], axes, keep, pads);
                    }
                    check(kernel, function, &[2, 5, 4, c], axes, false, [2, 2]);
                }
            }
        }
    }
}

#[test]
fn long_sums_lose_few_digits() {
    for kernel in kernels() {
        for (dims, axes) in [
            (&[1, 100, 100, 20][..], &[1usize, 2][..]),
            (&[2, 70_000], &[1]),
            (&[300, 3, 70], &[0]),
        ] {
            for function in [FUNCTIONS[0], FUNCTIONS[1], FUNCTIONS[7]] {
                check(kernel, function, dims, axes, true, [1, 1]);
            }
        }
    }
}

#[test]
fn reductions_of_nothing() {
    let (x, y) = (view(&[2, 0, 3], 0), view(&[2, 3], 0));
    let cases = [
        (ReduceOp::Sum, 0.0),
        (ReduceOp::Prod, 1.0),
        (ReduceOp::Max, f32::NEG_INFINITY),
        (ReduceOp::Min, f32::INFINITY),
        (ReduceOp::LogSumExp, f32::NEG_INFINITY),
    ];
    for kernel in kernels() {
        for (op, want) in cases {
            let op = ReduceF32::with_kernel(kernel, op, x, &[1], y, 1).unwrap();
            assert_eq!(reduce(&op, &[], &y, &Par::single()), [want; 6]);
        }
        let mean = ReduceF32::with_kernel(kernel, ReduceOp::Mean, x, &[1], y, 1).unwrap();
        assert!(reduce(&mean, &[], &y, &Par::single()).iter().all(|y| y.is_nan()));
    }
}

#[test]
fn nan_and_infinities_reach_their_own_result_only() {
    for kernel in kernels() {
        for (op, _) in FUNCTIONS {
            for axis in [0, 1] {
                let (x, y) = (view(&[37, 37], 1), view(&[37], 1));
                let mut values: Vec<f32> = (0..37 * 37).map(value).collect();
                values[20 * 37 + 5] = f32::NAN;
                let reduction = ReduceF32::with_kernel(kernel, op, x, &[axis], y, 1).unwrap();
                let result = reduce(&reduction, &spread(&x, &values), &y, &Par::single());
                let spoilt = if axis == 0 { 5 } else { 20 };
                for (i, y) in result.iter().enumerate() {
                    assert_eq!(y.is_nan(), i == spoilt, "{op:?} {axis} {i}");
                }
            }
        }
        let (x, y) = (view(&[3], 0), view(&[], 0));
        let op = ReduceOp::LogSumExp;
        let op = ReduceF32::with_kernel(kernel, op, x, &[0], y, 1).unwrap();
        for (values, want) in [
            ([f32::NEG_INFINITY; 3], f32::NEG_INFINITY),
            ([1.0, f32::INFINITY, 2.0], f32::INFINITY),
            ([1000.0, f32::NEG_INFINITY, f32::NEG_INFINITY], 1000.0),
        ] {
            assert_eq!(reduce(&op, &values, &y, &Par::single()), [want]);
        }
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let par = Par::new(3).unwrap();
    for kernel in kernels() {
        for (dims, axes) in [
            (&[1, 20, 20, 100][..], &[1usize, 2][..]),
            (&[3, 20, 20, 24], &[1, 2]),
            (&[60, 10, 37], &[2]),
        ] {
            let x = view(dims, 1);
            let kept: Vec<usize> =
                (0..dims.len()).map(|i| if axes.contains(&i) { 1 } else { dims[i] }).collect();
            let y = view(&kept, 1);
            let values: Vec<f32> = (0..x.shape.elements()).map(value).collect();
            let data = spread(&x, &values);
            for (op, _) in FUNCTIONS {
                let one = ReduceF32::with_kernel(kernel, op, x, axes, y, 1).unwrap();
                let three = ReduceF32::with_kernel(kernel, op, x, axes, y, 3).unwrap();
                assert_eq!((one.chunks(), three.chunks()), (1, 3), "{dims:?}");
                assert_eq!(reduce(&one, &data, &y, &par), reduce(&three, &data, &y, &par));
            }
        }
    }
}

#[test]
fn wrong_axes_and_shapes_are_refused() {
    let cpu = Cpu::detect();
    let (x, y) = (view(&[2, 3, 4], 0), view(&[2, 4], 0));
    let new = |axes: &[usize], out| ReduceF32::new(&cpu, ReduceOp::Sum, x, axes, out, 1);
    assert!(new(&[1], y).is_ok());
    assert!(new(&[1], view(&[2, 1, 4], 1)).is_ok());
    assert!(new(&[3], y).is_err());
    assert!(new(&[1, 1], y).is_err());
    assert!(new(&[2], y).is_err());
    assert!(new(&[], y).is_err());
    assert!(ArgF32::new(&cpu, true, false, x, 3, y, 1).is_err());
    assert!(ArgF32::new(&cpu, true, false, view(&[2, 0], 0), 1, view(&[2], 0), 1).is_err());
}

fn check_arg(dims: &[usize], axis: usize, values: &[f32], keep_dims: bool, pads: [usize; 2]) {
    let input = view(dims, pads[0]);
    let tensor = Tensor::from_slice(dims, values).unwrap();
    for (largest, select_last) in [(true, false), (true, true), (false, false), (false, true)] {
        let layer = layers::ArgExtreme { largest, axis: axis as i64, keep_dims, select_last };
        let want = layer.reference(&[Some(&tensor)]).unwrap().remove(0);
        let out = view(want.shape(), pads[1]);
        let cpu = Cpu::detect();
        let op = ArgF32::new(&cpu, largest, select_last, input, axis, out, 2).unwrap();
        let (x, mut y) = (spread(&input, values), vec![-1i64; out.len()]);
        let outputs = &mut [bytemuck::cast_slice_mut(&mut y)];
        run(&op, &[bytemuck::cast_slice(&x)], outputs, &Par::single()).unwrap();
        assert_eq!(dense(&out, &y), *want.to_i64(), "largest {largest}, last {select_last}");
    }
}

#[test]
fn positions_of_extremes_with_ties_and_nan() {
    let values: Vec<f32> = (0..3 * 5 * 21).map(|i| ((i * 7) % 5) as f32).collect();
    let mut with_nan = values.clone();
    with_nan[30] = f32::NAN;
    with_nan[33] = f32::NAN;
    for values in [&values, &with_nan] {
        for axis in 0..3 {
            for (keep, pads) in [(true, [1, 0]), (false, [0, 1]), (true, [2, 2])] {
                check_arg(&[3, 5, 21], axis, values, keep, pads);
            }
        }
    }
    check_arg(&[1], 0, &[3.0], false, [0, 0]);
}

#[test]
fn the_best_elements_come_in_order() {
    // Ties, both zeros, infinities and NaN.
    let values: Vec<f32> = (0..3 * 5 * 21)
        .map(|i| match (i * 7) % 11 {
            0 => f32::NAN,
            1 => -0.0,
            2 => f32::INFINITY,
            n => n as f32 - 5.0,
        })
        .collect();
    let dims = [3, 5, 21];
    let tensor = Tensor::from_slice(&dims, &values).unwrap();
    for (largest, axis, pads) in
        [(true, 2, [1, 0]), (false, 2, [0, 1]), (true, 1, [2, 2]), (false, 0, [1, 1])]
    {
        for k in 0..=dims[axis] {
            let layer = layers::TopK { axis: axis as i64, largest };
            let count = Tensor::scalar(k as i64);
            let want = layer.reference(&[Some(&tensor), Some(&count)]).unwrap();
            let (input, out) = (view(&dims, pads[0]), view(want[0].shape(), pads[1]));
            let positions = View::dense(out.shape);
            let op = TopF32::new(largest, input, axis, out, positions, 2).unwrap();
            let x = spread(&input, &values);
            let (mut best, mut at) = (vec![9f32; out.len()], vec![-1i64; positions.len()]);
            let outputs =
                &mut [bytemuck::cast_slice_mut(&mut best), bytemuck::cast_slice_mut(&mut at)];
            run(&op, &[bytemuck::cast_slice(&x)], outputs, &Par::new(2).unwrap()).unwrap();
            assert_eq!(at, *want[1].to_i64(), "{k} along {axis}, largest {largest}");
            let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&dense(&out, &best)), bits(&want[0].to_f32()));
        }
    }
    let (x, y) = (view(&[2, 3], 0), view(&[2, 4], 0));
    assert!(TopF32::new(true, x, 1, y, y, 1).is_err(), "more than there are");
    assert!(TopF32::new(true, x, 2, x, x, 1).is_err(), "no such axis");
    assert!(TopF32::new(true, x, 1, x, y, 1).is_err(), "another number of positions");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(
        if cfg!(target_arch = "aarch64") { 8 } else { 128 }
    ))]
    #[test]
    fn any_axes_of_any_layout_are_right(
        dims in prop::collection::vec(1usize..20, 1..5),
        chosen in 1usize..16,
        keep_dims in any::<bool>(),
        pads in (0usize..3, 0usize..3),
        function in prop::sample::select(FUNCTIONS.to_vec()),
    ) {
        let axes: Vec<usize> = (0..dims.len()).filter(|i| chosen >> i & 1 == 1).collect();
        prop_assume!(!axes.is_empty());
        for kernel in kernels() {
            check(kernel, function, &dims, &axes, keep_dims, [pads.0, pads.1]);
        }
    }
}
