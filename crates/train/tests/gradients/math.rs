//! Arithmetic, functions, reductions and products.

use super::{ANY, check, check_op};
use depthwise_layers::{
    Activation, Binary, BinaryFn, MatMul, PRelu, Reduce, ReduceFn, Select, Softmax, Unary, UnaryFn,
};
use depthwise_tensor::Tensor;

const POSITIVE: (f64, f64) = (0.5, 2.0);

#[test]
fn arithmetic_with_broadcasting() {
    let functions = [
        (BinaryFn::Add, ANY),
        (BinaryFn::Sub, ANY),
        (BinaryFn::Mul, ANY),
        (BinaryFn::Div, POSITIVE),
        (BinaryFn::Min, ANY),
        (BinaryFn::Max, ANY),
        (BinaryFn::Pow, POSITIVE),
    ];
    let shapes: [(&[usize], &[usize]); 5] = [
        (&[2, 3, 4], &[2, 3, 4]),
        (&[2, 3, 4], &[4]),
        (&[2, 1, 4], &[1, 3, 1]),
        (&[3], &[2, 4, 3]),
        (&[], &[2, 2]),
    ];
    for (function, range) in functions {
        for (a, b) in shapes {
            let binary = Binary { function, activation: Activation::Identity };
            check_op(&format!("{function:?} {a:?} {b:?}"), binary, &[(a, range), (b, range)]);
        }
    }
}

#[test]
fn functions() {
    let functions = [
        (UnaryFn::Neg, ANY),
        (UnaryFn::Abs, ANY),
        (UnaryFn::Exp, ANY),
        (UnaryFn::Log, POSITIVE),
        (UnaryFn::Sqrt, POSITIVE),
        (UnaryFn::Reciprocal, POSITIVE),
        (UnaryFn::Square, ANY),
        (UnaryFn::Rsqrt, POSITIVE),
        (UnaryFn::Erf, ANY),
        (UnaryFn::Sin, ANY),
        (UnaryFn::Cos, ANY),
    ];
    for (function, range) in functions {
        check_op(&format!("{function:?}"), Unary { function }, &[(&[3, 7], range)]);
    }
}

#[test]
fn reductions() {
    let functions = [
        (ReduceFn::Sum, ANY),
        (ReduceFn::Mean, ANY),
        (ReduceFn::Max, ANY),
        (ReduceFn::Min, ANY),
        (ReduceFn::L1, ANY),
        (ReduceFn::L2, ANY),
        (ReduceFn::SumSquare, ANY),
        (ReduceFn::LogSum, POSITIVE),
        (ReduceFn::LogSumExp, ANY),
    ];
    for (function, range) in functions {
        for (axes, keep_dims) in [(vec![], false), (vec![1, 2], true), (vec![-2], false)] {
            let name = format!("{function:?} {axes:?}");
            let reduce = Reduce { function, axes, keep_dims };
            check_op(&name, reduce, &[(&[2, 3, 4, 2], range)]);
        }
    }
}

#[test]
fn softmax_and_its_logarithm() {
    for (log, axis) in [(false, -1), (true, -1), (false, 0), (true, 1)] {
        check_op("softmax", Softmax { axis, log }, &[(&[3, 4, 2], ANY)]);
    }
}

#[test]
fn learned_slopes() {
    check_op("prelu per channel", PRelu, &[(&[2, 3, 4], ANY), (&[4], ANY)]);
    check_op("prelu", PRelu, &[(&[2, 3, 4], ANY), (&[1], ANY)]);
}

#[test]
fn choices() {
    check("select", &[(&[2, 3], ANY), (&[3], ANY)], |g, x| {
        let mask = Tensor::from_bools(&[2, 3], &[true, false, true, false, false, true]).unwrap();
        let mask = g.add_const("mask", mask);
        g.add("y", Select, &[mask, x[0], x[1]])
    });
}

#[test]
fn products() {
    let shapes: [(&[usize], &[usize]); 4] = [
        (&[3, 4], &[4, 5]),
        (&[2, 3, 4], &[4, 5]),
        (&[2, 1, 3, 4], &[3, 4, 2]),
        (&[3, 4], &[2, 4, 1]),
    ];
    for (a, b) in shapes {
        check_op(&format!("{a:?} {b:?}"), MatMul, &[(a, ANY), (b, ANY)]);
    }
}

#[test]
fn a_value_read_twice_gets_both_gradients() {
    check("x * x + x", &[(&[4], ANY)], |g, x| {
        let mul = Binary { function: BinaryFn::Mul, activation: Activation::Identity };
        let add = Binary { function: BinaryFn::Add, activation: Activation::Identity };
        let square = g.add("square", mul, &[x[0], x[0]]);
        g.add("sum", add, &[square, x[0]])
    });
}
