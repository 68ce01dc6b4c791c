use super::*;
use crate::gemm_qs8::tests::{bytes, number, run_guarded, signed, spread};
use crate::operator::Operator;
use crate::quant::Out8;
use depthwise_tensor::padded_ld;
use proptest::prelude::*;

fn supported() -> impl Iterator<Item = &'static Kernel> {
    KERNELS.iter().copied().filter(|kernel| kernel.info().is_supported(&Cpu::detect()))
}

fn dense(rows: usize, c: usize) -> Rows {
    Rows { rows, c, ld: c }
}

fn boxed<T: Operator + 'static>(op: T) -> Box<dyn Operator> {
    Box::new(op)
}

/// A real number in steps of the output, rounded and clamped in `f64`.
fn rounded(steps: f64, out: &Out8) -> u8 {
    let y = steps.round_ties_even() + f64::from(out.quant.zero_point());
    y.clamp(f64::from(out.min), f64::from(out.max)) as i64 as u8
}

#[test]
fn quantizing_rounds_ties_to_even_and_saturates() {
    let x = [0.25f32, 0.75, 1.25, -0.25, -0.75, -1.25, 63.4, 63.5, 64.0, -64.0, -64.25, -65.0];
    let want = [0i8, 2, 2, 0, -2, -2, 127, 127, 127, -128, -128, -128];
    let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e38];
    for kernel in supported() {
        let run = |x: &[f32], out: Out8| {
            let rows = dense(1, x.len());
            let build =
                |threads| Quantize::with_kernel(kernel, 0.5, out, (rows, rows), threads).map(boxed);
            run_guarded(&build, &[bytemuck::cast_slice(x)], (x.len(), x.len()))
        };
        assert_eq!(signed(&run(&x, Out8::full(Quant8::i8(0)))), want, "{kernel:?}");
        assert_eq!(run(&odd, Out8::full(Quant8::u8(77))), [77, 255, 0, 255], "{kernel:?}");
    }
    // A little more than half a step of a scale of 0.1, from half precision.
    let x = [0.050_018_31f32, -0.050_018_31];
    let rows = dense(1, 2);
    let out = Out8::full(Quant8::i8(0));
    let build = |threads| Quantize::new(&Cpu::detect(), 0.1, out, (rows, rows), threads).map(boxed);
    assert_eq!(signed(&run_guarded(&build, &[bytemuck::cast_slice(&x)], (2, 2))), [1, -1]);
}

#[test]
fn bytes_become_floats_and_come_back() {
    let all: Vec<u8> = (0..=255).collect();
    for kernel in supported() {
        for quant in [Quant8::i8(-9), Quant8::u8(200)] {
            let rows = dense(1, 256);
            let build = |threads| {
                Dequantize::with_kernel(kernel, 0.37, quant, (rows, rows), threads).map(boxed)
            };
            let got = run_guarded(&build, &[&all], (1024, 1024));
            let zero = i64::from(quant.zero_point());
            let want: Vec<u8> = all
                .iter()
                .flat_map(|&x| ((number(&quant, x) - zero) as f32 * 0.37).to_ne_bytes())
                .collect();
            assert_eq!(got, want);
            let out = Out8::full(quant);
            let build = |threads| {
                Quantize::with_kernel(kernel, 0.37, out, (rows, rows), threads).map(boxed)
            };
            assert_eq!(run_guarded(&build, &[&got], (256, 256)), all);
        }
    }
}

#[test]
fn a_residual_of_unlike_scales_gives_the_published_values() {
    let a = [0i8, 10, 127, -128, -4, -3, -5];
    let b = [0i8, 20, 127, -128, 3, 3, 5];
    let want = [1i8, 11, 96, -95, -1, 0, -1];
    let rows = dense(1, a.len());
    let (za, zb) = (Quant8::i8(-5), Quant8::i8(3));
    let out = Out8::full(Quant8::i8(-1));
    let add = BinaryQ::Add { a: 0.5, b: 0.25 };
    for kernel in supported() {
        let build = |threads| {
            let inputs = ((za, rows), (zb, rows));
            BinaryQs8::with_kernel(kernel, add, inputs, (out, rows), threads).map(boxed)
        };
        let inputs: [&[u8]; 2] = [bytemuck::cast_slice(&a), bytemuck::cast_slice(&b)];
        let got = run_guarded(&build, &inputs, (a.len(), a.len()));
        assert_eq!(signed(&got), want, "{kernel:?}");
    }
}

#[test]
fn tables_hold_any_function_of_all_bytes() {
    let all: Vec<u8> = (0..=255).collect();
    let out = Out8::full(Quant8::u8(3));
    let table = table((Quant8::i8(4), 0.1), (out, 0.05), |x| x * (x + 3.0).clamp(0.0, 6.0) / 6.0);
    let rows = dense(4, 64);
    let build = |threads| Lookup::new(table, (rows, rows), threads).map(boxed);
    let got = run_guarded(&build, &[&all], (64, 64));
    for (&x, y) in all.iter().zip(got) {
        let x = f64::from(0.1f32) * f64::from(i32::from(x.cast_signed()) - 4);
        let want = rounded(x * (x + 3.0).clamp(0.0, 6.0) / 6.0 / f64::from(0.05f32), &out);
        assert_eq!(y, want, "{x}");
    }
    let same = requantize_table(Quant8::i8(4), 1.0, Out8::full(Quant8::u8(132))).unwrap();
    assert!((0..=255).all(|x: u8| same[usize::from(x)] == x ^ 0x80));
    assert!(requantize_table(Quant8::i8(4), f32::NAN, out).is_err());
}

#[test]
fn softmax_is_within_a_step_of_the_real_one() {
    let (rows, c, ld) = (5, 37, 48);
    let x = bytes(1, rows * c);
    let out = Out8::full(Quant8::i8(-128));
    let layout = (Rows { rows, c, ld }, Rows { rows, c, ld });
    let build = |threads| {
        SoftmaxQs8::new((Quant8::i8(3), 0.04), (out, 1.0 / 256.0), layout, threads).map(boxed)
    };
    let mut input = spread(&x, c, ld);
    input.truncate((rows - 1) * ld + c);
    let got = run_guarded(&build, &[&input], (c, ld));
    for (x, y) in x.chunks(c).zip(got.chunks(c)) {
        let e: Vec<f64> =
            signed(x).iter().map(|&x| (f64::from(x) * f64::from(0.04f32)).exp()).collect();
        let sum: f64 = e.iter().sum();
        for (e, &y) in e.iter().zip(signed(y)) {
            // The f32 steps err by less than a thousandth of a step.
            let want = e / sum * 256.0 - 128.0;
            assert!((want.min(127.0) - f64::from(y)).abs() < 0.501, "{want} {y}");
        }
    }
    let none = (dense(3, 0), dense(3, 0));
    assert!(SoftmaxQs8::new((Quant8::i8(3), 0.1), (out, 0.1), none, 1).is_err());
}

#[test]
fn rows_that_do_not_fit_are_refused() {
    let cpu = Cpu::detect();
    let (q, out) = (Quant8::i8(0), Out8::full(Quant8::i8(0)));
    let bad = [
        (dense(3, 4), dense(4, 4)),
        (dense(3, 4), dense(3, 5)),
        (dense(3, 4), Rows { rows: 3, c: 4, ld: 3 }),
        (dense(usize::MAX / 4, 4), dense(usize::MAX / 4, 4)),
    ];
    for (x, y) in bad {
        assert!(Quantize::new(&cpu, 1.0, out, (x, y), 1).is_err(), "{x:?} {y:?}");
        assert!(Lookup::new([0; 256], (x, y), 1).is_err(), "{x:?} {y:?}");
    }
    let x = dense(3, 4);
    for scale in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        assert!(Quantize::new(&cpu, scale, out, (x, x), 1).is_err());
        assert!(Dequantize::new(&cpu, scale, q, (x, x), 1).is_err());
    }
    let binary = |function, b| BinaryQs8::new(&cpu, function, ((q, x), (q, b)), (out, x), 1);
    assert!(binary(BinaryQ::Mul { m: 1.0 }, dense(1, 4)).is_ok());
    assert!(binary(BinaryQ::Mul { m: 1.0 }, dense(2, 4)).is_err());
    assert!(binary(BinaryQ::Mul { m: 1.0 }, dense(0, 4)).is_err());
    assert!(binary(BinaryQ::Mul { m: f32::NAN }, x).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(target_arch = "aarch64") { 4 } else { 40 }))]
    #[test]
    fn sums_and_products_match_the_rule(
        (groups, repeat, c) in (1usize..4, 1usize..90, 1usize..130),
        padded: bool,
        sum: bool,
        za: i8,
        zb: u8,
    ) {
        let ld = if padded { padded_ld(c) } else { c };
        let (rows, gates) = (groups * repeat, Rows { rows: groups, c, ld });
        let layout = Rows { rows, c, ld };
        let (qa, qb) = (Quant8::i8(za), Quant8::u8(zb));
        let out = Out8::clamped(Quant8::i8(-3), -90, 100).unwrap();
        let (a, b) = (bytes(1, rows * c), bytes(2, groups * c));
        let function =
            if sum { BinaryQ::Add { a: 0.37, b: -0.61 } } else { BinaryQ::Mul { m: 0.007 } };
        let want: Vec<u8> = (0..rows * c)
            .map(|i| {
                let xa = number(&qa, a[i]) as f32 - f32::from(za);
                let xb = number(&qb, b[i / c / repeat * c + i % c]) as f32 - f32::from(zb);
                let y = if sum { xa * 0.37 + xb * -0.61 } else { xa * xb * 0.007 };
                rounded(f64::from(y), &out)
            })
            .collect();
        for kernel in supported() {
            let build = |threads| {
                let inputs = ((qa, layout), (qb, gates));
                BinaryQs8::with_kernel(kernel, function, inputs, (out, layout), threads).map(boxed)
            };
            let inputs = [spread(&a, c, ld), spread(&b, c, ld)];
            let got = run_guarded(&build, &[&inputs[0], &inputs[1]], (c, ld));
            prop_assert_eq!(&got, &want);
        }
    }
}
