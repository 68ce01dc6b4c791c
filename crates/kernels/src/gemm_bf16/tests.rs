use super::*;
use crate::gemm_f32::tests::{GUARD, assert_close, run_guarded, spread, values};
use crate::isa::Cpu;
use crate::operator::run_f32;
use crate::par::Par;
use depthwise_tensor::{ConvGeometry, Hw, Nhwc, Pad2d, padded_ld};
use half::bf16;
use proptest::prelude::*;

fn supported() -> impl Iterator<Item = &'static Kernel> {
    KERNELS.iter().copied().filter(|kernel| kernel.info().is_supported(&Cpu::detect()))
}

fn rounded(x: f32) -> f32 {
    bf16::from_f32(x).to_f32()
}

/// A denormal number as zero.
fn flushed(x: f32) -> f32 {
    if x.is_subnormal() { 0f32.copysign(x) } else { x }
}

/// One row of `a` times one of `b`, as the instruction is documented: by fused multiply-adds in `f32`, where
/// the kernels without the instruction compute in `f64`. `apart` is the way of a product of one row.
fn sum_of_pairs(a: &[f32], b: &[f32], bias: f32, apart: bool) -> f32 {
    let mut sums = [bias, 0.0];
    for (i, (a, b)) in a.chunks(2).zip(b.chunks(2)).enumerate() {
        let sum = &mut sums[if apart { i % 2 } else { 0 }];
        for (x, w) in a.iter().zip(b).rev() {
            *sum = flushed(rounded(*x).mul_add(rounded(*w), flushed(*sum)));
        }
    }
    if apart { sums[0] + sums[1] } else { sums[0] }
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

    /// The bits of the documented sums where the activation is a clamp, else what is close to them.
    fn check(&self, packed: PackedGemmBf16) {
        let &Case { m, k, n, residual, act, dense_input } = self;
        let lda = if dense_input { k } else { padded_ld(k) };
        let (a, b) = (values(1, m * k), values(2, n * k));
        let (bias, res) = (values(3, n), values(4, m * n));
        let ldc = padded_ld(n).max(packed.width().next_multiple_of(16));
        let spec = GemmSpec { m, lda, ldc, residual_ld: residual.then_some(ldc), activation: act };
        let mut input = spread(&a, k, lda);
        input.truncate(if m == 0 { 0 } else { (m - 1) * lda + k });
        let mut inputs = vec![input];
        if residual {
            inputs.push(spread(&res, n, ldc));
        }
        let inputs: Vec<&[f32]> = inputs.iter().map(|v| &v[..]).collect();
        let (name, packed) = (packed.kernel_name(), Arc::new(packed));
        let build = |threads| {
            let op = GemmBf16::new(Arc::clone(&packed), spec, threads)?;
            Ok(Arc::new(op) as Arc<dyn Operator>)
        };
        let got = run_guarded(build, &inputs, m, n, ldc);
        let sums = (0..m * n).map(|at| {
            let (i, j) = (at / n, at % n);
            let sum = sum_of_pairs(&a[i * k..][..k], &b[j * k..][..k], bias[j], m == 1);
            if residual { sum + res[at] } else { sum }
        });
        let what = (self, name);
        match act.as_clamp() {
            Some((min, max)) => {
                let want: Vec<u32> = sums.map(|y| y.max(min).min(max).to_bits()).collect();
                let got: Vec<u32> = got.iter().map(|y| y.to_bits()).collect();
                assert!(got == want, "{what:?}");
            }
            None => {
                let want: Vec<f64> = sums.map(|y| act.eval(f64::from(y))).collect();
                assert_close(&got, &want, 1, &what);
            }
        }
    }

    fn pack(&self, pack: impl Fn(&[f32], &[f32]) -> Result<PackedGemmBf16, KernelError>) {
        self.check(pack(&values(2, self.n * self.k), &values(3, self.n)).unwrap());
    }

    /// With every kernel that runs here, and as packing would choose on every level.
    fn check_all(&self) {
        let (k, n) = (self.k, self.n);
        for kernel in supported() {
            self.pack(|b, bias| PackedGemmBf16::with_kernel(kernel, k, n, b, Some(bias)));
        }
        for cpu in Cpu::detect().levels() {
            self.pack(|b, bias| PackedGemmBf16::pack(&cpu, k, n, b, Some(bias)));
        }
    }
}

#[test]
fn rows_and_columns_around_the_tile_have_the_documented_bits() {
    for kernel in supported() {
        let (mr, nr) = (kernel.mr(), kernel.nr());
        for m in [1, 2, mr - 1, mr, mr + 1, 2 * mr + 3] {
            for n in [1, nr - 1, nr, nr + 1, 2 * nr + 3] {
                for k in [1, 6] {
                    Case::new(m, k, n)
                        .pack(|b, bias| PackedGemmBf16::with_kernel(kernel, k, n, b, Some(bias)));
                }
            }
        }
    }
}

#[test]
fn several_blocks_and_deep_rows_have_the_documented_bits() {
    let shapes = if cfg!(target_arch = "aarch64") {
        [(30, 1000, 5), (1, 65, 20)]
    } else {
        [(90, 700, 24), (1, 639, 200)]
    };
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
        let packed = PackedGemmBf16::with_kernel(kernel, k, n, &b, None).unwrap();
        let ldc = 48;
        let activation = Activation::Identity;
        let spec = GemmSpec { m, lda: k, ldc, residual_ld: Some(ldc), activation };
        let op = GemmBf16::new(Arc::new(packed), spec, 1).unwrap();
        assert!(op.in_place(1) && !op.in_place(0));
        let mut apart = vec![0.0; m * ldc];
        let residual = spread(&res, n, ldc);
        run_f32(&op, &[&a, &residual], &mut [&mut apart], &Par::single()).unwrap();
        let mut shared = residual.clone();
        let mut scratch = vec![0u64; op.scratch_bytes() / 8];
        let c = shared.as_mut_ptr().cast::<u8>();
        let inputs = [a.as_ptr().cast(), c.cast_const()];
        // SAFETY: `in_place` allows the residual and the output to be the same memory.
        unsafe { op.run_chunk(&Io::new(&inputs, &[c], scratch.as_mut_ptr().cast()), 0) };
        for (x, y) in shared.chunks(ldc).zip(apart.chunks(ldc)) {
            assert_eq!(x[..n], y[..n]);
        }
    }
}

/// `bias + x . w` of one row and one column, by way of tiles and by way of a single row.
fn sums_of(kernel: &'static Kernel, x: &[f32], w: &[f32], bias: f32) -> [f32; 2] {
    let k = x.len();
    let packed = PackedGemmBf16::with_kernel(kernel, k, 1, w, Some(&[bias])).unwrap();
    let packed = Arc::new(packed);
    [2, 1].map(|m| {
        let (ldc, activation) = (48, Activation::Identity);
        let spec = GemmSpec { m, lda: k, ldc, residual_ld: None, activation };
        let op = GemmBf16::new(Arc::clone(&packed), spec, 1).unwrap();
        let mut c = vec![GUARD; m * ldc];
        run_f32(&op, &[&x.repeat(m)], &mut [&mut c], &Par::single()).unwrap();
        c[(m - 1) * ldc]
    })
}

#[test]
fn numbers_at_the_ends_of_the_range_are_those_of_the_instruction() {
    let min = f32::MIN_POSITIVE;
    let (tiny, ulp) = (min * 0.75, min * f32::EPSILON);
    let half = 2f32.powi(-63);
    let cases: &[(&[f32], &[f32], f32, f32)] = &[
        // Denormal operands and sums are zeros; so is a denormal bias, whatever is added.
        (&[tiny], &[2.0], 0.0, 0.0),
        (&[2.0], &[-tiny], 1.0, 1.0),
        (&[half], &[half * 0.25], 0.0, 0.0),
        (&[half], &[half * -0.25], -0.0, -0.0),
        (&[1.0], &[min], tiny, min),
        (&[0.0], &[1.0], -tiny, 0.0),
        // The smallest normal number less a quarter of its last place rounds to itself, as 24 bits have it
        // in any range of exponents; less a half does not, and is flushed.
        (&[half], &[-half * 2f32.powi(-25)], min, min),
        (&[half], &[-half * 2f32.powi(-24)], min, 0.0),
        (&[half], &[-half * 2f32.powi(-23)], min + ulp, min),
        // The product is exact and rounds once, with the sum: to the even neighbour of a tie.
        (&[1.0 / 128.0], &[2f32.powi(-17)], 1.0, 1.0),
        (&[1.0 / 128.0], &[2f32.powi(-17)], 1.0 + f32::EPSILON, 1.0 + 2.0 * f32::EPSILON),
        // Past the largest number, and back before it rounds.
        (&[2f32.powi(127)], &[2.0], 0.0, f32::INFINITY),
        (&[2f32.powi(127)], &[2.0], -2f32.powi(127), 2f32.powi(127)),
        (&[f32::MAX], &[1.0], 0.0, f32::INFINITY),
        // Of a pair the second comes first.
        (&[2f32.powi(-30), -1.0], &[1.0, 1.0], 1.0, 2f32.powi(-30)),
        (&[-1.0, 2f32.powi(-30)], &[1.0, 1.0], 1.0, 0.0),
    ];
    for kernel in supported() {
        for &(x, w, bias, want) in cases {
            let [tile, row] = sums_of(kernel, x, w, bias);
            let what = format!("{kernel:?} {bias:e} + {x:?} . {w:?}");
            assert_eq!(tile.to_bits(), want.to_bits(), "{what} = {tile:e}, not {want:e}");
            // The odd pairs of a single row, none here, add a zero.
            assert_eq!(row, want, "{what}");
        }
        for (x, w) in [(f32::NAN, 1.0), (1.0, f32::NAN), (f32::INFINITY, 0.0)] {
            assert!(sums_of(kernel, &[1.0, x], &[1.0, w], 0.0).iter().all(|y| y.is_nan()));
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
            let packed = PackedGemmBf16::with_kernel(kernel, k, n, &values(2, n * k), None);
            let spec = GemmSpec { m, lda: k, ldc: 48, residual_ld: None, activation: act };
            let op = GemmBf16::new(Arc::new(packed.unwrap()), spec, 1).unwrap();
            let mut c = vec![0.0; m * 48];
            run_f32(&op, &[&a], &mut [&mut c], &Par::single()).unwrap();
            for (i, row) in c.chunks(48).enumerate() {
                assert!(row[..n].iter().all(|x| x.is_nan() == (i == 5)), "{kernel:?} {act}");
            }
        }
    }
}

#[test]
fn packed_weights_are_pairs_of_rounded_numbers_by_column() {
    for kernel in supported() {
        for (k, n) in [(1, 1), (37, 50), (64, 3)] {
            let (b, bias) = (values(2, n * k), values(3, n));
            let packed = PackedGemmBf16::with_kernel(kernel, k, n, &b, Some(&bias)).unwrap();
            assert!(packed.bytes() < 4 * (packed.width() + 16) * (1 + k.div_ceil(2) + 16));
            for panel in packed.panels() {
                let (nr, pairs) = (panel.kernel.nr, packed.pairs());
                // SAFETY: a panel is `pairs` rows of `nr`, its bias `nr` values.
                let (weights, biases) = unsafe {
                    (
                        std::slice::from_raw_parts(packed.panel(panel), pairs * nr),
                        std::slice::from_raw_parts(packed.bias(panel), nr),
                    )
                };
                for (at, &pair) in weights.iter().enumerate() {
                    let (p, j) = (2 * (at / nr), panel.col + at % nr);
                    let of = |p| if p < k && j < n { b[j * k + p] } else { 0.0 };
                    assert_eq!(pair, Pair::of(of(p), of(p + 1)), "{kernel:?} {p} {j}");
                }
                for (j, &value) in (panel.col..).zip(biases) {
                    assert_eq!(value, bias.get(j).copied().unwrap_or(0.0));
                }
            }
        }
    }
}

/// A convolution against the product of its windows.
fn check_windows(geometry: ConvGeometry, residual: bool, dense: bool) {
    let ConvGeometry { input, output, kernel, .. } = geometry;
    let (k, n, m) = (kernel.area() * input.c, output.c, output.pixels());
    let (x, w, bias) = (values(1, input.pixels() * input.c), values(2, n * k), values(3, n));
    let res = values(4, m * n);
    let mut windows = Vec::new();
    for pixel in 0..m {
        let (ow, line) = (pixel % output.w, pixel / output.w);
        let (oh, picture) = (line % output.h, line / output.h);
        for tap in 0..kernel.area() {
            let at =
                |o: usize, stride: usize, k: usize, dilation: usize, pad: usize, end: usize| {
                    (o * stride + k * dilation).checked_sub(pad).filter(|&i| i < end)
                };
            let g = &geometry;
            let ih = at(oh, g.stride.h, tap / kernel.w, g.dilation.h, g.pad.top, input.h);
            let iw = at(ow, g.stride.w, tap % kernel.w, g.dilation.w, g.pad.left, input.w);
            match ih.zip(iw) {
                Some((ih, iw)) => {
                    let pixel = (picture * input.h + ih) * input.w + iw;
                    windows.extend_from_slice(&x[pixel * input.c..][..input.c]);
                }
                None => windows.extend(std::iter::repeat_n(0.0, input.c)),
            }
        }
    }
    let ld_in = if dense { input.c } else { padded_ld(input.c) };
    for kernel in supported() {
        let packed = PackedGemmBf16::with_kernel(kernel, k, n, &w, Some(&bias)).unwrap();
        let packed = Arc::new(packed);
        let ld_out = packed.width().next_multiple_of(16);
        let (residual_ld, activation) = (residual.then_some(ld_out), Activation::RELU);
        let spec = ConvSpec { geometry, ld_in, ld_out, residual_ld, activation };
        let build = |threads| {
            let op = GemmBf16::convolution(Arc::clone(&packed), spec, threads)?;
            Ok(Arc::new(op) as Arc<dyn Operator>)
        };
        let mut picture = spread(&x, input.c, ld_in);
        picture.truncate((input.pixels() - 1) * ld_in + input.c);
        let mut inputs = vec![&picture[..]];
        let spread_res = spread(&res, n, ld_out);
        if residual {
            inputs.push(&spread_res);
        }
        let got = run_guarded(build, &inputs, m, n, ld_out);
        for (at, got) in got.iter().enumerate() {
            let (i, j) = (at / n, at % n);
            let sum = sum_of_pairs(&windows[i * k..][..k], &w[j * k..][..k], bias[j], m == 1);
            let want = (if residual { sum + res[at] } else { sum }).max(0.0);
            assert_eq!(got.to_bits(), want.to_bits(), "{kernel:?} {geometry:?} {i} {j}");
        }
    }
}

fn geometry(hw: [usize; 2], c: [usize; 2], window: [usize; 4]) -> ConvGeometry {
    let [kernel, stride, dilation, pad] = window;
    let square = |x| Hw { h: x, w: x };
    let out = |x: usize| (x + 2 * pad - (kernel - 1) * dilation - 1) / stride + 1;
    ConvGeometry {
        input: Nhwc { n: 2, h: hw[0], w: hw[1], c: c[0] },
        output: Nhwc { n: 2, h: out(hw[0]), w: out(hw[1]), c: c[1] },
        kernel: square(kernel),
        stride: square(stride),
        dilation: square(dilation),
        pad: Pad2d { top: pad, left: pad, bottom: pad, right: pad },
        groups: 1,
    }
}

#[test]
fn convolutions_have_the_bits_of_the_product_of_their_windows() {
    for (window, c) in [
        ([3, 1, 1, 1], [5, 9]),
        ([3, 2, 1, 1], [16, 20]),
        ([1, 2, 1, 0], [7, 8]),
        ([2, 1, 2, 2], [3, 50]),
        ([5, 3, 1, 2], [18, 4]),
    ] {
        check_windows(geometry([7, 6], c, window), c[0] == 16, c[0] < 8);
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let cpu = Cpu::detect();
    let pack = |k, n, b: &[f32], bias| PackedGemmBf16::pack(&cpu, k, n, b, bias).map(Arc::new);
    assert!(pack(3, 2, &[0.0; 5], None).is_err());
    assert!(pack(3, 2, &[0.0; 6], Some(&[0.0][..])).is_err());
    assert!(pack(0, usize::MAX, &[], None).is_err());
    let packed = pack(8, 20, &[0.0; 160], None).unwrap();
    let activation = Activation::Identity;
    let good = GemmSpec { m: 3, lda: 8, ldc: 32, residual_ld: None, activation };
    let build = |spec| GemmBf16::new(Arc::clone(&packed), spec, 1).map(|op| op.macs());
    assert_eq!(build(good), Ok(480));
    for spec in [
        GemmSpec { lda: 7, ..good },
        GemmSpec { ldc: 16, ..good },
        GemmSpec { m: usize::MAX / 8, ..good },
        GemmSpec { residual_ld: Some(16), ..good },
    ] {
        assert!(matches!(build(spec), Err(KernelError::Invalid { .. })), "{spec:?}");
    }
    for spec in [GemmSpec { ldc: 40, ..good }, GemmSpec { residual_ld: Some(40), ..good }] {
        assert!(matches!(build(spec), Err(KernelError::Unsupported { .. })), "{spec:?}");
    }
    let good = geometry([4, 4], [2, 20], [2, 1, 1, 0]);
    let build = |geometry| {
        let spec = ConvSpec { geometry, ld_in: 2, ld_out: 32, residual_ld: None, activation };
        GemmBf16::convolution(Arc::clone(&packed), spec, 1).map(|op| op.macs())
    };
    assert_eq!(build(good), Ok(good.macs()));
    let two_groups = ConvGeometry { groups: 2, ..good };
    for wrong in [geometry([4, 4], [3, 20], [2, 1, 1, 0]), two_groups] {
        assert!(matches!(build(wrong), Err(KernelError::Invalid { .. })), "{wrong:?}");
    }
}

#[test]
fn no_rows_is_no_work() {
    Case::new(0, 4, 20).check_all();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(target_arch = "aarch64") { 4 } else { 30 }))]
    #[test]
    fn any_product_has_the_documented_bits(
        m in 0usize..150,
        k in 1usize..20,
        n in 1usize..70,
        residual: bool,
        dense_input: bool,
    ) {
        Case { residual, dense_input, ..Case::new(m, k, n) }.check_all();
    }
}
