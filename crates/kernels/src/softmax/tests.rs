use super::*;
use crate::operator::run_f32;
use crate::par::Par;
use depthwise_layers::{Layer, Softmax};
use depthwise_tensor::{Shape, Tensor};
use depthwise_testkit::{Bound, assert_close_f32};
use proptest::prelude::*;

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

fn dense(view: &View, data: &[f32]) -> Vec<f32> {
    let rows = view.rows();
    (0..rows.rows * rows.c).map(|i| data[i / rows.c * rows.ld + i % rows.c]).collect()
}

/// The result, with what lies behind it and in its padding checked.
fn softmax(op: &SoftmaxF32, x: &[f32], out: &View, par: &Par) -> Vec<f32> {
    let mut y = vec![-77.0; out.len() + 32];
    run_f32(op, &[x], &mut [&mut y[..out.len()]], par).unwrap();
    let rows = out.rows();
    let untouched = (0..y.len()).filter(|i| *i >= out.len() || i % rows.ld >= rows.c);
    assert!(untouched.into_iter().all(|i| y[i] == -77.0), "wrote outside its rows");
    dense(out, &y)
}

fn value(i: usize) -> f32 {
    ((i * 37 + 11) % 101) as f32 * 0.2 - 12.0
}

fn check(kernel: &'static Kernel, dims: &[usize], axis: usize, log: bool, pads: [usize; 2]) {
    let (input, out) = (view(dims, pads[0]), view(dims, pads[1]));
    let values: Vec<f32> = (0..input.shape.elements()).map(value).collect();
    let tensor = Tensor::from_slice(dims, &values).unwrap();
    let layer = Softmax { axis: axis as i64, log };
    let want = layer.reference(&[Some(&tensor)]).unwrap().remove(0);
    let op = SoftmaxF32::with_kernel(kernel, input, axis, log, out, 2).unwrap();
    let y = softmax(&op, &spread(&input, &values), &out, &Par::single());
    // `x - max` is off by half a unit of up to 24; an exponential multiplies that by the result.
    let bound = match log {
        true => Bound::RelativeToMax(1e-6),
        false => {
            let scale = want.to_f64().iter().map(|y| y.max(1e-30)).collect();
            Bound::RelativeTo { tolerance: 3e-6, scale }
        }
    };
    assert_close_f32(&y, &want.to_f32(), &bound);
}

#[test]
fn every_axis_of_every_layout() {
    for kernel in kernels() {
        for log in [false, true] {
            for pads in [[0, 0], [1, 1], [1, 0], [0, 1], [2, 2]] {
                for c in [1, 3, 4, 5, 8, 15, 16, 17, 40, 100] {
                    for axis in 0..3 {
                        check(kernel, &[3, 2, c], axis, log, pads);
                    }
                }
                check(kernel, &[2, 5, 4, 21], 1, log, pads);
                check(kernel, &[7], 0, log, pads);
                check(kernel, &[2, 0, 3], 1, log, pads);
                check(kernel, &[2, 0, 3], 2, log, pads);
            }
        }
    }
}

#[test]
fn a_row_sums_to_one_and_large_values_do_not_overflow() {
    for kernel in kernels() {
        let v = view(&[1, 1000], 0);
        let mut x: Vec<f32> = (0..1000).map(value).collect();
        x[123] = 1e4;
        x[124] = 1e4;
        let op = SoftmaxF32::with_kernel(kernel, v, 1, false, v, 1).unwrap();
        let y = softmax(&op, &x, &v, &Par::single());
        assert_eq!((y[122], y[123], y[124]), (0.0, 0.5, 0.5));
        assert_eq!(y.iter().sum::<f32>(), 1.0);
    }
}

#[test]
fn nan_spoils_its_own_row_only() {
    for kernel in kernels() {
        for (dims, axis) in [([2, 37], 1), ([37, 2], 0)] {
            let v = view(&dims, 1);
            for place in [0, 20, 36] {
                let mut values = vec![1.0f32; 74];
                values[if axis == 1 { place } else { 2 * place }] = f32::NAN;
                let op = SoftmaxF32::with_kernel(kernel, v, axis, false, v, 1).unwrap();
                let y = softmax(&op, &spread(&v, &values), &v, &Par::single());
                for (i, y) in y.iter().enumerate() {
                    let spoilt = if axis == 1 { i < 37 } else { i % 2 == 0 };
                    assert_eq!(y.is_nan(), spoilt, "{dims:?} {place} {i}");
                }
            }
        }
    }
}

#[test]
fn in_place_and_threads_do_not_change_a_bit() {
    let par = Par::new(3).unwrap();
    for kernel in kernels() {
        for (dims, axis) in [([60, 4, 37], 2), ([60, 4, 37], 1), ([3, 60, 70], 1)] {
            let v = view(&dims, 1);
            let values: Vec<f32> = (0..v.shape.elements()).map(value).collect();
            let x = spread(&v, &values);
            for log in [false, true] {
                let one = SoftmaxF32::with_kernel(kernel, v, axis, log, v, 1).unwrap();
                let three = SoftmaxF32::with_kernel(kernel, v, axis, log, v, 3).unwrap();
                assert_eq!((one.chunks(), three.chunks()), (1, 3));
                let want = softmax(&one, &x, &v, &par);
                assert_eq!(want, softmax(&three, &x, &v, &par));
                let mut shared = x.clone();
                let base = shared.as_mut_ptr().cast::<u8>();
                assert!(one.in_place(0));
                // SAFETY: both operands are the same buffer, as `in_place` allows.
                unsafe { one.run_chunk(&Io::new(&[base.cast_const()], &[base], base), 0) };
                assert_eq!(want, dense(&v, &shared));
            }
        }
    }
}

#[test]
fn wrong_axes_and_shapes_are_refused() {
    let cpu = Cpu::detect();
    let (a, b) = (view(&[2, 3], 0), view(&[3, 2], 0));
    assert!(SoftmaxF32::new(&cpu, a, 2, false, a, 1).is_err());
    assert!(SoftmaxF32::new(&cpu, a, 1, false, b, 1).is_err());
    assert!(SoftmaxF32::new(&cpu, View { ld: 2, ..a }, 1, false, a, 1).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(
        if cfg!(target_arch = "aarch64") { 8 } else { 128 }
    ))]
    #[test]
    fn any_shape_and_axis_is_right(
        dims in prop::collection::vec(1usize..20, 1..5),
        axis in 0usize..4,
        log in any::<bool>(),
        pads in (0usize..3, 0usize..3),
    ) {
        for kernel in kernels() {
            check(kernel, &dims, axis % dims.len(), log, [pads.0, pads.1]);
        }
    }
}
