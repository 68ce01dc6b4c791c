use super::*;
use depthwise_layers::{
    Activate, Activation, Binary, BinaryFn, Cast, PRelu, Select, Unary, UnaryFn,
};
use depthwise_tensor::DType;

fn activate(activation: Activation, xs: &[f32]) -> Vec<f32> {
    values(Activate { activation }, &[&t(&[xs.len()], xs)], &[xs.len()])
}

#[test]
fn activations_at_a_few_points() {
    let xs = [-4.0, -1.5, 0.0, 1.0, 4.0];
    let of = |activation| activate(activation, &xs);
    assert_eq!(of(Activation::Identity), xs);
    assert_eq!(of(Activation::RELU), [0.0, 0.0, 0.0, 1.0, 4.0]);
    assert_eq!(of(Activation::Clip { min: -2.0, max: 3.0 }), [-2.0, -1.5, 0.0, 1.0, 3.0]);
    assert_eq!(of(Activation::LeakyRelu { alpha: 0.5 }), [-2.0, -0.75, 0.0, 1.0, 4.0]);
    // CASES C20, with the slope of MobileNetV3 and with the default one of ONNX.
    let sixth = Activation::HardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 };
    close(&of(sixth), &[0.0, 0.25, 0.5, 2.0 / 3.0, 1.0]);
    close(&of(Activation::HardSigmoid { alpha: 0.2, beta: 0.5 }), &[0.0, 0.2, 0.5, 0.7, 1.0]);
    close(&of(Activation::HardSwish), &[0.0, -0.375, 0.0, 2.0 / 3.0, 4.0]);
    let e = std::f64::consts::E;
    close(
        &activate(Activation::Sigmoid, &[0.0, 1.0, -1.0]),
        &[0.5, e / (e + 1.0), 1.0 / (e + 1.0)],
    );
    close(&activate(Activation::Silu, &[0.0, 1.0, -1.0]), &[0.0, e / (e + 1.0), -1.0 / (e + 1.0)]);
    let tanh = (e * e - 1.0) / (e * e + 1.0);
    close(&activate(Activation::Tanh, &[0.0, 1.0, -1.0]), &[0.0, tanh, -tanh]);
    close(&activate(Activation::Elu { alpha: 2.0 }, &[-1.0, 3.0]), &[2.0 / e - 2.0, 3.0]);
    close(&activate(Activation::Softplus, &[0.0]), &[2f64.ln()]);
    // The normal distribution function at 1 is 0.841 344 746 (any table).
    close(&activate(Activation::Gelu, &[1.0, -1.0]), &[0.841_344_746, -0.158_655_254]);
    let cubic = (2.0 / std::f64::consts::PI).sqrt() * 1.044_715;
    close(&activate(Activation::GeluTanh, &[1.0]), &[0.5 * (1.0 + cubic.tanh())]);
}

#[test]
fn nan_goes_through_every_activation() {
    for activation in [
        Activation::Identity,
        Activation::RELU6,
        Activation::LeakyRelu { alpha: 0.1 },
        Activation::Elu { alpha: 1.0 },
        Activation::Sigmoid,
        Activation::Tanh,
        Activation::HardSigmoid { alpha: 0.2, beta: 0.5 },
        Activation::HardSwish,
        Activation::Silu,
        Activation::Gelu,
        Activation::GeluTanh,
        Activation::Softplus,
    ] {
        assert!(activate(activation, &[f32::NAN])[0].is_nan(), "{activation:?}");
    }
}

fn binary(function: BinaryFn) -> Binary {
    Binary { function, activation: Activation::Identity }
}

#[test]
fn binary_functions_of_two_numbers() {
    let (a, b) = (t(&[3], &[7.0, -7.0, 2.0]), t(&[3], &[2.0, 2.0, -1.0]));
    let of = |function| values(binary(function), &[&a, &b], &[3]);
    assert_eq!(of(BinaryFn::Add), [9.0, -5.0, 1.0]);
    assert_eq!(of(BinaryFn::Sub), [5.0, -9.0, 3.0]);
    assert_eq!(of(BinaryFn::Mul), [14.0, -14.0, -2.0]);
    assert_eq!(of(BinaryFn::Div), [3.5, -3.5, -2.0]);
    assert_eq!(of(BinaryFn::Min), [2.0, -7.0, -1.0]);
    assert_eq!(of(BinaryFn::Max), [7.0, 2.0, 2.0]);
    assert_eq!(of(BinaryFn::Pow), [49.0, 49.0, 0.5]);
    // The sign of the divisor, and that of the dividend.
    assert_eq!(of(BinaryFn::Mod), [1.0, 1.0, 0.0]);
    assert_eq!(of(BinaryFn::Rem), [1.0, -1.0, 0.0]);
    let relu = Binary { function: BinaryFn::Add, activation: Activation::RELU };
    assert_eq!(values(relu, &[&a, &b], &[3]), [9.0, 0.0, 1.0]);
}

#[test]
fn comparisons_give_truth_values() {
    let (a, b) = (t(&[3], &[1.0, 2.0, 3.0]), t(&[], &[2.0]));
    let of = |function| {
        let y = run(binary(function), &[&a, &b]);
        assert_eq!(y.dtype(), DType::Bool);
        y.bytes().to_vec()
    };
    assert_eq!(of(BinaryFn::Equal), [0, 1, 0]);
    assert_eq!(of(BinaryFn::Less), [1, 0, 0]);
    assert_eq!(of(BinaryFn::LessOrEqual), [1, 1, 0]);
    assert_eq!(of(BinaryFn::Greater), [0, 0, 1]);
    assert_eq!(of(BinaryFn::GreaterOrEqual), [0, 1, 1]);
    let (p, q) = ([true, true, false, false], [true, false, true, false]);
    let [p, q] = [p, q].map(|data| Tensor::from_bools(&[4], &data).unwrap());
    let of = |function| run(binary(function), &[&p, &q]).bytes().to_vec();
    assert_eq!(of(BinaryFn::And), [1, 0, 0, 0]);
    assert_eq!(of(BinaryFn::Or), [1, 1, 1, 0]);
    assert_eq!(of(BinaryFn::Xor), [0, 1, 1, 0]);
}

#[test]
fn operands_broadcast_both_ways() {
    let (a, b) = (t(&[2, 1], &[10.0, 20.0]), t(&[3], &[1.0, 2.0, 3.0]));
    let sum = values(binary(BinaryFn::Add), &[&a, &b], &[2, 3]);
    assert_eq!(sum, [11.0, 12.0, 13.0, 21.0, 22.0, 23.0]);
    let empty = t(&[0], &[]);
    assert_eq!(values(binary(BinaryFn::Mul), &[&t(&[1], &[2.0]), &empty], &[0]), []);
    let bad = refusal(binary(BinaryFn::Add), &[&t(&[2], &[0.0; 2]), &b]);
    assert!(bad.contains("2 and 3 do not broadcast"), "{bad}");
    assert!(refusal(binary(BinaryFn::Add), &[&b, &ints(&[1])]).contains("Binary"));
}

#[test]
fn integers_are_computed_exactly() {
    let (a, b) = (ints(&[i64::MAX, -7, 7]), ints(&[1, 2, -2]));
    let of = |function| run(binary(function), &[&a, &b]).to_i64().into_owned();
    assert_eq!(of(BinaryFn::Sub), [i64::MAX - 1, -9, 9]);
    assert_eq!(of(BinaryFn::Div), [i64::MAX, -3, -3]);
    assert_eq!(of(BinaryFn::Mod), [0, 1, -1]);
    assert_eq!(of(BinaryFn::Rem), [0, -1, 1]);
    // Wraps round, and neither division ends the program.
    assert_eq!(of(BinaryFn::Add)[0], i64::MIN);
    let zero = ints(&[0, 0, 0]);
    assert_eq!(run(binary(BinaryFn::Div), &[&a, &zero]).elements(), 3);
}

#[test]
fn unary_functions_of_a_number() {
    let of = |function, x: f32| values(Unary { function }, &[&t(&[1], &[x])], &[1])[0];
    assert_eq!(of(UnaryFn::Neg, 2.0), -2.0);
    assert_eq!(of(UnaryFn::Abs, -2.0), 2.0);
    assert_eq!(of(UnaryFn::Exp, 0.0), 1.0);
    assert_eq!(of(UnaryFn::Log, 1.0), 0.0);
    assert_eq!(of(UnaryFn::Sqrt, 9.0), 3.0);
    assert_eq!(of(UnaryFn::Reciprocal, 4.0), 0.25);
    assert_eq!(of(UnaryFn::Square, -3.0), 9.0);
    assert_eq!(of(UnaryFn::Rsqrt, 4.0), 0.5);
    assert_eq!((of(UnaryFn::Sin, 0.0), of(UnaryFn::Cos, 0.0)), (0.0, 1.0));
    assert_eq!([of(UnaryFn::Floor, -1.5), of(UnaryFn::Ceil, -1.5)], [-2.0, -1.0]);
    // Halves to even.
    assert_eq!([0.5, 1.5, 2.5, -0.5].map(|x| of(UnaryFn::Round, x)), [0.0, 2.0, 2.0, 0.0]);
    assert_eq!([-3.0, 0.0, 3.0].map(|x| of(UnaryFn::Sign, x)), [-1.0, 0.0, 1.0]);
    // erf(1) = 0.842 700 793 (any table).
    close(&[of(UnaryFn::Erf, 1.0)], &[0.842_700_793]);
    let not = run(
        Unary { function: UnaryFn::Not },
        &[&Tensor::from_bools(&[2], &[true, false]).unwrap()],
    );
    assert_eq!(not.bytes()[..], [0, 1]);
    assert!(refusal(Unary { function: UnaryFn::Not }, &[&t(&[1], &[0.0])]).contains("Unary"));
}

#[test]
fn prelu_has_a_slope_per_channel() {
    let x = t(&[1, 2, 2], &[1.0, -1.0, -2.0, 2.0]);
    let slope = t(&[2], &[0.5, 10.0]);
    assert_eq!(values(PRelu, &[&x, &slope], &[1, 2, 2]), [1.0, -10.0, -1.0, 2.0]);
    assert!(refusal(PRelu, &[&x, &t(&[3], &[0.0; 3])]).contains("broadcast"));
}

#[test]
fn select_takes_from_one_or_the_other() {
    let condition = Tensor::from_bools(&[2, 1], &[true, false]).unwrap();
    let (a, b) = (t(&[2], &[1.0, 2.0]), t(&[], &[9.0]));
    assert_eq!(values(Select, &[&condition, &a, &b], &[2, 2]), [1.0, 2.0, 9.0, 9.0]);
    assert!(refusal(Select, &[&a, &a, &b]).contains("Select"));
}

#[test]
fn cast_truncates_saturates_and_rounds() {
    let x = t(&[5], &[1.9, -1.9, 300.0, f32::NAN, -300.0]);
    let of = |to| run(Cast { to }, &[&x]);
    assert_eq!(of(DType::I32).data::<i32>().unwrap(), [1, -1, 300, 0, -300]);
    assert_eq!(of(DType::U8).bytes()[..], [1, 0, 255, 0, 0]);
    assert_eq!(of(DType::I8).data::<i8>().unwrap(), [1, -1, 127, 0, -128]);
    assert_eq!(of(DType::Bool).bytes()[..], [1; 5]);
    let low = run(Cast { to: DType::U8 }, &[&ints(&[257, -1])]);
    assert_eq!(low.bytes()[..], [1, 255]);
    // A tie between 2048 and 2050, which half precision can tell apart.
    let half = run(Cast { to: DType::F16 }, &[&t(&[1], &[2049.0])]);
    assert_eq!(half.to_f32().as_ref(), [2048.0]);
}
