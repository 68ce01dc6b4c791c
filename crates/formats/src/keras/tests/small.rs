//! Models of a few layers, written here: what is refused, and how.

use crate::keras::{KerasError, read};
use bytes::Bytes;
use depthwise_layers::ir::{Graph, interpret};
use depthwise_tensor::Tensor;
use hdf5_pure::{AttrValue, FileBuilder};
use serde_json::{Value, json};

/// A whole model in HDF5 without weights.
fn file(version: &str, model: &Value) -> Bytes {
    let mut builder = FileBuilder::new();
    builder.set_attr("model_config", AttrValue::VarLenString(model.to_string()));
    builder.set_attr("keras_version", AttrValue::VarLenString(version.into()));
    builder.finish().unwrap().into()
}

fn layer(class: &str, name: &str, config: Value, inputs: &[&str]) -> Value {
    let node: Vec<Value> = inputs.iter().map(|input| json!([input, 0, 0, {}])).collect();
    let nodes = if inputs.is_empty() { json!([]) } else { json!([node]) };
    let mut config = config;
    config["name"] = name.into();
    json!({"class_name": class, "name": name, "config": config, "inbound_nodes": nodes})
}

fn input(shape: Value) -> Value {
    layer("InputLayer", "x", json!({"batch_input_shape": shape, "dtype": "float32"}), &[])
}

fn functional(layers: Vec<Value>, output: &str) -> Value {
    let ends = |name: &str| json!([[name, 0, 0]]);
    json!({"class_name": "Functional", "config": {
        "name": "net", "layers": layers, "input_layers": ends("x"), "output_layers": ends(output),
    }})
}

fn sequential(layers: Vec<Value>) -> Value {
    json!({"class_name": "Sequential", "config": {"name": "net", "layers": layers}})
}

fn graph(version: &str, model: &Value) -> Graph {
    read(file(version, model)).unwrap()
}

fn error(model: &Value) -> KerasError {
    read(file("2.4.0", model)).unwrap_err()
}

fn run(graph: &Graph, x: &[f32]) -> Vec<f32> {
    let x = Tensor::from_slice(&[1, x.len()], x).unwrap();
    interpret(graph, &[x]).unwrap()[0].to_f32().into_owned()
}

#[test]
fn the_hard_sigmoid_is_that_of_the_version() {
    let hard = layer("Activation", "y", json!({"activation": "hard_sigmoid"}), &["x"]);
    let model = functional(vec![input(json!([null, 3])), hard], "y");
    let x = [-2.75, 1.0, 2.75];
    // 0.2 x + 0.5 reaches its ends at 2.5, x / 6 + 0.5 at 3.
    let y = run(&graph("2.4.0", &model), &x);
    assert_eq!(y, [0.0, 0.7, 1.0]);
    let y = run(&graph("3.0.0", &model), &x);
    let want = [0.25 / 6.0, 4.0 / 6.0, 5.75 / 6.0];
    assert!(y.iter().zip(want).all(|(y, want)| (y - want).abs() < 1e-6), "{y:?}");
}

#[test]
fn every_layer_that_is_not_supported_is_named_in_one_error() {
    let lstm = layer("LSTM", "memory", json!({"units": 3}), &["x"]);
    let conv = layer("Conv2D", "late", json!({"kernel_size": [3, 3]}), &["memory"]);
    let odd = layer("ReLU", "odd", json!({"threshold": 1.0}), &["x"]);
    let first = layer("Flatten", "first", json!({"data_format": "channels_first"}), &["x"]);
    let new = layer("Dropout", "fine", json!({"rate": 0.5}), &["x"]);
    let unknown = layer("Softmax", "unknown", json!({"temperature": 2.0}), &["x"]);
    let layers = vec![input(json!([null, 4, 4])), lstm, conv, odd, first, new, unknown];
    let error = error(&functional(layers, "late"));
    let KerasError::Unsupported(layers) = &error else { panic!("{error}") };
    let names: Vec<&str> = layers.iter().map(|layer| layer.layer.as_str()).collect();
    assert_eq!(names, ["memory", "odd", "first", "unknown"], "what depends on them is not named");
    let text = error.to_string();
    for part in ["LSTM", "threshold = 1", "data_format = channels_first", "temperature = 2.0"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn python_code_and_training_behaviour_are_refused() {
    let lambda = layer("Lambda", "code", json!({"function": "..."}), &["x"]);
    let text = error(&functional(vec![input(json!([null, 4])), lambda], "code")).to_string();
    assert!(text.contains("layer \"code\" (Lambda): it is Python code"), "{text}");
    let mut dropout = layer("Dropout", "drop", json!({"rate": 0.5}), &["x"]);
    dropout["inbound_nodes"] = json!([[["x", 0, 0, {"training": true}]]]);
    let model = functional(vec![input(json!([null, 4])), dropout], "drop");
    assert!(error(&model).to_string().contains("its argument training"));
    // Keras 3 replaces the recorded argument.
    assert_eq!(run(&graph("3.1.0", &model), &[1.0, -2.0, 3.0, 4.0]), [1.0, -2.0, 3.0, 4.0]);
}

#[test]
fn broken_networks_are_errors_that_name_the_layer() {
    let shape = || input(json!([null, 4]));
    let relu = |name: &str, from: &str| layer("ReLU", name, json!({}), &[from]);
    let cycle = error(&functional(vec![shape(), relu("a", "b"), relu("b", "a")], "b"));
    assert!(matches!(cycle, KerasError::Cycle(_)), "{cycle}");
    let nowhere = error(&functional(vec![shape(), relu("a", "nowhere")], "a"));
    assert!(
        nowhere.to_string().contains("layer \"a\" reads result 0 of call 0 of layer \"nowhere\"")
    );
    let no_output = error(&functional(vec![shape()], "y"));
    assert!(matches!(no_output, KerasError::Undefined { .. }), "{no_output}");
    let dense = layer("Dense", "d", json!({"units": 2}), &["x"]);
    let weights = error(&functional(vec![shape(), dense], "d")).to_string();
    assert_eq!(weights, "weights of layer \"d\": the file has no kernel");
    let no_shape = error(&sequential(vec![layer("ReLU", "a", json!({}), &[])])).to_string();
    assert!(no_shape.contains("its shape is not known"), "{no_shape}");
    let own = json!({"class_name": "MyModel", "config": {}});
    assert!(error(&own).to_string().contains("its class is \"MyModel\""));
}

#[test]
fn files_without_a_network_say_what_to_do() {
    let mut builder = FileBuilder::new();
    builder.create_dataset("w").with_f32_data(&[1.0]);
    let text = read(builder.finish().unwrap().into()).unwrap_err().to_string();
    assert!(text.contains("model.save()"), "{text}");
    let text = read(Bytes::from_static(b"hello")).unwrap_err().to_string();
    assert!(text.contains("neither a .keras archive nor an HDF5 file"), "{text}");
}

#[test]
fn a_sequential_model_may_declare_its_input_in_its_first_layer() {
    let first = json!({"batch_input_shape": [null, 3], "activation": "relu"});
    let layers = vec![
        json!({"class_name": "Activation", "config": first}),
        json!({"class_name": "Activation", "config": {"activation": "tanh"}}),
    ];
    let mut named = layers.clone();
    for (at, layer) in named.iter_mut().enumerate() {
        layer["config"]["name"] = format!("layer_{at}").into();
    }
    let y = run(&graph("2.4.0", &sequential(named.clone())), &[-1.0, 0.0, 0.5]);
    assert_eq!(y, [0.0, 0.0, 0.5f32.tanh()]);
    // The first versions wrote the list of layers alone.
    let bare = json!({"class_name": "Sequential", "config": named});
    assert_eq!(run(&graph("2.1.0", &bare), &[-1.0, 0.0, 0.5]), y);
}

#[test]
fn an_input_and_two_names_for_one_value_can_be_outputs() {
    let relu = layer("ReLU", "a", json!({}), &["x"]);
    let mut model = functional(vec![input(json!([null, 2])), relu], "a");
    model["config"]["output_layers"] = json!([["x", 0, 0], ["a", 0, 0], ["a", 0, 0]]);
    let graph = graph("2.4.0", &model);
    let x = Tensor::from_slice(&[1, 2], &[-1f32, 1.0]).unwrap();
    let y = interpret(&graph, &[x]).unwrap();
    let floats: Vec<_> = y.iter().map(|y| y.to_f32().into_owned()).collect();
    assert_eq!(floats, [[-1.0, 1.0], [0.0, 1.0], [0.0, 1.0]]);
    let names: Vec<_> = graph.outputs().iter().map(|&id| &graph.value(id).name).collect();
    assert_eq!(names, ["x:1", "a", "a:1"]);
}

/// Ten models in each other, each called twice by the one around it.
#[test]
fn models_that_unfold_to_many_layers_are_refused() {
    let mut inner =
        functional(vec![input(json!([null, 2])), layer("ReLU", "y", json!({}), &["x"])], "y");
    for _ in 0..12 {
        let mut model = layer("Functional", "m", inner["config"].clone(), &["x"]);
        model["inbound_nodes"] = json!([[["x", 0, 0, {}]], [["m", 1, 0, {}]]]);
        let mut around = functional(vec![input(json!([null, 2])), model], "m");
        around["config"]["output_layers"] = json!([["m", 2, 0]]);
        inner = around;
    }
    let error = error(&inner);
    assert!(matches!(error, KerasError::TooLarge(_)), "{error}");
}
