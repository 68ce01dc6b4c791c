use super::*;
use crate::operator::run_f32;
use crate::par::Par;
use depthwise_testkit::Random;

fn values(len: usize, seed: u64) -> Vec<f32> {
    let mut random = Random::new(seed);
    (0..len).map(|_| random.unit()).collect()
}

/// Rows of `c` elements `ld` apart, the rest NaN.
fn spread(data: &[f32], c: usize, ld: usize) -> Vec<f32> {
    let mut rows = vec![f32::NAN; data.len() / c * ld];
    for (to, from) in rows.chunks_mut(ld).zip(data.chunks(c)) {
        to[..c].copy_from_slice(from);
    }
    rows
}

fn check(pixels: usize, outputs: usize, depth: usize) {
    let (dy, x) = (values(pixels * outputs, 1), values(pixels * depth, 2));
    let ld_x = depth.next_multiple_of(16);
    let (ld_dy, ld_dw) = (outputs + 1, depth + 3);
    let spec = WeightGradSpec { pixels, outputs, depth, ld_dy, ld_x, ld_dw };
    let (in_dy, in_x) = (spread(&dy, outputs, ld_dy), spread(&x, depth, ld_x));
    for kernel in KERNELS.iter().filter(|k| Cpu::detect().supports(k.isa)) {
        let mut first: Option<Vec<u32>> = None;
        for threads in [1, 3] {
            let op = WeightGradF32::with_kernel(kernel, spec, threads).unwrap();
            let mut dw = vec![-7.5f32; outputs * ld_dw + 8];
            let par = Par::new(threads).unwrap();
            run_f32(&op, &[&in_dy, &in_x], &mut [&mut dw], &par).unwrap();
            for (j, i) in (0..outputs).flat_map(|j| (0..ld_dw).map(move |i| (j, i))) {
                let got = dw[j * ld_dw + i];
                if i >= depth {
                    assert_eq!(got, -7.5, "{kernel:?} writes past the columns");
                    continue;
                }
                let term = |p: usize| f64::from(dy[p * outputs + j]) * f64::from(x[p * depth + i]);
                let want: f64 = (0..pixels).map(term).sum();
                let size: f64 = (0..pixels).map(|p| term(p).abs()).sum();
                // As many roundings as pixels, each of at most the sum of the terms.
                let bound = size * f64::from(f32::EPSILON) * (pixels as f64).sqrt().max(4.0);
                assert!((f64::from(got) - want).abs() <= bound, "{kernel:?} {spec:?} {j} {i}");
            }
            assert!(dw[outputs * ld_dw..].iter().all(|&g| g == -7.5));
            let bits: Vec<u32> = dw.iter().map(|x| x.to_bits()).collect();
            assert_eq!(*first.get_or_insert(bits.clone()), bits, "bits depend on the threads");
        }
    }
}

#[test]
fn weight_gradients_around_the_tiles() {
    for outputs in [1, 3, 6, 7, 13] {
        for depth in [1, 8, 9, 16, 17, 40] {
            check(5, outputs, depth);
        }
    }
    for pixels in [0, 1, 127, 128, 129, 300] {
        check(pixels, 5, 21);
    }
    check(260, 40, 70);
}
