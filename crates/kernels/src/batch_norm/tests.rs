use super::*;
use crate::operator::run_f32;
use crate::par::Par;
use depthwise_layers::{BatchNormGrad, BatchNormTrain, Layer};
use depthwise_tensor::{Tensor, padded_ld};
use depthwise_testkit::random_tensor;

fn padded(t: &Tensor, ld: usize) -> Vec<f32> {
    let c = *t.shape().last().unwrap();
    let mut rows = vec![f32::NAN; t.elements() / c * ld];
    for (to, from) in rows.chunks_mut(ld).zip(t.to_f32().chunks(c)) {
        to[..c].copy_from_slice(from);
    }
    rows
}

fn meaningful(rows: &[f32], c: usize, ld: usize) -> Vec<f32> {
    rows.chunks(ld).flat_map(|row| row[..c].to_vec()).collect()
}

fn assert_near(got: &[f32], want: &Tensor, bound: f32, what: &str) {
    let want = want.to_f32();
    let largest = want.iter().fold(1e-3f32, |a, w| a.max(w.abs()));
    for (i, (got, want)) in got.iter().zip(want.iter()).enumerate() {
        assert!((got - want).abs() <= bound * largest, "{what}[{i}]: {got} {want}");
    }
}

/// A batch around `middle`, which is far from 0 where variances are hard.
fn check(rows: usize, c: usize, middle: f32, bound: f32) {
    let x = random_tensor(&[rows, c], 1).to_f32().iter().map(|x| x + middle).collect::<Vec<_>>();
    let x = Tensor::from_vec(&[rows, c], x).unwrap();
    let (gamma, beta) = (random_tensor(&[c], 2), random_tensor(&[c], 3));
    let dy = random_tensor(&[rows, c], 4);
    let (epsilon, axis) = (1e-3, -1);
    let norm = BatchNormTrain { epsilon, axis };
    let want = norm.reference(&[Some(&x), Some(&gamma), Some(&beta)]).unwrap();
    let grad = BatchNormGrad { epsilon, axis };
    let operands = [Some(&dy), Some(&x), Some(&gamma), Some(&want[1]), Some(&want[2])];
    let want_grad = grad.reference(&operands).unwrap();
    let ld = padded_ld(c);
    let layout = Rows { rows, c, ld };
    let (in_x, in_dy) = (padded(&x, ld), padded(&dy, ld));
    for cpu in Cpu::detect().levels() {
        let mut first: Option<Vec<u32>> = None;
        for threads in [1, 3] {
            let par = Par::new(threads).unwrap();
            let sums_len = 2 * segments(rows) * c.next_multiple_of(16);
            let mut sums = vec![f32::NAN; sums_len];
            let op = BatchSumsF32::new(&cpu, layout, threads).unwrap();
            run_f32(&op, &[&in_x], &mut [&mut sums], &par).unwrap();
            let op =
                BatchNormF32::new(&cpu, (layout, layout), epsilon, [true; 2], threads).unwrap();
            let (mut y, mut mean, mut var) =
                (vec![f32::NAN; rows * ld], vec![0.0; c], vec![0.0; c]);
            let inputs = [&in_x, &sums, &gamma.to_f32()[..], &beta.to_f32()];
            run_f32(&op, &inputs, &mut [&mut y, &mut mean, &mut var], &par).unwrap();
            assert_near(&meaningful(&y, c, ld), &want[0], bound, "y");
            assert_near(&mean, &want[1], bound, "mean");
            assert_near(&var, &want[2], bound, "var");
            let mut sums = vec![f32::NAN; sums_len];
            let op = GradSumsF32::new(&cpu, layout, layout, threads).unwrap();
            run_f32(&op, &[&in_dy, &in_x, &mean], &mut [&mut sums], &par).unwrap();
            let rows_of = (layout, layout, layout);
            let op = BatchNormGradF32::new(&cpu, rows_of, epsilon, true, threads).unwrap();
            let (mut dx, mut dgamma, mut dbeta) =
                (vec![f32::NAN; rows * ld], vec![0.0; c], vec![0.0; c]);
            let inputs = [&in_dy, &in_x, &mean[..], &var, &sums, &gamma.to_f32()];
            run_f32(&op, &inputs, &mut [&mut dx, &mut dgamma, &mut dbeta], &par).unwrap();
            assert_near(&meaningful(&dx, c, ld), &want_grad[0], bound, "dx");
            assert_near(&dgamma, &want_grad[1], bound, "dgamma");
            assert_near(&dbeta, &want_grad[2], bound, "dbeta");
            let all = [meaningful(&y, c, ld), mean, var, meaningful(&dx, c, ld), dgamma, dbeta];
            let bits: Vec<u32> = all.concat().iter().map(|x| x.to_bits()).collect();
            assert_eq!(*first.get_or_insert(bits.clone()), bits, "bits depend on the threads");
        }
    }
}

#[test]
fn statistics_and_gradients_match_the_references() {
    for c in [1, 8, 16, 33, 80] {
        check(37, c, 0.0, 2e-5);
    }
    check(600, 24, 0.5, 2e-5);
    // Differences of numbers around 100 keep 17 bits of theirs.
    check(200, 24, 100.0, 2e-4);
}
