use super::*;
use depthwise_layers::{
    Concat, ConstantOfShape, Expand, Flatten, Gather, Range, Reshape, ShapeOf, Slice, Split,
    SplitParts, Squeeze, Tile, Transpose, Unsqueeze,
};
use depthwise_tensor::DType;

fn i64s(y: &Tensor) -> Vec<i64> {
    y.to_i64().into_owned()
}

#[test]
fn concat_and_split_undo_each_other() {
    let (a, b) = (ramp(&[2, 1], 0.0), ramp(&[2, 2], 10.0));
    let y = run(Concat { axis: -1 }, &[&a, &b]);
    assert_eq!(y.to_f32().as_ref(), [0.0, 10.0, 11.0, 1.0, 12.0, 13.0]);
    let parts = run_all(Split { axis: 1, parts: SplitParts::Sizes(vec![1, 2]) }, &[Some(&y)]);
    assert_eq!(parts, [a.clone(), b]);
    // Three of five: 2, 2 and 1.
    let parts = run_all(Split { axis: 0, parts: SplitParts::Equal(3) }, &[Some(&ramp(&[5], 0.0))]);
    let sizes: Vec<_> = parts.iter().map(Tensor::elements).collect();
    assert_eq!(sizes, [2, 2, 1]);
    assert!(refusal(Concat { axis: 0 }, &[&a, &ramp(&[2, 2], 0.0)]).contains("Concat"));
    let bad = Split { axis: 1, parts: SplitParts::Sizes(vec![2, 2]) };
    assert!(refusal(bad, &[&y]).contains("Split"));
}

#[test]
fn slices_count_from_either_end() {
    let x = ramp(&[6], 0.0);
    let of = |start, end, step| {
        run(Slice, &[&x, &ints(&[start]), &ints(&[end]), &ints(&[0]), &ints(&[step])])
            .to_f32()
            .into_owned()
    };
    assert_eq!(of(1, 4, 1), [1.0, 2.0, 3.0]);
    assert_eq!(of(-2, i64::MAX, 1), [4.0, 5.0]);
    assert_eq!(of(-1, i64::MIN, -2), [5.0, 3.0, 1.0]);
    assert_eq!(of(4, 1, -1), [4.0, 3.0, 2.0]);
    assert_eq!(of(4, 1, 1), []);
    assert_eq!(of(-100, 100, 4), [0.0, 4.0]);
    let square = ramp(&[2, 3], 0.0);
    let y = values(Slice, &[&square, &ints(&[1]), &ints(&[3]), &ints(&[-1])], &[2, 2]);
    assert_eq!(y, [1.0, 2.0, 4.0, 5.0]);
    let zero = refusal(Slice, &[&x, &ints(&[0]), &ints(&[1]), &ints(&[0]), &ints(&[0])]);
    assert!(zero.contains("Slice"), "{zero}");
}

#[test]
fn gather_replaces_an_axis_by_the_indices() {
    let x = ramp(&[2, 3], 0.0);
    let indices = Tensor::from_slice(&[1, 2], &[2i64, -3]).unwrap();
    assert_eq!(values(Gather { axis: 1 }, &[&x, &indices], &[2, 1, 2]), [2.0, 0.0, 5.0, 3.0]);
    let scalar = Tensor::scalar(1i64);
    assert_eq!(values(Gather { axis: 0 }, &[&x, &scalar], &[3]), [3.0, 4.0, 5.0]);
    let far = Op::from(Gather { axis: 1 });
    assert!(far.layer().reference(&[Some(&x), Some(&ints(&[3]))]).is_err());
}

#[test]
fn reshape_copies_and_infers_extents() {
    let x = ramp(&[2, 3, 4], 0.0);
    let of = |spec: &[i64], allow_zero| run(Reshape { allow_zero }, &[&x, &ints(spec)]);
    assert_eq!(of(&[0, -1], false).shape().dims(), [2, 12]);
    assert_eq!(of(&[-1], false).shape().dims(), [24]);
    assert_eq!(of(&[4, 0, 2], false).shape().dims(), [4, 3, 2]);
    assert_eq!(of(&[6, 4], false).to_f32(), x.to_f32());
    let empty = t(&[0, 3], &[]);
    let y = run(Reshape { allow_zero: true }, &[&empty, &ints(&[3, 0])]);
    assert_eq!(y.shape().dims(), [3, 0]);
    let refused = |spec: &[i64]| refusal(Reshape { allow_zero: false }, &[&x, &ints(spec)]);
    for spec in [&[5, -1][..], &[-1, -1], &[2, 3], &[24, -2], &[1, 1, 1, 0]] {
        assert!(refused(spec).contains("Reshape"), "{spec:?}");
    }
}

#[test]
fn axes_of_extent_one_come_and_go() {
    let x = ramp(&[1, 2, 1, 3], 0.0);
    let dims = |op: Op| run(op, &[&x]).shape().dims().to_vec();
    assert_eq!(dims(Squeeze { axes: vec![] }.into()), [2, 3]);
    assert_eq!(dims(Squeeze { axes: vec![-2] }.into()), [1, 2, 3]);
    assert_eq!(dims(Unsqueeze { axes: vec![0, -1] }.into()), [1, 1, 2, 1, 3, 1]);
    assert_eq!(dims(Flatten { axis: 2 }.into()), [2, 3]);
    assert_eq!(dims(Flatten { axis: 0 }.into()), [1, 6]);
    assert_eq!(dims(Flatten { axis: 4 }.into()), [6, 1]);
    assert!(refusal(Squeeze { axes: vec![1] }, &[&x]).contains("Squeeze"));
    assert!(refusal(Unsqueeze { axes: vec![0, 0] }, &[&x]).contains("Unsqueeze"));
    assert!(refusal(Flatten { axis: 5 }, &[&x]).contains("Flatten"));
}

#[test]
fn transpose_moves_axes() {
    let x = ramp(&[1, 2, 3], 0.0);
    let y = values(Transpose { perm: vec![2, 0, 1] }, &[&x], &[3, 1, 2]);
    assert_eq!(y, [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
    assert!(refusal(Transpose { perm: vec![0, 1, 1] }, &[&x]).contains("Transpose"));
    assert!(refusal(Transpose { perm: vec![0, 1] }, &[&x]).contains("Transpose"));
}

#[test]
fn values_are_repeated() {
    let x = t(&[1, 2], &[1.0, 2.0]);
    assert_eq!(values(Expand, &[&x, &ints(&[2, 1])], &[2, 2]), [1.0, 2.0, 1.0, 2.0]);
    assert_eq!(values(Expand, &[&x, &ints(&[1, 2, 1])], &[1, 2, 2]), [1.0, 2.0, 1.0, 2.0]);
    let y = values(Tile, &[&x, &ints(&[2, 2])], &[2, 4]);
    assert_eq!(y, [1.0, 2.0, 1.0, 2.0, 1.0, 2.0, 1.0, 2.0]);
    assert_eq!(values(Tile, &[&x, &ints(&[0, 1])], &[0, 2]), []);
    assert!(refusal(Expand, &[&x, &ints(&[3])]).contains("broadcast"));
    assert!(refusal(Tile, &[&x, &ints(&[1])]).contains("Tile"));
    assert!(refusal(Tile, &[&x, &ints(&[1, -1])]).contains("Tile"));
}

#[test]
fn shapes_and_ranges_are_numbers() {
    let x = ramp(&[2, 3, 4], 0.0);
    let of = |start, end| i64s(&run(ShapeOf { start, end }, &[&x]));
    assert_eq!(of(0, None), [2, 3, 4]);
    assert_eq!(of(-2, None), [3, 4]);
    assert_eq!(of(0, Some(-1)), [2, 3]);
    assert_eq!(of(2, Some(1)), []);
    let scalars = |a: i64, b: i64, c: i64| [a, b, c].map(Tensor::scalar);
    let [a, b, c] = scalars(5, -1, -2);
    assert_eq!(i64s(&run(Range, &[&a, &b, &c])), [5, 3, 1]);
    let [a, b, c] = scalars(0, 3, 0);
    assert!(refusal(Range, &[&a, &b, &c]).contains("Range"));
    let filled = run(ConstantOfShape { value: t(&[1], &[2.5]) }, &[&ints(&[2, 0, 3])]);
    assert_eq!((filled.dtype(), filled.shape().dims()), (DType::F32, &[2, 0, 3][..]));
    let y = values(ConstantOfShape { value: t(&[1], &[2.5]) }, &[&ints(&[2])], &[2]);
    assert_eq!(y, [2.5, 2.5]);
}

#[test]
fn what_decides_a_shape_must_be_constant() {
    let x = ramp(&[6], 0.0);
    let spec = ints(&[2, 3]);
    let args = [Some(Arg::constant(&x)), Some(Arg::of_type(TensorType::of(&spec)))];
    for op in [Op::from(Reshape { allow_zero: false }), Expand.into()] {
        let error = op.layer().infer(&args).unwrap_err();
        assert_eq!(error, LayerError::NotConstant { layer: op.layer().kind(), input: 1 });
    }
}
