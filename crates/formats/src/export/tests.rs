//! Every layer written and read back; what the files say; what is refused.

mod places;
mod quantized;

use super::*;
use crate::tflite::wire;
use depthwise_layers::ir::{Dim, InputType, ValueId, interpret};
use depthwise_layers::*;
use depthwise_tensor::{DType, Hw, Pad2d, Tensor};
use depthwise_testkit::{Bound, assert_close, random_tensor};

fn reread(graph: &Graph, format: SaveFormat, options: &SaveOptions) -> Graph {
    let bytes = to_bytes(graph, format, options).unwrap_or_else(|e| panic!("{e}\n{graph}"));
    let read = match format {
        SaveFormat::Onnx => onnx::read(bytes.into(), None).map_err(|e| e.to_string()),
        SaveFormat::Tflite => tflite::read(bytes.into()).map_err(|e| e.to_string()),
        SaveFormat::Safetensors => {
            safetensors::read_graph(bytes.into()).map(Option::unwrap).map_err(|e| e.to_string())
        }
    };
    read.unwrap_or_else(|e| panic!("{}: {e}\n{graph}", format.name()))
}

fn input(graph: &mut Graph, dims: &[usize]) -> ValueId {
    graph.add_input("x", InputType::fixed(DType::F32, dims))
}

/// A graph of one layer on an input of these extents, with constants for its other operands.
fn one(op: impl Into<Op>, dims: &[usize], rest: &[Option<Tensor>]) -> Graph {
    let mut graph = Graph::new("one");
    let mut inputs = vec![Some(input(&mut graph, dims))];
    for (i, tensor) in rest.iter().enumerate() {
        inputs.push(tensor.clone().map(|tensor| graph.add_const(format!("c{i}"), tensor)));
    }
    let y = graph.add_node("layer", op, &inputs, &["y"])[0];
    graph.add_output(y);
    graph
}

fn ints(list: &[i64]) -> Option<Tensor> {
    Some(Tensor::from_slice(&[list.len()], list).unwrap())
}

fn weights(dims: &[usize]) -> Option<Tensor> {
    Some(random_tensor(dims, 5))
}

/// Checks a graph through formats: a few roundings to `f32` change places.
#[track_caller]
fn check(graph: &Graph, formats: &[SaveFormat]) {
    let dims = graph.input_type(graph.inputs()[0]).unwrap().shape().unwrap();
    let x = random_tensor(&dims, 9);
    let want = interpret(graph, std::slice::from_ref(&x)).unwrap();
    for &format in formats {
        let back = reread(graph, format, &SaveOptions::default());
        let got = interpret(&back, std::slice::from_ref(&x)).unwrap();
        for (got, want) in got.iter().zip(&want) {
            assert_close(got, want, &Bound::RelativeToMax(1e-5));
        }
    }
}

const BOTH: &[SaveFormat] = &[SaveFormat::Onnx, SaveFormat::Tflite];
const ONNX: &[SaveFormat] = &[SaveFormat::Onnx];
const TFLITE: &[SaveFormat] = &[SaveFormat::Tflite];

const PICTURE: &[usize] = &[2, 6, 5, 4];

#[test]
fn activations_survive() {
    let list = [
        Activation::Identity,
        Activation::RELU,
        Activation::RELU6,
        Activation::Clip { min: -1.0, max: 1.0 },
        Activation::Clip { min: 0.0, max: 1.0 },
        Activation::Clip { min: -0.25, max: f32::INFINITY },
        Activation::Clip { min: f32::NEG_INFINITY, max: 0.25 },
        Activation::LeakyRelu { alpha: 0.3 },
        Activation::Elu { alpha: 1.0 },
        Activation::Elu { alpha: 0.7 },
        Activation::Sigmoid,
        Activation::Tanh,
        Activation::HardSigmoid { alpha: 0.2, beta: 0.5 },
        Activation::HardSwish,
        Activation::Silu,
        Activation::Gelu,
        Activation::GeluTanh,
        Activation::Softplus,
    ];
    for activation in list {
        check(&one(Activate { activation }, PICTURE, &[]), BOTH);
        let conv = Conv2d { activation, ..Conv2d::default() };
        check(&one(conv, PICTURE, &[weights(&[3, 1, 1, 4]), weights(&[3])]), BOTH);
    }
}

#[test]
fn functions_of_one_operand_survive() {
    use UnaryFn::*;
    let list = [Neg, Abs, Exp, Reciprocal, Square, Sin, Cos, Floor, Ceil, Round, Sign];
    for function in list {
        check(&one(Unary { function }, PICTURE, &[]), BOTH);
    }
    // Of numbers that are positive.
    for function in [Log, Sqrt, Rsqrt] {
        let mut graph = one(Unary { function: Abs }, PICTURE, &[]);
        let y = graph.find("y").unwrap();
        let z = graph.add("z", Unary { function }, &[y]);
        graph.add_output(z);
        check(&graph, BOTH);
    }
    check(&one(Unary { function: Erf }, PICTURE, &[]), ONNX);
}

#[test]
fn functions_of_two_operands_survive_with_broadcasting() {
    use BinaryFn::*;
    for dims in [&[4][..], &[5, 4], &[2, 6, 5, 4], &[1, 6, 1, 4], &[]] {
        for function in [Add, Sub, Mul, Div, Min, Max, Mod, Less, GreaterOrEqual, Equal] {
            let op = Binary { function, activation: Activation::Identity };
            // A convolution first, so that the picture is NCHW in ONNX.
            let mut graph = one(Conv2d::default(), PICTURE, &[weights(&[4, 1, 1, 4])]);
            let y = graph.find("y").unwrap();
            let c = graph.add_const("other", random_tensor(dims, 3));
            let z = graph.add("z", op, &[y, c]);
            graph.add_output(z);
            check(&graph, BOTH);
        }
    }
    let op = Binary { function: Rem, activation: Activation::Identity };
    check(&one(op, PICTURE, &[weights(PICTURE)]), ONNX);
    check(&one(PRelu, PICTURE, &[weights(&[4])]), BOTH);
}

#[test]
fn convolutions_survive() {
    let hw = Hw { h: 2, w: 1 };
    let pads = [
        Padding::Same,
        Padding::SameLower,
        Padding::Valid,
        Padding::Explicit(Pad2d { top: 1, left: 0, bottom: 2, right: 1 }),
    ];
    for padding in pads {
        for dilation in [Hw::ONE, Hw::square(2)] {
            let stride = if dilation == Hw::ONE { hw } else { Hw::ONE };
            let conv = Conv2d { padding, dilation, stride, ..Conv2d::default() };
            check(&one(conv, PICTURE, &[weights(&[3, 3, 2, 4]), weights(&[3])]), BOTH);
            let grouped = Conv2d { padding, groups: 2, ..Conv2d::default() };
            check(&one(grouped, PICTURE, &[weights(&[6, 3, 3, 2])]), BOTH);
            let depthwise =
                DepthwiseConv2d { padding, dilation, stride, activation: Activation::RELU6 };
            check(&one(depthwise, PICTURE, &[weights(&[3, 2, 8]), weights(&[8])]), BOTH);
        }
    }
    let mut residual = one(Conv2d::default(), PICTURE, &[weights(&[4, 1, 1, 4])]);
    let y = residual.find("y").unwrap();
    let w = residual.add_const("w", random_tensor(&[4, 1, 1, 4], 4));
    let conv = Conv2d { activation: Activation::HardSwish, ..Conv2d::default() };
    let z = residual.add_node("z", conv, &[Some(y), Some(w), None, Some(y)], &["z"])[0];
    residual.add_output(z);
    check(&residual, BOTH);
}

/// The ONNX reader may not know the operator; the file is checked by other engines.
#[test]
fn transposed_convolutions_survive() {
    for (stride, kernel) in [(2, 2), (2, 3), (1, 3), (3, 2)] {
        for (top, bottom) in [(0, 0), (1, 1), (0, 1), (1, 0)] {
            let op = ConvTranspose2d {
                stride: Hw::square(stride),
                padding: Pad2d { top, bottom, left: 0, right: 0 },
                activation: Activation::RELU,
                ..ConvTranspose2d::default()
            };
            let rest = [weights(&[3, kernel, kernel, 4]), weights(&[3])];
            check(&one(op, PICTURE, &rest), TFLITE);
        }
    }
}

#[test]
fn dense_layers_and_products_survive() {
    let dense = || Dense { activation: Activation::RELU };
    for dims in [&[3, 4][..], &[2, 3, 4], &[4]] {
        check(&one(dense(), dims, &[weights(&[5, 4]), weights(&[5])]), BOTH);
    }
    check(&one(MatMul, &[2, 3, 4], &[weights(&[4, 5])]), BOTH);
    check(&one(MatMul, &[3, 4], &[weights(&[4])]), BOTH);
    check(&one(MatMul, &[4], &[weights(&[2, 4, 5])]), BOTH);
}

#[test]
fn normalization_survives() {
    let var = Tensor::from_slice(&[4], &[0.5f32, 1.0, 2.0, 0.1]).unwrap();
    for (axis, dims) in [(-1, PICTURE), (1, &[2, 4, 5, 6]), (-1, &[3, 4]), (-1, &[2, 3, 4])] {
        let rest = [weights(&[4]), None, weights(&[4]), Some(var.clone())];
        check(&one(BatchNorm { epsilon: 1e-3, axis }, dims, &rest), BOTH);
    }
    for axis in [-1, 1, 2] {
        check(&one(Softmax { axis, log: axis == 2 }, PICTURE, &[]), BOTH);
    }
}

#[test]
fn pools_survive() {
    let kinds = [
        PoolKind::Max,
        PoolKind::Average { include_pad: true },
        PoolKind::Average { include_pad: false },
    ];
    let pads = [
        Padding::Same,
        Padding::Valid,
        Padding::all(1),
        Padding::Explicit(Pad2d { top: 0, left: 1, bottom: 1, right: 0 }),
    ];
    for kind in kinds {
        for padding in pads {
            for ceil_mode in [false, true] {
                let pool = Pool2d {
                    kind,
                    kernel: Hw { h: 3, w: 2 },
                    stride: Hw::square(2),
                    dilation: Hw::ONE,
                    padding,
                    ceil_mode,
                };
                check(&one(pool, PICTURE, &[]), BOTH);
            }
        }
    }
}

#[test]
fn reductions_survive() {
    use ReduceFn::*;
    for function in [Mean, Sum, Max, Min, Prod, L1, L2, SumSquare, LogSumExp] {
        for axes in [vec![1, 2], vec![-1], vec![1], vec![]] {
            for keep_dims in [false, true] {
                let op = Reduce { function, axes: axes.clone(), keep_dims };
                let mut graph = one(Conv2d::default(), PICTURE, &[weights(&[4, 1, 1, 4])]);
                let y = graph.find("y").unwrap();
                let z = graph.add("z", op, &[y]);
                graph.add_output(z);
                check(&graph, BOTH);
            }
        }
    }
    for (largest, keep_dims) in [(true, false), (false, true)] {
        let op = ArgExtreme { largest, axis: -1, keep_dims, select_last: false };
        check(&one(op, PICTURE, &[]), BOTH);
    }
}

#[test]
fn interpolation_survives() {
    let coordinates = [Coordinates::HalfPixel, Coordinates::AlignCorners, Coordinates::Asymmetric];
    for coordinates in coordinates {
        let resize = |mode| Resize { mode, coordinates };
        for sizes in [[2, 12, 10, 4], [2, 4, 9, 4]] {
            check(&one(resize(ResizeMode::Linear), PICTURE, &[ints(&sizes)]), BOTH);
            let rounding = match coordinates {
                Coordinates::Asymmetric => NearestRounding::Floor,
                _ => NearestRounding::RoundPreferCeil,
            };
            check(&one(resize(ResizeMode::Nearest(rounding)), PICTURE, &[ints(&sizes)]), BOTH);
        }
        // Rows and columns of an NCHW picture.
        check(&one(resize(ResizeMode::Linear), PICTURE, &[ints(&[2, 6, 8, 9])]), BOTH);
        // Samples that the flags of TFLite do not name.
        let mode = ResizeMode::Nearest(NearestRounding::Ceil);
        check(&one(resize(mode), PICTURE, &[ints(&[2, 7, 8, 4])]), BOTH);
    }
    let scales = Some(Tensor::from_slice(&[4], &[1f32, 2.0, 2.0, 1.0]).unwrap());
    let op = Resize { mode: ResizeMode::Linear, coordinates: Coordinates::HalfPixel };
    check(&one(op, PICTURE, &[None, scales]), BOTH);
}

#[test]
fn movement_survives() {
    let pad = |mode| Pad { mode };
    check(&one(pad(PadMode::Constant), PICTURE, &[ints(&[0, 1, 0, 0, 0, 2, 1, 0])]), BOTH);
    let value = Some(Tensor::scalar(0.5f32));
    let axes = ints(&[1, -2]);
    check(&one(pad(PadMode::Constant), PICTURE, &[ints(&[-1, 1, 2, -1]), value, axes]), BOTH);
    check(&one(pad(PadMode::Reflect), PICTURE, &[ints(&[0, 2, 1, 0, 0, 1, 3, 0])]), BOTH);
    check(&one(pad(PadMode::Edge), PICTURE, &[ints(&[0, 1, 1, 0, 0, 0, 1, 0])]), BOTH);
    let slice = |s: &[i64], e: &[i64], a: &[i64], t: &[i64]| {
        one(Slice, PICTURE, &[ints(s), ints(e), ints(a), ints(t)])
    };
    check(&slice(&[1, 0], &[4, -1], &[1, 3], &[1, 1]), BOTH);
    check(&slice(&[1, -1], &[6, i64::MIN], &[1, 2], &[2, -1]), BOTH);
    check(&slice(&[-1], &[0], &[-1], &[-2]), BOTH);
    check(&one(Gather { axis: -1 }, PICTURE, &[ints(&[3, -1, 0])]), BOTH);
    check(&one(Tile, PICTURE, &[ints(&[1, 2, 1, 3])]), BOTH);
    check(&one(Expand, &[1, 1, 4], &[ints(&[2, 3, 4])]), BOTH);
    check(&one(Flatten { axis: 1 }, PICTURE, &[]), BOTH);
    check(&one(Reshape { allow_zero: false }, PICTURE, &[ints(&[0, -1, 4])]), BOTH);
    check(&one(Unsqueeze { axes: vec![0, -1] }, &[3, 4], &[]), BOTH);
    check(&one(Squeeze { axes: vec![1, 2] }, &[2, 1, 1, 4], &[]), BOTH);
    for perm in [[0, 3, 1, 2], [0, 2, 3, 1], [3, 1, 0, 2]] {
        check(&one(Transpose { perm: perm.to_vec() }, PICTURE, &[]), BOTH);
    }
    check(&one(DepthToSpace { block: Hw::square(2) }, PICTURE, &[]), BOTH);
    check(&one(SpaceToDepth { block: Hw::square(2) }, &[1, 4, 6, 3], &[]), BOTH);
    let mut graph = Graph::new("split");
    let x = input(&mut graph, PICTURE);
    let op = Split { axis: -1, parts: SplitParts::Sizes(vec![1, 3]) };
    let parts = graph.add_node("split", op, &[Some(x)], &["a", "b"]);
    let joined = graph.add("joined", Concat { axis: 3 }, &[parts[1], parts[0]]);
    graph.add_output(joined);
    graph.add_output(parts[0]);
    check(&graph, BOTH);
}

/// Names of the operators of an ONNX file.
fn onnx_operators(graph: &Graph, options: &SaveOptions) -> Vec<String> {
    let bytes = to_bytes(graph, SaveFormat::Onnx, options).unwrap();
    let model = onnx::wire::Model::decode(&bytes).unwrap();
    model.graph.nodes.iter().map(|node| node.op_type.to_owned()).collect()
}

/// conv, relu6, depthwise, add, mean, dense
fn mobile() -> Graph {
    let mut graph = one(Conv2d::default(), &[1, 6, 6, 3], &[weights(&[4, 1, 1, 3])]);
    let y = graph.find("y").unwrap();
    let a = graph.add("act", Activate { activation: Activation::RELU6 }, &[y]);
    let w = graph.add_const("dw", random_tensor(&[3, 3, 4], 8));
    let op = DepthwiseConv2d { padding: Padding::Same, ..DepthwiseConv2d::default() };
    let d = graph.add("depthwise", op, &[a, w]);
    let op = Binary { function: BinaryFn::Add, activation: Activation::Identity };
    let s = graph.add("sum", op, &[d, a]);
    let op = Reduce { function: ReduceFn::Mean, axes: vec![1, 2], keep_dims: false };
    let m = graph.add("mean", op, &[s]);
    let w = graph.add_const("w", random_tensor(&[2, 4], 8));
    let z = graph.add("scores", Dense { activation: Activation::Identity }, &[m, w]);
    graph.add_output(z);
    graph
}

#[test]
fn a_network_of_pictures_has_one_transpose_in_onnx_or_none() {
    let operators = ["Conv", "Clip", "Conv", "Add", "ReduceMean", "Gemm"];
    let nchw = SaveOptions { nchw: true, ..SaveOptions::default() };
    let mut graph = mobile();
    // The first result is an output too, and declared NHWC.
    let all = onnx_operators(&graph, &SaveOptions::default());
    assert_eq!(all.iter().filter(|op| *op == "Transpose").count(), 2, "{all:?}");
    assert_eq!(onnx_operators(&graph, &nchw), operators);
    let back = reread(&graph, SaveFormat::Onnx, &nchw);
    let dims = back.input_type(back.inputs()[0]).unwrap().to_string();
    assert_eq!(dims, "f32[1x3x6x6]");
    graph.name.clear();
    check(&graph, BOTH);
}

#[test]
fn names_and_text_are_kept() {
    let mut graph = mobile();
    graph.metadata.insert("labels".into(), "cat\ndog".into());
    for format in [SaveFormat::Onnx, SaveFormat::Tflite, SaveFormat::Safetensors] {
        let back = reread(&graph, format, &SaveOptions::default());
        assert_eq!(back.metadata["labels"], "cat\ndog");
        for name in ["x", "y", "act", "depthwise", "sum", "mean", "scores", "dw", "w"] {
            // Weights in another order are made again by the reader of ONNX.
            let weights = format == SaveFormat::Onnx && name == "dw";
            let fused = format == SaveFormat::Tflite && ["dw", "w"].contains(&name);
            assert!(back.find(name).is_some() || weights || fused, "{name} in {back}");
        }
    }
}

#[test]
fn half_stores_filters_as_f16() {
    let graph = mobile();
    let options = SaveOptions { half: true, ..SaveOptions::default() };
    let x = random_tensor(&[1, 6, 6, 3], 2);
    let want = interpret(&graph, std::slice::from_ref(&x)).unwrap();
    for format in [SaveFormat::Onnx, SaveFormat::Tflite, SaveFormat::Safetensors] {
        let back = reread(&graph, format, &options);
        let halves = back.value_ids().filter_map(|id| back.constant(id));
        assert!(halves.filter(|tensor| tensor.dtype() == DType::F16).count() == 3, "{back}");
        let got = interpret(&back, std::slice::from_ref(&x)).unwrap();
        // Three layers, each rounded by 2^-11.
        assert_close(&got[1], &want[1], &Bound::RelativeToMax(5e-3));
        assert_ne!(got[1], want[1]);
    }
}

#[test]
fn every_layer_without_a_form_is_listed() {
    let mut graph = one(Unary { function: UnaryFn::Erf }, PICTURE, &[]);
    let y = graph.find("y").unwrap();
    let pool = Pool2d {
        kind: PoolKind::Max,
        kernel: Hw::square(2),
        stride: Hw::ONE,
        dilation: Hw::square(2),
        padding: Padding::Valid,
        ceil_mode: false,
    };
    let z = graph.add("pool", pool, &[y]);
    graph.add_output(z);
    let error = to_bytes(&graph, SaveFormat::Tflite, &SaveOptions::default()).unwrap_err();
    let SaveError::Unsupported { layers, .. } = &error else { panic!("{error}") };
    let found: Vec<&str> = layers.iter().map(|layer| layer.node.as_str()).collect();
    assert_eq!(found, ["layer", "pool"]);
    assert!(error.to_string().starts_with("2 layers of the network cannot be written as"));
    check(&graph, ONNX);
}

#[test]
fn free_extents_stay_free_where_the_format_can() {
    let mut graph = Graph::new("free");
    let dims = vec![Dim::Free("N".into()), Dim::Free("H".into()), Dim::Fixed(8), Dim::Fixed(3)];
    let x = graph.add_input("x", InputType { dtype: DType::F32, dims });
    let w = graph.add_const("w", random_tensor(&[3, 3, 3], 1));
    let op = DepthwiseConv2d {
        stride: Hw::square(2),
        padding: Padding::Same,
        ..DepthwiseConv2d::default()
    };
    let y = graph.add("y", op, &[x, w]);
    graph.add_output(y);
    let options = SaveOptions::default();
    let back = reread(&graph, SaveFormat::Onnx, &options);
    assert_eq!(back.input_type(back.inputs()[0]).unwrap().to_string(), "f32[NxHx8x3]");
    for height in [5, 6] {
        let x = [random_tensor(&[2, height, 8, 3], 2)];
        let (got, want) = (interpret(&back, &x).unwrap(), interpret(&graph, &x).unwrap());
        assert_close(&got[0], &want[0], &Bound::RelativeToMax(1e-6));
    }
    let error = to_bytes(&graph, SaveFormat::Tflite, &options).unwrap_err();
    assert!(matches!(error, SaveError::FreeShape { .. }), "{error}");
    assert!(error.to_string().contains("\"x\""), "{error}");
    let shapes = vec![Shape::new(&[1, 7, 8, 3]).unwrap()];
    let options = SaveOptions { input_shapes: shapes, ..options };
    let back = reread(&graph, SaveFormat::Tflite, &options);
    assert_eq!(back.input_type(back.inputs()[0]).unwrap().to_string(), "f32[1x7x8x3]");
    let wrong = SaveOptions { input_shapes: Vec::new(), ..options };
    assert!(to_bytes(&graph, SaveFormat::Safetensors, &wrong).is_ok());
}

#[test]
fn constants_of_tflite_lie_on_lines_of_16_bytes() {
    let bytes = to_bytes(&mobile(), SaveFormat::Tflite, &SaveOptions::default()).unwrap();
    let model = wire::Model::decode(&bytes).unwrap();
    let starts = model.buffers.iter().filter(|buffer| !buffer.is_empty());
    let offsets: Vec<usize> =
        starts.map(|buffer| buffer.as_ptr() as usize - bytes.as_ptr() as usize).collect();
    assert!(offsets.len() > 5 && offsets.iter().all(|at| at % 16 == 0), "{offsets:?}");
}

#[test]
fn constants_that_were_dropped_are_named() {
    let mut graph = mobile();
    let w = graph.find("w").unwrap();
    graph.release_constant(w);
    let error = to_bytes(&graph, SaveFormat::Onnx, &SaveOptions::default()).unwrap_err();
    assert!(
        matches!(&error, SaveError::Released { node, value } if node == "scores" && value == "w")
    );
}

#[test]
fn files_are_named_by_their_format() {
    let folder = tempfile::tempdir().unwrap();
    let options = SaveOptions::default();
    for name in ["a.onnx", "a.tflite", "A.SAFETENSORS"] {
        let path = folder.path().join(name);
        let saved = save(&mobile(), &path, &options).unwrap();
        assert_eq!(saved.bytes, std::fs::metadata(&path).unwrap().len());
        assert!(saved.operators.values().sum::<usize>() >= 6);
        assert_eq!(crate::open(&path).unwrap().outputs().len(), 2);
    }
    let error = save(&mobile(), folder.path().join("a.pb"), &options).unwrap_err();
    assert!(matches!(error, SaveError::Extension { .. }), "{error}");
    let error = save(&mobile(), folder.path().join("no/a.onnx"), &options).unwrap_err();
    assert!(error.to_string().contains("no/a.onnx"), "{error}");
}
