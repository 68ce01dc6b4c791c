use super::*;
use crate::gemm_qs8::tests::{bytes, number, requantize, run_guarded, spread};
use crate::resize::{AxisTaps, ResizeSpec};
use depthwise_tensor::{Hw, Nhwc, Pad2d, PoolGeometry, padded_ld};
use proptest::prelude::*;

fn supported() -> impl Iterator<Item = &'static Kernel> {
    KERNELS.iter().copied().filter(|kernel| kernel.info().is_supported(&Cpu::detect()))
}

fn geometry(
    (n, h, w, c): (usize, usize, usize, usize),
    kernel: Hw,
    (stride, dilation, pad): (usize, usize, usize),
) -> PoolGeometry {
    let out =
        |i: usize, k: usize| (i + 2 * pad).saturating_sub((k - 1) * dilation + 1) / stride + 1;
    PoolGeometry {
        input: Nhwc { n, h, w, c },
        output: Nhwc { n, h: out(h, kernel.h), w: out(w, kernel.w), c },
        kernel,
        stride: Hw::square(stride),
        dilation: Hw::square(dilation),
        pad: Pad2d { top: pad, bottom: pad, left: pad, right: pad },
    }
}

/// One output after the other, one tap after the other.
fn reference(g: &PoolGeometry, kind: PoolKind, x: &[u8], r: &Rescale) -> Vec<u8> {
    let zero = i64::from(r.input.zero_point());
    let mut y = Vec::new();
    for at in 0..g.output.pixels() * g.output.c {
        let (c, pixel) = (at % g.output.c, at / g.output.c);
        let (ow, row) = (pixel % g.output.w, pixel / g.output.w);
        let (oh, n) = (row % g.output.h, row / g.output.h);
        let (mut taps, mut declared) = (Vec::new(), 0);
        for kh in 0..g.kernel.h {
            for kw in 0..g.kernel.w {
                let ph = oh * g.stride.h + kh * g.dilation.h;
                let pw = ow * g.stride.w + kw * g.dilation.w;
                let inside = |p: usize, before: usize, input: usize| {
                    p.checked_sub(before).filter(|&i| i < input)
                };
                let in_padding = ph < g.input.h + g.pad.top + g.pad.bottom
                    && pw < g.input.w + g.pad.left + g.pad.right;
                declared += usize::from(in_padding);
                if let (Some(ih), Some(iw)) =
                    (inside(ph, g.pad.top, g.input.h), inside(pw, g.pad.left, g.input.w))
                {
                    let i = ((n * g.input.h + ih) * g.input.w + iw) * g.input.c + c;
                    taps.push(number(&r.input, x[i]) - zero);
                }
            }
        }
        let (sum, divisor) = match kind {
            PoolKind::Max => (taps.iter().copied().max().unwrap_or(0), 1),
            PoolKind::Average { include_pad: true } => (taps.iter().sum(), declared),
            PoolKind::Average { include_pad: false } => (taps.iter().sum(), taps.len()),
        };
        let multiplier = (r.ratio / divisor.max(1) as f64) as f32;
        y.push(requantize(sum, multiplier, &r.output));
    }
    y
}

fn check(g: PoolGeometry, kind: PoolKind, rescale: Rescale) {
    let c = g.input.c;
    let x = bytes(1, g.input.pixels() * c);
    let ld = padded_ld(c);
    let want = reference(&g, kind, &x, &rescale);
    let spec = PoolSpec { geometry: g, kind, ld_in: ld, ld_out: ld };
    for kernel in supported() {
        let build = |threads| {
            let op = PoolQs8::with_kernel(kernel, spec, rescale, threads)?;
            Ok(Box::new(op) as Box<dyn Operator>)
        };
        let got = run_guarded(&build, &[&spread(&x, c, ld)], (c, ld));
        assert!(got == want, "{kernel:?} {spec:?} {rescale:?}");
    }
}

const KINDS: [PoolKind; 3] = [
    PoolKind::Max,
    PoolKind::Average { include_pad: false },
    PoolKind::Average { include_pad: true },
];

#[test]
fn global_pools_match_the_reference() {
    let output = Out8::full(Quant8::i8(-20));
    for input in [Quant8::i8(-128), Quant8::u8(130)] {
        for kind in KINDS {
            let g = geometry((2, 7, 7, 100), Hw::square(7), (1, 1, 0));
            check(g, kind, Rescale { input, output, ratio: 1.7 });
        }
    }
}

#[test]
fn a_maximum_of_the_same_scale_is_the_byte_itself() {
    let (input, output) = (Quant8::u8(9), Out8::full(Quant8::u8(9)));
    let x: Vec<u8> = (0..=255).collect();
    let g = geometry((1, 16, 1, 16), Hw::square(1), (1, 1, 0));
    let spec = PoolSpec { geometry: g, kind: PoolKind::Max, ld_in: 16, ld_out: 16 };
    let build = |threads| {
        let op =
            PoolQs8::new(&Cpu::detect(), spec, Rescale { input, output, ratio: 1.0 }, threads)?;
        Ok(Box::new(op) as Box<dyn Operator>)
    };
    assert_eq!(run_guarded(&build, &[&x], (16, 16)), x);
}

fn linear(input: usize, output: usize) -> AxisTaps {
    let (mut index, mut weight) = (Vec::new(), Vec::new());
    for o in 0..output {
        let at = ((o as f32 + 0.5) * input as f32 / output as f32 - 0.5).max(0.0);
        let first = (at as usize).min(input - 1);
        index.extend([first as u32, (first + 1).min(input - 1) as u32]);
        weight.extend([1.0 - at.fract(), at.fract()]);
    }
    AxisTaps { taps: 2, index, weight }
}

#[test]
fn interpolation_is_within_a_rounding_of_the_real_one() {
    let (input, output) = (Nhwc { n: 2, h: 5, w: 4, c: 19 }, Nhwc { n: 2, h: 9, w: 7, c: 19 });
    let (rows, cols) = (linear(5, 9), linear(4, 7));
    let x = bytes(1, input.pixels() * 19);
    let (quant, out) = (Quant8::u8(100), Out8::full(Quant8::i8(5)));
    let spec = ResizeSpec { input, output, ld_in: 32, ld_out: 32, rows, cols };
    let rescale = Rescale { input: quant, output: out, ratio: 0.5 };
    let mut all = Vec::new();
    for kernel in supported() {
        let build = |threads| {
            let op = ResizeQs8::with_kernel(kernel, spec.clone(), rescale, threads)?;
            Ok(Box::new(op) as Box<dyn Operator>)
        };
        all.push(run_guarded(&build, &[&spread(&x, 19, 32)], (19, 32)));
    }
    assert!(all.iter().all(|y| *y == all[0]));
    for (at, &y) in all[0].iter().enumerate() {
        let (c, pixel) = (at % 19, at / 19);
        let (ow, oh, n) = (pixel % 7, pixel / 7 % 9, pixel / 63);
        let mut sum = 0.0;
        for i in 2 * oh..2 * oh + 2 {
            for j in 2 * ow..2 * ow + 2 {
                let (ih, iw) = (spec.rows.index[i] as usize, spec.cols.index[j] as usize);
                let x = f64::from(x[((n * 5 + ih) * 4 + iw) * 19 + c]) - 100.0;
                sum += f64::from(spec.rows.weight[i]) * f64::from(spec.cols.weight[j]) * x;
            }
        }
        let want = (sum * 0.5 + 5.0).clamp(-128.0, 127.0);
        // The f32 steps err by less than a thousandth.
        assert!((want - f64::from(y.cast_signed())).abs() < 0.501, "{at}: {want} {y}");
    }
    let far = AxisTaps { taps: 1, index: vec![9; 9], weight: vec![1.0; 9] };
    let bad = ResizeSpec { rows: far, ..spec.clone() };
    assert!(ResizeQs8::new(&Cpu::detect(), bad, rescale, 1).is_err());
    let bad = ResizeSpec { ld_out: 19, ..spec };
    assert!(ResizeQs8::new(&Cpu::detect(), bad, rescale, 1).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(target_arch = "aarch64") { 4 } else { 40 }))]
    #[test]
    fn any_pool_matches_the_reference(
        (n, h, w, c) in (1usize..3, 1usize..9, 1usize..9, 1usize..40),
        (kh, kw) in (1usize..5, 1usize..5),
        window in (1usize..4, 1usize..3, 0usize..4),
        kind in 0usize..3,
        zero: u8,
        ratio in 0.1f64..3.0,
    ) {
        let g = geometry((n, h, w, c), Hw { h: kh, w: kw }, window);
        let output = Out8::clamped(Quant8::u8(9), 9, 250).unwrap();
        check(g, KINDS[kind], Rescale { input: Quant8::u8(zero), output, ratio });
    }
}
