use super::*;
use crate::export::{SaveFormat, SaveOptions, to_bytes};
use crate::safetensors::{self, SafetensorsError, read_graph};
use bytes::Bytes;
use depthwise_layers::ir::{Dim, Graph, InputType, infer_types, interpret};
use depthwise_layers::*;
use depthwise_tensor::{DType, Hw, Pad2d, Shape, Tensor};
use depthwise_testkit::random_tensor;
use std::collections::BTreeSet;

fn file(graph: &Graph) -> Vec<u8> {
    to_bytes(graph, SaveFormat::Safetensors, &SaveOptions::default()).unwrap()
}

fn reread(bytes: &[u8]) -> Result<Graph, SafetensorsError> {
    let graph = read_graph(Bytes::copy_from_slice(bytes))?;
    Ok(graph.expect("the file has a graph"))
}

fn every_layer() -> Vec<Op> {
    let hw = Hw { h: 2, w: 3 };
    let pad = Pad2d { top: 1, left: 2, bottom: 3, right: 4 };
    let clip = Activation::Clip { min: -0.1, max: f32::INFINITY };
    let value = Tensor::from_slice(&[1], &[f32::NAN]).unwrap();
    vec![
        Activate { activation: Activation::HardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 } }.into(),
        ArgExtreme { largest: true, axis: -1, keep_dims: false, select_last: true }.into(),
        BatchNorm { epsilon: 1e-3, axis: 1 }.into(),
        Binary { function: BinaryFn::GreaterOrEqual, activation: Activation::Identity }.into(),
        Cast { to: DType::Bf16 }.into(),
        Concat { axis: -2 }.into(),
        ConstantOfShape { value }.into(),
        Conv2d {
            stride: hw,
            dilation: hw,
            padding: Padding::SameLower,
            groups: 4,
            activation: clip,
        }
        .into(),
        ConvTranspose2d {
            stride: hw,
            padding: pad,
            output_padding: hw,
            ..ConvTranspose2d::default()
        }
        .into(),
        Dense { activation: Activation::Elu { alpha: 0.3 } }.into(),
        DepthToSpace { block: hw }.into(),
        Dequantize { axis: -1 }.into(),
        DepthwiseConv2d { padding: Padding::Explicit(pad), ..DepthwiseConv2d::default() }.into(),
        Detections {
            y_scale: 10.0,
            x_scale: 9.0,
            h_scale: 5.0,
            w_scale: 4.0,
            classes: 90,
            max_detections: 10,
            max_classes_per_detection: 1,
            detections_per_class: 100,
            by_class: true,
            score_threshold: f32::NEG_INFINITY,
            iou_threshold: 0.6,
        }
        .into(),
        Dropout { rate: 0.2 }.into(),
        Expand.into(),
        Flatten { axis: i64::MIN }.into(),
        Gather { axis: 1 }.into(),
        GatherElements { axis: -1 }.into(),
        GatherNd { batch_dims: 2 }.into(),
        GridSample { mode: SampleMode::Cubic, outside: Outside::Border, align_corners: true }
            .into(),
        MatMul.into(),
        MaxPositions {
            kernel: hw,
            stride: hw,
            dilation: Hw::ONE,
            padding: Padding::Same,
            ceil_mode: false,
            column_major: true,
        }
        .into(),
        PRelu.into(),
        Pad { mode: PadMode::Wrap }.into(),
        Pool2d {
            kind: PoolKind::Average { include_pad: true },
            kernel: hw,
            stride: hw,
            dilation: Hw::ONE,
            padding: Padding::Valid,
            ceil_mode: true,
        }
        .into(),
        Quantize { dtype: DType::I8, axis: 2 }.into(),
        Range.into(),
        Reduce { function: ReduceFn::LogSumExp, axes: vec![-1, 0], keep_dims: true }.into(),
        Reshape { allow_zero: true }.into(),
        Resize {
            mode: ResizeMode::Cubic { a: -0.75, exclude_outside: true },
            coordinates: Coordinates::HalfPixelSymmetric,
        }
        .into(),
        Resize {
            mode: ResizeMode::LinearAntialias { exclude_outside: true },
            coordinates: Coordinates::HalfPixel,
        }
        .into(),
        Resize {
            mode: ResizeMode::CubicAntialias { a: -0.5, exclude_outside: false },
            coordinates: Coordinates::HalfPixel,
        }
        .into(),
        ScatterElements { axis: 1, function: ScatterFn::Max }.into(),
        ScatterNd { function: ScatterFn::Replace }.into(),
        Select.into(),
        ShapeOf { start: -2, end: Some(7) }.into(),
        Slice.into(),
        Softmax { axis: 1, log: true }.into(),
        SpaceToDepth { block: hw }.into(),
        Split { axis: 0, parts: SplitParts::Sizes(vec![1, 2]) }.into(),
        Squeeze { axes: vec![] }.into(),
        Tile.into(),
        TopK { axis: 1, largest: false }.into(),
        Transpose { perm: vec![1, 0] }.into(),
        Unary { function: UnaryFn::Rsqrt }.into(),
        Unsqueeze { axes: vec![-1] }.into(),
    ]
}

#[test]
fn attributes_of_every_layer_survive() {
    let mut kinds = BTreeSet::new();
    for op in every_layer() {
        let (name, attributes) = ops::write(&op).unwrap();
        kinds.insert(name);
        // By way of the text, as in a file.
        let text = serde_json::to_string(&attributes).unwrap();
        let back = ops::read(name, &serde_json::from_str(&text).unwrap()).unwrap();
        assert_eq!(back, op, "{text}");
    }
    assert_eq!(kinds, ops::NAMES.iter().copied().collect());
}

#[test]
fn parameters_of_activations_survive_to_the_bit() {
    for bits in (0..u32::MAX).step_by(7_654_321) {
        let alpha = f32::from_bits(bits);
        if alpha.is_nan() {
            continue;
        }
        let op = Op::from(Activate { activation: Activation::LeakyRelu { alpha } });
        let (name, attributes) = ops::write(&op).unwrap();
        let text = serde_json::to_string(&attributes).unwrap();
        let Ok(Op::Activate(Activate { activation: Activation::LeakyRelu { alpha: back } })) =
            ops::read(name, &serde_json::from_str(&text).unwrap())
        else {
            panic!("{text}")
        };
        assert_eq!(back.to_bits(), bits, "{text}");
    }
}

fn small_net() -> Graph {
    let mut graph = Graph::new("net \"1\"");
    graph.metadata.insert("labels".into(), "a\nb".into());
    let dims = vec![Dim::Free("N".into()), Dim::Fixed(5), Dim::Fixed(4), Dim::Fixed(3)];
    let x = graph.add_input("x", InputType { dtype: DType::F32, dims });
    let unused = graph.add_const("unused", Tensor::scalar(1f32));
    let w = graph.add_const("w", random_tensor(&[4, 3, 3, 3], 1));
    let same_name = graph.add_const("w", random_tensor(&[4], 2));
    let conv =
        Conv2d { padding: Padding::Same, activation: Activation::RELU6, ..Conv2d::default() };
    let inputs = [Some(x), Some(w), Some(same_name), None];
    let y = graph.add_node("conv", conv, &inputs, &["y"])[0];
    let split = Split { axis: -1, parts: SplitParts::Equal(2) };
    let parts = graph.add_node("split", split, &[Some(y)], &["a", ""]);
    let z = graph.add("z", Concat { axis: -1 }, &[parts[1], parts[0]]);
    graph.add_output(z);
    graph.add_output(w);
    assert!(graph.constant(unused).is_some());
    graph
}

#[test]
fn a_graph_survives_a_round_trip() {
    let before = small_net();
    let bytes = file(&before);
    let after = reread(&bytes).unwrap();
    assert_eq!((&after.name, &after.metadata), (&before.name, &before.metadata));
    assert_eq!(after.input_type(after.inputs()[0]), before.input_type(before.inputs()[0]));
    assert!(after.find("unused").is_none(), "what nothing reads is left out");
    let ops = |graph: &Graph| graph.nodes().iter().map(|n| n.op.clone()).collect::<Vec<_>>();
    assert_eq!(ops(&after), ops(&before));
    let x = random_tensor(&[2, 5, 4, 3], 3);
    let run = |graph: &Graph| interpret(graph, std::slice::from_ref(&x)).unwrap();
    assert_eq!(run(&after), run(&before));
    assert_eq!(file(&after), bytes);
}

#[test]
fn other_programs_find_the_weights_by_name() {
    let bytes = Bytes::from(file(&small_net()));
    let weights = safetensors::read(bytes).unwrap();
    assert_eq!(weights.get("w").unwrap(), &random_tensor(&[4, 3, 3, 3], 1));
    assert_eq!(weights.len(), 2);
    assert_eq!(weights.metadata["labels"], "a\nb");
}

#[test]
fn files_of_weights_have_no_graph() {
    let bytes = safetensors::to_bytes(&crate::Weights::default()).unwrap();
    assert!(read_graph(bytes.into()).unwrap().is_none());
}

/// The small net with a change to its text.
fn changed(from: &str, to: &str) -> GraphError {
    let mut weights = safetensors::read(file(&small_net()).into()).unwrap();
    let text = &weights.metadata[GRAPH_KEY];
    assert!(text.contains(from), "{text}");
    let text = text.replacen(from, to, 1);
    weights.metadata.insert(GRAPH_KEY.into(), text);
    match graph_of(&weights).unwrap() {
        Err(error) => error,
        Ok(graph) => panic!("{to} gives {graph}"),
    }
}

#[test]
fn faults_are_named() {
    let cases = [
        ("\"version\":1", "\"version\":2", "version 2"),
        ("\"Conv2d\"", "\"Conv9d\"", "node \"conv\" (Conv9d)"),
        ("\"groups\":1", "\"groups\":0", "0 groups"),
        ("\"groups\":1", "\"group\":1", "\"group\" is not known"),
        ("\"groups\":1,", "", "\"groups\" is missing"),
        ("\"stride\":[1,1]", "\"stride\":[0,1]", "stride 0x1"),
        ("\"stride\":[1,1]", "\"stride\":[1,-1]", "\"stride\" cannot be [1,-1]"),
        ("[0,1,2,null]", "[0,1,2,null,0,0]", "takes 2 to 4 inputs"),
        ("[0,1,2,null]", "[null,1,2,null]", "input 0 is left out"),
        ("[0,1,2,null]", "[0,1,3,null]", "value number 3"),
        ("\"outputs\":[\"a\",\"\"]", "\"outputs\":[\"a\"]", "1 results instead of 2"),
        ("\"parts\":2", "\"parts\":200000", "at most 65536"),
        ("\"tensor\":\"w\"", "\"tensor\":\"v\"", "\"v\", which is not in the file"),
        ("\"dtype\":\"f32\"", "\"dtype\":\"f8\"", "type \"f8\" is not known"),
        ("\"dims\":[\"N\",", "\"dims\":[\"N\",1,1,1,1,1,1,1,1,", "dimensions; at most"),
        ("\"outputs\":[6,1]", "\"outputs\":[6,9]", "output number 9"),
        ("\"outputs\":[6,1]", "\"outputs\":[6,6]", "two inputs or outputs"),
        ("\"name\":", "\"nam\":", "unknown field"),
    ];
    for (from, to, want) in cases {
        let error = changed(from, to).to_string();
        assert!(error.contains(want), "{to}: {error}");
    }
}

#[test]
fn truncated_and_changed_files_give_errors_or_graphs() {
    let bytes = file(&small_net());
    for len in 0..bytes.len() {
        assert!(read_graph(Bytes::copy_from_slice(&bytes[..len])).is_err(), "{len} bytes");
    }
    // Every byte of the header, replaced by characters that mean something there.
    let header = bytes.len() - 4 * (4 * 27 + 4);
    let shapes = [Shape::new(&[1, 5, 4, 3]).unwrap()];
    let mut read = 0;
    for at in 8..header {
        for byte in *b"0719-\"[]{},:.eaN" {
            let mut changed = bytes.clone();
            changed[at] = byte;
            if let Ok(Some(graph)) = read_graph(changed.into()) {
                let _ = infer_types(&graph, &shapes);
                read += 1;
            }
        }
    }
    assert!(read > 100, "{read} changes made no error");
}
