use super::*;
use crate::operator::run_f32;
use crate::par::Par;
use depthwise_tensor::broadcast;
use proptest::prelude::*;

const EVERY: [Activation; 12] = [
    Activation::Identity,
    Activation::RELU6,
    Activation::LeakyRelu { alpha: 0.1 },
    Activation::Elu { alpha: 0.5 },
    Activation::Sigmoid,
    Activation::Tanh,
    Activation::HardSigmoid { alpha: 0.2, beta: 0.5 },
    Activation::HardSwish,
    Activation::Silu,
    Activation::Gelu,
    Activation::GeluTanh,
    Activation::Softplus,
];

fn kernels() -> impl Iterator<Item = &'static Kernel> {
    KERNELS.iter().filter(|k| k.info().is_supported(&Cpu::detect()))
}

fn view(dims: &[usize], ld: usize) -> View {
    View { shape: Shape::new(dims).unwrap(), ld }
}

/// Values of a view in its rows; padding, and a guard behind, hold NaN.
fn fill(view: &View, f: impl Fn(usize) -> f32) -> Vec<f32> {
    let rows = view.rows();
    let mut data = vec![f32::NAN; view.len()];
    for row in 0..rows.rows {
        for i in 0..rows.c {
            data[row * rows.ld + i] = f(row * rows.c + i);
        }
    }
    data
}

/// The meaningful elements.
fn dense(view: &View, data: &[f32]) -> Vec<f32> {
    let rows = view.rows();
    (0..rows.rows * rows.c).map(|i| data[i / rows.c * rows.ld + i % rows.c]).collect()
}

/// Runs into a buffer of sentinels; returns it with the guard behind checked.
fn run_guarded(op: &dyn Operator, inputs: &[&[f32]], out: &View, par: &Par) -> Vec<f32> {
    let mut y = vec![-77.0; out.len() + 32];
    run_f32(op, inputs, &mut [&mut y[..out.len()]], par).unwrap();
    assert!(y[out.len()..].iter().all(|&v| v == -77.0), "{} wrote past its output", op.kernel());
    y.truncate(out.len());
    y
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

fn value(i: usize) -> f32 {
    ((i * 37 + 11) % 101) as f32 * 0.13 - 6.5
}

fn eval(op: UnaryOp, x: f64) -> f64 {
    match op {
        UnaryOp::Activation(act) => act.eval(x),
        UnaryOp::Neg => -x,
        UnaryOp::Abs => x.abs(),
        UnaryOp::Exp => x.exp(),
        UnaryOp::Log => x.ln(),
        UnaryOp::Sqrt => x.sqrt(),
        UnaryOp::Reciprocal => 1.0 / x,
        UnaryOp::Square => x * x,
        UnaryOp::Rsqrt => 1.0 / x.sqrt(),
        UnaryOp::Erf => {
            // gelu(x sqrt 2) = x sqrt 2 (1 + erf x) / 2
            let z = x * 2f64.sqrt();
            if x == 0.0 { 0.0 } else { 2.0 * Activation::Gelu.eval(z) / z - 1.0 }
        }
        UnaryOp::Sin => x.sin(),
        UnaryOp::Cos => x.cos(),
        UnaryOp::Floor => x.floor(),
        UnaryOp::Ceil => x.ceil(),
        UnaryOp::Round => x.round_ties_even(),
        UnaryOp::Sign => {
            if x == 0.0 {
                0.0
            } else {
                x.signum()
            }
        }
    }
}

fn assert_close(got: f32, want: f64, what: &str) {
    let both_nan = got.is_nan() && want.is_nan();
    // Sums such as that in hard-sigmoid cancel: no better than the rounding of their terms.
    let bound = 1e-6 * want.abs().max(0.1);
    assert!(
        both_nan || got == want as f32 || (f64::from(got) - want).abs() <= bound,
        "{what}: {got} instead of {want}"
    );
}

#[test]
fn every_unary_function_on_every_length_and_layout() {
    let mut functions = vec![
        UnaryOp::Neg,
        UnaryOp::Abs,
        UnaryOp::Exp,
        UnaryOp::Log,
        UnaryOp::Sqrt,
        UnaryOp::Reciprocal,
        UnaryOp::Square,
        UnaryOp::Rsqrt,
        UnaryOp::Erf,
        UnaryOp::Sin,
        UnaryOp::Cos,
        UnaryOp::Floor,
        UnaryOp::Ceil,
        UnaryOp::Round,
        UnaryOp::Sign,
    ];
    functions.extend(EVERY.map(UnaryOp::Activation));
    for kernel in kernels() {
        for &f in &functions {
            for c in [1usize, 3, 7, 8, 15, 16, 17, 33, 40] {
                let lds = [c, c.next_multiple_of(16), c + 5];
                for (ld_in, ld_out) in lds.iter().flat_map(|&a| lds.map(|b| (a, b))) {
                    let (x_view, y_view) = (view(&[3, c], ld_in), view(&[3, c], ld_out));
                    let x = fill(&x_view, value);
                    let op =
                        UnaryF32::with_kernel(kernel, f, x_view.rows(), y_view.rows(), 1).unwrap();
                    let y = run_guarded(&op, &[&x], &y_view, &Par::single());
                    for (x, y) in dense(&x_view, &x).into_iter().zip(dense(&y_view, &y)) {
                        assert_close(y, eval(f, x.into()), &format!("{f:?}({x})"));
                    }
                }
            }
        }
    }
}

#[test]
fn unary_in_place_gives_the_same_bits() {
    for kernel in kernels() {
        for (c, ld) in [(19, 19), (24, 32), (5, 5), (130, 144)] {
            let v = view(&[7, c], ld);
            for act in [Activation::HardSwish, Activation::Sigmoid] {
                let f = UnaryOp::Activation(act);
                let op = UnaryF32::with_kernel(kernel, f, v.rows(), v.rows(), 1).unwrap();
                assert!(op.in_place(0));
                let x = fill(&v, value);
                let apart = run_guarded(&op, &[&x], &v, &Par::single());
                let mut shared = x.clone();
                let base = shared.as_mut_ptr().cast::<u8>();
                // SAFETY: both operands are the same buffer, as `in_place` allows.
                unsafe { op.run_chunk(&Io::new(&[base.cast_const()], &[base], base), 0) };
                assert_eq!(bits(&dense(&v, &shared)), bits(&dense(&v, &apart)));
            }
        }
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let par = Par::new(3).unwrap();
    for kernel in kernels() {
        for (a, b) in [
            (view(&[1, 40, 40, 24], 32), view(&[24], 24)),
            (view(&[2, 30, 20, 40], 48), view(&[2, 1, 1, 40], 48)),
            (view(&[40_001], 40_001), view(&[40_001], 40_001)),
        ] {
            let (x, s) = (fill(&a, value), fill(&b, |i| value(i + 3)));
            let (f, act) = (BinaryOp::Mul, Activation::Silu);
            let one = BinaryF32::with_kernel(kernel, f, act, a, b, a, 1).unwrap();
            let three = BinaryF32::with_kernel(kernel, f, act, a, b, a, 3).unwrap();
            assert_eq!((one.chunks(), three.chunks()), (1, 3));
            let (one, three) =
                (run_guarded(&one, &[&x, &s], &a, &par), run_guarded(&three, &[&x, &s], &a, &par));
            assert_eq!(bits(&dense(&a, &one)), bits(&dense(&a, &three)));
        }
    }
}

fn eval_binary(f: BinaryOp, a: f32, b: f32) -> f64 {
    let (a64, b64) = (f64::from(a), f64::from(b));
    match f {
        BinaryOp::Add => a64 + b64,
        BinaryOp::Sub => a64 - b64,
        BinaryOp::Mul => a64 * b64,
        BinaryOp::Div => a64 / b64,
        BinaryOp::Min if a.is_nan() || b.is_nan() => f64::NAN,
        BinaryOp::Max if a.is_nan() || b.is_nan() => f64::NAN,
        BinaryOp::Min => a64.min(b64),
        BinaryOp::Max => a64.max(b64),
        BinaryOp::Pow => a64.powf(b64),
        BinaryOp::PRelu => {
            if a < 0.0 {
                a64 * b64
            } else {
                a64
            }
        }
        BinaryOp::Slope(activation) => a64 * activation.derivative(b64),
        BinaryOp::SlopeOfOutput(activation) => {
            a64 * activation.derivative_from_output(b64).unwrap()
        }
    }
}

const BINARY: [BinaryOp; 17] = [
    BinaryOp::Add,
    BinaryOp::Sub,
    BinaryOp::Mul,
    BinaryOp::Div,
    BinaryOp::Min,
    BinaryOp::Max,
    BinaryOp::Pow,
    BinaryOp::PRelu,
    BinaryOp::Slope(Activation::RELU6),
    BinaryOp::Slope(Activation::HardSwish),
    BinaryOp::Slope(Activation::Silu),
    BinaryOp::Slope(Activation::Gelu),
    BinaryOp::SlopeOfOutput(Activation::RELU),
    BinaryOp::SlopeOfOutput(Activation::Sigmoid),
    BinaryOp::SlopeOfOutput(Activation::Tanh),
    BinaryOp::SlopeOfOutput(Activation::HardSigmoid { alpha: 0.2, beta: 0.5 }),
    BinaryOp::SlopeOfOutput(Activation::LeakyRelu { alpha: 0.1 }),
];

/// Index into the broadcast operand for index `i` of the output.
fn source(out: &Shape, operand: &Shape, i: usize) -> usize {
    let (out_strides, strides) = (out.strides(), operand.strides());
    let lead = out.rank() - operand.rank();
    (0..operand.rank())
        .filter(|&axis| operand.dims()[axis] != 1)
        .map(|axis| i / out_strides[lead + axis] % out.dims()[lead + axis] * strides[axis])
        .sum()
}

fn check_binary(kernel: &'static Kernel, f: BinaryOp, a: View, b: View, ld: usize) {
    let shape = broadcast(&a.shape, &b.shape).unwrap();
    let out = View { shape, ld };
    let (x, s) = (fill(&a, value), fill(&b, |i| value(i + 50).abs() + 0.25));
    let op = BinaryF32::with_kernel(kernel, f, Activation::Identity, a, b, out, 2).unwrap();
    let y = run_guarded(&op, &[&x, &s], &out, &Par::single());
    let (x, s) = (dense(&a, &x), dense(&b, &s));
    for (i, y) in dense(&out, &y).into_iter().enumerate() {
        let (x, s) = (x[source(&shape, &a.shape, i)], s[source(&shape, &b.shape, i)]);
        assert_close(y, eval_binary(f, x, s), &format!("{f:?}({x}, {s}) at {i} of {shape}"));
    }
}

#[test]
fn every_binary_function_on_every_kind_of_broadcast() {
    let shapes: [(&[usize], &[usize]); 9] = [
        (&[2, 3, 4, 21], &[2, 3, 4, 21]),
        (&[2, 3, 4, 21], &[]),
        (&[2, 3, 4, 21], &[21]),
        (&[2, 3, 4, 21], &[1, 1, 1, 21]),
        (&[2, 3, 4, 21], &[2, 1, 1, 21]),
        (&[2, 3, 4, 21], &[2, 3, 4, 1]),
        (&[2, 1, 4, 1], &[3, 1, 5]),
        (&[7, 1], &[7, 1]),
        (&[1], &[1, 1, 1, 33]),
    ];
    for kernel in kernels() {
        for f in BINARY {
            for (a, b) in shapes {
                let pad = |dims: &[usize], by: usize| {
                    let c = dims.last().copied().unwrap_or(1);
                    [c, c.next_multiple_of(16), c + 3][by]
                };
                for by in [[0, 0, 0], [1, 1, 1], [1, 0, 1], [0, 1, 0], [2, 1, 0], [2, 2, 2]] {
                    let (va, vb) = (view(a, pad(a, by[0])), view(b, pad(b, by[1])));
                    let out = broadcast(&va.shape, &vb.shape).unwrap();
                    check_binary(kernel, f, va, vb, pad(&out, by[2]));
                }
            }
        }
    }
}

#[test]
fn the_scalar_may_be_on_either_side() {
    for kernel in kernels() {
        let (scalar, x) = (view(&[], 1), view(&[2, 37], 37));
        check_binary(kernel, BinaryOp::Sub, scalar, x, 37);
        check_binary(kernel, BinaryOp::Div, x, scalar, 37);
    }
}

#[test]
fn binary_with_an_activation_is_both_in_turn() {
    for kernel in kernels() {
        // Rows on both sides of what one pass covers.
        for (dims, ld) in [([3, 5000], 5008), ([300, 40], 48), ([300, 40], 40)] {
            let v = view(&dims, ld);
            let (a, b) = (fill(&v, value), fill(&v, |i| value(i + 7)));
            for act in EVERY {
                let op = BinaryF32::with_kernel(kernel, BinaryOp::Add, act, v, v, v, 1).unwrap();
                let y = run_guarded(&op, &[&a, &b], &v, &Par::single());
                let sums = dense(&v, &a).into_iter().zip(dense(&v, &b)).map(|(a, b)| a + b);
                for (sum, y) in sums.zip(dense(&v, &y)) {
                    assert_close(y, act.eval(sum.into()), &act.to_string());
                }
            }
        }
    }
}

#[test]
fn binary_in_place_on_either_operand() {
    let v = view(&[5, 21], 21);
    for kernel in kernels() {
        let (f, act) = (BinaryOp::Sub, Activation::Tanh);
        let op = BinaryF32::with_kernel(kernel, f, act, v, v, v, 1).unwrap();
        let (a, b) = (fill(&v, value), fill(&v, |i| value(i + 9)));
        let want = run_guarded(&op, &[&a, &b], &v, &Par::single());
        for place in 0..2 {
            assert!(op.in_place(place));
            let mut buffers = [a.clone(), b.clone()];
            let y = buffers[place].as_mut_ptr().cast::<u8>();
            let other = buffers[1 - place].as_ptr().cast::<u8>();
            let inputs = if place == 0 { [y.cast_const(), other] } else { [other, y.cast_const()] };
            // SAFETY: output 0 shares the buffer of one input, as `in_place` allows.
            unsafe { op.run_chunk(&Io::new(&inputs, &[y], y), 0) };
            assert_eq!(bits(&buffers[place]), bits(&want), "operand {place}");
        }
    }
    let scalar = view(&[1], 1);
    let op = BinaryF32::new(&Cpu::detect(), BinaryOp::Add, Activation::Identity, v, scalar, v, 1);
    assert!(!op.unwrap().in_place(1));
}

#[test]
fn nan_operands_give_nan() {
    let v = view(&[37], 37);
    for kernel in kernels() {
        for f in BINARY {
            for (a, b) in [(f32::NAN, 2.0), (2.0, f32::NAN), (f32::NAN, f32::NAN)] {
                if f == BinaryOp::PRelu && !a.is_nan() {
                    continue; // The slope of a positive number is not looked at.
                }
                for act in [Activation::Identity, Activation::RELU6] {
                    let op = BinaryF32::with_kernel(kernel, f, act, v, v, v, 1).unwrap();
                    let y = run_guarded(&op, &[&[a; 37], &[b; 37]], &v, &Par::single());
                    assert!(y.iter().all(|y| y.is_nan()), "{f:?}({a}, {b}) {act}");
                }
            }
        }
    }
}

#[test]
fn wrong_shapes_are_refused() {
    let cpu = Cpu::detect();
    let (a, b) = (view(&[2, 3], 3), view(&[2, 4], 4));
    let (f, act) = (BinaryOp::Add, Activation::Identity);
    assert!(BinaryF32::new(&cpu, f, act, a, b, a, 1).is_err());
    assert!(BinaryF32::new(&cpu, f, act, a, a, view(&[3], 3), 1).is_err(), "output too small");
    assert!(UnaryF32::new(&cpu, UnaryOp::Exp, a.rows(), b.rows(), 1).is_err());
    assert!(UnaryF32::new(&cpu, UnaryOp::Exp, view(&[2, 3], 2).rows(), a.rows(), 1).is_err());
    assert!(SelectOp::new(3, a, a, a, a, 1).is_err());
}

#[test]
fn empty_operands_are_nothing_to_do() {
    let v = view(&[2, 0, 3], 3);
    let (f, act) = (BinaryOp::Add, Activation::Silu);
    let op = BinaryF32::new(&Cpu::detect(), f, act, v, v, v, 2).unwrap();
    assert_eq!(run_guarded(&op, &[&[], &[]], &v, &Par::single()), []);
}

#[test]
fn comparisons_broadcast_and_are_false_for_nan() {
    let (a, b, out) = (view(&[2, 3], 5), view(&[3], 3), view(&[2, 3], 4));
    let x = [1.0f32, 2.0, f32::NAN, 9.0, 9.0, 3.0, 2.0, 1.0, 9.0, 9.0];
    let s = [2.0f32; 3];
    let cases = [
        (CompareOp::Equal, [0, 1, 0, 0, 1, 0]),
        (CompareOp::Less, [1, 0, 0, 0, 0, 1]),
        (CompareOp::LessOrEqual, [1, 1, 0, 0, 1, 1]),
        (CompareOp::Greater, [0, 0, 0, 1, 0, 0]),
        (CompareOp::GreaterOrEqual, [0, 1, 0, 1, 1, 0]),
    ];
    for (f, want) in cases {
        let op = CompareF32::new(f, a, b, out, 1).unwrap();
        let mut y = [9u8; 8];
        let inputs = [bytemuck::cast_slice(&x), bytemuck::cast_slice(&s)];
        crate::run(&op, &inputs, &mut [&mut y], &Par::single()).unwrap();
        assert_eq!([y[0], y[1], y[2], y[4], y[5], y[6]], want, "{f:?}");
    }
}

#[test]
fn logic_follows_its_truth_tables() {
    let v = view(&[4], 4);
    let cases = [
        (LogicOp::And, [0, 0, 0, 1]),
        (LogicOp::Or, [0, 1, 1, 1]),
        (LogicOp::Xor, [0, 1, 1, 0]),
        (LogicOp::Not, [1, 1, 0, 0]),
    ];
    for (f, want) in cases {
        let op = LogicU8::new(f, v, v, v, 1).unwrap();
        let inputs: [&[u8]; 2] = [&[0, 0, 7, 1], &[0, 1, 0, 1]];
        let mut y = [9u8; 4];
        let count = op.input_bytes().len();
        crate::run(&op, &inputs[..count], &mut [&mut y], &Par::single()).unwrap();
        assert_eq!(y, want, "{f:?}");
    }
}

#[test]
fn selection_broadcasts_at_every_element_size() {
    let (c, a, b, out) = (view(&[2, 1], 1), view(&[3], 3), view(&[], 1), view(&[2, 3], 3));
    fn check<T: bytemuck::Pod + PartialEq + std::fmt::Debug>(op: SelectOp, v: [T; 4]) {
        let mut y = [v[3]; 6];
        let (condition, a, b) = ([1u8, 0], [v[0], v[1], v[2]], [v[3]]);
        let inputs = [&condition[..], bytemuck::cast_slice(&a), bytemuck::cast_slice(&b)];
        crate::run(&op, &inputs, &mut [bytemuck::cast_slice_mut(&mut y)], &Par::single()).unwrap();
        assert_eq!(y, [v[0], v[1], v[2], v[3], v[3], v[3]]);
    }
    check(SelectOp::new(1, c, a, b, out, 1).unwrap(), [1u8, 2, 3, 4]);
    check(SelectOp::new(2, c, a, b, out, 1).unwrap(), [1u16, 2, 3, 4]);
    check(SelectOp::new(4, c, a, b, out, 1).unwrap(), [1f32, 2.0, 3.0, 4.0]);
    check(SelectOp::new(8, c, a, b, out, 1).unwrap(), [1i64, 2, 3, 4]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(target_arch = "aarch64") { 16 } else { 256 }))]
    #[test]
    fn any_broadcast_of_any_layout_is_right(
        dims in prop::collection::vec(1usize..5, 0..5),
        last in 1usize..40,
        ones in prop::collection::vec(any::<(bool, bool)>(), 6),
        ranks in (0usize..6, 0usize..6),
        pads in (0usize..20, 0usize..20, 0usize..20),
        op in prop::sample::select(BINARY.to_vec()),
    ) {
        let dims = [dims, vec![last]].concat();
        let part = |rank: usize, one: fn(&(bool, bool)) -> bool| -> Vec<usize> {
            let dims = dims.iter().enumerate().skip(dims.len().saturating_sub(rank));
            dims.map(|(i, &d)| if one(&ones[i]) { 1 } else { d }).collect()
        };
        let (a, b) = (part(ranks.0, |o| o.0), part(ranks.1, |o| o.1));
        let ld = |dims: &[usize], pad: usize| {
            let c = dims.last().copied().unwrap_or(1);
            if pad > 10 { c.next_multiple_of(16) } else { c + pad }
        };
        let (va, vb) = (view(&a, ld(&a, pads.0)), view(&b, ld(&b, pads.1)));
        let out = broadcast(&va.shape, &vb.shape).unwrap();
        for kernel in kernels() {
            check_binary(kernel, op, va, vb, ld(&out, pads.2));
        }
    }
}
