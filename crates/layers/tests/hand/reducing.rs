use super::*;
use depthwise_layers::{ArgExtreme, Reduce, ReduceFn, Softmax};

fn reduce(function: ReduceFn, axes: &[i64], keep_dims: bool) -> Reduce {
    Reduce { function, axes: axes.to_vec(), keep_dims }
}

#[test]
fn every_reduction_of_a_row() {
    let x = t(&[1, 3], &[-1.0, 2.0, -3.0]);
    let of = |function| values(reduce(function, &[1], false), &[&x], &[1])[0];
    assert_eq!(of(ReduceFn::Sum), -2.0);
    close(&[of(ReduceFn::Mean)], &[-2.0 / 3.0]);
    assert_eq!([of(ReduceFn::Max), of(ReduceFn::Min), of(ReduceFn::Prod)], [2.0, -3.0, 6.0]);
    assert_eq!([of(ReduceFn::L1), of(ReduceFn::SumSquare)], [6.0, 14.0]);
    close(&[of(ReduceFn::L2)], &[14f64.sqrt()]);
    let exps: f64 = [-1f64, 2.0, -3.0].iter().map(|x| x.exp()).sum();
    close(&[of(ReduceFn::LogSumExp)], &[exps.ln()]);
    let positive = t(&[1, 2], &[1.0, 2.0]);
    close(&values(reduce(ReduceFn::LogSum, &[1], false), &[&positive], &[1]), &[3f64.ln()]);
}

#[test]
fn axes_are_dropped_or_kept() {
    let x = ramp(&[2, 2, 3], 0.0);
    let sum = |axes: &[i64], keep| reduce(ReduceFn::Sum, axes, keep);
    assert_eq!(values(sum(&[0, -1], false), &[&x], &[2]), [24.0, 42.0]);
    assert_eq!(values(sum(&[0, -1], true), &[&x], &[1, 2, 1]), [24.0, 42.0]);
    assert!(refusal(sum(&[3], false), &[&x]).contains("Reduce"));
    assert!(refusal(sum(&[1, -2], false), &[&x]).contains("Reduce"));
}

#[test]
fn positions_of_extremes() {
    let x = t(&[2, 3], &[1.0, 3.0, 3.0, 0.0, -1.0, -1.0]);
    let of = |largest, select_last| {
        let layer = ArgExtreme { largest, axis: 1, keep_dims: false, select_last };
        run(layer, &[&x]).to_i64().into_owned()
    };
    assert_eq!(of(true, false), [1, 0]);
    assert_eq!(of(true, true), [2, 0]);
    assert_eq!(of(false, false), [0, 1]);
    assert_eq!(of(false, true), [0, 2]);
}

#[test]
fn softmax_sums_to_one_along_its_axis() {
    let x = t(&[2, 2], &[0.0, 2f32.ln(), 1000.0, 1000.0]);
    let rows = Softmax { axis: -1, log: false };
    close(&values(rows, &[&x], &[2, 2]), &[1.0 / 3.0, 2.0 / 3.0, 0.5, 0.5]);
    let log = Softmax { axis: 1, log: true };
    let third = (1f64 / 3.0).ln();
    close(&values(log, &[&x], &[2, 2])[..2], &[third, third + 2f64.ln()]);
    let columns = values(Softmax { axis: 0, log: false }, &[&x], &[2, 2]);
    close(&columns, &[0.0, 0.0, 1.0, 1.0]);
    assert!(refusal(Softmax { axis: 2, log: false }, &[&x]).contains("Softmax"));
}
