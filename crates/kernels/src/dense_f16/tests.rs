use super::*;
use crate::gemm_f32::tests::{GUARD, run_guarded, spread, values};
use crate::gemm_f32::{GemmF32, GemmSpec, PackedGemmF32};
use crate::isa::Cpu;
use depthwise_tensor::padded_ld;
use half::f16;

fn supported() -> impl Iterator<Item = &'static Kernel> {
    KERNELS.iter().copied().filter(|k| k.info().is_supported(&Cpu::detect()))
}

/// Weights that half precision holds.
fn halves(seed: u32, len: usize) -> Vec<f32> {
    values(seed, len).into_iter().map(|w| f16::from_f32(w).to_f32()).collect()
}

/// The bits of `gemm_f32` at the same level, whose tests hold it against the reference.
fn check(kernel: &'static Kernel, m: usize, k: usize, n: usize, activation: Activation) {
    let (a, weights, bias) = (values(1, m * k), halves(2, n * k), values(3, n));
    let (lda, ldc) = (padded_ld(k), padded_ld(n));
    let input = spread(&a, k, lda);
    let packed = PackedDenseF16::with_kernel(kernel, k, n, &weights, Some(&bias)).unwrap();
    let packed = Arc::new(packed);
    let build = |threads| {
        let spec = DenseSpec { m, lda, ldc, activation };
        Ok(Arc::new(DenseF16::new(Arc::clone(&packed), spec, threads)?) as Arc<dyn Operator>)
    };
    let got = run_guarded(build, &[&input], m, n, ldc);
    let cpu = Cpu::detect().capped(kernel.isa);
    let packed = Arc::new(PackedGemmF32::pack(&cpu, k, n, &weights, Some(&bias)).unwrap());
    let build = |threads| {
        let spec = GemmSpec { m, lda, ldc, residual_ld: None, activation };
        Ok(Arc::new(GemmF32::new(Arc::clone(&packed), spec, threads)?) as Arc<dyn Operator>)
    };
    let want = run_guarded(build, &[&input], m, n, ldc);
    let bits = |v: &[f32]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&got), bits(&want), "{} m {m} k {k} n {n}", kernel.name);
    assert!(got.iter().all(|&y| y != GUARD));
}

#[test]
fn weights_that_half_precision_holds_give_the_bits_of_single_precision() {
    for kernel in supported() {
        for m in [0, 1, 2, 3, 4, 5, 9] {
            for (k, n) in [(1, 1), (2, 15), (7, 16), (8, 17), (33, 40), (64, 100)] {
                check(kernel, m, k, n, Activation::Identity);
            }
        }
        for act in [Activation::RELU6, Activation::HardSwish, Activation::Sigmoid] {
            check(kernel, 1, 20, 33, act);
            check(kernel, 6, 20, 33, act);
        }
    }
}

#[test]
fn weights_are_rounded_to_nearest_even() {
    // 2048 + 1 and 2048 + 3 lie between two neighbours, which are 2 apart.
    let weights = [2049.0, 2051.0, 1.0 + 1.0 / 2048.0, 1e-9];
    for kernel in supported() {
        let packed = PackedDenseF16::with_kernel(kernel, 1, 4, &weights, None).unwrap();
        let packed = Arc::new(packed);
        let build = |threads| {
            let spec = DenseSpec { m: 1, lda: 1, ldc: 16, activation: Activation::Identity };
            Ok(Arc::new(DenseF16::new(Arc::clone(&packed), spec, threads)?) as Arc<dyn Operator>)
        };
        assert_eq!(run_guarded(build, &[&[1.0]], 1, 4, 16), [2048.0, 2052.0, 1.0, 0.0]);
    }
}

#[test]
fn what_it_cannot_hold_is_refused() {
    let cpu = Cpu::detect();
    let pack = |k, n, weights: &[f32], bias| PackedDenseF16::pack(&cpu, k, n, weights, bias);
    assert!(pack(3, 2, &[0.0; 5], None).is_err());
    assert!(pack(3, 2, &[0.0; 6], Some(&[0.0][..])).is_err());
    assert!(pack(0, usize::MAX, &[], None).is_err());
    assert!(pack(1, 2, &[0.0, 65504.0], None).is_ok());
    let error = pack(1, 2, &[0.0, 70000.0], None).unwrap_err().to_string();
    assert!(error.contains("70000"), "{error}");
    assert!(pack(1, 1, &[f32::NAN], None).is_err());
}
