use super::*;
use crate::conv2d_qs8::tests::{geometry, sums};
use crate::gemm_qs8::tests::{bytes, requantize, run_guarded, signed, spread};
use crate::isa::Cpu;
use crate::quant::{QWeights, Weights8};
use depthwise_tensor::{Hw, padded_ld};
use proptest::prelude::*;

/// Every kernel against the sums of a convolution with as many groups as channels.
fn check(g: ConvGeometry, input: Quant8, zero_points: &[i32]) {
    let (ic, oc) = (g.input.c, g.output.c);
    let x = bytes(1, g.input.pixels() * ic);
    let w = bytes(2, oc * g.kernel.area());
    let bias: Vec<i32> = (0..oc).map(|c| 100 - 77 * c as i32).collect();
    let unsigned = !zero_points.is_empty();
    let of = |w| if unsigned { Weights8::U8(w) } else { Weights8::I8(signed(w)) };
    let weights = QWeights { weights: of(&w), zero_points, bias: Some(&bias) };
    // The reference has taps innermost.
    let taps = g.kernel.area();
    let transposed: Vec<u8> = (0..oc * taps).map(|i| w[i % taps * oc + i / taps]).collect();
    let out = Out8::clamped(Quant8::u8(30), 30, 200).unwrap();
    let multipliers: Vec<f32> = (0..oc).map(|c| 0.002 / (1.0 + c as f32 / 9.0)).collect();
    let want: Vec<u8> = sums(&g, &x, &input, &QWeights { weights: of(&transposed), ..weights })
        .iter()
        .enumerate()
        .map(|(i, &sum)| requantize(sum, multipliers[i % oc], &out))
        .collect();
    let (ld_in, ld_out) = (padded_ld(ic), padded_ld(oc));
    let spec = DwQSpec { geometry: g, ld_in, ld_out, input, output: out };
    let input = spread(&x, ic, ld_in);
    let (taps, channels) = (g.kernel, (ic, oc / ic));
    let fits =
        |k: &&&Kernel| k.info().is_supported(&Cpu::detect()) && (!unsigned || k.takes_wide());
    let of_kernels = KERNELS
        .iter()
        .filter(fits)
        .map(|kernel| PackedDwQs8::with_kernel(kernel, taps, channels.0, channels.1, &weights));
    // As packing would choose on every level.
    let of_levels = Cpu::detect()
        .levels()
        .map(|cpu| PackedDwQs8::pack(&cpu, taps, channels.0, channels.1, &weights));
    for packed in of_kernels.chain(of_levels) {
        let packed = Arc::new(packed.unwrap());
        let build = |threads| {
            let op = DwConvQs8::new(Arc::clone(&packed), &multipliers, spec, threads)?;
            Ok(Box::new(op) as Box<dyn Operator>)
        };
        let got = run_guarded(&build, &[&input], (oc, ld_out));
        assert!(got == want, "{} {spec:?}", packed.kernel().name);
    }
}

#[test]
fn windows_of_real_nets_match_the_reference() {
    let side = if cfg!(target_arch = "aarch64") { 5 } else { 15 };
    for (kernel, stride, dilation) in
        [(3, 1, 1), (3, 2, 1), (5, 1, 1), (5, 2, 1), (3, 1, 2), (7, 1, 1)]
    {
        for c in [8, 40] {
            let pad = kernel / 2 * dilation;
            let x = (2, side, side - 2, c);
            let g = geometry(x, (c, c), Hw::square(kernel), (stride, dilation), pad);
            check(g, Quant8::i8(-128), &[]);
        }
    }
}

#[test]
fn bands_of_rows_match_the_reference() {
    if cfg!(target_arch = "aarch64") {
        return;
    }
    // 19 rows of 47 KiB.
    let g = geometry((1, 19, 1000, 40), (40, 40), Hw { h: 3, w: 1 }, (1, 1), 1);
    check(g, Quant8::u8(3), &[]);
}

#[test]
fn multipliers_and_zero_points_of_weights_match_the_reference() {
    for (c, m) in [(1, 8), (3, 2), (20, 3), (33, 1)] {
        let g = geometry((1, 6, 7, c), (c * m, c), Hw { h: 4, w: 3 }, (1, 1), 2);
        check(g, Quant8::u8(9), &[]);
        let zeros: Vec<i32> = (0..c * m).map(|c| (c * 37 % 256) as i32).collect();
        check(g, Quant8::i8(9), &zeros);
    }
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let w = [1i8; 9 * 20];
    let weights = QWeights { weights: Weights8::I8(&w), zero_points: &[], bias: None };
    let cpu = Cpu::detect();
    assert!(PackedDwQs8::pack(&cpu, Hw::square(3), 19, 1, &weights).is_err());
    assert!(PackedDwQs8::pack(&cpu, Hw::square(0), 20, 1, &weights).is_err());
    let packed = Arc::new(PackedDwQs8::pack(&cpu, Hw::square(3), 20, 1, &weights).unwrap());
    let geometry = geometry((1, 5, 5, 20), (20, 20), Hw::square(3), (1, 1), 1);
    let (input, output) = (Quant8::i8(0), Out8::full(Quant8::i8(0)));
    let good = DwQSpec { geometry, ld_in: 32, ld_out: 32, input, output };
    let build = |spec, m: &[f32]| DwConvQs8::new(Arc::clone(&packed), m, spec, 1).map(|_| ());
    assert_eq!(build(good, &[1.0]), Ok(()));
    assert!(build(good, &[1.0; 3]).is_err() && build(good, &[f32::INFINITY]).is_err());
    assert!(build(DwQSpec { ld_in: 20, ..good }, &[1.0]).is_err());
    assert!(build(DwQSpec { ld_out: 16, ..good }, &[1.0]).is_err());
    let mut other = good;
    other.geometry.groups = 1;
    assert!(build(other, &[1.0]).is_err());
    // A ring of columns that nothing bounds.
    let mut other = good;
    (other.geometry.dilation.w, other.geometry.pad.left) = (1 << 40, 1 << 40);
    assert!(matches!(build(other, &[1.0]), Err(KernelError::Unsupported { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(target_arch = "aarch64") { 2 } else { 40 }))]
    #[test]
    fn any_window_matches_the_reference(
        (n, h, w, c) in (1usize..3, 1usize..12, 1usize..12, 1usize..36),
        (kh, kw) in (1usize..6, 1usize..6),
        (stride, dilation, pad) in (1usize..4, 1usize..4, 0usize..6),
        zero: u8,
    ) {
        let g = geometry((n, h, w, c), (c, c), Hw { h: kh, w: kw }, (stride, dilation), pad);
        check(g, Quant8::u8(zero), &[]);
    }
}
