use super::*;
use crate::isa::Cpu;
use crate::operator::{Operator, run};
use crate::par::Par;
use crate::quant::{Out8, QWeights, Weights8};
use depthwise_tensor::padded_ld;
use depthwise_testkit::Guarded;
use proptest::prelude::*;

/// Bytes from a counter, different for each `seed`.
pub(crate) fn bytes(seed: u32, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12_345);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..len).map(|_| next()).collect()
}

pub(crate) fn signed(bytes: &[u8]) -> &[i8] {
    bytemuck::cast_slice(bytes)
}

/// The number that a byte is.
pub(crate) fn number(quant: &Quant8, byte: u8) -> i64 {
    if quant.range().0 < 0 { i64::from(byte.cast_signed()) } else { i64::from(byte) }
}

/// The rule of `quant`, spelled out: on a type wide enough for every step to be exact but those that
/// the rule rounds.
pub(crate) fn requantize(sum: i64, multiplier: f32, out: &Out8) -> u8 {
    let product = f64::from(sum as f32) * f64::from(multiplier);
    let rounded = f64::from(product as f32).round_ties_even();
    let shifted = rounded + f64::from(out.quant.zero_point());
    let clamped = shifted.clamp(f64::from(out.min), f64::from(out.max)) as i64;
    clamped as u8
}

/// `rows` rows of `c` bytes, `ld` apart, other bytes between them.
pub(crate) fn spread(dense: &[u8], c: usize, ld: usize) -> Vec<u8> {
    let mut out = bytes(99, dense.len() / c.max(1) * ld);
    for (to, from) in out.chunks_mut(ld.max(1)).zip(dense.chunks(c.max(1))) {
        to[..c].copy_from_slice(from);
    }
    out
}

/// Runs on 1, 2 and 3 chunks between guard bytes, checks that they agree, and gives the rows.
pub(crate) fn run_guarded(
    build: &dyn Fn(usize) -> Result<Box<dyn Operator>, KernelError>,
    inputs: &[&[u8]],
    (c, ld): (usize, usize),
) -> Vec<u8> {
    let mut all: Vec<Vec<u8>> = Vec::new();
    for threads in [1, 2, 3] {
        let op = build(threads).unwrap();
        assert!(op.chunks() <= threads);
        let inputs: Vec<Guarded<u8>> = inputs.iter().map(|x| Guarded::copy_of(x)).collect();
        let inputs: Vec<&[u8]> = inputs.iter().map(|x| &x[..]).collect();
        let mut output = Guarded::<u8>::new(op.output_bytes()[0]);
        run(&*op, &inputs, &mut [&mut output[..]], &Par::new(threads).unwrap()).unwrap();
        output.assert_intact();
        all.push(output.chunks(ld).flat_map(|row| row[..c].to_vec()).collect());
    }
    assert!(all.iter().all(|v| *v == all[0]), "bytes depend on the threads");
    all.swap_remove(0)
}

#[derive(Clone, Debug)]
struct Case {
    m: usize,
    k: usize,
    n: usize,
    dense: bool,
    input: Quant8,
    output: Output,
    /// Zero points of unsigned weights; signed weights without any where there is none.
    zeros: Vec<i32>,
    multipliers: Vec<f32>,
}

impl Case {
    fn new(m: usize, k: usize, n: usize) -> Case {
        let output = Output::Bytes(Out8::clamped(Quant8::i8(-3), -100, 120).unwrap());
        let multipliers = (0..n).map(|j| 1.0 / (300.0 * k as f32 + j as f32)).collect();
        Case { m, k, n, dense: false, input: Quant8::u8(7), output, zeros: Vec::new(), multipliers }
    }

    fn check(&self, pack: &dyn Fn(&QWeights<'_>) -> PackedGemmQs8) {
        let Case { m, k, n, .. } = *self;
        let lda = if self.dense { k } else { padded_ld(k) };
        let (a, b) = (bytes(1, m * k), bytes(2, n * k));
        let bias: Vec<i32> = bytes(3, n).iter().map(|&b| (i32::from(b) - 128) * 100).collect();
        let weights =
            if self.zeros.is_empty() { Weights8::I8(signed(&b)) } else { Weights8::U8(&b) };
        let weights = QWeights { weights, zero_points: &self.zeros, bias: Some(&bias) };
        let packed = Arc::new(pack(&weights));
        let ldc =
            padded_ld(n).max(AsRef::<PackedPanels>::as_ref(&*packed).width().next_multiple_of(16));
        let spec = GemmQSpec { m, lda, ldc, input: self.input, output: self.output };
        let build = |threads| {
            let op = GemmQs8::new(Arc::clone(&packed), &self.multipliers, spec, threads)?;
            Ok(Box::new(op) as Box<dyn Operator>)
        };
        let size = self.output.size();
        let mut spread = spread(&a, k, lda);
        spread.truncate(if m == 0 { 0 } else { (m - 1) * lda + k });
        let got = run_guarded(&build, &[&spread], (n * size, ldc * size));
        let mut want = Vec::new();
        for i in 0..m {
            for (j, &bias) in bias.iter().enumerate() {
                let mut sum = i64::from(bias);
                for p in 0..k {
                    let x = number(&self.input, a[i * k + p]) - i64::from(self.input.zero_point());
                    sum += x * i64::from(weights.weights.get(j * k + p) - weights.zero_point(j));
                }
                let multiplier = self.multipliers[if self.multipliers.len() == 1 { 0 } else { j }];
                match &self.output {
                    Output::Bytes(out) => want.push(requantize(sum, multiplier, out)),
                    Output::F32 => want.extend((sum as f32 * multiplier).to_ne_bytes()),
                    Output::I32 => want.extend((sum as i32).to_ne_bytes()),
                }
            }
        }
        assert!(got == want, "{self:?} by {}", packed.kernel_name());
    }

    /// With every kernel that runs here, and as packing would choose on every level.
    fn check_all(&self) {
        let wide = (0..self.n).any(|j| self.zeros.get(j % self.zeros.len().max(1)) != Some(&128));
        let wide = wide && !self.zeros.is_empty();
        for kernel in supported().filter(|kernel| !wide || kernel.takes_wide()) {
            self.check(&|w| PackedGemmQs8::with_kernel(kernel, self.k, self.n, w).unwrap());
        }
        for cpu in Cpu::detect().levels() {
            self.check(&|w| PackedGemmQs8::pack(&cpu, self.k, self.n, w).unwrap());
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
                case.check(&|w| PackedGemmQs8::with_kernel(kernel, 5, n, w).unwrap());
            }
        }
    }
}

#[test]
fn blocks_of_deep_rows_match_the_reference() {
    let (m, k) = if cfg!(target_arch = "aarch64") { (10, 400) } else { (90, 1000) };
    for (input, zeros) in [(Quant8::i8(-128), vec![]), (Quant8::u8(255), vec![128])] {
        Case { input, zeros, ..Case::new(m, k, 24) }.check_all();
    }
}

#[test]
fn sums_come_out_as_bytes_floats_or_integers() {
    let full = Output::Bytes(Out8::full(Quant8::u8(128)));
    for output in [full, Output::F32, Output::I32] {
        for zeros in [vec![], vec![3], (0..19).map(|j| j * 13).collect()] {
            Case { output, zeros, ..Case::new(7, 12, 19) }.check_all();
        }
    }
}

#[test]
fn pairs_of_extreme_products_do_not_saturate() {
    for (weight, unit) in [(127i8, 32385), (-128, -32640)] {
        for k in [3usize, 4, 64, 960] {
            for kernel in supported() {
                let weights = vec![weight; k];
                let weights =
                    QWeights { weights: Weights8::I8(&weights), zero_points: &[], bias: None };
                let packed = PackedGemmQs8::with_kernel(kernel, k, 1, &weights).unwrap();
                let ldc = packed.as_ref().width().next_multiple_of(16);
                let spec =
                    GemmQSpec { m: 1, lda: k, ldc, input: Quant8::u8(0), output: Output::I32 };
                let op = GemmQs8::new(Arc::new(packed), &[1.0], spec, 1).unwrap();
                let mut sums = vec![0i32; ldc];
                let output: &mut [u8] = bytemuck::cast_slice_mut(&mut sums);
                run(&op, &[&vec![255; k]], &mut [output], &Par::single()).unwrap();
                assert_eq!(sums[0], unit * k as i32, "{kernel:?} {k}");
            }
        }
    }
}

/// One input of 1, weights that are the sums.
fn of_sums(kernel: &'static Kernel, sums: &[i8], multiplier: f32, out: Out8) -> Vec<u8> {
    let n = sums.len();
    let weights = QWeights { weights: Weights8::I8(sums), zero_points: &[], bias: None };
    let packed = PackedGemmQs8::with_kernel(kernel, 1, n, &weights).unwrap();
    let ldc = packed.as_ref().width().next_multiple_of(16);
    let (input, output) = (Quant8::i8(0), Output::Bytes(out));
    let spec = GemmQSpec { m: 1, lda: 1, ldc, input, output };
    let op = GemmQs8::new(Arc::new(packed), &[multiplier], spec, 1).unwrap();
    let mut y = vec![0; ldc];
    run(&op, &[&[1]], &mut [&mut y], &Par::single()).unwrap();
    y.truncate(n);
    y
}

#[test]
fn ties_go_to_the_even_neighbour() {
    let sums = [-7i8, -5, -3, -1, 1, 3, 5, 7];
    for kernel in supported() {
        let got = of_sums(kernel, &sums, 0.5, Out8::full(Quant8::i8(0)));
        assert_eq!(signed(&got), [-4, -2, -2, 0, 0, 2, 2, 4], "{kernel:?}");
    }
}

#[test]
fn products_past_32_bits_saturate() {
    for kernel in supported() {
        for (quant, want) in [(Quant8::i8(5), [0x80, 5, 0x7f]), (Quant8::u8(5), [0, 5, 255])] {
            let got = of_sums(kernel, &[-100, 0, 100], 1e30, Out8::full(quant));
            assert_eq!(got, want, "{kernel:?}");
            let got = of_sums(kernel, &[100, 0, -100], -1e9, Out8::full(quant));
            assert_eq!(got, want, "{kernel:?}");
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let cpu = Cpu::detect();
    let b = [1i8; 160];
    let weights = QWeights { weights: Weights8::I8(&b), zero_points: &[], bias: None };
    let packed = Arc::new(PackedGemmQs8::pack(&cpu, 8, 20, &weights).unwrap());
    let output = Output::Bytes(Out8::full(Quant8::i8(0)));
    let good = GemmQSpec { m: 3, lda: 8, ldc: 32, input: Quant8::i8(0), output };
    let build = |m: &[f32], spec| GemmQs8::new(Arc::clone(&packed), m, spec, 1).map(|_| ());
    assert_eq!(build(&[1.0], good), Ok(()));
    let invalid = |r: Result<(), KernelError>| matches!(r, Err(KernelError::Invalid { .. }));
    assert!(invalid(build(&[1.0; 3], good)) && invalid(build(&[f32::NAN], good)));
    assert!(invalid(build(&[1.0], GemmQSpec { lda: 7, ..good })));
    assert!(invalid(build(&[1.0], GemmQSpec { ldc: 16, ..good })));
    assert!(invalid(build(&[1.0], GemmQSpec { m: usize::MAX / 8, ..good })));
    let unpadded = build(&[1.0], GemmQSpec { ldc: 24, ..good });
    assert!(matches!(unpadded, Err(KernelError::Unsupported { .. })));

    let pack = |k, n, w: &QWeights<'_>| PackedGemmQs8::pack(&cpu, k, n, w).map(|_| ());
    assert!(invalid(pack(8, 19, &weights)) && invalid(pack(0, 20, &weights)));
    assert!(invalid(pack(8, 20, &QWeights { zero_points: &[200], ..weights })));
    assert!(invalid(pack(8, 20, &QWeights { zero_points: &[0; 3], ..weights })));
    assert!(invalid(pack(8, 20, &QWeights { bias: Some(&[0; 3]), ..weights })));
    let large = pack(8, 20, &QWeights { bias: Some(&[i32::MAX; 20]), ..weights });
    assert!(matches!(large, Err(KernelError::Unsupported { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(target_arch = "aarch64") { 4 } else { 40 }))]
    #[test]
    fn any_product_matches_the_reference(
        m in 0usize..150,
        k in 1usize..40,
        n in 1usize..70,
        dense: bool,
        signed: bool,
        zero: u8,
        unsigned_weights: bool,
    ) {
        let input = if signed { Quant8::i8(zero.cast_signed()) } else { Quant8::u8(zero) };
        let zeros = if unsigned_weights { vec![i32::from(zero)] } else { vec![] };
        Case { dense, input, zeros, ..Case::new(m, k, n) }.check_all();
    }
}
