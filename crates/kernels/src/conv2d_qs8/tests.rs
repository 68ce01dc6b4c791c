use super::*;
use crate::gemm_qs8::KERNELS;
use crate::gemm_qs8::tests::{bytes, number, requantize, run_guarded, signed, spread};
use crate::operator::Operator;
use crate::quant::{Out8, Weights8};
use depthwise_tensor::{Nhwc, Pad2d, padded_ld};
use proptest::prelude::*;

pub(crate) fn geometry(
    (n, h, w, ic): (usize, usize, usize, usize),
    (oc, groups): (usize, usize),
    kernel: Hw,
    (stride, dilation): (usize, usize),
    pad: usize,
) -> ConvGeometry {
    let out =
        |i: usize, k: usize| (i + 2 * pad).saturating_sub((k - 1) * dilation + 1) / stride + 1;
    ConvGeometry {
        input: Nhwc { n, h, w, c: ic },
        output: Nhwc { n, h: out(h, kernel.h), w: out(w, kernel.w), c: oc },
        kernel,
        stride: Hw::square(stride),
        dilation: Hw::square(dilation),
        pad: Pad2d { top: pad, bottom: pad, left: pad, right: pad },
        groups,
    }
}

/// The sums, one product after the other.
pub(crate) fn sums(g: &ConvGeometry, x: &[u8], input: &Quant8, w: &QWeights<'_>) -> Vec<i64> {
    let (icg, ocg) = (g.input.c / g.groups, g.output.c / g.groups);
    let mut sums = Vec::new();
    for pixel in 0..g.output.pixels() {
        let (ow, row) = (pixel % g.output.w, pixel / g.output.w);
        let (oh, n) = (row % g.output.h, row / g.output.h);
        for oc in 0..g.output.c {
            let mut sum = i64::from(w.bias(oc));
            for tap in 0..g.kernel.area() {
                let (kh, kw) = (tap / g.kernel.w, tap % g.kernel.w);
                let ih = (oh * g.stride.h + kh * g.dilation.h).wrapping_sub(g.pad.top);
                let iw = (ow * g.stride.w + kw * g.dilation.w).wrapping_sub(g.pad.left);
                if ih >= g.input.h || iw >= g.input.w {
                    continue;
                }
                for ic in 0..icg {
                    let at = ((n * g.input.h + ih) * g.input.w + iw) * g.input.c;
                    let x = number(input, x[at + oc / ocg * icg + ic]);
                    let weight = w.weights.get((oc * g.kernel.area() + tap) * icg + ic);
                    sum +=
                        (x - i64::from(input.zero_point())) * i64::from(weight - w.zero_point(oc));
                }
            }
            sums.push(sum);
        }
    }
    sums
}

fn check(g: ConvGeometry, input: Quant8, zero_points: &[i32]) {
    let (ic, oc) = (g.input.c, g.output.c);
    let x = bytes(1, g.input.pixels() * ic);
    let depth = g.kernel.area() * ic / g.groups;
    let w = bytes(2, oc * depth);
    let bias: Vec<i32> = (0..oc).map(|c| 1000 - 77 * c as i32).collect();
    let weights = QWeights { weights: Weights8::I8(signed(&w)), zero_points, bias: Some(&bias) };
    let out = Out8::full(Quant8::i8(2));
    let multipliers: Vec<f32> = (0..oc).map(|c| 0.003 / (1.0 + c as f32)).collect();
    let want: Vec<u8> = sums(&g, &x, &input, &weights)
        .iter()
        .enumerate()
        .map(|(i, &sum)| requantize(sum, multipliers[i % oc], &out))
        .collect();
    let number = |i: usize| weights.weights.get(i) - weights.zero_point(i / depth);
    let wide = (0..oc * depth).any(|i| !(-128..=127).contains(&number(i)));
    let fits = |k: &&&Kernel| k.info().is_supported(&Cpu::detect()) && (!wide || k.takes_wide());
    for kernel in KERNELS.iter().filter(fits) {
        let packed =
            PackedConvQs8::with_kernel(kernel, g.kernel, (ic, oc, g.groups), &weights).unwrap();
        let packed = Arc::new(packed);
        let ld_out = padded_ld(oc).max(packed.panels.width().next_multiple_of(16));
        for ld_in in [ic, padded_ld(ic)] {
            let output = Output::Bytes(out);
            let spec = ConvQSpec { geometry: g, ld_in, ld_out, input, output };
            let build = |threads| {
                let op = ConvQs8::new(Arc::clone(&packed), &multipliers, spec, threads)?;
                Ok(Box::new(op) as Box<dyn Operator>)
            };
            let got = run_guarded(&build, &[&spread(&x, ic, ld_in)], (oc, ld_out));
            assert!(got == want, "{} {spec:?}", kernel.info().name);
        }
    }
}

#[test]
fn zero_points_of_channels_and_padding_give_the_published_values() {
    // o0 and o1 of one input channel, with a border that stands for 0.
    let x = [10, 12, 14, 20, 30, 40, 8, 0, 255];
    let w = [1i8, 2, 1, 0, 1, 0, -1, -2, -1, 3, 4, 3, 5, -3, 3, 2, 3, 10];
    let weights =
        QWeights { weights: Weights8::I8(&w), zero_points: &[0, 3], bias: Some(&[4, -7]) };
    let g = geometry((1, 3, 3, 1), (2, 1), Hw::square(3), (1, 1), 1);
    let output = Output::Bytes(Out8::full(Quant8::u8(100)));
    let o0 = [91, 82, 82, 108, 52, 0, 110, 118, 182];
    let o1 = [117, 123, 94, 83, 255, 83, 102, 109, 0];
    for cpu in Cpu::detect().levels() {
        let packed = Arc::new(PackedConvQs8::pack(&cpu, g.kernel, (1, 2, 1), &weights).unwrap());
        let spec = ConvQSpec { geometry: g, ld_in: 1, ld_out: 16, input: Quant8::u8(10), output };
        let build = |threads| {
            let op = ConvQs8::new(Arc::clone(&packed), &[0.25, 0.125], spec, threads)?;
            Ok(Box::new(op) as Box<dyn Operator>)
        };
        let got = run_guarded(&build, &[&x], (2, 16));
        let want: Vec<u8> = o0.iter().zip(&o1).flat_map(|(&a, &b)| [a, b]).collect();
        assert_eq!(got, want, "{cpu}");
    }
}

#[test]
fn first_layers_of_picture_networks_match_the_reference() {
    let side = if cfg!(target_arch = "aarch64") { 7 } else { 23 };
    for (c, kernel, pad) in [(3, 3, 1), (1, 3, 0), (3, 7, 3), (4, 5, 2)] {
        let g = geometry((2, side, side - 1, c), (24, 1), Hw::square(kernel), (2, 1), pad);
        check(g, Quant8::u8(127), &[]);
    }
}

#[test]
fn groups_of_any_size_match_the_reference() {
    for (icg, ocg, groups) in [(2, 3, 2), (1, 1, 16), (8, 8, 4), (3, 2, 8), (5, 24, 3)] {
        let ends = (ocg * groups, groups);
        let g = geometry((1, 6, 5, icg * groups), ends, Hw { h: 3, w: 2 }, (1, 1), 1);
        check(g, Quant8::i8(-7), &[5]);
    }
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let w = [0i8; 18];
    let weights = QWeights { weights: Weights8::I8(&w), zero_points: &[], bias: None };
    let cpu = Cpu::detect();
    assert!(PackedConvQs8::pack(&cpu, Hw::square(3), (1, 3, 1), &weights).is_err());
    assert!(PackedConvQs8::pack(&cpu, Hw::square(3), (2, 3, 2), &weights).is_err());
    assert!(PackedConvQs8::pack(&cpu, Hw::square(3), (1, 2, 0), &weights).is_err());
    let packed = Arc::new(PackedConvQs8::pack(&cpu, Hw::square(3), (1, 2, 1), &weights).unwrap());
    let geometry = geometry((1, 3, 3, 1), (2, 1), Hw::square(3), (1, 1), 1);
    let spec =
        ConvQSpec { geometry, ld_in: 1, ld_out: 16, input: Quant8::u8(0), output: Output::I32 };
    let build = |spec| ConvQs8::new(Arc::clone(&packed), &[1.0], spec, 1).map(|_| ());
    assert_eq!(build(spec), Ok(()));
    let mut other = spec;
    other.geometry.kernel = Hw::square(2);
    assert!(build(other).is_err());
    let mut other = spec;
    other.geometry.stride.h = 0;
    assert!(build(other).is_err());
    assert!(build(ConvQSpec { ld_in: 0, ..spec }).is_err());
    assert!(build(ConvQSpec { ld_out: 8, ..spec }).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(target_arch = "aarch64") { 2 } else { 20 }))]
    #[test]
    fn any_convolution_matches_the_reference(
        (n, h, w) in (1usize..3, 1usize..10, 1usize..10),
        (icg, ocg, groups) in (1usize..20, 1usize..20, 1usize..4),
        (kh, kw) in (1usize..4, 1usize..4),
        (stride, dilation, pad) in (1usize..4, 1usize..3, 0usize..4),
        zero: u8,
    ) {
        let kernel = Hw { h: kh, w: kw };
        let ends = (ocg * groups, groups);
        let g = geometry((n, h, w, icg * groups), ends, kernel, (stride, dilation), pad);
        check(g, Quant8::u8(zero), &[]);
    }
}
