use super::*;
use crate::isa::Cpu;
use crate::operator::run_f32;
use crate::par::Par;
use depthwise_tensor::padded_ld;
use proptest::prelude::*;

/// Values in -1 ..= 1 from a counter, different for each `seed`.
pub(crate) fn values(seed: u32, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// `rows` rows of `c` values, `ld` apart, NaN between them.
pub(crate) fn spread(dense: &[f32], c: usize, ld: usize) -> Vec<f32> {
    let mut out = vec![f32::NAN; dense.len() / c.max(1) * ld];
    for (to, from) in out.chunks_mut(ld.max(1)).zip(dense.chunks(c.max(1))) {
        to[..c].copy_from_slice(from);
    }
    out
}

/// Behind every output; a kernel that writes it is wrong.
pub(crate) const GUARD: f32 = 1234.5;

/// Runs on 1, 2 and 3 chunks, checks that the bits and the guard agree, and gives the output.
pub(crate) fn run_guarded(
    build: impl Fn(usize) -> Result<Arc<dyn Operator>, KernelError>,
    inputs: &[&[f32]],
    rows: usize,
    c: usize,
    ld: usize,
) -> Vec<f32> {
    let mut all: Vec<Vec<f32>> = Vec::new();
    for threads in [1, 2, 3] {
        let op = build(threads).unwrap();
        assert!(op.chunks() <= threads);
        // Not on a vector's boundary, and full of what must not survive.
        let mut memory = vec![f32::NAN; 1 + rows * ld];
        memory.extend([GUARD; 64]);
        run_f32(&*op, inputs, &mut [&mut memory[1..]], &Par::new(threads).unwrap()).unwrap();
        assert!(memory[1 + rows * ld..].iter().all(|&g| g == GUARD), "{} wrote past", op.kernel());
        let rows = memory[1..1 + rows * ld].chunks(ld);
        all.push(rows.flat_map(|row| row[..c].to_vec()).collect());
    }
    let bits = |v: &[f32]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    assert!(all.iter().all(|v| bits(v) == bits(&all[0])), "bits depend on the threads");
    all.swap_remove(0)
}

/// Largest deviation of `got` from `want` that rounding explains: each of `terms` steps of a sum
/// whose terms are at most 1 errs by half a unit in the last place of the partial sum, and the
/// activation by a few units of the result.
pub(crate) fn assert_close(got: &[f32], want: &[f64], terms: usize, what: &dyn fmt::Debug) {
    assert_eq!(got.len(), want.len());
    let sum = 1.0 + terms as f64;
    let bound = sum * f64::from(f32::EPSILON) * sum.sqrt() + 1e-6;
    for (i, (&got, &want)) in got.iter().zip(want).enumerate() {
        let ok = (f64::from(got) - want).abs() <= bound * want.abs().max(1.0);
        assert!(ok || (got.is_nan() && want.is_nan()), "{what:?} [{i}]: {got}, not {want}");
    }
}

/// One product and its operands.
#[derive(Clone, Debug)]
struct Case {
    m: usize,
    k: usize,
    n: usize,
    residual: bool,
    act: Activation,
    dense_input: bool,
}

impl Case {
    fn new(m: usize, k: usize, n: usize) -> Case {
        let act = Activation::Clip { min: -0.5, max: 1.5 };
        Case { m, k, n, residual: false, act, dense_input: false }
    }

    fn check(&self, pack: &dyn Fn(&[f32], &[f32]) -> PackedGemmF32) {
        let &Case { m, k, n, residual, act, dense_input } = self;
        let lda = if dense_input { k } else { padded_ld(k) };
        let (a, b) = (values(1, m * k), values(2, n * k));
        let (bias, res) = (values(3, n), values(4, m * n));
        let packed = Arc::new(pack(&b, &bias));
        // Forced kernels may be wider than a padded row.
        let ldc = padded_ld(n).max(packed.width().next_multiple_of(16));
        let spec = GemmSpec { m, lda, ldc, residual_ld: residual.then_some(ldc), activation: act };
        let mut inputs = vec![spread(&a, k, lda)];
        if residual {
            inputs.push(spread(&res, n, ldc));
        }
        let inputs: Vec<&[f32]> = inputs.iter().map(|v| &v[..]).collect();
        let build = |threads| {
            let op = GemmF32::new(Arc::clone(&packed), spec, threads)?;
            Ok(Arc::new(op) as Arc<dyn Operator>)
        };
        let got = run_guarded(build, &inputs, m, n, ldc);
        let mut want = Vec::new();
        for i in 0..m {
            for j in 0..n {
                let product = |p: usize| f64::from(a[i * k + p]) * f64::from(b[j * k + p]);
                let mut sum = f64::from(bias[j]) + (0..k).map(product).sum::<f64>();
                if residual {
                    sum += f64::from(res[i * n + j]);
                }
                want.push(act.eval(sum));
            }
        }
        assert_close(&got, &want, k, &(self, packed.kernel_name()));
    }

    /// With every kernel that runs here, and as packing would choose on every level.
    fn check_all(&self) {
        for kernel in supported() {
            self.check(&|b, bias| {
                PackedGemmF32::with_kernel(kernel, self.k, self.n, b, Some(bias)).unwrap()
            });
        }
        for cpu in Cpu::detect().levels() {
            self.check(&|b, bias| {
                PackedGemmF32::pack(&cpu, self.k, self.n, b, Some(bias)).unwrap()
            });
        }
    }
}

fn supported() -> impl Iterator<Item = &'static Kernel> {
    KERNELS.iter().copied().filter(|kernel| kernel.info().is_supported(&Cpu::detect()))
}

#[test]
fn rows_and_columns_around_the_tile_match_the_reference() {
    for kernel in supported() {
        let (mr, nr) = (kernel.mr(), kernel.nr());
        for m in [1, 2, mr - 1, mr, mr + 1, 2 * mr + 3] {
            for n in [1, nr - 1, nr, nr + 1, 2 * nr + 3] {
                let case = Case::new(m, 5, n);
                case.check(&|b, bias| {
                    PackedGemmF32::with_kernel(kernel, 5, n, b, Some(bias)).unwrap()
                });
            }
        }
    }
}

#[test]
fn shapes_of_real_nets_match_the_reference() {
    let mut shapes = vec![(1, 96, 40), (49, 33, 72), (23, 16, 24), (9, 1, 96)];
    if !cfg!(target_arch = "aarch64") {
        shapes.extend([(196, 64, 40), (400, 16, 96), (49, 160, 320), (1, 640, 200)]);
    }
    for (m, k, n) in shapes {
        Case::new(m, k, n).check_all();
    }
}

#[test]
fn every_activation_and_the_residual_are_applied_in_order() {
    let acts = [
        Activation::Identity,
        Activation::RELU6,
        Activation::HardSwish,
        Activation::Silu,
        Activation::Sigmoid,
        Activation::GeluTanh,
        Activation::LeakyRelu { alpha: 0.1 },
    ];
    for act in acts {
        for residual in [false, true] {
            for m in [1, 70] {
                Case { residual, act, ..Case::new(m, 7, 43) }.check_all();
            }
        }
    }
}

#[test]
fn a_residual_in_place_of_the_output_is_added_once() {
    for kernel in supported() {
        let (m, k, n) = (20, 3, 20);
        let (a, b, res) = (values(1, m * k), values(2, n * k), values(3, m * n));
        let packed = PackedGemmF32::with_kernel(kernel, k, n, &b, None).unwrap();
        let ldc = 48 * n.div_ceil(48);
        let spec =
            GemmSpec { m, lda: k, ldc, residual_ld: Some(ldc), activation: Activation::Identity };
        let op = GemmF32::new(Arc::new(packed), spec, 1).unwrap();
        assert!(op.in_place(1) && !op.in_place(0));
        let mut apart = vec![0.0; m * ldc];
        let residual = spread(&res, n, ldc);
        run_f32(&op, &[&a, &residual], &mut [&mut apart], &Par::single()).unwrap();
        let mut shared = residual.clone();
        let c = shared.as_mut_ptr().cast::<u8>();
        let inputs = [a.as_ptr().cast(), c.cast_const()];
        let outputs = [c];
        // SAFETY: `in_place` allows the residual and the output to be the same memory.
        unsafe { op.run_chunk(&Io::new(&inputs, &outputs, std::ptr::null_mut()), 0) };
        for (x, y) in shared.chunks(ldc).zip(apart.chunks(ldc)) {
            assert_eq!(x[..n], y[..n]);
        }
    }
}

#[test]
fn nan_stays_in_its_row_and_passes_every_activation() {
    for kernel in supported() {
        for act in [Activation::RELU6, Activation::HardSwish, Activation::Silu] {
            let (m, k, n) = (11, 4, 19);
            let mut a = values(1, m * k);
            a[5 * k + 2] = f32::NAN;
            let b = values(2, n * k);
            let packed = PackedGemmF32::with_kernel(kernel, k, n, &b, None).unwrap();
            let ldc = 48 * n.div_ceil(48);
            let spec = GemmSpec { m, lda: k, ldc, residual_ld: None, activation: act };
            let op = GemmF32::new(Arc::new(packed), spec, 1).unwrap();
            let mut c = vec![0.0; m * ldc];
            run_f32(&op, &[&a], &mut [&mut c], &Par::single()).unwrap();
            for (i, row) in c.chunks(ldc).enumerate() {
                assert!(row[..n].iter().all(|x| x.is_nan() == (i == 5)), "{kernel:?} {act}");
            }
        }
    }
}

#[test]
fn strides_that_do_not_fit_are_refused() {
    let packed = Arc::new(PackedGemmF32::pack(&Cpu::detect(), 8, 20, &[0.0; 160], None).unwrap());
    let good =
        GemmSpec { m: 3, lda: 8, ldc: 32, residual_ld: None, activation: Activation::Identity };
    let build = |spec| GemmF32::new(Arc::clone(&packed), spec, 1).map(|op| op.m);
    assert_eq!(build(good), Ok(3));
    for spec in [
        GemmSpec { lda: 7, ..good },
        GemmSpec { ldc: 16, ..good },
        GemmSpec { m: usize::MAX / 8, ..good },
        GemmSpec { residual_ld: Some(16), ..good },
    ] {
        assert!(matches!(build(spec), Err(KernelError::Invalid { .. })), "{spec:?}");
    }
    let scalar = PackedGemmF32::with_kernel(&scalar::K4X8, 8, 20, &[0.0; 160], None).unwrap();
    assert!(GemmF32::new(Arc::new(scalar), good, 1).is_ok());
    for spec in [GemmSpec { ldc: 20, ..good }, GemmSpec { residual_ld: Some(20), ..good }] {
        assert!(matches!(build(spec), Err(KernelError::Unsupported { .. })), "{spec:?}");
    }
}

#[test]
fn no_rows_is_no_work() {
    Case::new(0, 4, 20).check_all();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(target_arch = "aarch64") { 4 } else { 40 }))]
    #[test]
    fn any_product_matches_the_reference(
        m in 0usize..300,
        k in 1usize..20,
        n in 1usize..70,
        residual: bool,
        dense_input: bool,
    ) {
        Case { residual, dense_input, ..Case::new(m, k, n) }.check_all();
    }
}

/// The bodies at 16 lanes, which this machine may have no instructions for.
mod sixteen_lanes {
    use super::super::bodies::{bodies, kernel, row_ops};
    use super::super::{IndirectArgs, Kernel, RowOps, RowsArgs, TileArgs, generic};
    use super::*;
    use crate::arch::SimdF32;
    use crate::isa::Isa;
    use pulp::{Scalar512b, Simd, cast};

    fn zip(a: [f32; 16], b: [f32; 16], f: impl Fn(f32, f32) -> f32) -> [f32; 16] {
        std::array::from_fn(|i| f(a[i], b[i]))
    }

    impl SimdF32 for Scalar512b {
        fn fma(self, a: Self::f32s, b: Self::f32s, c: Self::f32s) -> Self::f32s {
            self.add_f32s(self.mul_f32s(a, b), c)
        }
        fn max_or_nan(self, a: Self::f32s, b: Self::f32s) -> Self::f32s {
            cast(zip(cast(a), cast(b), |a, b| if a > b || a.is_nan() { a } else { b }))
        }
        fn clamp(self, x: Self::f32s, lo: Self::f32s, hi: Self::f32s) -> Self::f32s {
            let raised = zip(cast(lo), cast(x), |lo, x| if lo > x { lo } else { x });
            cast(zip(cast(hi), raised, |hi, x| if hi < x { hi } else { x }))
        }
        unsafe fn load_f16(self, p: *const u16) -> Self::f32s {
            // SAFETY: as the caller promises.
            let bits: [u16; 16] = unsafe { p.cast::<[u16; 16]>().read_unaligned() };
            cast(bits.map(|bits| half::f16::from_bits(bits).to_f32()))
        }
    }

    kernel! { K8X48: "gemm_f32_8x48_test", Isa::Scalar, 48, zmm 3, rows 1 2 3 4 5 6 7 8 }
    kernel! { K8X32: "gemm_f32_8x32_test", Isa::Scalar, 32, zmm 2, rows 1 2 3 4 5 6 7 8 }
    kernel! { K8X16: "gemm_f32_8x16_test", Isa::Scalar, 16, zmm 1, rows 1 2 3 4 5 6 7 8 }
    bodies! { zmm, Scalar512b, Scalar512b }
    row_ops! { Scalar512b }

    #[test]
    fn tiles_of_zmm_width_match_the_reference() {
        for kernel in [&K8X48, &K8X32, &K8X16] {
            for (m, n) in [(1, 50), (7, 48), (9, 33), (19, 100)] {
                for residual in [false, true] {
                    let case = Case { residual, ..Case::new(m, 5, n) };
                    case.check(&|b, bias| {
                        PackedGemmF32::with_kernel(kernel, 5, n, b, Some(bias)).unwrap()
                    });
                }
            }
        }
    }
}

/// The packings that every CPU level here would choose.
fn packings(k: usize, n: usize, b: &[f32], bias: &[f32]) -> Vec<Arc<PackedGemmF32>> {
    let pack = |cpu: Cpu| PackedGemmF32::pack(&cpu, k, n, b, Some(bias)).unwrap();
    Cpu::detect().levels().map(pack).map(Arc::new).collect()
}

#[test]
fn a_gate_multiplies_the_columns_of_each_picture() {
    for (pictures, pixels, k, n) in
        [(1, 49, 72, 40), (2, 100, 24, 17), (3, 1, 7, 5), (1, 300, 3, 64)]
    {
        let m = pictures * pixels;
        let (a, b, bias) = (values(1, m * k), values(2, n * k), values(3, n));
        let (gate, residual) = (values(4, pictures * k), values(5, m * n));
        let (lda, ldc) = (padded_ld(k), padded_ld(n));
        for (packed, with_residual) in
            packings(k, n, &b, &bias).into_iter().flat_map(|p| [(p.clone(), false), (p, true)])
        {
            let spec = GemmSpec {
                m,
                lda,
                ldc,
                residual_ld: with_residual.then_some(ldc),
                activation: Activation::HardSwish,
            };
            let mut inputs = vec![spread(&a, k, lda), spread(&gate, k, lda)];
            if with_residual {
                inputs.push(spread(&residual, n, ldc));
            }
            let inputs: Vec<&[f32]> = inputs.iter().map(|v| &v[..]).collect();
            let build = |threads| {
                let op = GatedGemmF32::new(Arc::clone(&packed), spec, (pixels, lda), threads)?;
                Ok(Arc::new(op) as Arc<dyn Operator>)
            };
            let got = run_guarded(build, &inputs, m, n, ldc);
            let mut want = Vec::new();
            for i in 0..m {
                for j in 0..n {
                    let factor = |p: usize| f64::from(gate[i / pixels * k + p]);
                    let term = |p| factor(p) * f64::from(a[i * k + p]) * f64::from(b[j * k + p]);
                    let sum = f64::from(bias[j]) + (0..k).map(term).sum::<f64>();
                    let more = if with_residual { f64::from(residual[i * n + j]) } else { 0.0 };
                    want.push(Activation::HardSwish.eval(sum + more));
                }
            }
            assert_close(&got, &want, 2 * k, &(pictures, pixels, k, n, packed.kernel_name()));
        }
    }
}

#[test]
fn a_mean_is_that_of_the_rows_of_each_picture() {
    for (pictures, pixels, k, n) in [(1, 49, 32, 200), (2, 16, 24, 17), (3, 1, 7, 5)] {
        let m = pictures * pixels;
        let (a, b, bias) = (values(1, m * k), values(2, n * k), values(3, n));
        let (lda, ldc) = (padded_ld(k), padded_ld(n));
        for activation in [Activation::RELU6, Activation::Silu] {
            for packed in packings(k, n, &b, &bias) {
                let spec = GemmSpec { m, lda, ldc, residual_ld: None, activation };
                let build = |threads| {
                    let op = MeanGemmF32::new(Arc::clone(&packed), spec, pixels, threads)?;
                    Ok(Arc::new(op) as Arc<dyn Operator>)
                };
                let got = run_guarded(build, &[&spread(&a, k, lda)], pictures, n, ldc);
                let row = |i: usize, j: usize| {
                    let term = |p: usize| f64::from(a[i * k + p]) * f64::from(b[j * k + p]);
                    activation.eval(f64::from(bias[j]) + (0..k).map(term).sum::<f64>())
                };
                let mean = |at: usize| {
                    let (picture, j) = (at / n, at % n);
                    let rows = picture * pixels..(picture + 1) * pixels;
                    rows.map(|i| row(i, j)).sum::<f64>() / pixels as f64
                };
                let want: Vec<f64> = (0..pictures * n).map(mean).collect();
                assert_close(&got, &want, k + pixels, &(pictures, pixels, k, n));
            }
        }
    }
}

#[test]
fn rows_that_are_no_whole_pictures_are_refused() {
    let packed = &packings(8, 8, &[0.0; 64], &[0.0; 8])[0];
    let spec = |residual_ld| GemmSpec {
        m: 10,
        lda: 8,
        ldc: 16,
        residual_ld,
        activation: Activation::Identity,
    };
    let gated =
        |pixels, ld| GatedGemmF32::new(Arc::clone(packed), spec(None), (pixels, ld), 1).map(|_| ());
    let mean = |residual, pixels| {
        MeanGemmF32::new(Arc::clone(packed), spec(residual), pixels, 1).map(|_| ())
    };
    assert_eq!((gated(5, 8), mean(None, 5)), (Ok(()), Ok(())));
    for refused in [gated(0, 8), gated(3, 8), gated(5, 7), mean(None, 0), mean(None, 4)] {
        assert!(matches!(refused, Err(KernelError::Invalid { .. })), "{refused:?}");
    }
    assert!(matches!(mean(Some(16), 5), Err(KernelError::Unsupported { .. })));
}
