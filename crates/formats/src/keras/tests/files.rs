//! Every kind of layer, in small files.

use super::{fixture, folder};
use crate::keras::{container, ops, read};
use crate::safetensors;
use depthwise_layers::ir::interpret;
use depthwise_tensor::Tensor;
use std::collections::BTreeSet;

/// All files, by what they hold.
const FILES: &[&str] = &[
    "activations.keras",
    "activations_v2.h5",
    "convolutions.keras",
    "merges.keras",
    "merges_v2.h5",
    "nested.keras",
    "nested_v2.h5",
    "nested_v2.keras",
    "nested_v3.h5",
    "pictures.keras",
    "sequential.keras",
    "sequential_v2.h5",
    "sequential_v3.h5",
    "signals.keras",
    "text.keras",
];

/// Keras computes in f32: sums of some dozens of products of numbers up to 10.
const TOLERANCE: f64 = 2e-5;

#[test]
fn outputs_are_those_of_keras() {
    for name in FILES {
        let graph = read(fixture(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let stem = name.split('.').next().unwrap();
        let golden = safetensors::open(folder().join(format!("{stem}.safetensors"))).unwrap();
        let tensor = |which: &str, i: usize| golden.get(&format!("{which}/{i}")).unwrap().clone();
        let inputs: Vec<Tensor> = (0..graph.inputs().len()).map(|i| tensor("in", i)).collect();
        let outputs = interpret(&graph, &inputs).unwrap_or_else(|e| panic!("{name}: {e}"));
        for (i, y) in outputs.iter().enumerate() {
            let want = tensor("out", i);
            let what = format!("{name}: \"{}\"", graph.value(graph.outputs()[i]).name);
            assert_eq!(y.shape(), want.shape(), "{what}");
            let scale = want.to_f64().iter().fold(1.0, |m: f64, x| m.max(x.abs()));
            for (at, (got, want)) in y.to_f64().iter().zip(want.to_f64().iter()).enumerate() {
                let bound = TOLERANCE * scale;
                assert!((got - want).abs() <= bound, "{what}: {got}, not {want}, at {at}");
            }
        }
        assert_eq!(golden.get(&format!("out/{}", outputs.len())), None, "{name}: all are compared");
    }
}

/// The classes in the files, as their texts name them.
#[test]
fn every_layer_that_is_read_stands_in_a_file() {
    let config = |name: &&str| container::open(&fixture(name)).unwrap().model.to_string();
    let texts: String = FILES.iter().map(config).collect();
    let missing: BTreeSet<&str> =
        ops::classes().filter(|class| !texts.contains(&format!("\"{class}\""))).collect();
    // They do nothing outside training, and are one row with those that stand in a file.
    let idle = [
        "ActivityRegularization",
        "AlphaDropout",
        "GaussianDropout",
        "RandomBrightness",
        "RandomContrast",
        "RandomRotation",
        "RandomTranslation",
        "RandomZoom",
        "SpatialDropout1D",
    ];
    assert_eq!(missing, BTreeSet::from(idle));
}

#[test]
fn names_are_those_of_layers_and_samples_are_free() {
    let graph = read(fixture("nested_v3.h5")).unwrap();
    let names: Vec<&str> = graph.nodes().iter().map(|node| node.name.as_str()).collect();
    assert!(names.contains(&"block/mix") && names.contains(&"block:1/mix"), "{names:?}");
    assert!(names.contains(&"shared:1"), "{names:?}");
    let input = graph.input_type(graph.inputs()[0]).unwrap();
    assert_eq!(input.to_string(), "f32[batchx6x6x3]");
    // Both calls of a layer read one constant.
    let kernel = |name: &str| graph.nodes().iter().find(|n| n.name == name).unwrap().inputs[1];
    assert_eq!(kernel("block/mix"), kernel("block:1/mix"));
}
