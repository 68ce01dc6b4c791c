use super::*;
use depthwise_layers::{
    Activate, Activation, ArgExtreme, BatchNorm, Binary, BinaryFn, Cast, Concat, Conv2d, Dense,
    DepthwiseConv2d, Expand, Flatten, Gather, MatMul, PRelu, Pad, PadMode, Padding, Pool2d,
    PoolKind, Range, Reduce, ReduceFn, Reshape, Select, ShapeOf, Slice, Softmax, Split, SplitParts,
    Squeeze, Tile, Transpose, Unary, UnaryFn, Unsqueeze,
};
use depthwise_tensor::{DType, Hw};

fn pool() -> Pool2d {
    Pool2d {
        kind: PoolKind::Max,
        kernel: Hw::square(2),
        stride: Hw::ONE,
        dilation: Hw::ONE,
        padding: Padding::Valid,
        ceil_mode: false,
    }
}

/// A layer of each kind, with the most inputs that it takes, where that is bounded.
fn layers() -> Vec<(Op, usize)> {
    let activation = Activation::Identity;
    vec![
        (Activate { activation: Activation::RELU }.into(), 1),
        (ArgExtreme { largest: true, axis: 0, keep_dims: true, select_last: false }.into(), 1),
        (BatchNorm { epsilon: 1e-5, axis: -1 }.into(), 5),
        (Binary { function: BinaryFn::Add, activation }.into(), 2),
        (Cast { to: DType::F32 }.into(), 1),
        (Conv2d::default().into(), 4),
        (Dense { activation }.into(), 3),
        (DepthwiseConv2d::default().into(), 3),
        (Expand.into(), 2),
        (Flatten { axis: 1 }.into(), 1),
        (Gather { axis: 0 }.into(), 2),
        (MatMul.into(), 2),
        (PRelu.into(), 2),
        (pool().into(), 1),
        (Range.into(), 3),
        (Reduce { function: ReduceFn::Mean, axes: vec![], keep_dims: true }.into(), 1),
        (Reshape { allow_zero: false }.into(), 2),
        (Select.into(), 3),
        (ShapeOf { start: 0, end: None }.into(), 1),
        (Softmax { axis: -1, log: false }.into(), 1),
        (Squeeze { axes: vec![] }.into(), 1),
        (Tile.into(), 2),
        (Transpose { perm: vec![0] }.into(), 1),
        (Unary { function: UnaryFn::Exp }.into(), 1),
        (Unsqueeze { axes: vec![0] }.into(), 1),
    ]
}

#[test]
fn too_few_or_too_many_inputs_are_refused_by_number() {
    let x = t(&[1], &[1.0]);
    for (op, most) in layers() {
        let kind = op.layer().kind();
        for got in [0, most + 1] {
            let inputs = vec![Some(&x); got];
            let error = infer(&op, &inputs).unwrap_err();
            let arity = |error: &LayerError| matches!(error, LayerError::Arity { layer, got: n, .. } if *layer == kind && *n == got);
            assert!(arity(&error), "{kind} of {got}: {error}");
            let error = op.layer().reference(&inputs).unwrap_err();
            assert!(arity(&error), "{kind} of {got}: {error}");
        }
        // The first input has no default anywhere.
        let missing = infer(&op, &vec![None; most]).unwrap_err();
        assert!(missing.to_string().contains("input 0 is left out"), "{kind}: {missing}");
    }
    for op in [Concat { axis: 0 }.into(), Op::from(Slice), Pad { mode: PadMode::Constant }.into()] {
        assert!(matches!(infer(&op, &[]), Err(LayerError::Arity { got: 0, .. })), "{op:?}");
    }
}

#[test]
fn element_types_that_a_layer_does_not_take_are_named() {
    let (floats, whole) = (t(&[1], &[1.0]), ints(&[1]));
    let truth = run(Cast { to: DType::Bool }, &[&whole]);
    let activation = Activation::Identity;
    let add = || Binary { function: BinaryFn::Add, activation };
    let and = Binary { function: BinaryFn::And, activation };
    // The layer, its inputs, the position of the wrong one and its type.
    let cases: Vec<(Op, Vec<&Tensor>, usize, DType)> = vec![
        (Activate { activation: Activation::RELU }.into(), vec![&whole], 0, DType::I64),
        (Unary { function: UnaryFn::Exp }.into(), vec![&whole], 0, DType::I64),
        (Unary { function: UnaryFn::Not }.into(), vec![&floats], 0, DType::F32),
        (add().into(), vec![&floats, &whole], 1, DType::I64),
        (add().into(), vec![&truth, &truth], 0, DType::Bool),
        (and.into(), vec![&truth, &floats], 1, DType::F32),
        (Softmax { axis: 0, log: false }.into(), vec![&whole], 0, DType::I64),
        (MatMul.into(), vec![&floats, &whole], 1, DType::I64),
        (Dense { activation }.into(), vec![&whole, &floats], 0, DType::I64),
        (Conv2d::default().into(), vec![&floats, &truth], 1, DType::Bool),
        (DepthwiseConv2d::default().into(), vec![&whole, &floats], 0, DType::I64),
        (Select.into(), vec![&floats, &floats, &floats], 0, DType::F32),
        (Concat { axis: 0 }.into(), vec![&floats, &whole], 1, DType::I64),
        (Gather { axis: 0 }.into(), vec![&floats, &floats], 1, DType::F32),
        (Reshape { allow_zero: false }.into(), vec![&floats, &floats], 1, DType::F32),
        (Tile.into(), vec![&floats, &floats], 1, DType::F32),
    ];
    for (op, inputs, position, dtype) in cases {
        let inputs: Vec<_> = inputs.into_iter().map(Some).collect();
        let kind = op.layer().kind();
        let error = infer(&op, &inputs).unwrap_err();
        let right = matches!(&error, LayerError::DType { layer, input, got, .. }
            if *layer == kind && *input == position && *got == dtype);
        assert!(right, "{kind}: {error}");
        assert_eq!(op.layer().reference(&inputs).unwrap_err(), error);
    }
}

#[test]
fn axes_out_of_range_are_refused() {
    let x = ramp(&[2, 3], 0.0);
    let ops: [Op; 9] = [
        Softmax { axis: 2, log: false }.into(),
        Concat { axis: -3 }.into(),
        Split { axis: 2, parts: SplitParts::Equal(1) }.into(),
        Reduce { function: ReduceFn::Sum, axes: vec![-3], keep_dims: true }.into(),
        Reduce { function: ReduceFn::Sum, axes: vec![1, -1], keep_dims: true }.into(),
        ArgExtreme { largest: true, axis: 5, keep_dims: true, select_last: false }.into(),
        Squeeze { axes: vec![0] }.into(),
        Unsqueeze { axes: vec![i64::MIN] }.into(),
        Transpose { perm: vec![0, 0] }.into(),
    ];
    for op in ops {
        let kind = op.layer().kind();
        let error = infer(&op, &[Some(&x)]).unwrap_err();
        assert!(matches!(&error, LayerError::Invalid { layer, .. } if *layer == kind), "{error}");
    }
}

#[test]
fn only_products_count_multiply_accumulate_steps() {
    let x = ramp(&[1, 2, 2, 1], 1.0);
    let add = Binary { function: BinaryFn::Add, activation: Activation::Identity };
    assert_eq!(macs(add, &[&x, &x]), 0);
    assert_eq!(macs(Activate { activation: Activation::HardSwish }, &[&x]), 0);
    assert_eq!(macs(pool(), &[&x]), 0);
    assert_eq!(macs(Softmax { axis: -1, log: false }, &[&x]), 0);
    let mean = Reduce { function: ReduceFn::Mean, axes: vec![1, 2], keep_dims: true };
    assert_eq!(macs(mean, &[&x]), 0);
    // The border counts as if it were there, as the literature has it.
    let w = t(&[3, 3, 3, 1], &[1.0; 27]);
    let same = Conv2d { padding: Padding::Same, ..Conv2d::default() };
    assert_eq!(macs(same, &[&x, &w]), 4 * 3 * 9);
    let v = ramp(&[3, 2], 0.0);
    assert_eq!(macs(MatMul, &[&ramp(&[5, 4, 3], 0.0), &v]), 5 * 4 * 2 * 3);
}
