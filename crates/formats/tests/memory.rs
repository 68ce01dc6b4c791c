//! Hostile files may not take more memory than a fixed multiple of their size.
//!
//! One test, since the peak of the heap is counted for the whole process.

use bytes::Bytes;
use depthwise_formats::onnx::wire::{
    Attribute, AttributeValue, Dimension, Graph, Model, Node, Opset, ValueInfo, data_type,
};
use depthwise_formats::tflite::wire::{Field, IDENTIFIER, Record, encode};
use depthwise_formats::{keras, onnx, safetensors, tflite, torch};
use hdf5_pure::{AttrValue, FileBuilder};
use peak_alloc::PeakAlloc;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// Records are larger in memory than in the file: the smallest node is 5 bytes there, but here a
/// node, its values, its name and the report on it.
const FACTOR: usize = 200;

#[track_caller]
fn check<T>(what: &str, file: Vec<u8>, read: impl Fn(Bytes) -> T) {
    let len = file.len();
    let file = Bytes::from(file);
    HEAP.reset_peak_usage();
    let before = HEAP.current_usage();
    drop(read(file));
    let peak = HEAP.peak_usage() - before;
    assert!(peak <= FACTOR * len + (2 << 20), "{what}: {peak} bytes for a file of {len}");
}

fn model(nodes: Vec<Node<'_>>) -> Vec<u8> {
    let info = |name, shape| ValueInfo { name, elem_type: data_type::FLOAT, shape };
    let model = Model {
        ir_version: 8,
        opsets: vec![Opset { domain: "", version: 11 }],
        graph: Graph {
            nodes,
            inputs: vec![info("x", Some(vec![Dimension::Value(4)]))],
            outputs: vec![info("y", None)],
            ..Graph::default()
        },
        ..Model::default()
    };
    model.encode()
}

fn node<'a>(op_type: &'a str, inputs: Vec<&'a str>, outputs: Vec<&'a str>) -> Node<'a> {
    Node { op_type, inputs, outputs, ..Node::default() }
}

/// Many nodes of the fewest bytes, known and unknown.
fn small_nodes(op_type: &str) -> Vec<u8> {
    let mut nodes = vec![node(op_type, vec![], vec![]); 40_000];
    nodes.push(node("Neg", vec!["x"], vec!["y"]));
    model(nodes)
}

/// A long name beside many results.
fn long_name() -> Vec<u8> {
    let name = "n".repeat(100_000);
    let mut split = node("Split", vec!["x"], vec![""; 50_000]);
    split.name = &name;
    split.outputs[0] = "y";
    model(vec![split])
}

/// A tensor of many dimensions, and many operations that write its axes out.
fn high_rank() -> Vec<u8> {
    let names: Vec<String> = (0..2_000).map(|i| format!("t{i}")).collect();
    let mut first = node("Unsqueeze", vec!["x"], vec!["y"]);
    let axes = AttributeValue::Ints((0..20_000).collect());
    first.attributes = vec![Attribute { name: "axes", value: axes }];
    let mut nodes = vec![first];
    nodes.extend(names.iter().map(|name| node("Transpose", vec!["y"], vec![name])));
    model(nodes)
}

/// The older container of a checkpoint around an object, without storages.
fn checkpoint(object: &[u8]) -> Vec<u8> {
    let mut file = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.".to_vec();
    file.extend(b"\x80\x02M\xe9\x03.\x80\x02}.\x80\x02");
    file.extend(object);
    file.extend(b".\x80\x02].");
    file
}

/// A long key that many entries share through the memo, as part of their names.
fn shared_key() -> Vec<u8> {
    let key = "k".repeat(50_000);
    let mut object = b"}X\x50\xc3\x00\x00".to_vec();
    object.extend(key.as_bytes());
    object.extend(b"}(");
    for i in 0..10_000u32 {
        object.push(b'J');
        object.extend(i.to_le_bytes());
        object.extend(b"K\x01");
    }
    object.extend(b"us");
    checkpoint(&object)
}

/// A header of many tensors without elements.
fn many_empty_tensors() -> Vec<u8> {
    let entries: Vec<String> = (0..20_000)
        .map(|i| format!(r#""{i}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#))
        .collect();
    let header = format!("{{{}}}", entries.join(","));
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat()
}

/// A TFLite model with these tensors and operators, all of one code.
fn network(tensors: Vec<Record>, code: Record, operators: Vec<Record>) -> Vec<u8> {
    let network = Record::new()
        .with(0, Field::Tables(tensors))
        .with(1, Field::I32s(vec![0]))
        .with(3, Field::Tables(operators));
    let model = Record::new()
        .with(1, Field::Tables(vec![code]))
        .with(2, Field::Tables(vec![network]))
        .with(
            4,
            Field::Tables(vec![Record::new(), Record::new().with(0, Field::Bytes(vec![0; 4]))]),
        );
    encode(IDENTIFIER, &model)
}

fn vector_of_four() -> Record {
    Record::new().with(0, Field::I32s(vec![4]))
}

/// Many operators of the fewest bytes.
fn small_operators(code: i32) -> Vec<u8> {
    let code = Record::new().with(3, Field::I32(code));
    network(vec![vector_of_four()], code, vec![Record::new(); 40_000])
}

/// Many operators of a custom kind with a long name.
fn long_custom_name() -> Vec<u8> {
    let code = Record::new().with(0, Field::U8(32)).with(1, Field::Text("n".repeat(100_000)));
    network(vec![vector_of_four()], code, vec![Record::new(); 10_000])
}

/// Many operators that compute a tensor each.
fn negations() -> Vec<u8> {
    let operator =
        |i: i32| Record::new().with(1, Field::I32s(vec![i])).with(2, Field::I32s(vec![i + 1]));
    let code = Record::new().with(3, Field::I32(59));
    network(vec![vector_of_four(); 20_001], code, (0..20_000).map(operator).collect())
}

/// A sparse tensor of few elements and vast extents.
fn vast_sparse_tensor() -> Vec<u8> {
    let level = || Record::new().with(1, Field::I32(1 << 15));
    let sparsity = Record::new()
        .with(0, Field::I32s(vec![0, 1]))
        .with(2, Field::Tables(vec![level(), level()]));
    let sparse = Record::new()
        .with(0, Field::I32s(vec![1 << 15; 2]))
        .with(2, Field::I32(1))
        .with(6, Field::Table(sparsity));
    let operator = Record::new().with(1, Field::I32s(vec![1])).with(2, Field::I32s(vec![2]));
    let code = Record::new().with(3, Field::I32(59));
    network(vec![vector_of_four(), sparse, vector_of_four()], code, vec![operator])
}

/// A whole Keras model without weights.
fn keras_model(layers: &str, output: &str) -> Vec<u8> {
    let model = format!(
        r#"{{"class_name":"Functional","config":{{"name":"m","layers":[{INPUT},{layers}],
        "input_layers":[["x",0,0]],"output_layers":[["{output}",0,0]]}}}}"#
    );
    let mut builder = FileBuilder::new();
    builder.set_attr("model_config", AttrValue::VarLenString(model));
    builder.finish().unwrap()
}

const INPUT: &str =
    r#"{"class_name":"InputLayer","config":{"batch_input_shape":[null,2]},"name":"x"}"#;

/// A layer of one input.
fn keras_layer(class: &str, name: &str, input: &str) -> String {
    format!(
        r#"{{"class_name":"{class}","config":{{}},"name":"{name}","inbound_nodes":[[["{input}",0,0]]]}}"#
    )
}

fn many_keras_layers(class: &str) -> Vec<u8> {
    let layers: Vec<String> =
        (0..20_000).map(|i| keras_layer(class, &format!("l{i}"), "x")).collect();
    keras_model(&layers.join(","), "l0")
}

/// A model with a long name that is called many times.
fn many_calls_of_a_keras_model() -> Vec<u8> {
    let name = "n".repeat(250);
    let inner: Vec<String> = (0..200).map(|i| keras_layer("ReLU", &format!("l{i}"), "x")).collect();
    let calls = vec![r#"[["x",0,0]]"#; 2_000].join(",");
    let model = format!(
        r#"{{"class_name":"Functional","name":"{name}","inbound_nodes":[{calls}],"config":{{
        "layers":[{INPUT},{}],"input_layers":[["x",0,0]],"output_layers":[["l0",0,0]]}}}}"#,
        inner.join(",")
    );
    keras_model(&model, &name)
}

/// A real file of every format, cut short and with one byte changed: few of what `cargo xtask hostile`
/// tries in thousands.
fn real_files() {
    let Some(shared) = depthwise_testkit::shared_dir() else { return };
    type Read = fn(Bytes) -> bool;
    let read: [(&str, Read); 5] = [
        ("onnx/ppocr_mobile_v2_cls.onnx", |file| onnx::read(file, None).is_ok()),
        ("tflite/mediapipe_face_detection_short_range.tflite", |file| tflite::read(file).is_ok()),
        ("keras/vww_96.h5", |file| keras::read(file).is_ok()),
        ("weights/mobilenet_v2-b0353104.pth", |file| torch::read(file).is_ok()),
        ("golden/vww_96_float.safetensors", |file| safetensors::read(file).is_ok()),
    ];
    let mut random = depthwise_testkit::Random::new(7);
    for (name, read) in read {
        let file = std::fs::read(shared.join("models").join(name)).unwrap();
        for _ in 0..20 {
            check(name, file[..random.below(file.len())].to_vec(), read);
            let mut changed = file.clone();
            let near = changed.len().min(1 << 14);
            changed[random.below(near)] ^= 1 << random.below(8);
            check(name, changed, read);
        }
    }
}

#[test]
fn memory_is_bounded_by_the_file() {
    real_files();
    let read_onnx = |file| onnx::read(file, None);
    check("unknown nodes", small_nodes("X"), read_onnx);
    check("nodes without operands", small_nodes("Neg"), read_onnx);
    check("a long name", long_name(), read_onnx);
    check("many dimensions", high_rank(), read_onnx);
    check("deep opcodes", checkpoint(&b"(".repeat(200_000)), torch::read);
    check("many tuples", checkpoint(&b")".repeat(200_000)), torch::read);
    check("a shared key", shared_key(), torch::read);
    check("a header of tensors", many_empty_tensors(), safetensors::read);
    check("unknown operators", small_operators(999), tflite::read);
    check("operators without operands", small_operators(59), tflite::read);
    check("a long custom name", long_custom_name(), tflite::read);
    check("many results", negations(), tflite::read);
    check("a vast sparse tensor", vast_sparse_tensor(), tflite::read);
    check("unknown layers", many_keras_layers("X"), keras::read);
    check("small layers", many_keras_layers("ReLU"), keras::read);
    check("a model called often", many_calls_of_a_keras_model(), keras::read);
}
